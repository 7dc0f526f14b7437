//! What may stand at a place of the data, as far as schemas tell: always a superset of what really may, so that what is
//! not in it cannot be there.

use serde_json::Value;

/// Kinds of JSON value, as a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
    pub(super) const NONE: Self = Self(0);
    pub(super) const NULL: Self = Self(1);
    pub(super) const BOOL: Self = Self(2);
    pub(super) const NUMBER: Self = Self(4);
    pub(super) const TEXT: Self = Self(8);
    pub(super) const ARRAY: Self = Self(16);
    pub(super) const OBJECT: Self = Self(32);
    pub(super) const ALL: Self = Self(63);

    const NAMES: [(Self, &'static str); 6] = [
        (Self::NULL, "null"),
        (Self::BOOL, "a boolean"),
        (Self::NUMBER, "a number"),
        (Self::TEXT, "a string"),
        (Self::ARRAY, "an array"),
        (Self::OBJECT, "an object"),
    ];

    /// The kind of a value.
    pub(super) const fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOL,
            Value::Number(_) => Self::NUMBER,
            Value::String(_) => Self::TEXT,
            Value::Array(_) => Self::ARRAY,
            Value::Object(_) => Self::OBJECT,
        }
    }

    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl std::fmt::Display for Kinds {
    /// `a string or null`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = Self::NAMES.iter().filter(|(kind, _)| self.has(*kind)).map(|(_, name)| *name).collect();
        f.write_str(&names.join(" or "))
    }
}

/// Numbers between two ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range {
    pub(super) low: f64,
    pub(super) low_open: bool,
    pub(super) high: f64,
    pub(super) high_open: bool,
    /// Only numbers without a fraction.
    pub(super) whole: bool,
}

/// From here on neighbouring integers are one double: nothing is concluded from such ends.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Range {
    pub(super) const ALL: Self = Self { low: f64::NEG_INFINITY, low_open: false, high: f64::INFINITY, high_open: false, whole: false };

    /// The numbers from `low` on.
    pub(super) fn from(low: f64, open: bool) -> Self {
        if low.abs() < EXACT { Self { low, low_open: open, ..Self::ALL } } else { Self::ALL }
    }

    /// The numbers up to `high`.
    pub(super) fn up_to(high: f64, open: bool) -> Self {
        if high.abs() < EXACT { Self { high, high_open: open, ..Self::ALL } } else { Self::ALL }
    }

    /// About this number.
    pub(super) fn of(number: f64) -> Self {
        Self::from(number, false).and(Self::up_to(number, false))
    }

    pub(super) fn and(self, other: Self) -> Self {
        let (low, low_open) = later((self.low, self.low_open), (other.low, other.low_open));
        let (high, high_open) = later((-self.high, self.high_open), (-other.high, other.high_open));
        Self { low, low_open, high: -high, high_open, whole: self.whole || other.whole }
    }

    pub(super) fn or(self, other: Self) -> Self {
        let (low, low_open) = earlier((self.low, self.low_open), (other.low, other.low_open));
        let (high, high_open) = earlier((-self.high, self.high_open), (-other.high, other.high_open));
        Self { low, low_open, high: -high, high_open, whole: self.whole && other.whole }
    }

    /// Whether no number is in it.
    pub(super) fn is_empty(self) -> bool {
        if self.low > self.high || (self.low >= self.high && (self.low_open || self.high_open)) {
            return true;
        }
        if !self.whole || self.low.is_infinite() || self.high.is_infinite() {
            return false;
        }
        let first = if self.low_open && self.low.fract() == 0.0 { self.low + 1.0 } else { self.low.ceil() };
        first > self.high || (first >= self.high && self.high_open)
    }

    pub(super) fn contains(self, number: f64) -> bool {
        if number.abs() >= EXACT {
            // The true number may lie on either side of the double; only ends far away exclude it.
            return number > 0.0 && self.high.is_infinite() || number < 0.0 && self.low.is_infinite();
        }
        let above = if self.low_open { number > self.low } else { number >= self.low };
        let below = if self.high_open { number < self.high } else { number <= self.high };
        above && below && (!self.whole || number.fract() == 0.0)
    }
}

