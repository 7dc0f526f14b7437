//! Which ordering keys have events under way or waiting (I12). Pure.
//!
//! A key's events come from one partition, so their offsets say which comes first. A key that has any lets no fresh event pass, and
//! of those that wait only the first may go.

use foldhash::HashMap;
use smallvec::SmallVec;

/// The keys of one subscription, by their hashes.
#[derive(Debug, Default)]
pub(super) struct Keys {
    lines: HashMap<u64, SmallVec<[u64; 1]>>,
    events: usize,
}

impl Keys {
    /// An event of the key is under way or waits, until [`Keys::free`].
    pub(super) fn block(&mut self, key: Option<u64>, offset: u64) {
        let Some(key) = key else { return };
        let line = self.lines.entry(key).or_default();
        let at = line.partition_point(|before| *before <= offset);
        line.insert(at, offset);
        self.events += 1;
    }

    /// The event is done with, or about to be blocked anew.
    pub(super) fn free(&mut self, key: Option<u64>, offset: u64) {
        let Some(key) = key else { return };
        let Some(line) = self.lines.get_mut(&key) else { return };
        let Ok(at) = line.binary_search(&offset) else { return };
        line.remove(at);
        self.events -= 1;
        if line.is_empty() {
            self.lines.remove(&key);
        }
    }

    /// Whether a fresh event of the key has to wait.
    pub(super) fn is_busy(&self, key: u64) -> bool {
        self.lines.contains_key(&key)
    }

    /// How many events of the key come before `offset`.
    pub(super) fn before(&self, key: Option<u64>, offset: u64) -> usize {
        let line = key.and_then(|key| self.lines.get(&key));
        line.map_or(0, |line| line.partition_point(|before| *before < offset))
    }

    /// Events of all keys.
    pub(super) fn len(&self) -> usize {
        self.events
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_of_a_key_goes_first() {
        let mut keys = Keys::default();
        keys.block(Some(1), 7);
        keys.block(Some(1), 5);
        keys.block(Some(2), 1);
        keys.block(None, 3);
        assert_eq!((keys.before(Some(1), 5), keys.before(Some(1), 7), keys.before(Some(2), 1), keys.before(None, 9)), (0, 1, 0, 0));
        keys.free(Some(1), 5);
        assert_eq!((keys.before(Some(1), 7), keys.len(), keys.is_busy(1)), (0, 2, true));
        keys.free(Some(1), 7);
        keys.free(Some(1), 7);
        assert_eq!((keys.len(), keys.is_busy(1), keys.is_busy(2)), (1, false, true));
    }

    proptest! {
        #[test]
        fn it_is_a_multiset_of_offsets(steps in prop::collection::vec((any::<bool>(), 0u64..4, 0u64..6), 0..80)) {
            let mut keys = Keys::default();
            let mut model: Vec<(u64, u64)> = Vec::new();
            for (block, key, offset) in steps {
                if block {
                    keys.block(Some(key), offset);
                    model.push((key, offset));
                } else {
                    keys.free(Some(key), offset);
                    if let Some(at) = model.iter().position(|held| *held == (key, offset)) {
                        model.remove(at);
                    }
                }
                prop_assert_eq!(keys.len(), model.len());
                for key in 0..4 {
                    prop_assert_eq!(keys.is_busy(key), model.iter().any(|(held, _)| *held == key));
                    let before = model.iter().filter(|held| held.0 == key && held.1 < 3).count();
                    prop_assert_eq!(keys.before(Some(key), 3), before);
                }
            }
        }
    }
}
