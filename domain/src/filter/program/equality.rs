//! CEL's `==`: numbers by their value, lists and maps by their parts; values of different kinds are not equal.

use super::value::Value;
use crate::filter::steps::{Spent, Steps};

/// Whether two values are equal; each part that is looked at takes a step. Data is at most 128 levels deep, and what is
/// written down at most 32, so the recursion is bounded.
pub(super) fn equal(left: &Value<'_>, right: &Value<'_>, steps: &mut Steps) -> Result<bool, Spent> {
    steps.take(1)?;
    Ok(match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Bytes(left), Value::Bytes(right)) => {
            steps.take_bytes(left.len())?;
            left == right
        }
        (Value::Timestamp(left), Value::Timestamp(right)) => left == right,
        (Value::Duration(left), Value::Duration(right)) => left == right,
        (Value::Type(left), Value::Type(right)) => left == right,
        (left, right) if left.is_numeric() => left.as_number().is_some_and(|left| right.as_number() == Some(left)),
        (left, right) if left.is_map() && right.is_map() => maps(left, right, steps)?,
        (left, right) => match (left.as_text(), right.as_text()) {
            (Some(left), Some(right)) => {
                steps.take_bytes(left.len())?;
                left == right
            }
            _ => lists(left, right, steps)?,
        },
    })
}

fn lists(left: &Value<'_>, right: &Value<'_>, steps: &mut Steps) -> Result<bool, Spent> {
    if left.len() != right.len() {
        return Ok(false);
    }
    let (Some(first), Some(second)) = (left.elements(), right.elements()) else { return Ok(false) };
    for (left, right) in first.zip(second) {
        if !equal(&left, &right, steps)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn maps(left: &Value<'_>, right: &Value<'_>, steps: &mut Steps) -> Result<bool, Spent> {
    let Some(length) = left.len().filter(|length| right.len() == Some(*length)) else { return Ok(false) };
    for key in left.keys() {
        // Looking up a key is a scan.
        steps.take(1 + length)?;
        let (Ok(left), Ok(right)) = (left.get(&key), right.get(&key)) else { return Ok(false) };
        if !equal(&left, &right, steps)? {
            return Ok(false);
        }
    }
    Ok(true)
}

impl<'a> Value<'a> {
    fn keys(&self) -> Vec<Self> {
        match self {
            Self::Doc(doc) => doc.members().map(|(key, _)| Self::Text(key)).collect(),
            Self::Map(map) => map.iter().map(|(key, _)| key.clone()).collect(),
            Self::Event(view) => view.names().map(Self::Text).collect(),
            _ => Vec::new(),
        }
    }
}
