//! What a schema may cost, decided before it is compiled.
//!
//! A chain of 25 `anyOf` with two references each is 1 KB of text and takes 2^25 turns. [`measure`] counts, for the
//! worst value of a document, in how many ways the schema reaches it; cycles are cut where they close. What recursion
//! multiplies on deep documents is left to the budget of each check ([`super::meter`]).

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::references::{Edge, Graph, address, subschemas};
use crate::problem::Fault;

/// At most so many bytes of schema, as compact JSON.
pub const MAX_SCHEMA_BYTES: usize = 1 << 20;
/// At most so many levels of nesting, as JSON.
pub const MAX_DEPTH: usize = 128;
/// At most so many ways to one value.
pub const MAX_PATHS: u64 = 10_000;
/// At most so many subschemas within each other, references followed. Compiling and checking recurse as deeply.
const MAX_HOPS: usize = 256;

/// What a schema costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Complexity {
    /// In how many ways one value is reached.
    pub(super) paths: u64,
    /// How many subschemas follow each other on one value, references included.
    pub(super) chain: usize,
    /// Whether some subschema contains itself.
    pub(super) recursive: bool,
}

/// Refuses what is too large or too deep to look at.
pub(super) fn check_size(schema: &Value) -> Result<(), Fault> {
    let fault = |detail: String| Err(Fault { schema: None, pointer: "#".into(), detail });
    if depth_exceeds(schema, MAX_DEPTH) {
        return fault(format!("the schema is nested more than {MAX_DEPTH} levels deep"));
    }
    let bytes = serde_json::to_vec(schema).map_or(usize::MAX, |text| text.len());
    if bytes > MAX_SCHEMA_BYTES {
        return fault(format!("the schema has {bytes} bytes; at most {MAX_SCHEMA_BYTES} are allowed"));
    }
    Ok(())
}

fn depth_exceeds(value: &Value, limit: usize) -> bool {
    match value {
        Value::Array(items) => limit == 0 || items.iter().any(|item| depth_exceeds(item, limit - 1)),
        Value::Object(members) => limit == 0 || members.values().any(|member| depth_exceeds(member, limit - 1)),
        _ => false,
    }
}

/// Counts what the schema costs.
///
/// # Errors
///
/// A fault if that is too much.
pub(super) fn measure(graph: &Graph<'_>) -> Result<Complexity, Fault> {
    let mut counter = Counter { graph, costs: HashMap::new(), chains: HashMap::new(), all: Vec::new(), recursive: false, paths: 0 };
    counter.cost(graph.root(), 0)?;
    let mut chain = 0;
    for schema in std::mem::take(&mut counter.all) {
        chain = chain.max(counter.chain(schema, 0)?);
    }
    Ok(Complexity { paths: counter.paths, chain, recursive: counter.recursive })
}

struct Counter<'g, 's> {
    graph: &'g Graph<'s>,
    /// By address; `None` while the subschema is being counted.
    costs: HashMap<usize, Option<Cost>>,
    /// Likewise.
    chains: HashMap<usize, Option<usize>>,
    all: Vec<&'s Value>,
    recursive: bool,
    /// The most that any subschema has.
    paths: u64,
}

#[derive(Clone, Copy)]
struct Cost {
    paths: u64,
    /// How many subschemas follow each other, whatever they look at.
    length: usize,
}

impl<'s> Counter<'_, 's> {
    fn cost(&mut self, schema: &'s Value, hops: usize) -> Result<Cost, Fault> {
        let cost = match self.costs.get(&address(schema)) {
            Some(Some(cost)) => *cost,
            Some(None) => {
                self.recursive = true;
                Cost { paths: 1, length: 1 }
            }
            None => self.counted(schema, hops)?,
        };
        if hops + cost.length > MAX_HOPS { Err(too_long()) } else { Ok(cost) }
    }

    fn counted(&mut self, schema: &'s Value, hops: usize) -> Result<Cost, Fault> {
        if hops > MAX_HOPS {
            return Err(too_long());
        }
        self.costs.insert(address(schema), None);
        self.all.push(schema);
        let cost = self.sum(schema, hops)?;
        self.costs.insert(address(schema), Some(cost));
        self.paths = self.paths.max(cost.paths);
        if cost.paths > MAX_PATHS {
            return Err(too_much(format!(
                "there are more than {MAX_PATHS} ways through its `anyOf`, `oneOf`, `allOf`, `if` and references to one value"
            )));
        }
        Ok(cost)
    }

    fn sum(&mut self, schema: &'s Value, hops: usize) -> Result<Cost, Fault> {
        let Some(keywords) = schema.as_object() else { return Ok(Cost { paths: 1, length: 1 }) };
        let (mut in_place, mut length) = (0_u64, 0);
        let (mut member, mut patterns, mut element, mut every_element, mut names) = (0_u64, 0_u64, 0_u64, 0_u64, 0_u64);
        for (edge, child) in self.edges(schema, keywords) {
            let cost = self.cost(child, hops + 1)?;
            length = length.max(cost.length);
            match edge {
                Edge::InPlace => in_place = in_place.saturating_add(cost.paths),
                Edge::Member => member = member.max(cost.paths),
                Edge::Pattern => patterns = patterns.saturating_add(cost.paths),
                Edge::Element => element = element.max(cost.paths),
                Edge::EveryElement => every_element = every_element.saturating_add(cost.paths),
                Edge::Name => names = cost.paths,
                Edge::Definition => {}
            }
        }
        // Finding out what is left unevaluated runs what is in place once more.
        if keywords.contains_key("unevaluatedProperties") || keywords.contains_key("unevaluatedItems") {
            in_place = in_place.saturating_mul(2);
        }
        let below = member.saturating_add(patterns).max(element.saturating_add(every_element)).max(names);
        Ok(Cost { paths: in_place.saturating_add(below).max(1), length: length + 1 })
    }

    /// How many subschemas follow each other on one value. A circle on one value ends where it closes: the validator
    /// sees to that.
    fn chain(&mut self, schema: &'s Value, hops: usize) -> Result<usize, Fault> {
        match self.chains.get(&address(schema)) {
            Some(known) => return Ok(known.unwrap_or(1)),
            None if hops > MAX_HOPS => return Err(too_long()),
            None => self.chains.insert(address(schema), None),
        };
        let mut longest = 0;
        if let Some(keywords) = schema.as_object() {
            for (_, child) in self.edges(schema, keywords).into_iter().filter(|(edge, _)| *edge == Edge::InPlace) {
                longest = longest.max(self.chain(child, hops + 1)?);
            }
        }
        self.chains.insert(address(schema), Some(longest + 1));
        Ok(longest + 1)
    }

    fn edges(&self, schema: &'s Value, keywords: &'s Map<String, Value>) -> Vec<(Edge, &'s Value)> {
        let targets = self.graph.targets(schema).iter().map(|target| (Edge::InPlace, *target));
        targets.chain(subschemas(keywords).map(|(edge, _, child)| (edge, child))).collect()
    }
}

fn too_long() -> Fault {
    too_much(format!("more than {MAX_HOPS} subschemas contain each other, references followed"))
}

fn too_much(detail: String) -> Fault {
    Fault { schema: None, pointer: "#".into(), detail: format!("the schema is too complex: {detail}") }
}
