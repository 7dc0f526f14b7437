//! One lane: the state of one subscription on one partition (DESIGN §4.5). No I/O here.

use std::collections::VecDeque;
use std::sync::Arc;

use posthorn_domain::ids::ReplayId;
use posthorn_domain::record::Stored;

use super::budget::Budget;
use super::window::Window;

/// Names a lane within its subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct LaneKey {
    /// The partition, by the shard's number for it.
    pub(super) part: u32,
    /// The replay that it is, if it is one.
    pub(super) replay: Option<ReplayId>,
}

/// Where a lane gets its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// From memory, as events become durable; those below `from` are not its.
    Tailing {
        /// The first offset that it takes.
        from: u64,
    },
    /// From the log, when it can send again.
    Lagging {
        /// The next offset to read.
        next: u64,
        /// Whether a read is under way.
        reading: bool,
    },
}

/// The lane.
pub(super) struct Lane {
    pub(super) mode: Mode,
    /// Matching events that wait to be sent, by offset.
    pub(super) queue: VecDeque<Arc<Stored>>,
    /// Bytes of the events in `queue`.
    pub(super) queued: usize,
    /// What it has of the shard's [`Budget`]: for events that wait and for those under way.
    pub(super) held: usize,
    pub(super) window: Window,
    /// A replay ends before this offset.
    pub(super) until: Option<u64>,
    /// Whether the state store has a row for it.
    pub(super) stored: bool,
}

impl Lane {
    pub(super) fn new(mode: Mode) -> Self {
        Self { mode, queue: VecDeque::new(), queued: 0, held: 0, window: Window::default(), until: None, stored: false }
    }

    /// Everything below this was considered, on a partition that was fed up to `fed`.
    pub(super) fn seen(&self, fed: u64) -> u64 {
        match self.mode {
            Mode::Tailing { from } => from.max(fed),
            Mode::Lagging { next, .. } => next,
        }
    }

    /// Everything below this is settled.
    pub(super) fn cursor(&self, fed: u64) -> u64 {
        self.window.next(self.seen(fed))
    }

    /// Takes a matching event into the queue; false when an earlier process had settled it.
    pub(super) fn enter(&mut self, stored: &Arc<Stored>, budget: &mut Budget) -> bool {
        let fresh = self.window.enter(stored.offset);
        if fresh {
            budget.take(&mut self.held, weight(stored));
            self.queued += stored.record.event.size();
            self.queue.push_back(Arc::clone(stored));
        }
        fresh
    }

    /// Takes the event at this place of the queue out, to be sent.
    pub(super) fn leave(&mut self, at: usize) -> Option<Arc<Stored>> {
        let stored = self.queue.remove(at)?;
        self.queued -= stored.record.event.size();
        Some(stored)
    }

    /// Takes an event that left and was not sent after all back to its place.
    pub(super) fn come_back(&mut self, stored: Arc<Stored>) {
        self.queued += stored.record.event.size();
        let at = self.queue.partition_point(|other| other.offset < stored.offset);
        self.queue.insert(at, stored);
    }

    /// Gives what was considered last and waits back to the log, while more than `keep` bytes are held, and lags from there on.
    /// Whether there was any.
    pub(super) fn cut(&mut self, keep: usize, budget: &mut Budget) -> bool {
        let before = self.queue.len();
        while self.held > keep
            && let Some(last) = self.queue.back()
            // One stays, so that who was cut is not one that starves.
            && self.held > weight(last)
            && self.window.withdraw(last.offset)
            && let Some(last) = self.leave(self.queue.len() - 1)
        {
            budget.give(&mut self.held, weight(&last));
            self.mode = Mode::Lagging { next: last.offset, reading: false };
        }
        self.queue.len() < before
    }

    /// Forgets what waits; what is under way is counted no more.
    pub(super) fn clear(&mut self, budget: &mut Budget) {
        self.queue.clear();
        self.queued = 0;
        let held = self.held;
        budget.give(&mut self.held, held);
    }

    /// Whether it is behind the events that come in.
    pub(super) fn is_lagging(&self) -> bool {
        matches!(self.mode, Mode::Lagging { .. })
    }

    /// Whether nothing distinguishes it from a lane that was never needed.
    pub(super) fn is_idle(&self, fed: u64) -> bool {
        self.until.is_none() && self.window.is_empty() && matches!(self.mode, Mode::Tailing { from } if from <= fed)
    }

    /// Whether a replay has come to its end.
    pub(super) fn is_finished(&self) -> bool {
        let Mode::Lagging { next, reading: false } = self.mode else { return false };
        self.until.is_some_and(|until| next >= until) && self.window.is_empty()
    }
}

/// Bytes that an event is counted as while it waits in memory, with what its requests have in common.
pub(super) fn weight(stored: &Stored) -> usize {
    stored.record.event.size() + 560
}

#[cfg(test)]
mod tests {
    use super::*;
    use posthorn_storage::log::behaviour::record;

    #[test]
    fn a_cut_gives_back_what_was_considered_last_and_nothing_that_is_under_way() {
        let (_, mut budget) = super::super::budget::parts(1 << 20, 1);
        let mut lane = Lane::new(Mode::Tailing { from: 0 });
        for offset in [3, 5, 8, 9] {
            assert!(lane.enter(&Arc::new(Stored::new(offset, record("a", 1), None)), &mut budget));
        }
        // 3 and 8 are on their way, as when the key of 5 is busy.
        let first = lane.leave(0).unwrap();
        assert_eq!((first.offset, lane.leave(1).unwrap().offset), (3, 8));
        assert!(lane.cut(0, &mut budget));
        assert_eq!((lane.mode, lane.queue.len(), lane.cursor(10)), (Mode::Lagging { next: 9, reading: false }, 1, 3));
        assert_eq!((budget.used(), lane.held, lane.queued), (3 * weight(&first), 3 * weight(&first), first.record.event.size()));
        assert!(!lane.cut(0, &mut budget));
        lane.come_back(first);
        assert_eq!(lane.queue.iter().map(|stored| stored.offset).collect::<Vec<_>>(), [3, 5]);
        lane.clear(&mut budget);
        assert_eq!((budget.used(), lane.held, lane.queued), (0, 0, 0));
    }
}
