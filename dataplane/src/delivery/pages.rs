//! Pages of the log that were read lately for lagging lanes, and those that are being read: lanes at about the same place share one
//! read. Bounded in bytes and in reads at a time. No I/O here.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use posthorn_domain::ids::SubscriptionId;
use posthorn_storage::log::Page;
use smallvec::SmallVec;

use super::lane::{LaneKey, weight};

/// Bytes of one read of the log.
pub(super) const PAGE_BYTES: usize = 256 * 1024;
/// Records of one read of the log.
pub(super) const PAGE_RECORDS: usize = 512;
/// Reads of lagging lanes at a time; more would only take the disk from everybody else.
const MAX_READS: usize = 8;
/// Pages that are kept, however small.
const MAX_PAGES: usize = 64;

/// A page with what is known of it.
pub(super) struct Kept {
    part: u32,
    from: u64,
    /// Who had it read.
    reader: Option<(SubscriptionId, LaneKey)>,
    pub(super) page: Page,
    /// Bytes of its records.
    pub(super) bytes: usize,
    /// Bytes that it holds in memory.
    held: usize,
}

impl Kept {
    /// Whether a lane that is at `next` begins with it and had not asked for it.
    pub(super) fn is_new_to(&self, id: SubscriptionId, lane: LaneKey, next: u64) -> bool {
        next == self.from && self.reader != Some((id, lane))
    }
}

/// A lane that waits for a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiter {
    pub(super) subscription: SubscriptionId,
    pub(super) lane: LaneKey,
    /// The offset that it wants.
    pub(super) next: u64,
}

/// What came of asking for a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Join {
    /// Another read will bring it.
    Joined,
    /// It is to be read.
    Read,
    /// There are too many reads just now.
    Full,
}

/// The pages of one shard.
pub(super) struct Pages {
    kept: VecDeque<Rc<Kept>>,
    held: usize,
    limit: usize,
    reading: Vec<(u32, u64, SmallVec<[Waiter; 1]>)>,
}

impl Pages {
    /// Keeps at most `limit` bytes, and the newest page however large it is.
    pub(super) fn new(limit: usize) -> Self {
        Self { kept: VecDeque::new(), held: 0, limit, reading: Vec::new() }
    }

    /// Bytes that the pages hold.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// The page that has what follows on `next`.
    pub(super) fn find(&self, part: u32, next: u64) -> Option<Rc<Kept>> {
        let covers = |kept: &&Rc<Kept>| kept.part == part && kept.from <= next && next < kept.page.next;
        self.kept.iter().rev().find(covers).cloned()
    }

    /// A lane of partition `part` waits for `waiter.next`.
    pub(super) fn join(&mut self, part: u32, waiter: Waiter) -> Join {
        let covers = |from: u64| from <= waiter.next && waiter.next - from < PAGE_RECORDS as u64;
        if let Some((_, _, waiters)) = self.reading.iter_mut().find(|(of, from, _)| *of == part && covers(*from)) {
            waiters.push(waiter);
            Join::Joined
        } else if self.reading.len() >= MAX_READS {
            Join::Full
        } else {
            self.reading.push((part, waiter.next, SmallVec::from_buf([waiter])));
            Join::Read
        }
    }

    /// A read has ended: those that waited for it, the one that began it first.
    pub(super) fn ended(&mut self, part: u32, from: u64) -> SmallVec<[Waiter; 1]> {
        let at = self.reading.iter().position(|(of, begin, _)| (*of, *begin) == (part, from));
        at.map(|at| self.reading.swap_remove(at).2).unwrap_or_default()
    }

    /// Keeps what was read from `from` on.
    pub(super) fn keep(&mut self, part: u32, from: u64, mut page: Page, reader: Option<(SubscriptionId, LaneKey)>) -> Rc<Kept> {
        let bytes: usize = page.records.iter().map(|stored| weight(stored)).sum();
        // Records are slices of what was read at once; few of them must not hold all of it.
        let whole = bytes >= PAGE_BYTES / 2;
        if !whole {
            page.records.iter_mut().for_each(|stored| *stored = Arc::new(stored.detached()));
        }
        let held = if whole { bytes.max(PAGE_BYTES) } else { bytes + size_of::<Kept>() };
        let kept = Rc::new(Kept { part, from, reader, page, bytes, held });
        self.held += held;
        self.kept.push_back(Rc::clone(&kept));
        while self.kept.len() > 1 && (self.held > self.limit || self.kept.len() > MAX_PAGES) {
            self.held -= self.kept.pop_front().map_or(0, |oldest| oldest.held);
        }
        kept
    }

    /// The partition is gone.
    pub(super) fn forget(&mut self, part: u32) {
        self.kept.retain(|kept| kept.part != part);
        self.held = self.kept.iter().map(|kept| kept.held).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use posthorn_domain::record::Stored;
    use posthorn_storage::log::behaviour::record;

    fn waiter(next: u64) -> Waiter {
        Waiter { subscription: SubscriptionId::make(), lane: LaneKey { part: 1, replay: None }, next }
    }

    fn page(offsets: std::ops::Range<u64>) -> Page {
        let next = offsets.end;
        let records = offsets.map(|offset| Arc::new(Stored::new(offset, record("a", 1), None))).collect();
        Page { records, gaps: Vec::new(), next }
    }

    #[test]
    fn lanes_at_the_same_place_share_a_read() {
        let mut pages = Pages::new(1 << 20);
        assert_eq!(pages.join(1, waiter(100)), Join::Read);
        assert_eq!(
            [pages.join(1, waiter(100)), pages.join(1, waiter(300)), pages.join(1, waiter(99))],
            [Join::Joined, Join::Joined, Join::Read]
        );
        assert_eq!(pages.join(2, waiter(100)), Join::Read);
        assert_eq!(pages.ended(1, 100).iter().map(|waiter| waiter.next).collect::<Vec<_>>(), [100, 100, 300]);
        assert!(pages.ended(1, 100).is_empty());
        for other in 0..6 {
            assert_eq!(pages.join(10 + other, waiter(0)), Join::Read);
        }
        assert_eq!((pages.join(20, waiter(0)), pages.join(2, waiter(101))), (Join::Full, Join::Joined));
    }

    #[test]
    fn the_newest_pages_are_kept_within_bytes() {
        let mut pages = Pages::new(12_500);
        pages.keep(1, 0, page(0..10), None);
        let one = pages.held();
        assert!(one > 5600 && pages.find(1, 9).is_some() && pages.find(1, 10).is_none() && pages.find(2, 3).is_none());
        pages.keep(1, 10, page(10..20), None);
        pages.keep(2, 0, page(0..10), None);
        assert!(pages.held() <= 12_500 && pages.find(1, 5).is_none() && pages.find(2, 5).is_some());
        pages.keep(1, 50, page(50..900), None);
        assert!(pages.find(2, 5).is_none() && pages.find(1, 60).is_some(), "the newest is kept, however large");
        pages.forget(1);
        assert_eq!((pages.held(), pages.find(1, 60).is_none()), (0, true));
    }
}
