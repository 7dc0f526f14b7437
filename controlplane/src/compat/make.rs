//! Values of a shape, plain ones and those at its edges. What is made may still not fit; whoever uses it checks.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::patterns::{Patterns, Within, of_length, within};
use super::shape::{Number, Range, Shapes, Types};
use super::view::{Conj, View};

/// Values within values.
const MAX_DEPTH: usize = 12;
/// Characters of a text.
const MAX_TEXT: u64 = 4096;
/// Elements of an array, members of an object.
const MAX_PARTS: u64 = 80;
/// Fits no text.
const NOTHING: &str = r"[^\s\S]";
/// A name that no schema declares.
pub(super) const UNDECLARED: &str = "undeclared";

/// How much of what may be left out is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    Least,
    Most,
    Some,
}

/// Makes values; the same ones each time.
pub(super) struct Maker<'a> {
    shapes: &'a Shapes,
    patterns: &'a Patterns,
    dice: u64,
    texts: HashMap<(Vec<String>, Range), Option<String>>,
}

impl<'a> Maker<'a> {
    pub(super) fn new(shapes: &'a Shapes, patterns: &'a Patterns) -> Self {
        Self { shapes, patterns, dice: 0x706f_7374_686f_726e, texts: HashMap::new() }
    }

    /// SplitMix64.
    fn roll(&mut self, sides: usize) -> usize {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.dice;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % (sides.max(1) as u64)) as usize
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let at = self.roll(from.len());
        from.get(at).cloned()
    }

    /// A value of which all of the shapes may hold.
    pub(super) fn value(&mut self, conj: &Conj, filled: Filled) -> Option<Value> {
        self.make(conj, filled, 0)
    }

    fn make(&mut self, conj: &Conj, filled: Filled, depth: usize) -> Option<Value> {
        let filled = if depth > MAX_DEPTH / 2 { Filled::Least } else { filled };
        if depth > MAX_DEPTH {
            return None;
        }
        let view = self.decided(conj);
        if let Some(values) = &view.values {
            return self.pick(values);
        }
        let mut kinds: Vec<Types> = view.types.each().collect();
        // Values without form say least about the schema.
        let structured = Types::ARRAY.or(Types::OBJECT);
        if depth == 0 && kinds.iter().any(|kind| structured.has(*kind)) && self.roll(4) > 0 {
            kinds.retain(|kind| structured.has(*kind));
        }
        let kind = self.pick(&kinds)?;
        match kind {
            Types::NULL => Some(Value::Null),
            Types::BOOL => Some(Value::Bool(self.roll(2) == 0)),
            Types::INT => self.number(&view, true),
            Types::FRACTION => self.number(&view, false),
            Types::STRING => self.text(&view, filled).map(Value::String),
            Types::ARRAY => self.array(&view, filled, depth),
            _ => self.object(&view, filled, depth),
        }
    }

    /// One alternative of each group.
    fn decided(&mut self, conj: &Conj) -> View {
        let (mut conj, mut taken) = (conj.clone(), Vec::new());
        for _ in 0..32 {
            let view = View::of(&conj, self.shapes);
            let group = view.any.iter().chain(&view.one).find(|group| !group.iter().any(|id| view.ids.contains(id)));
            let branch = view.cond.iter().find(|(condition, ..)| !taken.contains(condition)).copied();
            match (group.cloned(), branch) {
                (Some(group), _) => match self.pick(&group) {
                    Some(id) => drop(conj.insert(id)),
                    None => return view,
                },
                (None, Some((condition, then, other))) => {
                    taken.push(condition);
                    if self.roll(2) == 0 {
                        conj.insert(condition);
                        conj.extend(then);
                    } else {
                        conj.extend(other);
                    }
                }
                (None, None) => return view,
            }
        }
        View::of(&conj, self.shapes)
    }

    fn number(&mut self, view: &View, integer: bool) -> Option<Value> {
        let step = view.multiples.iter().copied().fold(0.0, f64::max);
        let step = if step > 0.0 {
            step
        } else if integer {
            1.0
        } else {
            0.5
        };
        let places = [view.min, view.max].into_iter().flatten().map(|bound| bound.at.float());
        let places: Vec<f64> = places.chain([0.0]).collect();
        let near = self.pick(&places)?;
        let away = [0.0, 1.0, -1.0, 2.0, -2.0][self.roll(5)];
        let mut number = ((near / step).round() + away) * step;
        if !integer && number.fract() == 0.0 && view.multiples.is_empty() {
            number += 0.25;
        }
        if integer && number.abs() < 9e15 {
            Some(json!(number.round() as i64))
        } else {
            serde_json::Number::from_f64(number).map(Value::Number)
        }
    }

    fn text(&mut self, view: &View, filled: Filled) -> Option<String> {
        if let Some(format) = view.formats.iter().next() {
            return Some(sample_of(format).to_owned());
        }
        let Range { min, max } = view.length;
        let most = max.unwrap_or(min + 5).min(MAX_TEXT).max(min);
        let length = match filled {
            Filled::Least => min,
            Filled::Most => most,
            Filled::Some => [min, most, (min + 1).min(most)][self.roll(3)],
        };
        if view.patterns.is_empty() {
            return (length <= MAX_TEXT).then(|| plain(length));
        }
        let patterns: Vec<String> = view.patterns.iter().cloned().collect();
        let exactly = Range { min: length, max: Some(length) };
        self.fitting(&patterns, exactly).or_else(|| self.fitting(&patterns, view.length))
    }

    /// The shortest text of this length that fits all patterns.
    pub(super) fn fitting(&mut self, patterns: &[String], length: Range) -> Option<String> {
        let key = (patterns.to_vec(), length);
        if let Some(known) = self.texts.get(&key) {
            return known.clone();
        }
        let long = of_length(length.min, length.max);
        let all: Vec<&str> = patterns.iter().map(String::as_str).chain(long.as_deref()).collect();
        let text = match within(&all, NOTHING) {
            Within::Not(text) => Some(text),
            _ => None,
        };
        self.texts.insert(key, text.clone());
        text
    }

    fn array(&mut self, view: &View, filled: Filled, depth: usize) -> Option<Value> {
        let Range { min, max } = view.items;
        let usual = (view.prefix() as u64).max(min).max(1);
        let length = match filled {
            Filled::Least => min,
            Filled::Most => usual,
            Filled::Some => [min, usual, usual + 1, max.unwrap_or(min)][self.roll(4)],
        };
        let length = length.min(max.unwrap_or(u64::MAX)).max(min);
        if length > MAX_PARTS {
            return None;
        }
        let mut items = Vec::new();
        let contained: Vec<_> = view.arrays.iter().flat_map(|array| array.contains.clone()).collect();
        let wanted: Vec<_> = contained.iter().flat_map(|(id, range)| std::iter::repeat_n(*id, range.min.min(MAX_PARTS) as usize)).collect();
        let prefix = view.prefix();
        for index in 0..(length as usize).max(wanted.len()) {
            let mut conj = view.element(index);
            conj.extend(index.checked_sub(prefix.min(length as usize)).and_then(|index| wanted.get(index)).or_else(|| wanted.get(index)));
            let Some(mut item) = self.make(&conj, filled, depth + 1) else { break };
            if view.unique && items.contains(&item) {
                item = if item.is_number() { json!(index + 100) } else { json!(format!("item {index}")) };
            }
            items.push(item);
        }
        Some(Value::Array(items))
    }

    fn object(&mut self, view: &View, filled: Filled, depth: usize) -> Option<Value> {
        let mut members = Map::new();
        let required = view.required.iter().cloned();
        let mut names: Vec<String> = required.chain(view.names()).collect();
        let room = view.members.max.unwrap_or(u64::MAX).min(MAX_PARTS);
        for pattern in view.by_pattern().into_keys() {
            names.extend(self.fitting(&[pattern.to_owned()], Range::default()));
        }
        let by_name: Conj = view.objects.iter().flat_map(|object| object.names.clone()).collect();
        if !by_name.is_empty() {
            names.extend(self.make(&by_name, filled, depth + 1).and_then(|name| name.as_str().map(str::to_owned)));
        }
        names.push(UNDECLARED.to_owned());
        for name in names {
            let needed = view.required.contains(&name) || (members.len() as u64) < view.members.min;
            let wanted = match filled {
                Filled::Least => false,
                Filled::Most => name != UNDECLARED,
                Filled::Some => self.roll(2) == 0,
            };
            if members.contains_key(&name) || !(needed || (wanted && (members.len() as u64) < room)) {
                continue;
            }
            let part = view.member(&name, self.patterns);
            match self.make(&part.conj, filled, depth + 1) {
                Some(member) => drop(members.insert(name, member)),
                None if needed => return None,
                None => {}
            }
        }
        let missing = view.members.min.saturating_sub(members.len() as u64).min(MAX_PARTS);
        for n in 0..missing {
            let name = format!("member{n}");
            let part = view.member(&name, self.patterns);
            members.insert(name, self.make(&part.conj, Filled::Least, depth + 1)?);
        }
        Some(Value::Object(members))
    }
}

