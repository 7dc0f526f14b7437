//! From a JSON Schema and a place to what may stand there.
//!
//! Walks the document itself, drafts 4 to 2020-12. A keyword that is not looked at only leaves more possible; so does a
//! reference that is not followed, and a walk that would take too long.

use std::cell::Cell;

use regex::RegexBuilder;
use serde_json::{Map, Value};

use super::path::Step;
use super::values::{Kinds, Possible, Range};

/// Subschemas that one look may enter.
const MAX_STEPS: usize = 2_000;
/// Subschemas within each other.
const MAX_DEPTH: usize = 64;
/// Patterns for names that are tried in one object.
const MAX_PATTERNS: usize = 8;
/// Names that are gathered at one place.
const MAX_NAMES: usize = 1_000;

/// A schema document, to be asked about places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape<'s> {
    root: &'s Value,
    draft: u8,
}

/// Where a walk is: the subschema, and the resource that its references start from.
#[derive(Clone, Copy)]
struct At<'s> {
    schema: &'s Value,
    base: &'s Value,
    depth: usize,
}

impl<'s> Shape<'s> {
    pub(super) fn new(root: &'s Value) -> Self {
        let named = root.get("$schema").and_then(Value::as_str).unwrap_or_default();
        let drafts = [("draft-04", 4), ("draft-06", 6), ("draft-07", 7), ("2019-09", 8)];
        let draft = drafts.iter().find(|(name, _)| named.contains(name)).map_or(9, |(_, draft)| *draft);
        Self { root, draft }
    }

    /// What may stand at the place.
    pub(super) fn at(&self, path: &[Step]) -> Possible<'s> {
        let walk = Walk { shape: self, steps: Cell::new(0) };
        walk.at(At { schema: self.root, base: self.root, depth: 0 }, path)
    }

    /// The members that the schema names for the object at the place.
    pub(super) fn names(&self, path: &[Step]) -> Vec<&'s str> {
        let walk = Walk { shape: self, steps: Cell::new(0) };
        let mut names = Vec::new();
        walk.names(At { schema: self.root, base: self.root, depth: 0 }, path, &mut names);
        names.sort_unstable();
        names.dedup();
        names
    }
}

struct Walk<'a, 's> {
    shape: &'a Shape<'s>,
    steps: Cell<usize>,
}