/// The stricter of two lower ends.
fn later(a: (f64, bool), b: (f64, bool)) -> (f64, bool) {
    match a.0.total_cmp(&b.0) {
        std::cmp::Ordering::Greater => a,
        std::cmp::Ordering::Less => b,
        std::cmp::Ordering::Equal => (a.0, a.1 || b.1),
    }
}

/// The looser of two lower ends.
fn earlier(a: (f64, bool), b: (f64, bool)) -> (f64, bool) {
    match a.0.total_cmp(&b.0) {
        std::cmp::Ordering::Less => a,
        std::cmp::Ordering::Greater => b,
        std::cmp::Ordering::Equal => (a.0, a.1 && b.1),
    }
}

/// So many values are told apart; beyond it only what they have in common is kept.
const MAX_VALUES: usize = 256;

/// What may stand at a place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Possible<'s> {
    /// The place may be absent.
    pub(super) missing: bool,
    /// Of these kinds.
    pub(super) kinds: Kinds,
    /// If a number, in this range.
    pub(super) numbers: Range,
    /// If a string, of so many characters.
    pub(super) lengths: (u64, u64),
    /// One of these and nothing else.
    pub(super) values: Option<Vec<&'s Value>>,
    /// Whether a schema speaks of this very place.
    pub(super) named: bool,
}

impl<'s> Possible<'s> {
    /// Any value.
    pub(super) fn any() -> Self {
        Self { missing: false, kinds: Kinds::ALL, numbers: Range::ALL, lengths: (0, u64::MAX), values: None, named: false }
    }

    /// Any value, or none.
    pub(super) fn anything() -> Self {
        Self { missing: true, ..Self::any() }
    }

    /// Not even absence: there is no valid data.
    pub(super) fn nothing() -> Self {
        Self { kinds: Kinds::NONE, ..Self::any() }
    }

    /// Always absent.
    pub(super) fn absent() -> Self {
        Self { missing: true, ..Self::nothing() }
    }

    /// One value.
    pub(super) fn value(value: &'s Value) -> Self {
        Self { named: true, ..Self::one_of(vec![value]) }
    }

    /// One of these values.
    pub(super) fn one_of(values: Vec<&'s Value>) -> Self {
        let kinds = values.iter().fold(Kinds::NONE, |kinds, value| kinds.or(Kinds::of(value)));
        Self { kinds, values: Some(values), ..Self::any() }.bounded()
    }

    /// Whether a value can be there.
    pub(super) const fn is_there(&self) -> bool {
        !self.kinds.is_empty()
    }

    /// What both allow.
    pub(super) fn and(self, other: Self) -> Self {
        let values = match (self.values, other.values) {
            (Some(a), Some(b)) => Some(a.into_iter().filter(|value| b.iter().any(|other| same(value, other))).collect()),
            (a, b) => a.or(b),
        };
        Self {
            missing: self.missing && other.missing,
            kinds: self.kinds.and(other.kinds),
            numbers: self.numbers.and(other.numbers),
            lengths: (self.lengths.0.max(other.lengths.0), self.lengths.1.min(other.lengths.1)),
            values,
            named: self.named || other.named,
        }
        .settled()
    }

    /// What either allows.
    pub(super) fn or(self, other: Self) -> Self {
        if !self.is_there() || !other.is_there() {
            let (missing, named) = (self.missing || other.missing, self.named || other.named);
            let there = if self.is_there() { self } else { other };
            return Self { missing, named, ..there };
        }
        let (a, b) = if self.values.is_some() && other.values.is_some() { (self, other) } else { (self.loose(), other.loose()) };
        let (numeric, textual) = (Kinds::NUMBER, Kinds::TEXT);
        let numbers = match (a.kinds.has(numeric), b.kinds.has(numeric)) {
            (true, true) => a.numbers.or(b.numbers),
            (true, false) => a.numbers,
            _ => b.numbers,
        };
        let lengths = match (a.kinds.has(textual), b.kinds.has(textual)) {
            (true, true) => (a.lengths.0.min(b.lengths.0), a.lengths.1.max(b.lengths.1)),
            (true, false) => a.lengths,
            _ => b.lengths,
        };
        let values = a.values.zip(b.values).map(|(a, b)| [a, b].concat());
        let (missing, named) = (a.missing || b.missing, a.named || b.named);
        Self { missing, kinds: a.kinds.or(b.kinds), numbers, lengths, values, named }.bounded()
    }

