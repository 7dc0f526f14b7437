//! What a segment has, in short: the types of its events exactly while they are few, a Bloom filter over `subject`, `source` and
//! `partitionkey`, and whether an event may not become a dead letter. So a reader of few events can pass over whole segments, and
//! retention knows what to hold. It may say that something is there that is not; never the other way round.
//!
//! ```text
//! flags u8 (bit 0: types are known, bit 1: not all may become dead letters) · types u16 · types × (length u16 · bytes) · log2 of the filter's bytes u8 · the filter
//! ```

use std::collections::BTreeSet;

use posthorn_domain::qos::DeadLetter;
use posthorn_domain::record::Record;

use crate::log::wanted::{Condition, SUMMED_UP, Text, Wanted};

/// Types that are told apart; with more, or longer ones, a segment may have any.
const MAX_TYPES: usize = 64;
const MAX_TYPE_BYTES: usize = 128;
/// log2 of the filter's bytes while it is filled: 16 KiB, good for about 13,000 different values.
const FULL: u8 = 14;
const SMALLEST: u8 = 6;
const PROBES: u64 = 5;
const TYPES_KNOWN: u8 = 1;
const NEVER_LETTERS: u8 = 2;

/// The summary of one segment; rising while the segment is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    types: Option<BTreeSet<Box<str>>>,
    /// 2^n bytes; empty until something was put in.
    filter: Vec<u8>,
    never_letters: bool,
}

impl Default for Summary {
    fn default() -> Self {
        Self { types: Some(BTreeSet::new()), filter: Vec::new(), never_letters: false }
    }
}

impl Summary {
    /// Counts a record in.
    pub(super) fn add(&mut self, record: &Record) {
        self.never_letters |= record.dead_letter == DeadLetter::Never;
        self.add_type(record.event.ty());
        for (index, name) in SUMMED_UP.into_iter().enumerate() {
            if let Some(value) = record.event.get(name) {
                if self.filter.is_empty() {
                    self.filter = vec![0; 1 << FULL];
                }
                let bits = self.filter.len() as u64 * 8;
                for bit in probes(index, value) {
                    let bit = bit % bits;
                    self.filter[place(bit)] |= 1 << (bit % 8);
                }
            }
        }
    }

    fn add_type(&mut self, ty: &str) {
        let Some(types) = &mut self.types else { return };
        if !types.contains(ty) {
            if types.len() >= MAX_TYPES || ty.len() > MAX_TYPE_BYTES {
                self.types = None;
            } else {
                types.insert(ty.into());
            }
        }
    }

    /// Whether the segment may have an event that may not become a dead letter.
    pub(super) fn never_letters(&self) -> bool {
        self.never_letters
    }

    /// Whether the segment may have an event that is wanted.
    pub(super) fn may_have(&self, wanted: &Wanted) -> bool {
        wanted.conditions().iter().all(|condition| self.may_hold(condition))
    }

    fn may_hold(&self, condition: &Condition) -> bool {
        if &*condition.attribute == "type" {
            return self.types.as_ref().is_none_or(|types| types.iter().any(|ty| condition.text.holds(ty)));
        }
        let Some(index) = SUMMED_UP.iter().position(|name| **name == *condition.attribute) else { return true };
        match &condition.text {
            Text::OneOf(texts) => texts.iter().any(|text| self.has(index, text)),
            Text::Prefix(_) | Text::Suffix(_) => !self.filter.is_empty(),
        }
    }

    fn has(&self, index: usize, value: &str) -> bool {
        let bits = self.filter.len() as u64 * 8;
        bits > 0
            && probes(index, value).all(|bit| {
                let bit = bit % bits;
                self.filter[place(bit)] & (1 << (bit % 8)) != 0
            })
    }

    /// Makes the filter as small as it can be at half full: the halves are laid over each other, which every probe follows because
    /// the number of bits is a power of two.
    pub(super) fn fold(&mut self) {
        while self.filter.len() > 1 << SMALLEST {
            let (low, high) = self.filter.split_at(self.filter.len() / 2);
            let folded: Vec<u8> = low.iter().zip(high).map(|(low, high)| low | high).collect();
            let set: u32 = folded.iter().map(|byte| byte.count_ones()).sum();
            if set as usize > folded.len() * 4 {
                return;
            }
            self.filter = folded;
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let types_known = if self.types.is_some() { TYPES_KNOWN } else { 0 };
        out.push(types_known | if self.never_letters { NEVER_LETTERS } else { 0 });
        let types = self.types.iter().flatten();
        out.extend_from_slice(&u16::try_from(types.clone().count()).unwrap_or(0).to_le_bytes());
        for ty in types {
            out.extend_from_slice(&u16::try_from(ty.len()).unwrap_or(0).to_le_bytes());
            out.extend_from_slice(ty.as_bytes());
        }
        out.push(if self.filter.is_empty() { 0 } else { u8::try_from(self.filter.len().ilog2()).unwrap_or(0) });
        out.extend_from_slice(&self.filter);
    }

    /// Reads exactly one summary.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (flags, rest) = bytes.split_first()?;
        let (count, mut rest) = rest.split_first_chunk()?;
        let mut types = BTreeSet::new();
        for _ in 0..u16::from_le_bytes(*count) {
            let (len, tail) = rest.split_first_chunk()?;
            let (ty, tail) = tail.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
            types.insert(std::str::from_utf8(ty).ok()?.into());
            rest = tail;
        }
        let (log2, filter) = rest.split_first()?;
        let len = if *log2 == 0 { 0 } else { 1usize.checked_shl(u32::from(*log2)).filter(|_| *log2 <= FULL)? };
        let sound = *flags <= TYPES_KNOWN | NEVER_LETTERS && types.len() <= MAX_TYPES && filter.len() == len;
        let has = |flag| flags & flag != 0;
        sound.then(|| Self { types: has(TYPES_KNOWN).then_some(types), filter: filter.to_vec(), never_letters: has(NEVER_LETTERS) })
    }
}

fn place(bit: u64) -> usize {
    usize::try_from(bit / 8).unwrap_or(usize::MAX)
}

/// Where a value's bits are, before they are cut to the filter's size. The hash is of the file's format and must not change.
fn probes(index: usize, value: &str) -> impl Iterator<Item = u64> + use<> {
    // FNV-1a, then mixed so that the low bits depend on all of them.
    let start = 0xcbf2_9ce4_8422_2325 ^ index as u64;
    let hash = value.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let first = mixed(hash);
    let step = mixed(first) | 1;
    (0..PROBES).map(move |nth| first.wrapping_add(nth.wrapping_mul(step)))
}

fn mixed(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
