//! What is known of attributes: some are in every event, and of some the values are known.

use super::compare::{Outcome, holds};
use crate::filter::Dialect;
use crate::filter::expr::{Compare, Constant};

/// What is known of one attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known<'t> {
    /// It is there and one of these texts.
    OneOf(Vec<&'t str>),
    /// It is there, a text, not empty (CloudEvents 1.0.2 §Required Attributes).
    NotEmpty,
    /// Nothing.
    Nothing,
}

impl<'t> Known<'t> {
    /// The attribute of this name on this topic.
    pub(super) fn of(name: &str, topic: Option<&'t str>) -> Self {
        match name {
            "specversion" => Self::OneOf(vec!["1.0"]),
            "direction" => Self::OneOf(vec!["incoming", "outgoing"]),
            "topic" => topic.map_or(Self::NotEmpty, |topic| Self::OneOf(vec![topic])),
            "id" | "source" | "type" => Self::NotEmpty,
            _ => Self::Nothing,
        }
    }

    /// Whether it is in every event.
    pub(super) fn is_there(&self) -> Outcome {
        if *self == Self::Nothing { Outcome { error: false, ..Outcome::UNKNOWN } } else { Outcome::fixed(true) }
    }

    /// A test of its text.
    pub(super) fn test(&self, test: impl Fn(&str) -> bool) -> Outcome {
        let Self::OneOf(values) = self else { return Outcome::UNKNOWN };
        Outcome { yes: values.iter().any(|value| test(value)), no: !values.iter().all(|value| test(value)), error: false }
    }

    /// Equality with a text, without casts.
    pub(super) fn equals(&self, text: &str) -> Outcome {
        match self {
            Self::NotEmpty if text.is_empty() => Outcome::fixed(false),
            _ => self.test(|value| value == text),
        }
    }

    /// A comparison; `right` says that the constant stands on the right, whose type decides in CESQL (§3.7).
    pub(super) fn compare(&self, op: Compare, constant: &Constant, right: bool, dialect: Dialect) -> Outcome {
        if *self == Self::Nothing {
            return Outcome::UNKNOWN;
        }
        let equality = matches!(op, Compare::Equal | Compare::NotEqual);
        match constant {
            Constant::Text(text) if equality => {
                let equal = self.equals(text);
                if op == Compare::Equal { equal } else { equal.not() }
            }
            Constant::Text(text) if dialect == Dialect::Cel => self.test(|value| holds(op, value.cmp(text))),
            // A text equals no other type, and does not compare with one.
            _ if dialect == Dialect::Cel && equality => Outcome::fixed(op == Compare::NotEqual),
            _ if dialect == Dialect::Cel => Outcome::NEVER,
            Constant::Int(number) if right || !equality => {
                let number = *number;
                self.cast(|value| value.parse::<i32>().ok().map(|value| holds(op, i64::from(value).cmp(&number))))
            }
            Constant::Bool(wanted) if right && equality => {
                self.cast(|value| value.to_ascii_lowercase().parse::<bool>().ok().map(|value| holds(op, value.cmp(wanted))))
            }
            _ => Outcome::UNKNOWN,
        }
    }

    /// A test of what it is cast to; `None` is an error.
    fn cast(&self, test: impl Fn(&str) -> Option<bool>) -> Outcome {
        let Self::OneOf(values) = self else { return Outcome::UNKNOWN };
        let outcomes: Vec<Option<bool>> = values.iter().map(|value| test(value)).collect();
        Outcome { yes: outcomes.contains(&Some(true)), no: outcomes.contains(&Some(false)), error: outcomes.contains(&None) }
    }
}
