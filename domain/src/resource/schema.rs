//! Schemas and their versions. Whether a document compiles is `crate::schema`'s business; this is what is written around it.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;

use super::{Meta, SERVER_OWNED};
use crate::fields::{Faults, Fields, FromJson};
use crate::names::{References, SchemaName, SchemaRef};
use crate::problem::{Code, Problem};
use crate::qos::{DeadLetter, Durability, OnRefusal};
use crate::units::Dur;

/// A version of a schema as the control plane keeps it. Its content never changes.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct SchemaVersion {
    /// The schema's name.
    pub name: SchemaName,
    /// 1, 2, 3…
    pub version: u32,
    /// What its owner wrote.
    #[serde(flatten)]
    pub spec: SchemaSpec,
    /// The registered versions that its document refers to, by the URI that it uses: settled when it was registered.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub references: References,
    /// What publishers of its events are told, when it should not be used any more.
    pub deprecated: Option<String>,
    /// What the control plane knows of it.
    #[serde(flatten)]
    pub meta: Meta,
}

/// A schema over all its versions.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct SchemaInfo {
    /// Its name.
    pub name: SchemaName,
    /// How a new version must fit the earlier ones.
    pub compatibility: Compatibility,
    /// The versions there are.
    pub versions: Vec<u32>,
    /// What the control plane knows of it.
    #[serde(flatten)]
    pub meta: Meta,
}

/// How a new version must fit the earlier ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compatibility {
    /// Not compared.
    #[default]
    None,
    /// The new version takes whatever the latest takes: readers may move first.
    Backward,
    /// The latest version takes whatever the new one takes: writers may move first.
    Forward,
    /// Both.
    Full,
    /// As `backward`, with every earlier version.
    BackwardTransitive,
    /// As `forward`, with every earlier version.
    ForwardTransitive,
    /// As `full`, with every earlier version.
    FullTransitive,
}

/// Every mode with its name.
const MODES: [(&str, Compatibility); 7] = [
    ("none", Compatibility::None),
    ("backward", Compatibility::Backward),
    ("forward", Compatibility::Forward),
    ("full", Compatibility::Full),
    ("backward_transitive", Compatibility::BackwardTransitive),
    ("forward_transitive", Compatibility::ForwardTransitive),
    ("full_transitive", Compatibility::FullTransitive),
];

impl Compatibility {
    /// Reads the body of a change to a schema: `{"compatibility": "none"}`.
    pub fn parse(document: &Value) -> Result<Self, Problem> {
        let mut faults = Faults::default();
        let mut fields = Fields::of(document, "", &mut faults);
        fields.ignore(&SERVER_OWNED);
        fields.ignore(&["name", "versions"]);
        let compatibility = fields.need("compatibility", &mut faults);
        fields.done(&mut faults);
        faults.result("the schema", compatibility)
    }
}

impl FromJson for Compatibility {
    fn from_json(value: &Value, at: &str, faults: &mut Faults) -> Option<Self> {
        let text = String::from_json(value, at, faults)?;
        text.parse().map_err(|error: UnknownMode| faults.meaning(at, error.to_string())).ok()
    }
}

/// Text that names no mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not one of none, backward, forward, full, backward_transitive, forward_transitive, full_transitive")]
pub struct UnknownMode(String);

impl FromStr for Compatibility {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        let found = MODES.iter().find(|(name, _)| *name == text).map(|(_, mode)| *mode);
        found.ok_or_else(|| UnknownMode(text.chars().take(100).collect()))
    }
}

impl fmt::Display for Compatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MODES.iter().find(|(_, mode)| mode == self).map_or("none", |(name, _)| name))
    }
}

impl Compatibility {
    /// Whether a new version must take what earlier ones take.
    pub fn is_backward(self) -> bool {
        matches!(self, Self::Backward | Self::Full | Self::BackwardTransitive | Self::FullTransitive)
    }

    /// Whether earlier versions must take what a new one takes.
    pub fn is_forward(self) -> bool {
        matches!(self, Self::Forward | Self::Full | Self::ForwardTransitive | Self::FullTransitive)
    }

    /// Whether every earlier version counts, not only the latest.
    pub fn is_transitive(self) -> bool {
        matches!(self, Self::BackwardTransitive | Self::ForwardTransitive | Self::FullTransitive)
    }
}

/// Characters of a deprecation.
const MAX_DEPRECATION: usize = 1000;

