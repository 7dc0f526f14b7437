//! Schemas of every draft in one form, with references resolved: what a value must be, without how it was written.
//!
//! A [`Shape`] may say less than its schema where a keyword is not understood; then [`Shape::opaque`] names it, and nobody
//! may conclude that a value which fits the shape holds to the schema.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

/// A shape's place among the [`Shapes`].
pub(super) type Id = usize;

/// All shapes of one comparison.
#[derive(Debug, Default)]
pub(super) struct Shapes(Vec<Shape>);

/// Kinds of value, as a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Types(u8);

/// What one schema demands of a value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Shape {
    pub(super) never: bool,
    pub(super) types: Types,
    /// One of these (`enum`, `const`).
    pub(super) values: Option<Vec<Value>>,
    pub(super) min: Option<Bound>,
    pub(super) max: Option<Bound>,
    pub(super) multiples: Vec<f64>,
    pub(super) length: Range,
    pub(super) patterns: Vec<String>,
    pub(super) formats: Vec<String>,
    pub(super) array: Option<Arc<Array>>,
    pub(super) object: Option<Arc<Object>>,
    /// All hold (`allOf`, references).
    pub(super) all: Vec<Id>,
    /// Of each group one holds.
    pub(super) any: Vec<Vec<Id>>,
    /// Of each group exactly one holds.
    pub(super) one: Vec<Vec<Id>>,
    pub(super) not: Vec<Id>,
    /// If, then, else.
    pub(super) cond: Vec<(Id, Option<Id>, Option<Id>)>,
    /// Keywords that are not understood.
    pub(super) opaque: Vec<String>,
}

/// What arrays must be.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Array {
    pub(super) prefix: Vec<Id>,
    /// Elements after the prefix.
    pub(super) rest: Option<Id>,
    /// Elements that there must be so many of.
    pub(super) contains: Vec<(Id, Range)>,
    pub(super) size: Range,
    pub(super) unique: bool,
}

/// What objects must be.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Object {
    pub(super) members: BTreeMap<String, Id>,
    pub(super) patterns: Vec<(String, Id)>,
    /// Members that are not among the names and fit none of the patterns.
    pub(super) rest: Vec<Rest>,
    pub(super) names: Vec<Id>,
    pub(super) required: BTreeSet<String>,
    pub(super) size: Range,
    /// When the member is there, these must be.
    pub(super) needs: BTreeMap<String, BTreeSet<String>>,
    /// When the member is there, this must hold of the object.
    pub(super) with: Vec<(String, Id)>,
}

/// What is left of an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rest {
    pub(super) but: BTreeSet<String>,
    pub(super) but_patterns: Vec<String>,
    pub(super) shape: Id,
}

/// From so many to so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Range {
    pub(super) min: u64,
    pub(super) max: Option<u64>,
}

/// A limit of a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bound {
    pub(super) at: Number,
    /// Whether the limit itself is out.
    pub(super) open: bool,
}

/// A number that is compared exactly where it is an integer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Int(i128),
    Float(f64),
}

impl Types {
    pub(super) const NULL: Self = Self(1);
    pub(super) const BOOL: Self = Self(2);
    pub(super) const INT: Self = Self(4);
    /// Numbers that are no integers.
    pub(super) const FRACTION: Self = Self(8);
    pub(super) const STRING: Self = Self(16);
    pub(super) const ARRAY: Self = Self(32);
    pub(super) const OBJECT: Self = Self(64);
    pub(super) const NUMBER: Self = Self(12);
    pub(super) const ALL: Self = Self(127);
    pub(super) const NONE: Self = Self(0);

    /// By its name in a schema.
    pub(super) fn named(name: &str) -> Self {
        match name {
            "null" => Self::NULL,
            "boolean" => Self::BOOL,
            "integer" => Self::INT,
            "number" => Self::NUMBER,
            "string" => Self::STRING,
            "array" => Self::ARRAY,
            "object" => Self::OBJECT,
            _ => Self::NONE,
        }
    }

    /// Of a value.
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOL,
            Value::Number(number) if Number::of(number).is_integer() => Self::INT,
            Value::Number(_) => Self::FRACTION,
            Value::String(_) => Self::STRING,
            Value::Array(_) => Self::ARRAY,
            Value::Object(_) => Self::OBJECT,
        }
    }

    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn holds(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Each kind by itself.
    pub(super) fn each(self) -> impl Iterator<Item = Self> {
        (0..7).map(|bit| Self(1 << bit)).filter(move |one| self.has(*one))
    }
}

impl Default for Types {
    fn default() -> Self {
        Self::ALL
    }
}

