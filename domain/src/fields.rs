//! Reading a JSON document into a type while collecting *all* its faults, each with its JSON pointer.
//!
//! serde stops at the first fault; a person who writes a subscription wants all of them at once. Shape faults (unknown
//! member, wrong type, unreadable text) make a 400, meaning faults (a filter that cannot work, a forbidden address) a 422.

use std::collections::BTreeSet;
use std::fmt::{Display, Write as _};
use std::str::FromStr;

use serde_json::{Map, Value};
use smallvec::SmallVec;

use crate::problem::{Code, Fault, Problem};

/// The faults of one document.
#[derive(Debug, Default)]
pub struct Faults {
    faults: Vec<Fault>,
    malformed: bool,
}

/// How many faults are reported; the rest are counted.
const LIMIT: usize = 50;

impl Faults {
    /// The document is malformed at `pointer` (400).
    pub fn shape(&mut self, pointer: &str, detail: impl Into<String>) {
        self.malformed = true;
        self.push(pointer, detail.into());
    }

    /// The value at `pointer` cannot be accepted (422).
    pub fn meaning(&mut self, pointer: &str, detail: impl Into<String>) {
        self.push(pointer, detail.into());
    }

    fn push(&mut self, pointer: &str, detail: String) {
        if self.faults.len() < LIMIT {
            self.faults.push(Fault { schema: None, pointer: format!("#{pointer}"), detail });
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// `value` when there are no faults, else the problem that lists them.
    pub fn result<T>(self, what: &str, value: Option<T>) -> Result<T, Problem> {
        match value {
            Some(value) if self.faults.is_empty() => Ok(value),
            _ => Err(self.problem(what)),
        }
    }

    fn problem(self, what: &str) -> Problem {
        let code = if self.malformed { Code::InvalidRequest } else { Code::InvalidResource };
        let detail = match self.faults.as_slice() {
            [only] => format!("{what}: {} ({})", only.detail, only.pointer),
            many => format!("{what} has {} faults, listed in `errors`", many.len()),
        };
        Problem::new(code, detail).with_errors(self.faults)
    }
}

/// A JSON pointer to `member` under `base` (RFC 6901 §3 escapes).
pub fn pointer(base: &str, member: impl Display) -> String {
    let mut pointer = String::with_capacity(base.len() + 24);
    pointer.push_str(base);
    pointer.push('/');
    let from = pointer.len();
    write!(pointer, "{member}").expect("memory takes all that is written to it");
    if pointer[from..].contains(['~', '/']) {
        let member = pointer.split_off(from);
        pointer.push_str(&member.replace('~', "~0").replace('/', "~1"));
    }
    pointer
}

/// One object of the document; members are taken by name, and what nobody took is a fault.
pub struct Fields<'a> {
    map: Option<&'a Map<String, Value>>,
    /// Where the object stands.
    pub at: String,
    taken: SmallVec<[&'a str; 24]>,
}

static EMPTY: Value = Value::Null;

impl<'a> Fields<'a> {
    /// The object at `at`; a fault when `value` is none.
    pub fn of(value: &'a Value, at: &str, faults: &mut Faults) -> Self {
        let map = value.as_object();
        if map.is_none() {
            faults.shape(at, format!("must be an object, not {}", kind(value)));
        }
        Self { map, at: at.to_owned(), taken: SmallVec::new() }
    }

    /// The raw member; `null` counts as absent.
    pub fn raw(&mut self, member: &'static str) -> Option<&'a Value> {
        self.taken.push(member);
        self.map?.get(member).filter(|value| !value.is_null())
    }

    /// Whether the member is there, also as `null`.
    pub fn has(&self, member: &str) -> bool {
        self.map.is_some_and(|map| map.contains_key(member))
    }

    /// Members that the server owns: accepted when written back, and ignored.
    pub fn ignore(&mut self, members: &[&'static str]) {
        self.taken.extend_from_slice(members);
    }

    /// An optional member.
    pub fn get<T: FromJson>(&mut self, member: &'static str, faults: &mut Faults) -> Option<T> {
        let value = self.raw(member)?;
        T::from_json(value, &pointer(&self.at, member), faults)
    }

    /// A member with a default.
    pub fn or<T: FromJson>(&mut self, member: &'static str, default: T, faults: &mut Faults) -> T {
        self.get(member, faults).unwrap_or(default)
    }

    /// A member that must be there.
    pub fn need<T: FromJson>(&mut self, member: &'static str, faults: &mut Faults) -> Option<T> {
        match self.raw(member) {
            Some(value) => T::from_json(value, &pointer(&self.at, member), faults),
            None => {
                if self.map.is_some() {
                    faults.shape(&pointer(&self.at, member), "is required");
                }
                None
            }
        }
    }

    /// An optional object, read member by member. Absent reads like `{}`.
    pub fn nested(&mut self, member: &'static str, faults: &mut Faults) -> Self {
        let at = pointer(&self.at, member);
        match self.raw(member) {
            Some(value) => Fields::of(value, &at, faults),
            None => Fields { map: EMPTY.as_object(), at, taken: SmallVec::new() },
        }
    }

    /// The end: every member that nobody took is a fault.
    pub fn done(self, faults: &mut Faults) {
        let Some(map) = self.map else { return };
        for member in map.keys().filter(|member| !self.taken.contains(&member.as_str())) {
            let known: BTreeSet<_> = self.taken.iter().copied().collect();
            let known: Vec<_> = known.into_iter().collect();
            faults.shape(&pointer(&self.at, member), format!("unknown member; known here: {}", known.join(", ")));
        }
    }
}

/// A type that can be read from one JSON value, with its faults.
pub trait FromJson: Sized {
    /// The value, or `None` with a fault recorded.
    fn from_json(value: &Value, at: &str, faults: &mut Faults) -> Option<Self>;
}

impl FromJson for Value {
    fn from_json(value: &Value, _: &str, _: &mut Faults) -> Option<Self> {
        Some(value.clone())
    }
}

impl FromJson for bool {
    fn from_json(value: &Value, at: &str, faults: &mut Faults) -> Option<Self> {
        value.as_bool().or_else(|| wrong(value, at, "true or false", faults))
    }
}

impl FromJson for String {
    fn from_json(value: &Value, at: &str, faults: &mut Faults) -> Option<Self> {
        value.as_str().map(str::to_owned).or_else(|| wrong(value, at, "a string", faults))
    }
}

impl FromJson for f64 {
    fn from_json(value: &Value, at: &str, faults: &mut Faults) -> Option<Self> {
        value.as_f64().or_else(|| wrong(value, at, "a number", faults))
    }
}

impl FromJson for u64 {
    fn from_json(value: &Value, at: &str, faults: &mut Faults) -> Option<Self> {
        value.as_u64().or_else(|| wrong(value, at, "a whole number that is not negative", faults))
    }
}

impl FromJson for u32 {
    fn from_json(value: &Value, at: &str, faults: &mut Faults) -> Option<Self> {
        let number = value.as_u64().and_then(|number| Self::try_from(number).ok());
        number.or_else(|| wrong(value, at, "a whole number from 0 to 4294967295", faults))
    }
}

impl FromJson for crate::units::Size {
    fn from_json(value: &Value, at: &str, faults: &mut Faults) -> Option<Self> {
        match value {
            Value::Number(number) if number.is_u64() => number.as_u64().map(Self::from_bytes),
            Value::String(text) => parsed(text, at, faults),
            _ => wrong(value, at, "a size such as 65536 or \"64KiB\"", faults),
        }
    }
}

impl<T: FromJson> FromJson for Vec<T> {
    fn from_json(value: &Value, at: &str, faults: &mut Faults) -> Option<Self> {
        let Some(items) = value.as_array() else { return wrong(value, at, "an array", faults) };
        let read: Vec<Option<T>> = items.iter().enumerate().map(|(n, item)| T::from_json(item, &pointer(at, n), faults)).collect();
        read.into_iter().collect()
    }
}

/// An object of strings, in its order.
impl FromJson for Vec<(String, String)> {
    fn from_json(value: &Value, at: &str, faults: &mut Faults) -> Option<Self> {
        let Some(map) = value.as_object() else { return wrong(value, at, "an object of strings", faults) };
        let read: Vec<Option<(String, String)>> =
            map.iter().map(|(name, value)| Some((name.clone(), String::from_json(value, &pointer(at, name), faults)?))).collect();
        read.into_iter().collect()
    }
}

macro_rules! from_text {
    ($($type:ty),+ $(,)?) => {
        $(impl FromJson for $type {
            fn from_json(value: &Value, at: &str, faults: &mut Faults) -> Option<Self> {
                match value.as_str() {
                    Some(text) => parsed(text, at, faults),
                    None => wrong(value, at, "a string", faults),
                }
            }
        })+
    };
}

from_text!(
    crate::units::Dur,
    crate::names::Name,
    crate::direction::Direction,
    crate::ids::SubscriptionId,
    crate::qos::Durability,
    crate::qos::DeadLetter,
    crate::qos::OnRefusal,
    crate::qos::Ordering,
);

/// Reads text by its `FromStr`, with a fault when that refuses.
pub fn parsed<T: FromStr<Err: Display>>(text: &str, at: &str, faults: &mut Faults) -> Option<T> {
    text.parse().map_err(|error: T::Err| faults.shape(at, error.to_string())).ok()
}

fn wrong<T>(value: &Value, at: &str, wanted: &str, faults: &mut Faults) -> Option<T> {
    faults.shape(at, format!("must be {wanted}, not {}", kind(value)));
    None
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn all_faults_are_reported_with_their_places() {
        let document = json!({"a": 1, "b": ["x", 2], "odd/one": true});
        let mut faults = Faults::default();
        let mut fields = Fields::of(&document, "", &mut faults);
        assert_eq!(fields.get::<String>("a", &mut faults), None);
        assert_eq!(fields.get::<Vec<String>>("b", &mut faults), None);
        assert_eq!(fields.need::<String>("c", &mut faults), None);
        fields.done(&mut faults);
        let problem = faults.result::<()>("it", None).expect_err("has faults");
        let places: Vec<_> = problem.errors().iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(places, ["#/a", "#/b/1", "#/c", "#/odd~1one"]);
        assert_eq!(problem.status(), 400);
    }
}