impl<'s> Walk<'_, 's> {
    fn spent(&self, depth: usize) -> bool {
        self.steps.set(self.steps.get() + 1);
        self.steps.get() > MAX_STEPS || depth > MAX_DEPTH
    }

    fn at(&self, at: At<'s>, path: &[Step]) -> Possible<'s> {
        if self.spent(at.depth) {
            return Possible::anything();
        }
        let schema = match at.schema {
            Value::Bool(false) => return Possible::nothing(),
            Value::Object(schema) => schema,
            _ => return free(path),
        };
        let at = self.rebased(at, schema);
        if let Some(found) = self.lone_reference(at, schema) {
            return found.map_or_else(Possible::anything, |target| self.at(target, path));
        }
        let mut found = match path.split_first() {
            None => self.local(schema),
            Some((step, rest)) => self.below(at, schema, step, rest),
        };
        if let Some(reference) = get(schema, "$ref") {
            found = found.and(self.follow(at, reference).map_or_else(|| free(path), |target| self.at(target, path)));
        }
        for item in list(schema, "allOf") {
            found = found.and(self.at(at.down(item), path));
        }
        for keyword in ["anyOf", "oneOf"] {
            if let Some(either) = list(schema, keyword).map(|item| self.at(at.down(item), path)).reduce(Possible::or) {
                found = found.and(either);
            }
        }
        match self.conditional(at, schema, path) {
            Some(either) => found.and(either),
            None => found,
        }
    }

    /// `if`, `then` and `else`: one of two.
    fn conditional(&self, at: At<'s>, schema: &'s Map<String, Value>, path: &[Step]) -> Option<Possible<'s>> {
        if self.shape.draft < 7 {
            return None;
        }
        let condition = self.at(at.down(get(schema, "if")?), path);
        let branch = |name: &str| get(schema, name).map(|branch| self.at(at.down(branch), path));
        let (then, otherwise) = (branch("then"), branch("else"));
        let then = then.map_or(condition.clone(), |then| then.and(condition));
        Some(then.or(otherwise.unwrap_or_else(|| free(path))))
    }

    /// Up to draft 7 nothing counts beside a `$ref`.
    fn lone_reference(&self, at: At<'s>, schema: &'s Map<String, Value>) -> Option<Option<At<'s>>> {
        let reference = get(schema, "$ref").filter(|_| self.shape.draft <= 7)?;
        Some(self.follow(at, reference))
    }

    /// References within the document: `#`, `#/…`, also behind the document's own `$id`. Others are not followed.
    fn follow(&self, at: At<'s>, reference: &'s Value) -> Option<At<'s>> {
        let reference = reference.as_str()?;
        let (resource, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let base = if resource.is_empty() {
            at.base
        } else {
            let own = self.identifier(self.shape.root.as_object()?)?;
            Some(self.shape.root).filter(|_| own.trim_end_matches('#') == resource)?
        };
        let pointer = percent_encoding::percent_decode_str(fragment).decode_utf8().ok()?;
        if !pointer.is_empty() && !pointer.starts_with('/') {
            return None;
        }
        let mut target = At { schema: base, base, depth: at.depth + 1 };
        for step in pointer.split('/').skip(1) {
            let key = step.replace("~1", "/").replace("~0", "~");
            let next = match target.schema {
                Value::Object(map) => map.get(&key)?,
                Value::Array(items) => items.get(key.parse::<usize>().ok()?)?,
                _ => return None,
            };
            // A resource within the resource on the way: what lies in it starts there.
            let own = target.schema.as_object().filter(|map| self.is_resource(map));
            target = At { schema: next, base: if own.is_some() { target.schema } else { target.base }, ..target };
        }
        Some(target)
    }

    fn rebased(&self, at: At<'s>, schema: &'s Map<String, Value>) -> At<'s> {
        let ignored = self.shape.draft <= 7 && schema.contains_key("$ref");
        if self.is_resource(schema) && !ignored { At { base: at.schema, ..at } } else { at }
    }

    fn identifier(&self, schema: &'s Map<String, Value>) -> Option<&'s str> {
        get(schema, if self.shape.draft == 4 { "id" } else { "$id" })?.as_str()
    }

    /// Whether references within it start at it: it has a name of its own that is not just a fragment.
    fn is_resource(&self, schema: &'s Map<String, Value>) -> bool {
        self.identifier(schema).is_some_and(|id| !id.starts_with('#'))
    }

    /// What the keywords that look at the value itself allow.
    fn local(&self, schema: &'s Map<String, Value>) -> Possible<'s> {
        let mut found = Possible { named: true, ..Possible::any() };
        if let Some(kinds) = get(schema, "type") {
            found = found.and(typed(kinds));
        }
        if let Some(Value::Array(values)) = get(schema, "enum") {
            found = found.and(Possible::one_of(values.iter().collect()));
        }
        if let Some(value) = get(schema, "const").filter(|_| self.shape.draft >= 6) {
            found = found.and(Possible::one_of(vec![value]));
        }
        let numbers = numbers(schema);
        let count = |name: &str| get(schema, name).and_then(Value::as_f64).filter(|count| *count >= 0.0);
        let lengths = (count("minLength").map_or(0, floor), count("maxLength").map_or(u64::MAX, floor));
        found.and(Possible { numbers, lengths, ..Possible::any() })
    }

    /// What may stand at `step` and then `rest` of a value that these keywords allow.
    fn below(&self, at: At<'s>, schema: &'s Map<String, Value>, step: &Step, rest: &[Step]) -> Possible<'s> {
        let own = self.local(schema);
        if let Some(values) = &own.values {
            let each = values.iter().map(|value| within(value, step).map(|value| inside(value, rest)).reduce(Possible::or));
            return each.map(|found| found.unwrap_or_else(Possible::absent)).reduce(Possible::or).unwrap_or_else(Possible::nothing);
        }
        let mut found = Possible::nothing();
        if own.kinds.has(Kinds::OBJECT) {
            found = found.or(self.member(at, schema, step, rest));
        }
        if own.kinds.has(Kinds::ARRAY) {
            found = found.or(self.element(at, schema, step, rest));
        }
        if !own.kinds.without(Kinds::OBJECT.or(Kinds::ARRAY)).is_empty() {
            found.missing = true;
        }
        found
    }

    fn member(&self, at: At<'s>, schema: &'s Map<String, Value>, step: &Step, rest: &[Step]) -> Possible<'s> {
        let Step::Key(key, _) = step else { return Possible::absent() };
        let mut found = free(rest);
        found.named = false;
        let mut spoken = false;
        if let Some(property) = get(schema, "properties").and_then(|properties| properties.get(&**key)) {
            found = found.and(self.at(at.down(property), rest));
            spoken = true;
        }
        for (pattern, property) in get(schema, "patternProperties").and_then(Value::as_object).into_iter().flatten().take(MAX_PATTERNS) {
            match fits(pattern, key) {
                Some(true) => found = found.and(self.at(at.down(property), rest)),
                Some(false) => continue,
                None => {}
            }
            spoken = true;
        }
        let unread = get(schema, "patternProperties").and_then(Value::as_object).is_some_and(|map| map.len() > MAX_PATTERNS);
        if !spoken && !unread {
            if let Some(others) = get(schema, "additionalProperties") {
                found = found.and(self.others(at, others, rest));
            } else if let Some(others) = get(schema, "unevaluatedProperties").filter(|_| self.shape.draft >= 8)
                && !self.evaluates_in_place(at, schema, key)
            {
                found = found.and(self.others(at, others, rest));
            }
        }
        let required = list(schema, "required").any(|name| name.as_str() == Some(&**key));
        Possible { missing: !required || found.missing, ..found }
    }

    /// A schema for members of any name speaks of each; `true` does not.
    fn others(&self, at: At<'s>, schema: &'s Value, rest: &[Step]) -> Possible<'s> {
        let spoken = schema.as_object().is_some_and(|map| !map.is_empty());
        let found = self.at(at.down(schema), rest);
        Possible { named: found.named && (spoken || !rest.is_empty()), ..found }
    }

    fn element(&self, at: At<'s>, schema: &'s Map<String, Value>, step: &Step, rest: &[Step]) -> Possible<'s> {
        let bound = |name: &str| get(schema, name).and_then(Value::as_f64);
        let (prefix, others) = if self.shape.draft >= 9 { ("prefixItems", "items") } else { ("items", "additionalItems") };
        let (listed, others) = match get(schema, prefix) {
            Some(Value::Array(items)) => (items.as_slice(), get(schema, others)),
            None if self.shape.draft >= 9 => (&[][..], get(schema, others)),
            every => (&[][..], every),
        };
        let others = |rest| others.map_or_else(|| free(rest), |others| self.at(at.down(others), rest));
        let index = match step {
            Step::Key(_, None) => return Possible::absent(),
            Step::Element if bound("maxItems").is_some_and(|most| most < 1.0) => return Possible::nothing(),
            Step::Element => {
                return listed.iter().map(|item| self.at(at.down(item), rest)).fold(others(rest), Possible::or);
            }
            Step::Key(_, Some(index)) => *index,
        };
        #[expect(clippy::cast_precision_loss, reason = "indices that large are in no event")]
        let place = index as f64;
        if bound("maxItems").is_some_and(|most| most <= place) {
            return Possible::absent();
        }
        let found = listed.get(index).map_or_else(|| others(rest), |item| self.at(at.down(item), rest));
        let certain = bound("minItems").is_some_and(|least| least > place);
        Possible { missing: !certain || found.missing, ..found }
    }

    /// Whether a subschema on the same value may speak of the member, so that it counts as evaluated.
    fn evaluates_in_place(&self, at: At<'s>, schema: &'s Map<String, Value>, key: &str) -> bool {
        if self.spent(at.depth) || ["$dynamicRef", "$recursiveRef"].iter().any(|keyword| schema.contains_key(*keyword)) {
            return true;
        }
        let may = |subschema: &'s Value| self.evaluates(at.down(subschema), key);
        let referred = |reference| self.follow(at, reference).is_none_or(|target| self.evaluates(target, key));
        get(schema, "$ref").is_some_and(referred)
            || ["allOf", "anyOf", "oneOf"].iter().any(|keyword| list(schema, keyword).any(may))
            || ["if", "then", "else"].iter().any(|keyword| get(schema, keyword).is_some_and(may))
            || get(schema, "dependentSchemas").and_then(Value::as_object).is_some_and(|map| map.values().any(may))
    }

    fn evaluates(&self, at: At<'s>, key: &str) -> bool {
        let Some(schema) = at.schema.as_object() else { return false };
        let names = |keyword: &str| get(schema, keyword).and_then(Value::as_object);
        names("properties").is_some_and(|properties| properties.contains_key(key))
            || names("patternProperties").is_some_and(|patterns| patterns.keys().any(|pattern| fits(pattern, key) != Some(false)))
            || schema.contains_key("additionalProperties")
            || schema.contains_key("unevaluatedProperties")
            || self.evaluates_in_place(self.rebased(at, schema), schema, key)
    }

    fn names(&self, at: At<'s>, path: &[Step], out: &mut Vec<&'s str>) {
        let Some(schema) = at.schema.as_object().filter(|_| !self.spent(at.depth)) else { return };
        let at = self.rebased(at, schema);
        if let Some(target) = get(schema, "$ref").and_then(|reference| self.follow(at, reference)) {
            self.names(target, path, out);
        }
        for item in ["allOf", "anyOf", "oneOf"].iter().flat_map(|keyword| list(schema, keyword)) {
            self.names(at.down(item), path, out);
        }
        for branch in ["if", "then", "else"].iter().filter_map(|keyword| get(schema, keyword)) {
            self.names(at.down(branch), path, out);
        }
        let properties = get(schema, "properties").and_then(Value::as_object);
        let Some((step, rest)) = path.split_first() else {
            let room = MAX_NAMES.saturating_sub(out.len());
            out.extend(properties.into_iter().flat_map(Map::keys).map(String::as_str).take(room));
            return;
        };
        let elements = ["items", "additionalItems"].iter().filter_map(|keyword| get(schema, keyword));
        let listed = ["items", "prefixItems"].iter().flat_map(|keyword| list(schema, keyword));
        let elements = elements.chain(listed).filter(|_| !matches!(step, Step::Key(_, None)));
        let property = match step {
            Step::Key(key, _) => properties.and_then(|properties| properties.get(&**key)).or_else(|| get(schema, "additionalProperties")),
            Step::Element => None,
        };
        for next in property.into_iter().chain(elements) {
            self.names(at.down(next), rest, out);
        }
    }
}

