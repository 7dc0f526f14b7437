//! Whether a comparison with a constant can come out true, and whether false.

use std::cmp::Ordering;

use serde_json::Value;

use super::values::{Kinds, Possible, Range, length};
use crate::filter::expr::{Compare, Constant};

/// How a condition may come out; all three are supersets of what really happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// It may be true.
    pub(super) yes: bool,
    /// It may be false.
    pub(super) no: bool,
    /// It may fail with an error.
    pub(super) error: bool,
}

impl Outcome {
    pub(super) const UNKNOWN: Self = Self { yes: true, no: true, error: true };
    pub(super) const NEVER: Self = Self { yes: false, no: false, error: true };

    pub(super) const fn fixed(value: bool) -> Self {
        Self { yes: value, no: !value, error: false }
    }

    /// With `yes` and `no` changed for each other.
    pub(super) const fn not(self) -> Self {
        Self { yes: self.no, no: self.yes, error: self.error }
    }

    /// The place may be absent, or of a kind that cannot be compared: false in one dialect, an error in another.
    const fn or_failing(self, failing: bool) -> Self {
        Self { no: self.no || failing, error: self.error || failing, ..self }
    }
}

/// The kinds that a constant can be equal to; none when it is not JSON.
pub(super) fn kinds(constant: &Constant) -> Kinds {
    match constant {
        Constant::Null => Kinds::NULL,
        Constant::Bool(_) => Kinds::BOOL,
        Constant::Int(_) | Constant::Uint(_) | Constant::Double(_) => Kinds::NUMBER,
        Constant::Text(_) => Kinds::TEXT,
        Constant::Bytes(_) | Constant::Type(_) => Kinds::NONE,
    }
}

/// The number of a constant, when a double holds it exactly.
#[expect(clippy::cast_precision_loss, reason = "what is too large to be exact is left out")]
pub(super) fn number(constant: &Constant) -> Option<f64> {
    let number = match constant {
        Constant::Int(value) => *value as f64,
        Constant::Uint(value) => *value as f64,
        Constant::Double(double) => double.0,
        _ => return None,
    };
    Some(number).filter(|number| number.abs() < 9_007_199_254_740_992.0)
}

/// The same comparison with its sides changed.
pub(super) const fn flipped(op: Compare) -> Compare {
    match op {
        Compare::Less => Compare::Greater,
        Compare::LessOrEqual => Compare::GreaterOrEqual,
        Compare::Greater => Compare::Less,
        Compare::GreaterOrEqual => Compare::LessOrEqual,
        same => same,
    }
}

pub(super) const fn holds(op: Compare, ordering: Ordering) -> bool {
    match op {
        Compare::Equal => ordering.is_eq(),
        Compare::NotEqual => ordering.is_ne(),
        Compare::Less => ordering.is_lt(),
        Compare::LessOrEqual => ordering.is_le(),
        Compare::Greater => ordering.is_gt(),
        Compare::GreaterOrEqual => ordering.is_ge(),
    }
}

/// A value in data against a constant.
pub(super) fn with_constant(op: Compare, possible: &Possible<'_>, constant: &Constant) -> Outcome {
    match op {
        Compare::Equal => equal(possible, constant),
        Compare::NotEqual => {
            let equal = equal(possible, constant);
            // An absent place fails `!=` too.
            Outcome { yes: equal.no && possible.is_there(), no: equal.yes, error: equal.error }.or_failing(possible.missing)
        }
        _ => ordered(op, possible, constant),
    }
}