    /// Drops values and kinds that the rest excludes.
    fn settled(mut self) -> Self {
        if let Some(values) = self.values.take() {
            let kept: Vec<_> = values.into_iter().filter(|value| self.admits(value)).collect();
            self.kinds = kept.iter().fold(Kinds::NONE, |kinds, value| kinds.or(Kinds::of(value)));
            self.values = Some(kept);
            return self;
        }
        if self.numbers.is_empty() {
            self.kinds = self.kinds.without(Kinds::NUMBER);
        }
        if self.lengths.0 > self.lengths.1 {
            self.kinds = self.kinds.without(Kinds::TEXT);
        }
        self
    }

    /// Whether kind, range and length allow the value.
    pub(super) fn admits(&self, value: &Value) -> bool {
        self.kinds.has(Kinds::of(value))
            && value.as_f64().is_none_or(|number| self.numbers.contains(number))
            && value.as_str().is_none_or(|text| (self.lengths.0..=self.lengths.1).contains(&length(text)))
    }

    /// The same without single values.
    fn loose(mut self) -> Self {
        let Some(values) = self.values.take() else { return self };
        let numbers = values.iter().filter_map(|value| value.as_f64()).map(Range::of).reduce(Range::or);
        let lengths = values.iter().filter_map(|value| value.as_str()).map(length).map(|length| (length, length));
        let lengths = lengths.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        Self { numbers: numbers.unwrap_or(Range::ALL), lengths: lengths.unwrap_or((0, u64::MAX)), ..self }
    }

    fn bounded(self) -> Self {
        if self.values.as_ref().is_some_and(|values| values.len() > MAX_VALUES) { self.loose() } else { self }
    }
}

/// Characters, as JSON Schema counts them.
pub(super) fn length(text: &str) -> u64 {
    text.chars().count() as u64
}

/// Equal as JSON Schema means it. In doubt equal.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_f64(), b.as_f64()) {
            #[expect(clippy::float_cmp, reason = "the same double is the same number, or too large to be told apart")]
            (Some(a), Some(b)) => a == b,
            _ => true,
        },
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b))),
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ranges_end_where_they_say() {
        let whole = Range { whole: true, ..Range::ALL };
        assert!(Range::from(1.0, true).and(Range::up_to(1.0, false)).is_empty());
        assert!(!Range::from(1.0, false).and(Range::up_to(1.0, false)).is_empty());
        assert!(whole.and(Range::from(1.0, true)).and(Range::up_to(2.0, true)).is_empty());
        assert!(!whole.and(Range::from(1.0, true)).and(Range::up_to(2.0, false)).is_empty());
        assert!(whole.and(Range::of(1.5)).is_empty());
        assert!(!Range::up_to(9e15, false).and(Range::from(9_007_199_254_740_993.0, false)).is_empty(), "too large to tell");
        assert!(Range::from(0.0, false).contains(1e300) && !Range::up_to(5.0, false).contains(1e300));
    }

    #[test]
    fn sets_of_values_meet_and_join() {
        let (one, a, b) = (json!(1), json!("a"), json!("bb"));
        let some = Possible::one_of(vec![&one, &a, &b]);
        let short = Possible { lengths: (0, 1), ..Possible::any() };
        assert_eq!(some.clone().and(short).values, Some(vec![&one, &a]));
        let numbers = Possible { kinds: Kinds::NUMBER, numbers: Range::from(2.0, false), ..Possible::any() };
        assert!(!some.clone().and(numbers.clone()).is_there());
        let joined = some.or(numbers);
        assert_eq!((joined.numbers.low, joined.lengths, joined.values), (1.0, (1, 2), None));
        assert_eq!(Kinds::TEXT.or(Kinds::NULL).to_string(), "null or a string");
    }
}