impl<'s> At<'s> {
    fn down(self, schema: &'s Value) -> Self {
        Self { schema, depth: self.depth + 1, ..self }
    }
}

/// Where nothing is demanded: any value at the place itself, below it also none.
fn free<'s>(path: &[Step]) -> Possible<'s> {
    if path.is_empty() { Possible { named: true, ..Possible::any() } } else { Possible::anything() }
}

/// A keyword's value. Most subschemas have so few that looking at each is faster than a look-up.
fn get<'s>(schema: &'s Map<String, Value>, keyword: &str) -> Option<&'s Value> {
    if schema.len() > 8 {
        return schema.get(keyword);
    }
    schema.iter().find(|(name, _)| *name == keyword).map(|(_, value)| value)
}

fn list<'s>(schema: &'s Map<String, Value>, keyword: &str) -> impl Iterator<Item = &'s Value> {
    get(schema, keyword).and_then(Value::as_array).into_iter().flatten()
}

fn typed<'s>(kinds: &Value) -> Possible<'s> {
    let names: Vec<&str> = match kinds {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => return Possible::any(),
    };
    let kinds = names.iter().fold(Kinds::NONE, |kinds, name| {
        kinds.or(match *name {
            "null" => Kinds::NULL,
            "boolean" => Kinds::BOOL,
            "number" | "integer" => Kinds::NUMBER,
            "string" => Kinds::TEXT,
            "array" => Kinds::ARRAY,
            "object" => Kinds::OBJECT,
            _ => Kinds::ALL,
        })
    });
    let whole = names.contains(&"integer") && !names.contains(&"number");
    Possible { kinds, numbers: Range { whole, ..Range::ALL }, ..Possible::any() }
}

