//! Numbers on one line: integers and doubles compare by their exact value.

use std::cmp::Ordering;
use std::fmt;

use crate::json::Doc;

/// A finite or infinite number, never NaN, in one normal form: what is an integer of 64 bits is held as one. So equal
/// numbers are equal and hash alike, whatever they were written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Number(Form);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Form {
    Int(i64),
    /// Above `i64::MAX`.
    Uint(u64),
    /// The bits of a double that is no integer of 64 bits.
    Double(u64),
}

impl Number {
    /// The number of a double; none for NaN.
    pub fn from_f64(value: f64) -> Option<Self> {
        const TOP: f64 = 18_446_744_073_709_551_616.0;
        const HALF: f64 = 9_223_372_036_854_775_808.0;
        if value.is_nan() {
            return None;
        }
        let form = if value.trunc() != value {
            Form::Double(value.to_bits())
        } else if (-HALF..HALF).contains(&value) {
            Form::Int(value as i64)
        } else if (HALF..TOP).contains(&value) {
            Form::Uint(value as u64)
        } else {
            Form::Double(value.to_bits())
        };
        Some(Self(form))
    }

    /// The number that a JSON value is, if it is one.
    pub fn of(doc: Doc<'_>) -> Option<Self> {
        doc.as_i64().map(Self::from).or_else(|| doc.as_u64().map(Self::from)).or_else(|| doc.as_f64().and_then(Self::from_f64))
    }

    /// The integer, cut towards zero, if it fits.
    pub(super) fn trunc_i64(self) -> Option<i64> {
        match self.whole().0 {
            Form::Int(value) => Some(value),
            _ => None,
        }
    }

    /// The integer, cut towards zero, if it fits.
    pub(super) fn trunc_u64(self) -> Option<u64> {
        match self.whole().0 {
            Form::Int(value) => u64::try_from(value).ok(),
            Form::Uint(value) => Some(value),
            Form::Double(_) => None,
        }
    }

    /// The number itself, if it is a place in a list.
    pub(super) fn as_usize(self) -> Option<usize> {
        match self.0 {
            Form::Int(value) => usize::try_from(value).ok(),
            Form::Uint(value) => usize::try_from(value).ok(),
            Form::Double(_) => None,
        }
    }

    fn whole(self) -> Self {
        match self.0 {
            Form::Double(bits) => Self::from_f64(f64::from_bits(bits).trunc()).unwrap_or(self),
            _ => self,
        }
    }

    /// As JSON; infinities, which JSON does not have, as texts.
    pub fn to_json(self) -> serde_json::Value {
        match self.0 {
            Form::Int(value) => value.into(),
            Form::Uint(value) => value.into(),
            Form::Double(_) => {
                serde_json::Number::from_f64(self.as_f64()).map_or_else(|| self.to_string().into(), serde_json::Value::Number)
            }
        }
    }

    /// The nearest double.
    pub fn as_f64(self) -> f64 {
        match self.0 {
            Form::Int(value) => value as f64,
            Form::Uint(value) => value as f64,
            Form::Double(bits) => f64::from_bits(bits),
        }
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self(Form::Int(value))
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self(i64::try_from(value).map_or(Form::Uint(value), Form::Int))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.0, other.0) {
            (Form::Int(a), Form::Int(b)) => a.cmp(&b),
            (Form::Uint(a), Form::Uint(b)) => a.cmp(&b),
            (Form::Int(_), Form::Uint(_)) => Ordering::Less,
            (Form::Uint(_), Form::Int(_)) => Ordering::Greater,
            (Form::Double(a), Form::Double(b)) => f64::from_bits(a).total_cmp(&f64::from_bits(b)),
            (Form::Double(a), Form::Int(b)) => against(f64::from_bits(a), b.into()),
            (Form::Double(a), Form::Uint(b)) => against(f64::from_bits(a), b.into()),
            (Form::Int(a), Form::Double(b)) => against(f64::from_bits(b), a.into()).reverse(),
            (Form::Uint(a), Form::Double(b)) => against(f64::from_bits(b), a.into()).reverse(),
        }
    }
}

/// A double that is no integer of 64 bits against an integer: they are never equal, so rounding down loses nothing. Casts
/// of what is too great keep to the ends.
fn against(double: f64, integer: i128) -> Ordering {
    if (double.floor() as i128) < integer { Ordering::Less } else { Ordering::Greater }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Form::Int(value) => value.fmt(f),
            Form::Uint(value) => value.fmt(f),
            Form::Double(bits) => f64::from_bits(bits).fmt(f),
        }
    }
}
