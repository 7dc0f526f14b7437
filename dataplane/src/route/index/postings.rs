//! Which numbers stand under a key: a hash trie that is shared between versions, so that a change copies one path only.
//!
//! Keys are hashes. That two of them meet by chance is allowed: who looks here checks what it finds.

use std::sync::Arc;

/// Entries of a leaf before it is divided.
const LEAF: usize = 32;
/// Bits of the key that one level tells apart.
const BITS: u32 = 4;
const FAN: usize = 1 << BITS;

/// From keys to numbers, several to a key. Cloning costs a reference count.
#[derive(Clone)]
pub(super) enum Postings {
    Leaf(Arc<[Entry]>),
    Branch(Arc<[Self; FAN]>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    key: u32,
    value: u32,
}

impl Default for Postings {
    fn default() -> Self {
        Self::Leaf(Arc::default())
    }
}

impl Postings {
    /// The numbers under `key`.
    pub(super) fn at(&self, key: u32) -> impl Iterator<Item = u32> + '_ {
        let (mut node, mut rest) = (self, key);
        let leaf = loop {
            match node {
                Self::Leaf(entries) => break entries,
                Self::Branch(children) => {
                    node = &children[child(rest)];
                    rest <<= BITS;
                }
            }
        };
        leaf.iter().filter(move |entry| entry.key == key).map(|entry| entry.value)
    }

    /// Adds a number under `key`.
    pub(super) fn insert(&mut self, key: u32, value: u32) {
        self.put(Entry { key, value }, 0);
    }

    /// Takes it away again.
    pub(super) fn remove(&mut self, key: u32, value: u32) {
        let (mut node, mut rest) = (self, key);
        while let Self::Branch(children) = node {
            node = &mut Arc::make_mut(children)[child(rest)];
            rest <<= BITS;
        }
        if let Self::Leaf(entries) = node {
            // Once only: two possibilities of one group may meet under a key by chance.
            if let Some(at) = entries.iter().position(|entry| *entry == Entry { key, value }) {
                *entries = [&entries[..at], &entries[at + 1..]].concat().into();
            }
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Leaf(entries) => entries.is_empty(),
            Self::Branch(children) => children.iter().all(Self::is_empty),
        }
    }

    fn put(&mut self, entry: Entry, depth: u32) {
        match self {
            Self::Branch(children) => Arc::make_mut(children)[child(entry.key << (depth * BITS))].put(entry, depth + 1),
            // Below the last bit nothing tells keys apart.
            Self::Leaf(entries) if entries.len() < LEAF || depth * BITS >= u32::BITS => {
                *entries = entries.iter().copied().chain([entry]).collect::<Vec<_>>().into();
            }
            Self::Leaf(entries) => {
                let mut parts: [Vec<Entry>; FAN] = Default::default();
                for entry in entries.iter().copied().chain([entry]) {
                    parts[child(entry.key << (depth * BITS))].push(entry);
                }
                *self = Self::Branch(Arc::new(parts.map(|part| Self::Leaf(part.into()))));
            }
        }
    }
}

fn child(rest: u32) -> usize {
    (rest >> (u32::BITS - BITS)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_keep_what_they_had() {
        // Few keys, so that leaves with one key only grow beyond their size.
        let key = |n: u32| (n % 97).wrapping_mul(0x9e37_79b9);
        let mut postings = Postings::default();
        let mut versions = vec![postings.clone()];
        for n in 0..5_000 {
            postings.insert(key(n), n);
            if n % 500 == 499 {
                versions.push(postings.clone());
            }
        }
        for n in (0..5_000).filter(|n| n % 3 == 0) {
            postings.remove(key(n), n);
        }
        let at = |postings: &Postings, n: u32| {
            let mut found: Vec<u32> = postings.at(key(n)).collect();
            found.sort_unstable();
            found
        };
        for n in 0..97 {
            for (version, made) in versions.iter().zip((0..).step_by(500)) {
                let wanted: Vec<u32> = (n..made).step_by(97).collect();
                assert_eq!(at(version, n), wanted);
            }
            let wanted: Vec<u32> = (n..5_000).step_by(97).filter(|n| n % 3 != 0).collect();
            assert_eq!(at(&postings, n), wanted);
        }
    }
}