/// Reads the body of a change to a version: `{"deprecated": "message"}`, `null` to take it back. The other members of the
/// version may be written back as they are read.
pub fn parse_deprecation(document: &Value, stored: &SchemaSpec) -> Result<Option<String>, Problem> {
    let mut faults = Faults::default();
    let mut fields = Fields::of(document, "", &mut faults);
    let given = fields.has("deprecated");
    let deprecated: Option<String> = fields.get("deprecated", &mut faults);
    if !given {
        faults.shape("/deprecated", "is missing; a message, or null to take it back");
    }
    match deprecated.as_deref().map(|text| (text.trim().is_empty(), text.chars().count())) {
        Some((true, _)) => faults.meaning("/deprecated", "must say something; null takes it back"),
        Some((_, length)) if length > MAX_DEPRECATION => {
            faults.meaning("/deprecated", format!("has {length} characters; at most {MAX_DEPRECATION} are allowed"));
        }
        _ => {}
    }
    fields.ignore(&SERVER_OWNED);
    fields.ignore(&["name", "version", "references", "schema", "ttl", "durability", "dead_letter", "on_refusal", "assert_formats"]);
    fields.done(&mut faults);
    let deprecated = faults.result("the schema version", Some(deprecated))?;
    // What is written back must be what is stored: members that are left out are not meant to change.
    if document.get("schema").is_some() && SchemaSpec::parse(document)? != *stored {
        let detail = "the content of a version never changes; add a version instead, and send `deprecated` alone here";
        return Err(Problem::new(Code::InvalidResource, detail));
    }
    Ok(deprecated)
}

/// What the owner of a schema version decides.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct SchemaSpec {
    /// The JSON Schema document: an object or a boolean.
    #[schema(value_type = Object)]
    pub schema: Value,
    /// Time to live of events that name it; the greatest of an event's schemas counts.
    pub ttl: Option<Dur>,
    /// The least durability of events that name it.
    pub durability: Option<Durability>,
    /// Whether events that name it may become dead letters.
    pub dead_letter: DeadLetter,
    /// What a publisher hears when it refuses an event.
    pub on_refusal: Option<OnRefusal>,
    /// Whether `format` is asserted; an annotation otherwise, in every draft.
    pub assert_formats: bool,
}

impl SchemaSpec {
    /// Reads what a user wrote.
    pub fn parse(document: &Value) -> Result<Self, Problem> {
        let mut faults = Faults::default();
        let mut fields = Fields::of(document, "", &mut faults);
        fields.ignore(&SERVER_OWNED);
        fields.ignore(&["name", "version", "references", "deprecated"]);
        let schema: Option<Value> = fields.need("schema", &mut faults);
        if schema.as_ref().is_some_and(|schema| !schema.is_object() && !schema.is_boolean()) {
            faults.shape("/schema", "a JSON Schema is an object or a boolean");
        }
        let spec = Self {
            schema: schema.unwrap_or_default(),
            ttl: fields.get("ttl", &mut faults),
            durability: fields.get("durability", &mut faults),
            dead_letter: fields.or("dead_letter", DeadLetter::Allow, &mut faults),
            on_refusal: fields.get("on_refusal", &mut faults),
            assert_formats: fields.or("assert_formats", false, &mut faults),
        };
        fields.done(&mut faults);
        if spec.ttl == Some(Dur::from_millis(0)) {
            faults.meaning("/ttl", "must be longer than zero; leave it out for events that do not expire");
        }
        faults.result("the schema", Some(spec))
    }

    /// The document's own `$id`, by which an event's `dataschema` may name it.
    pub fn id(&self) -> Option<&str> {
        let document = self.schema.as_object()?;
        document.get("$id").or_else(|| document.get("id")).and_then(Value::as_str).map(|id| id.trim_end_matches('#'))
    }
}

impl SchemaVersion {
    /// Reads what the control plane settled beside the version's specification: its references and its deprecation.
    pub fn settled(document: &Value) -> (References, Option<String>) {
        let references = document.get("references").and_then(Value::as_object).into_iter().flatten();
        let references = references.filter_map(|(uri, text)| Some((uri.clone(), text.as_str()?.parse().ok()?))).collect();
        (references, document.get("deprecated").and_then(Value::as_str).map(str::to_owned))
    }

    /// `name:version`.
    pub fn reference(&self) -> SchemaRef {
        SchemaRef { name: self.name.clone(), version: self.version }
    }
}
