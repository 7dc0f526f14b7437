//! Entry for fuzz targets: the tape against serde_json. Panics where they disagree.

use serde_json::Value;

use super::{JsonFault, Parser};

/// Parses `bytes` both ways.
///
/// # Panics
///
/// If the two disagree about anything but what [`Parser`] refuses on purpose.
pub fn tape_against_serde(bytes: &[u8]) {
    let tape = Parser::new().parse(bytes, |doc| doc.to_value());
    let serde = serde_json::from_slice::<Value>(bytes);
    match (tape, serde) {
        (Ok(tape), Ok(serde)) => assert!(same(&tape, &serde), "different values: {tape} and {serde}"),
        (Ok(tape), Err(error)) => panic!("only serde_json refuses {tape}: {error}"),
        (Err(JsonFault::DuplicateKey { .. } | JsonFault::Number { .. } | JsonFault::TooDeep), Ok(_)) | (Err(_), Err(_)) => {}
        (Err(fault), Ok(serde)) => panic!("only the tape refuses {serde}: {fault}"),
    }
}

/// Equal but for the sign of zero and the last bits of doubles, which the two round differently.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => match (left.as_f64(), right.as_f64()) {
            (Some(a), Some(b)) => left == right || (a - b).abs() <= f64::EPSILON * 4.0 * a.abs().max(b.abs()),
            _ => false,
        },
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len() && left.iter().all(|(key, value)| right.get(key).is_some_and(|other| same(value, other)))
        }
        (left, right) => left == right,
    }
}