fn equal(possible: &Possible<'_>, constant: &Constant) -> Outcome {
    let kinds = kinds(constant);
    if kinds.is_empty() {
        return Outcome::UNKNOWN;
    }
    if let Some(values) = &possible.values {
        let same = |value: &&&Value| is_equal(value, constant);
        let (yes, no) = (values.iter().any(|value| same(&value) != Some(false)), values.iter().any(|value| same(&value) != Some(true)));
        return Outcome { yes, no, error: false }.or_failing(possible.missing);
    }
    let admitted = match constant {
        Constant::Text(text) => (possible.lengths.0..=possible.lengths.1).contains(&length(text)),
        constant => number(constant).is_none_or(|number| possible.numbers.contains(number)),
    };
    // Without single values there is always another one, except for null alone.
    let no = possible.kinds.and(Kinds::ALL.without(Kinds::NULL)) != Kinds::NONE || !kinds.has(Kinds::NULL);
    Outcome { yes: possible.kinds.has(kinds) && admitted, no, error: false }.or_failing(possible.missing)
}

/// Whether the value equals the constant; `None` in doubt.
fn is_equal(value: &Value, constant: &Constant) -> Option<bool> {
    match (value, constant) {
        (Value::Null, Constant::Null) => Some(true),
        (Value::Bool(value), Constant::Bool(constant)) => Some(value == constant),
        (Value::String(value), Constant::Text(constant)) => Some(**value == **constant),
        (Value::Number(value), constant) if kinds(constant) == Kinds::NUMBER => {
            Some(value.as_f64()?.partial_cmp(&number(constant)?)?.is_eq())
        }
        (value, constant) if !Kinds::of(value).has(kinds(constant)) => Some(false),
        _ => None,
    }
}

fn ordered(op: Compare, possible: &Possible<'_>, constant: &Constant) -> Outcome {
    let kinds = kinds(constant);
    if kinds.is_empty() {
        return Outcome::UNKNOWN;
    }
    let failing = possible.missing || !possible.kinds.without(kinds).is_empty();
    if !possible.kinds.has(kinds) {
        return Outcome { yes: false, no: false, error: false }.or_failing(failing);
    }
    if let Some(values) = &possible.values {
        let verdicts = values.iter().filter(|value| kinds.has(Kinds::of(value))).map(|value| order(value, constant));
        let (mut yes, mut no) = (false, false);
        for verdict in verdicts {
            yes |= verdict.is_none_or(|ordering| holds(op, ordering));
            no |= verdict.is_none_or(|ordering| !holds(op, ordering));
        }
        return Outcome { yes, no, error: false }.or_failing(failing);
    }
    let Some(number) = number(constant) else { return Outcome { yes: true, no: true, error: false }.or_failing(failing) };
    let within = |op| {
        let wanted = match op {
            Compare::Less => Range::up_to(number, true),
            Compare::LessOrEqual => Range::up_to(number, false),
            Compare::Greater => Range::from(number, true),
            _ => Range::from(number, false),
        };
        !possible.numbers.and(wanted).is_empty()
    };
    let opposite = match op {
        Compare::Less => Compare::GreaterOrEqual,
        Compare::LessOrEqual => Compare::Greater,
        Compare::Greater => Compare::LessOrEqual,
        _ => Compare::Less,
    };
    Outcome { yes: within(op), no: within(opposite), error: false }.or_failing(failing)
}

fn order(value: &Value, constant: &Constant) -> Option<Ordering> {
    match (value, constant) {
        (Value::String(value), Constant::Text(constant)) => Some(value.as_str().cmp(constant)),
        (Value::Number(value), constant) => value.as_f64()?.partial_cmp(&number(constant)?),
        _ => None,
    }
}

/// Two constants; `None` when they are of different types.
pub(super) fn constants(op: Compare, a: &Constant, b: &Constant) -> Option<bool> {
    let ordering = match (a, b) {
        (Constant::Int(a), Constant::Int(b)) => a.cmp(b),
        (Constant::Text(a), Constant::Text(b)) => a.cmp(b),
        (Constant::Bool(a), Constant::Bool(b)) => a.cmp(b),
        _ => return None,
    };
    let orders = matches!(op, Compare::Equal | Compare::NotEqual) || matches!(a, Constant::Int(_));
    orders.then(|| holds(op, ordering))
}
