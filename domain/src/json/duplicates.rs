//! Finds an object that has a key twice. simd-json keeps both and other readers keep the first or the last, so a
//! schema could check one value and a receiver read another.

use std::hash::BuildHasher as _;

use simd_json::Node;

use super::doc::size;
use super::pointer::{escaped, fragment};
use super::{Doc, JsonFault, Kind};

/// Up to this many keys are compared pairwise; more are hashed, where two seem to be equal.
const PAIRWISE: usize = 12;

/// Odd, with its bits spread (of the golden ratio).
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// Looks at every object once, in one pass over the tape. `hashes` is scratch.
pub(super) fn check(tape: &[Node<'_>], hashes: &mut Vec<u64>) -> Result<(), JsonFault> {
    for (index, node) in tape.iter().enumerate() {
        let Node::Object { len, count } = *node else { continue };
        let members = &tape[index + 1..=index + count];
        let twice = if len <= PAIRWISE { pairwise(members, len) } else { hashed(members, hashes) };
        if let Some(key) = twice {
            return Err(fault(tape, index, key));
        }
    }
    Ok(())
}

fn keys<'a>(members: &'a [Node<'a>]) -> impl Iterator<Item = &'a str> {
    let mut rest = members;
    std::iter::from_fn(move || {
        let (Node::String(key), values) = rest.split_first()? else { return None };
        rest = &values[size(&values[0])..];
        Some(*key)
    })
}

/// Compares a key with those before it only when one of them has the same print, of 64 that there are.
fn pairwise<'a>(members: &'a [Node<'a>], len: usize) -> Option<&'a str> {
    let mut seen = [""; PAIRWISE];
    let mut prints = 0u64;
    for (index, key) in keys(members).take(len).enumerate() {
        let bit = 1 << (print(key) >> 58);
        if prints & bit != 0 && seen[..index].contains(&key) {
            return Some(key);
        }
        prints |= bit;
        seen[index] = key;
    }
    None
}

/// Whether two keys have the same print, of 16,384 that there are. Few do: then all are hashed.
fn are_alike(members: &[Node<'_>]) -> bool {
    let mut prints = [0u64; 256];
    keys(members).any(|key| {
        let print = print(key) >> 50;
        let (word, bit) = (&mut prints[(print >> 6) as usize], 1 << (print & 63));
        std::mem::replace(word, *word | bit) & bit != 0
    })
}

/// Equal for equal keys and seldom for others of one object: of its ends and its length. The upper bits are the better ones.
fn print(key: &str) -> u64 {
    let bytes = key.as_bytes();
    let (first, last) = match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => (bytes.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)), 0),
    };
    ((first.wrapping_mul(MIX) ^ last).wrapping_mul(MIX) ^ bytes.len() as u64).wrapping_mul(MIX)
}

/// Equal keys have equal hashes. Where two hashes are equal the keys decide, by sorting: keys chosen to collide cost
/// `n log n` like any others.
fn hashed<'a>(members: &'a [Node<'a>], hashes: &mut Vec<u64>) -> Option<&'a str> {
    if !are_alike(members) {
        return None;
    }
    let hasher = foldhash::quality::RandomState::default();
    hashes.clear();
    hashes.extend(keys(members).map(|key| hasher.hash_one(key)));
    hashes.sort_unstable();
    if hashes.windows(2).all(|pair| pair[0] != pair[1]) {
        return None;
    }
    let mut sorted: Vec<&str> = keys(members).collect();
    sorted.sort_unstable();
    sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

#[cold]
fn fault(tape: &[Node<'_>], object: usize, key: &str) -> JsonFault {
    let key: String = escaped(key).chars().take(80).collect();
    JsonFault::DuplicateKey { pointer: fragment(&pointer_to(tape, object)), key }
}

/// The pointer to the value whose node is at `target`.
fn pointer_to(tape: &[Node<'_>], target: usize) -> String {
    let mut pointer = String::new();
    let (mut value, mut start) = (Doc::new(tape), 0);
    while start < target {
        let mut position = start + 1;
        let is_object = value.kind() == Kind::Object;
        let members = value.members().map(|(key, value)| (escaped(key), value));
        let elements = value.elements().enumerate().map(|(index, value)| (index.to_string(), value));
        let inside = members.chain(elements).find_map(|(step, child)| {
            position += usize::from(is_object);
            let from = position;
            position += child.node_count();
            (position > target).then_some((step, child, from))
        });
        let Some((step, child, from)) = inside else { break };
        pointer.push('/');
        pointer.push_str(&step);
        (value, start) = (child, from);
    }
    pointer
}