fn numbers(schema: &Map<String, Value>) -> Range {
    let number = |name: &str| get(schema, name).and_then(Value::as_f64);
    let flag = |name: &str| get(schema, name) == Some(&Value::Bool(true));
    [
        number("minimum").map(|low| Range::from(low, flag("exclusiveMinimum"))),
        number("maximum").map(|high| Range::up_to(high, flag("exclusiveMaximum"))),
        number("exclusiveMinimum").map(|low| Range::from(low, true)),
        number("exclusiveMaximum").map(|high| Range::up_to(high, true)),
    ]
    .into_iter()
    .flatten()
    .fold(Range::ALL, Range::and)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are not negative, and beyond 2^64 all the same")]
fn floor(count: f64) -> u64 {
    count.floor() as u64
}

/// The values that a step may lead to.
fn within<'v>(value: &'v Value, step: &Step) -> impl Iterator<Item = &'v Value> {
    let (one, many) = match (value, step) {
        (Value::Object(map), Step::Key(key, _)) => (map.get(&**key), &[][..]),
        (Value::Array(items), Step::Key(_, Some(index))) => (items.get(*index), &[][..]),
        (Value::Array(items), Step::Element) => (None, items.as_slice()),
        _ => (None, &[][..]),
    };
    one.into_iter().chain(many)
}

fn inside<'v>(value: &'v Value, path: &[Step]) -> Possible<'v> {
    let Some((step, rest)) = path.split_first() else { return Possible::value(value) };
    within(value, step).map(|value| inside(value, rest)).reduce(Possible::or).unwrap_or_else(Possible::absent)
}

/// Whether the pattern fits the name, when that can be told: only what all dialects of regular expressions read alike.
fn fits(pattern: &str, name: &str) -> Option<bool> {
    if !is_plain(pattern) || name.chars().any(|c| c.is_control() || c == '\u{2028}' || c == '\u{2029}') {
        return None;
    }
    RegexBuilder::new(pattern).size_limit(32 << 10).build().ok().map(|regex| regex.is_match(name))
}

fn is_plain(pattern: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || "^$_-.*+?|()[]".contains(c);
    let strange = ["(?", "[]", "[^]", "--"].iter().any(|part| pattern.contains(part));
    let mut class = false;
    let nested = pattern.chars().any(|c| match c {
        '[' => std::mem::replace(&mut class, true),
        ']' => {
            class = false;
            false
        }
        _ => false,
    });
    pattern.len() <= 64 && pattern.chars().all(known) && !strange && !nested
}
