//! Which resources the last changes touched, so that a node that is a little behind gets a delta.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use posthorn_domain::snapshot::ResourceKey;

use crate::registry::forget_oldest;

/// So many touched resources are remembered; a node further behind gets a full snapshot.
const LIMIT: usize = 4096;

/// The keys touched by each revision after `base`.
#[derive(Debug)]
pub(super) struct History {
    base: u64,
    touched: VecDeque<(u64, ResourceKey)>,
    /// Topics that were deleted and not made again, with the revision at which.
    deleted: BTreeMap<ResourceKey, u64>,
}

impl History {
    /// Nothing is known of what was before this revision, but that these topics were deleted.
    pub(super) fn starting_at(revision: u64, deleted: BTreeMap<ResourceKey, u64>) -> Self {
        Self { base: revision, touched: VecDeque::new(), deleted }
    }

    /// Remembers which topics a change made and deleted.
    pub(super) fn record_topics(&mut self, revision: u64, made: &[ResourceKey], deleted: &[ResourceKey]) {
        for key in made {
            self.deleted.remove(key);
        }
        self.deleted.extend(deleted.iter().map(|key| (key.clone(), revision)));
        forget_oldest(&mut self.deleted);
    }

    /// Topics that were deleted on purpose: a node that gets a full snapshot cannot tell by their absence.
    pub(super) fn deleted(&self) -> Vec<ResourceKey> {
        self.deleted.keys().cloned().collect()
    }

    /// Remembers a change. Oldest ones go when there are too many.
    pub(super) fn record(&mut self, revision: u64, keys: Vec<ResourceKey>) {
        self.touched.extend(keys.into_iter().map(|key| (revision, key)));
        while self.touched.len() > LIMIT {
            let dropped = self.touched.pop_front().map_or(self.base, |(revision, _)| revision);
            self.base = dropped;
        }
    }

    /// What was touched after `revision`; `None` when that is not known any more.
    pub(super) fn since(&self, revision: u64) -> Option<BTreeSet<ResourceKey>> {
        if revision < self.base {
            return None;
        }
        Some(self.touched.iter().filter(|(at, _)| *at > revision).map(|(_, key)| key.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_the_oldest_and_says_so() {
        let mut history = History::starting_at(10, BTreeMap::new());
        assert_eq!(history.since(9), None);
        history.record(11, vec![ResourceKey::topic("a")]);
        history.record(12, vec![ResourceKey::topic("b")]);
        assert_eq!(history.since(11), Some([ResourceKey::topic("b")].into()));
        for revision in 13..5000 {
            history.record(revision, vec![ResourceKey::topic("c")]);
        }
        assert_eq!(history.since(12), None);
        assert_eq!(history.since(4998), Some([ResourceKey::topic("c")].into()));
        assert_eq!(history.since(4999), Some(BTreeSet::new()));
        let topic = |number: u64| ResourceKey::topic(&format!("t{number}"));
        for revision in 1..=4098 {
            history.record_topics(revision, &[], &[topic(revision)]);
        }
        history.record_topics(9999, &[topic(3)], &[]);
        let deleted = history.deleted();
        assert!(deleted.len() == 4095 && !deleted.contains(&topic(2)) && !deleted.contains(&topic(3)) && deleted.contains(&topic(4)));
    }
}
