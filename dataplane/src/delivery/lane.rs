//! One lane: the state of one subscription on one partition (DESIGN §4.5). No I/O here.

use std::collections::VecDeque;
use std::sync::Arc;

use posthorn_domain::ids::ReplayId;
use posthorn_domain::record::Stored;

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
    /// Matching events that wait to be sent.
    pub(super) queue: VecDeque<Arc<Stored>>,
    pub(super) window: Window,
    /// A replay ends before this offset.
    pub(super) until: Option<u64>,
    /// Whether the state store has a row for it.
    pub(super) stored: bool,
}

impl Lane {
    pub(super) fn new(mode: Mode) -> Self {
        Self { mode, queue: VecDeque::new(), window: Window::default(), until: None, stored: false }
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
    pub(super) fn enter(&mut self, stored: &Arc<Stored>) -> bool {
        let fresh = self.window.enter(stored.offset);
        if fresh {
            self.queue.push_back(Arc::clone(stored));
        }
        fresh
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

/// Bytes that an event is counted as while it waits in memory.
pub(super) fn weight(stored: &Stored) -> usize {
    stored.record.event.size() + 160
}
