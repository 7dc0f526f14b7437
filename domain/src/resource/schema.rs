//! Schemas and their versions. Whether a document compiles is `crate::schema`'s business; this is what is written around it.

use serde::Serialize;
use serde_json::Value;

use super::{Meta, SERVER_OWNED};
use crate::fields::{Faults, Fields, FromJson};
use crate::names::{SchemaName, SchemaRef};
use crate::problem::Problem;
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
}

impl FromJson for Compatibility {
    fn from_json(value: &Value, at: &str, faults: &mut Faults) -> Option<Self> {
        let text = String::from_json(value, at, faults)?;
        if text == "none" {
            return Some(Self::None);
        }
        faults.meaning(at, format!("`{text}` is not supported by this version; it compares nothing (`none`)"));
        None
    }
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
        fields.ignore(&["name", "version"]);
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
    /// `name:version`.
    pub fn reference(&self) -> SchemaRef {
        SchemaRef { name: self.name.clone(), version: self.version }
    }
}
