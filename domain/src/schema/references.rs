//! A schema document as a graph: which subschemas it has and where its references lead.

use std::collections::HashMap;

use jsonschema::Draft;
use serde_json::{Map, Value};
use url::Url;

use super::draft::{self, Dialect};
use crate::json::{escaped, fragment};
use crate::problem::Fault;

/// What a keyword's subschemas look at, and so how their costs add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    /// The same value: all of them run on it.
    InPlace,
    /// Members of an object: one of these keywords' subschemas for each member.
    Member,
    /// Members too, beside the others: every pattern that matches runs.
    Pattern,
    /// Elements of an array: one of these for each element.
    Element,
    /// Elements too, beside the others.
    EveryElement,
    /// Names of members.
    Name,
    /// Nothing by itself.
    Definition,
}

/// Keywords that hold subschemas: one, a list, a map, or any of these (the value tells which).
const KEYWORDS: [(&str, Edge); 25] = [
    ("allOf", Edge::InPlace),
    ("anyOf", Edge::InPlace),
    ("oneOf", Edge::InPlace),
    ("not", Edge::InPlace),
    ("if", Edge::InPlace),
    ("then", Edge::InPlace),
    ("else", Edge::InPlace),
    ("dependentSchemas", Edge::InPlace),
    ("dependencies", Edge::InPlace),
    ("properties", Edge::Member),
    ("additionalProperties", Edge::Member),
    ("unevaluatedProperties", Edge::Pattern),
    ("patternProperties", Edge::Pattern),
    ("propertyNames", Edge::Name),
    ("items", Edge::Element),
    ("prefixItems", Edge::Element),
    ("additionalItems", Edge::Element),
    ("unevaluatedItems", Edge::EveryElement),
    ("contains", Edge::EveryElement),
    ("contentSchema", Edge::Definition),
    ("$defs", Edge::Definition),
    ("definitions", Edge::Definition),
    ("$ref", Edge::InPlace),
    ("$dynamicRef", Edge::InPlace),
    ("$recursiveRef", Edge::InPlace),
];
/// Keywords whose value is a map from names of the user's choice to subschemas.
pub(super) const MAPS: [&str; 6] = ["properties", "patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions"];
pub(super) const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];
/// At most so many patterns in one `patternProperties`: each is tried on each member's name.
const MAX_PATTERNS: usize = 128;

/// A document and those it refers to, with their references resolved.
pub struct Graph<'s> {
    root: &'s Value,
    /// Resources and anchors by their absolute URI, and the draft that they are written in.
    places: HashMap<String, (&'s Value, Draft)>,
    /// Subschemas by the name of their `$dynamicAnchor`.
    dynamic: HashMap<&'s str, Vec<&'s Value>>,
    /// Where each subschema's references lead, by address.
    targets: HashMap<usize, Vec<&'s Value>>,
    visited: HashMap<usize, Draft>,
    pending: Vec<Pending>,
    faults: Vec<Fault>,
}

/// A registered document that references may lead to.
pub(super) struct Source<'s> {
    pub(super) uri: &'s Url,
    pub(super) document: &'s Value,
    pub(super) draft: Draft,
}

/// What the references of a document without `$id` start from.
pub(super) fn anonymous() -> Url {
    Url::parse("posthorn-schema:///").expect("a URL")
}

struct Pending {
    from: usize,
    draft: Draft,
    keyword: &'static str,
    uri: Url,
    pointer: String,
}

/// What tells one subschema from another.
pub(super) fn address(schema: &Value) -> usize {
    std::ptr::from_ref(schema).addr()
}

/// The subschemas a keyword holds.
pub(super) fn subschemas(schema: &Map<String, Value>) -> impl Iterator<Item = (Edge, String, &Value)> {
    KEYWORDS.iter().filter(|(keyword, _)| !REFERENCES.contains(keyword)).flat_map(|(keyword, edge)| {
        let held: Vec<(String, &Value)> = match schema.get(*keyword) {
            Some(Value::Object(map)) if MAPS.contains(keyword) => {
                map.iter().map(|(name, value)| (format!("/{keyword}/{}", escaped(name)), value)).collect()
            }
            Some(Value::Array(list)) => list.iter().enumerate().map(|(index, value)| (format!("/{keyword}/{index}"), value)).collect(),
            Some(value) => vec![(format!("/{keyword}"), value)],
            None => Vec::new(),
        };
        held.into_iter().filter(|(_, value)| value.is_object() || value.is_boolean()).map(|(path, value)| (*edge, path, value))
    })
}

