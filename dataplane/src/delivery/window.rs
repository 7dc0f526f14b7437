//! The progress of one lane through its partition: which matching events are under way, and how far everything is settled. Pure.

use std::collections::{BTreeSet, VecDeque};

/// Matching events between the first that is not settled and the last that was considered.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Offsets in order, each with whether it is settled. The front is never settled.
    entries: VecDeque<(u64, bool)>,
    /// Settled in an earlier life of the process, and not yet met again; some never will be, such as those that have expired since.
    earlier: BTreeSet<u64>,
}

impl Window {
    /// A window that knows what an earlier process had settled above its cursor.
    pub(super) fn restored(settled: Vec<u64>) -> Self {
        Self { entries: VecDeque::new(), earlier: settled.into_iter().collect() }
    }

    /// Takes a matching event in; offsets rise. `false` when it was settled before and must not be delivered again.
    pub(super) fn enter(&mut self, offset: u64) -> bool {
        debug_assert!(self.entries.back().is_none_or(|(last, _)| *last < offset), "offsets rise");
        let settled = self.earlier.remove(&offset);
        if self.entries.is_empty() && !self.earlier.is_empty() {
            // Everything below is settled now.
            self.earlier = self.earlier.split_off(&offset);
        }
        if !settled || !self.entries.is_empty() {
            self.entries.push_back((offset, settled));
        }
        !settled
    }

    /// Takes back the entering of the event that was entered last; false when it is another, or settled.
    pub(super) fn withdraw(&mut self, offset: u64) -> bool {
        let last = self.entries.back() == Some(&(offset, false));
        if last {
            self.entries.pop_back();
        }
        last
    }

    /// Settles an event that is under way.
    pub(super) fn settle(&mut self, offset: u64) {
        if let Ok(at) = self.entries.binary_search_by_key(&offset, |(offset, _)| *offset) {
            self.entries[at].1 = true;
        }
        while self.entries.front().is_some_and(|(_, settled)| *settled) {
            self.entries.pop_front();
        }
    }

    /// Everything below this is settled, if everything below `seen` was considered.
    pub(super) fn next(&self, seen: u64) -> u64 {
        self.entries.front().map_or(seen, |(offset, _)| *offset)
    }

    /// Settled offsets above [`Window::next`], sorted.
    pub(super) fn settled_above(&self) -> Vec<u64> {
        let met = self.entries.iter().filter(|(_, settled)| *settled).map(|(offset, _)| *offset);
        let mut all: Vec<u64> = met.chain(self.earlier.iter().copied()).collect();
        all.sort_unstable();
        all
    }

    /// Whether it is settled, here or in an earlier life.
    pub(super) fn has_settled(&self, offset: u64) -> bool {
        let met = self.entries.binary_search_by_key(&offset, |(offset, _)| *offset);
        met.map_or_else(|_| self.earlier.contains(&offset), |at| self.entries[at].1)
    }

    /// Whether nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_cursor_waits_for_the_slowest() {
        let mut window = Window::default();
        for offset in [3, 5, 9] {
            assert!(window.enter(offset));
        }
        window.settle(5);
        assert_eq!((window.next(10), window.settled_above()), (3, vec![5]));
        window.settle(3);
        assert_eq!((window.next(10), window.settled_above()), (9, vec![]));
        window.settle(9);
        assert_eq!((window.next(10), window.is_empty()), (10, true));
    }

    #[test]
    fn what_is_not_met_again_is_in_its_place() {
        let mut window = Window::restored(vec![2, 4, 7]);
        // 2 and 4 have expired since, or are not wanted any more.
        assert!(window.enter(1) && window.enter(5) && window.enter(6));
        window.settle(6);
        assert_eq!((window.next(8), window.settled_above()), (1, vec![2, 4, 6, 7]));
        window.settle(1);
        window.settle(5);
        assert!(window.enter(8));
        assert_eq!((window.next(9), window.settled_above()), (8, vec![]));
    }

    proptest! {
        /// Whatever order things settle in and wherever the process stops, nothing is skipped and nothing settled is repeated (I2).
        #[test]
        fn a_restart_neither_skips_nor_repeats(steps in prop::collection::vec((0u64..40, any::<bool>()), 1..80)) {
            let mut window = Window::default();
            let mut entered = 0;
            let mut settled = BTreeSet::new();
            for (pick, enter) in steps {
                if enter || entered == 0 {
                    window.enter(entered);
                    entered += 1;
                } else {
                    let offset = pick % entered;
                    window.settle(offset);
                    settled.insert(offset);
                }
            }
            let (next, above) = (window.next(entered), window.settled_above());
            let mut again = Window::restored(above);
            for offset in next..entered {
                prop_assert_eq!(again.enter(offset), !settled.contains(&offset));
            }
            prop_assert!((0..next).all(|offset| settled.contains(&offset)));
        }
    }
}
