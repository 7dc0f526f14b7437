//! Equality of JSON values as JSON Schema means it (2020-12 core §4.2.2): numbers by value, so `1` equals `1.0`, and
//! objects whatever the order of their members. Every cost here is about linear in the values' sizes.

use std::hash::{BuildHasher, Hash as _, Hasher as _};

use foldhash::quality::RandomState;
use serde_json::Value;
use simd_json::{Node, StaticNode};

use super::meter::Meter;
use crate::json::{Doc, Kind};

/// Up to this many scalars are compared pairwise.
const PAIRWISE: usize = 8;

/// Whether a value equals one that the schema names.
pub(super) fn equals_value(doc: Doc<'_>, expected: &Value, meter: &Meter) -> bool {
    match (doc.kind(), expected) {
        (Kind::Null, Value::Null) => true,
        (Kind::Bool, Value::Bool(value)) => doc.as_bool() == Some(*value),
        (Kind::String, Value::String(text)) => doc.as_str() == Some(text),
        (Kind::Number, Value::Number(number)) => Numeric::of_doc(doc) == Numeric::of_number(number),
        (Kind::Array, Value::Array(items)) => {
            doc.len() == items.len()
                && meter.take(items.len())
                && doc.elements().zip(items).all(|(doc, item)| equals_value(doc, item, meter))
        }
        // Keys are unique on both sides, so equal counts and every key found make the same keys.
        (Kind::Object, Value::Object(members)) => {
            doc.len() == members.len()
                && meter.take(members.len())
                && doc.members().all(|(key, value)| members.get(key).is_some_and(|other| equals_value(value, other, meter)))
        }
        _ => false,
    }
}

/// Whether no two elements of an array are equal.
pub(super) fn is_unique(array: Doc<'_>) -> bool {
    // All elements are scalars when there are no nodes but them and the array's own.
    if array.len() <= PAIRWISE && array.node_count() == array.len() + 1 {
        let mut seen = array.elements().enumerate();
        return seen.all(|(index, element)| array.elements().take(index).all(|earlier| !equal(earlier, element)));
    }
    let hasher = RandomState::default();
    let mut hashed: Vec<(u64, Doc<'_>)> = array.elements().map(|element| (hash(element, &hasher), element)).collect();
    hashed.sort_unstable_by_key(|(hash, _)| *hash);
    // The seed is random, so elements of one hash are equal but for a chance of one in billions.
    hashed.chunk_by(|left, right| left.0 == right.0).all(|same| {
        same.iter().enumerate().all(|(index, (_, element))| same[..index].iter().all(|(_, earlier)| !equal(*earlier, *element)))
    })
}

fn equal(left: Doc<'_>, right: Doc<'_>) -> bool {
    if left.kind() != right.kind() || left.node_count() != right.node_count() || left.len() != right.len() {
        return false;
    }
    match left.kind() {
        Kind::Null => true,
        Kind::Bool => left.as_bool() == right.as_bool(),
        Kind::String => left.as_str() == right.as_str(),
        Kind::Number => Numeric::of_doc(left) == Numeric::of_doc(right),
        Kind::Array => left.elements().zip(right.elements()).all(|(left, right)| equal(left, right)),
        Kind::Object => {
            let (left, right) = (sorted(left), sorted(right));
            left.iter().zip(&right).all(|((key, value), (other_key, other))| key == other_key && equal(*value, *other))
        }
    }
}

fn sorted(object: Doc<'_>) -> Vec<(&str, Doc<'_>)> {
    let mut members: Vec<_> = object.members().collect();
    members.sort_unstable_by_key(|(key, _)| *key);
    members
}

/// Equal values have equal hashes.
fn hash(doc: Doc<'_>, seed: &RandomState) -> u64 {
    let mut hasher = seed.build_hasher();
    doc.len().hash(&mut hasher);
    match doc.kind() {
        Kind::Null => 0_u8.hash(&mut hasher),
        Kind::Bool => (1_u8, doc.as_bool()).hash(&mut hasher),
        Kind::String => doc.as_str().hash(&mut hasher),
        Kind::Number => Numeric::of_doc(doc).hash(&mut hasher),
        Kind::Array => doc.elements().for_each(|element| hash(element, seed).hash(&mut hasher)),
        // A sum, for the members' order does not count.
        Kind::Object => {
            doc.members().fold(0_u64, |sum, (key, value)| sum.wrapping_add(seed.hash_one((key, hash(value, seed))))).hash(&mut hasher)
        }
    }
    hasher.finish()
}

/// A number by value: whole numbers of up to 65 bits exactly, all others by their bits.
#[derive(PartialEq, Eq, Hash)]
enum Numeric {
    Whole(i128),
    Bits(u64),
    None,
}

impl Numeric {
    fn of_doc(doc: Doc<'_>) -> Self {
        match doc.nodes()[0] {
            Node::Static(StaticNode::I64(value)) => Self::Whole(value.into()),
            Node::Static(StaticNode::U64(value)) => Self::Whole(value.into()),
            Node::Static(StaticNode::F64(value)) => Self::of_f64(value),
            _ => Self::None,
        }
    }

    fn of_number(number: &serde_json::Number) -> Self {
        let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
        whole.map_or_else(|| number.as_f64().map_or(Self::None, Self::of_f64), Self::Whole)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the guard keeps to whole numbers that fit")]
    fn of_f64(value: f64) -> Self {
        // 2^64: beyond it there are no integers on the tape to be equal to.
        if value.fract() == 0.0 && value.abs() <= 18_446_744_073_709_551_616.0 {
            Self::Whole(value as i128)
        } else {
            Self::Bits(value.to_bits())
        }
    }
}