impl<'s> Graph<'s> {
    /// Walks the document and resolves its references. The document is not nested too deeply (the caller has checked).
    ///
    /// # Errors
    ///
    /// A fault for each reference that leads to none of the documents and no metaschema, or leads nowhere in one.
    pub(super) fn of(root: &'s Value, draft: Draft, others: &[Source<'s>]) -> Result<Self, Vec<Fault>> {
        let mut graph = Self {
            root,
            places: HashMap::new(),
            dynamic: HashMap::new(),
            targets: HashMap::new(),
            visited: HashMap::new(),
            pending: Vec::new(),
            faults: Vec::new(),
        };
        let base = anonymous();
        graph.places.insert(base.to_string(), (root, draft));
        graph.visit(root, draft, &base, "");
        for other in others {
            graph.places.insert(other.uri.to_string(), (other.document, other.draft));
            graph.visit(other.document, other.draft, other.uri, "");
        }
        while let Some(reference) = graph.pending.pop() {
            graph.resolve(&reference);
        }
        if graph.faults.is_empty() { Ok(graph) } else { Err(graph.faults) }
    }

    /// The document.
    pub fn root(&self) -> &'s Value {
        self.root
    }

    /// The dialect that a subschema of this graph is written in.
    pub fn dialect(&self, schema: &Value) -> Dialect {
        self.visited.get(&address(schema)).map_or(Dialect::Draft202012, |draft| draft::dialect(*draft))
    }

    /// Where the references of a subschema lead; a reference to a metaschema leads to none.
    pub fn targets(&self, schema: &Value) -> &[&'s Value] {
        self.targets.get(&address(schema)).map_or(&[], Vec::as_slice)
    }

    fn visit(&mut self, schema: &'s Value, draft: Draft, base: &Url, pointer: &str) {
        let Some(keywords) = schema.as_object() else { return };
        if self.visited.insert(address(schema), draft).is_some() {
            return;
        }
        let base = &self.identify(schema, draft, keywords, base);
        for keyword in REFERENCES {
            let Some(reference) = keywords.get(keyword).and_then(Value::as_str) else { continue };
            let pointer = format!("{pointer}/{keyword}");
            match base.join(reference) {
                Ok(uri) => self.pending.push(Pending { from: address(schema), draft, keyword, uri, pointer }),
                Err(_) => self.fault(&pointer, "the reference is not a URI that can be resolved here"),
            }
        }
        let patterns = keywords.get("patternProperties").and_then(Value::as_object).map_or(0, Map::len);
        if patterns > MAX_PATTERNS {
            self.fault(
                &format!("{pointer}/patternProperties"),
                &format!("there are {patterns} patterns; at most {MAX_PATTERNS} are allowed"),
            );
        }
        for (_, path, child) in subschemas(keywords) {
            self.visit(child, draft, base, &format!("{pointer}{path}"));
        }
    }

    /// Notes the names a subschema gives itself; answers the base of the references in it.
    fn identify(&mut self, schema: &'s Value, draft: Draft, keywords: &'s Map<String, Value>, base: &Url) -> Url {
        let id = keywords.get(draft::id_keyword(draft)).and_then(Value::as_str);
        let identified = id.and_then(|id| base.join(id).ok());
        let mut own = base.clone();
        if let Some(uri) = identified {
            self.places.entry(uri.as_str().trim_end_matches('#').to_owned()).or_insert((schema, draft));
            // An identifier that is a fragment only was the way to name an anchor up to draft 7.
            if uri.fragment().is_none_or(str::is_empty) {
                own = uri;
                own.set_fragment(None);
            }
        }
        for keyword in ["$anchor", "$dynamicAnchor"] {
            let Some(name) = keywords.get(keyword).and_then(Value::as_str) else { continue };
            self.places.entry(format!("{own}#{name}")).or_insert((schema, draft));
            if keyword == "$dynamicAnchor" {
                self.dynamic.entry(name).or_default().push(schema);
            }
        }
        own
    }

    fn resolve(&mut self, reference: &Pending) {
        let name = reference.uri.fragment().unwrap_or_default();
        if reference.keyword == "$dynamicRef"
            && let Some(possible) = self.dynamic.get(name)
        {
            let possible = possible.clone();
            self.targets.entry(reference.from).or_default().extend(possible);
            return;
        }
        if draft::is_metaschema(reference.uri.as_str(), reference.draft) {
            return;
        }
        let mut base = reference.uri.clone();
        base.set_fragment(None);
        let Some((resource, draft)) = self.places.get(base.as_str()).copied() else {
            return self.fault(
                &reference.pointer,
                "the reference leaves the document and leads to no registered version; put what it refers to into `$defs`",
            );
        };
        let decoded = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        let target = match self.places.get(reference.uri.as_str().trim_end_matches('#')) {
            Some((target, _)) => Some(*target),
            None if decoded.is_empty() || decoded.starts_with('/') => resource.pointer(&decoded),
            None => None,
        };
        let Some(target) = target else {
            return self.fault(&reference.pointer, "the reference leads nowhere in this document");
        };
        self.targets.entry(reference.from).or_default().push(target);
        // A pointer may lead to a place that no keyword leads to.
        self.visit(target, draft, &base, decoded.strip_prefix('#').unwrap_or(&decoded));
    }

    fn fault(&mut self, pointer: &str, detail: &str) {
        if self.faults.len() < super::errors::MAX_FAULTS {
            self.faults.push(Fault { schema: None, pointer: fragment(pointer), detail: detail.to_owned() });
        }
    }
}
