//! What a schema may cost, decided before it is compiled.
//!
//! A chain of 25 `anyOf` with two references each is 1 KB of text and takes 2^25 turns. [`measure`] counts, for the
//! worst value of a document, in how many ways the schema reaches it; cycles are cut where they close. What recursion
//! multiplies on deep documents is left to the budget of each check ([`super::meter`]).

use std::collections::HashMap;

use serde_json::Value;

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
    let mut counter = Counter { graph, done: HashMap::new(), worst: Complexity::default() };
    counter.cost(graph.root(), 0)?;
    Ok(counter.worst)
}

struct Counter<'g, 's> {
    graph: &'g Graph<'s>,
    /// By address; `None` while the subschema is being counted.
    done: HashMap<usize, Option<(u64, usize)>>,
    worst: Complexity,
}

impl Counter<'_, '_> {
    /// Paths and chain of one subschema.
    fn cost(&mut self, schema: &Value, hops: usize) -> Result<(u64, usize), Fault> {
        match self.done.get(&address(schema)) {
            Some(Some(cost)) => return Ok(*cost),
            Some(None) => {
                self.worst.recursive = true;
                return Ok((1, 1));
            }
            None => {}
        }
        if hops > MAX_HOPS {
            return Err(too_much(format!("more than {MAX_HOPS} subschemas contain each other, references followed")));
        }
        self.done.insert(address(schema), None);
        let cost = self.sum(schema, hops)?;
        self.done.insert(address(schema), Some(cost));
        self.worst.paths = self.worst.paths.max(cost.0);
        self.worst.chain = self.worst.chain.max(cost.1);
        if cost.0 > MAX_PATHS {
            return Err(too_much(format!(
                "there are more than {MAX_PATHS} ways through its `anyOf`, `oneOf`, `allOf`, `if` and references to one value"
            )));
        }
        Ok(cost)
    }

    fn sum(&mut self, schema: &Value, hops: usize) -> Result<(u64, usize), Fault> {
        let Some(keywords) = schema.as_object() else { return Ok((1, 1)) };
        let (mut in_place, mut chain) = (0_u64, 0);
        let (mut member, mut patterns, mut element, mut every_element, mut names) = (0_u64, 0_u64, 0_u64, 0_u64, 0_u64);
        for target in self.graph.targets(schema) {
            let (paths, length) = self.cost(target, hops + 1)?;
            in_place = in_place.saturating_add(paths);
            chain = chain.max(length);
        }
        for (_, edge, _, child) in subschemas(keywords) {
            let (paths, length) = self.cost(child, hops + 1)?;
            match edge {
                Edge::InPlace => {
                    in_place = in_place.saturating_add(paths);
                    chain = chain.max(length);
                }
                Edge::Member => member = member.max(paths),
                Edge::Pattern => patterns = patterns.saturating_add(paths),
                Edge::Element => element = element.max(paths),
                Edge::EveryElement => every_element = every_element.saturating_add(paths),
                Edge::Name => names = paths,
                Edge::Definition => {}
            }
        }
        // Finding out what is left unevaluated runs what is in place once more.
        if keywords.contains_key("unevaluatedProperties") || keywords.contains_key("unevaluatedItems") {
            in_place = in_place.saturating_mul(2);
        }
        let below = member.saturating_add(patterns).max(element.saturating_add(every_element)).max(names);
        Ok((in_place.saturating_add(below).max(1), chain + 1))
    }
}

fn too_much(detail: String) -> Fault {
    Fault { schema: None, pointer: "#".into(), detail: format!("the schema is too complex: {detail}") }
}