impl Range {
    pub(super) fn and(self, other: Self) -> Self {
        let max = match (self.max, other.max) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Self { min: self.min.max(other.min), max }
    }

    pub(super) fn is_empty(self) -> bool {
        self.max.is_some_and(|max| max < self.min)
    }

    /// Whether all of `other` is in this.
    pub(super) fn holds(self, other: Self) -> bool {
        self.min <= other.min && self.max.is_none_or(|max| other.max.is_some_and(|other| other <= max))
    }

    pub(super) fn has(self, count: u64) -> bool {
        self.min <= count && self.max.is_none_or(|max| count <= max)
    }
}

impl Number {
    pub(super) fn of(number: &serde_json::Number) -> Self {
        match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(int), ..) => Self::Int(int.into()),
            (_, Some(int), _) => Self::Int(int.into()),
            (_, _, Some(float)) if float.fract() == 0.0 && float.abs() < 9e15 => Self::Int(float as i128),
            (_, _, float) => Self::Float(float.unwrap_or(f64::NAN)),
        }
    }

    pub(super) fn is_integer(self) -> bool {
        match self {
            Self::Int(_) => true,
            Self::Float(float) => float.fract() == 0.0,
        }
    }

    pub(super) fn float(self) -> f64 {
        match self {
            Self::Int(int) => int as f64,
            Self::Float(float) => float,
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (a, b) => a.float().partial_cmp(&b.float()),
        }
    }
}

impl Shapes {
    pub(super) fn add(&mut self, shape: Shape) -> Id {
        self.0.push(shape);
        self.0.len() - 1
    }

    pub(super) fn put(&mut self, id: Id, shape: Shape) {
        self.0[id] = shape;
    }

    pub(super) fn get(&self, id: Id) -> &Shape {
        &self.0[id]
    }
}

/// Shapes that one comparison of structure looks at.
const MAX_SAME: usize = 20_000;

impl Shapes {
    /// Whether the two say the same in the same words; `known` is what was found out before.
    pub(super) fn same(&self, a: Id, b: Id, known: &mut HashMap<(Id, Id), bool>) -> bool {
        let (mut pending, mut seen) = (vec![(a, b)], HashSet::new());
        while let Some((one, other)) = pending.pop() {
            let told = if one == other { Some(true) } else { known.get(&(one, other)).copied() };
            if told == Some(true) || !seen.insert((one, other)) {
                continue;
            }
            let (mut of_one, mut of_other) = (Vec::new(), Vec::new());
            let differ = self.get(one).skeleton(&mut of_one) != self.get(other).skeleton(&mut of_other);
            if told == Some(false) || differ || seen.len() > MAX_SAME {
                known.insert((a, b), false);
                return false;
            }
            pending.extend(of_one.into_iter().zip(of_other));
        }
        known.extend(seen.into_iter().map(|pair| (pair, true)));
        true
    }
}

impl Shape {
    /// One of these values.
    pub(super) fn one_of(values: Vec<Value>) -> Self {
        Self { values: Some(values), ..Self::default() }
    }

    /// The shapes in it.
    pub(super) fn parts(&self) -> Vec<Id> {
        let mut parts = Vec::new();
        self.skeleton(&mut parts);
        parts
    }

    /// The shape without the shapes in it, which go to `parts` in a fixed order.
    fn skeleton(&self, parts: &mut Vec<Id>) -> Self {
        let mut bare = self.clone();
        let mut take = |id: &mut Id| parts.push(std::mem::take(id));
        if let Some(array) = bare.array.as_mut().map(Arc::make_mut) {
            array.prefix.iter_mut().for_each(&mut take);
            array.rest.iter_mut().for_each(&mut take);
            array.contains.iter_mut().for_each(|(id, _)| take(id));
        }
        if let Some(object) = bare.object.as_mut().map(Arc::make_mut) {
            object.members.values_mut().for_each(&mut take);
            object.patterns.iter_mut().for_each(|(_, id)| take(id));
            object.rest.iter_mut().for_each(|rest| take(&mut rest.shape));
            object.names.iter_mut().for_each(&mut take);
            object.with.iter_mut().for_each(|(_, id)| take(id));
        }
        bare.all.iter_mut().chain(&mut bare.not).for_each(&mut take);
        bare.any.iter_mut().chain(&mut bare.one).flatten().for_each(&mut take);
        for (condition, then, other) in &mut bare.cond {
            take(condition);
            then.iter_mut().chain(other).for_each(&mut take);
        }
        bare
    }
}

/// Whether two values are the same to a schema: 1 and 1.0 are.
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => Number::of(a) == Number::of(b),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| equal(a, b))),
        _ => a == b,
    }
}