/// A text of this many characters.
pub(super) fn plain(length: u64) -> String {
    "abcdefghijklmnopqrstuvwxyz".chars().cycle().take(usize::try_from(length.min(MAX_TEXT * 16)).unwrap_or(0)).collect()
}

/// A text of the format.
pub(super) fn sample_of(format: &str) -> &'static str {
    match format {
        "date-time" => "2026-01-02T03:04:05Z",
        "date" => "2026-01-02",
        "time" => "03:04:05Z",
        "duration" => "P1D",
        "email" | "idn-email" => "a@example.com",
        "hostname" | "idn-hostname" => "example.com",
        "ipv4" => "192.0.2.1",
        "ipv6" => "2001:db8::1",
        "uri" | "iri" | "uri-reference" | "iri-reference" => "https://example.com/a",
        "uuid" => "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b",
        "json-pointer" => "/a",
        "relative-json-pointer" => "0/a",
        "uri-template" => "/a/{b}",
        "regex" => "^a$",
        _ => "a",
    }
}

/// A number beside a limit.
pub(super) fn beside(at: Number) -> Vec<Value> {
    match at {
        Number::Int(int) => [int - 1, int, int + 1].into_iter().filter_map(|int| i64::try_from(int).ok()).map(Value::from).collect(),
        Number::Float(float) => [float - 1.0, float, float + 1.0, float + 0.01, float - 0.01].into_iter().map(Value::from).collect(),
    }
}
