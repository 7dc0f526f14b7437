//! What of one subscription waits for another attempt. What is due first is in memory; beyond that only the store has it, and it is known
//! from where on. What has an ordering key is always in memory: order is kept of what is there, and there are few. Pure.

use std::collections::BTreeMap;

use foldhash::HashSet;
use posthorn_domain::ids::DeliveryId;
use posthorn_domain::time::Time;
use posthorn_storage::state::{Retry, RetryId};

/// How far memory has all that waits without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    /// What an earlier process left was not looked at.
    Nothing,
    /// Up to this one.
    To(RetryId),
    /// To the end.
    All,
}

/// The deliveries.
pub(super) struct Backlog {
    memory: BTreeMap<RetryId, Retry>,
    /// Those in memory that have a key.
    keyed: usize,
    /// Those without that memory holds.
    limit: usize,
    reach: Reach,
    /// How many only the store has.
    beyond: u64,
    load: Option<Load>,
    /// Whether the store is being rid of some.
    sweeping: bool,
}

/// What happens while the store is read.
#[derive(Default)]
struct Load {
    /// The first of those that only the store has since: it may have been read, or not.
    since: Option<RetryId>,
    /// Those that ended, and may have been read all the same.
    ended: HashSet<RetryId>,
}

/// What is to be read of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    /// All that an earlier process left.
    Left,
    /// The next behind this one.
    Behind(RetryId),
}

/// What was read of the store, in order.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) retries: Vec<Retry>,
    /// Up to where they are all; none when there are no more.
    pub(super) upto: Option<RetryId>,
    /// How many there are in all, where that was not known.
    pub(super) counted: u64,
}

impl Backlog {
    /// Of which memory holds `limit`; with `left` an earlier process left some in the store.
    pub(super) fn new(limit: usize, left: bool) -> Self {
        let reach = if left { Reach::Nothing } else { Reach::All };
        Self { memory: BTreeMap::new(), keyed: 0, limit: limit.max(1), reach, beyond: 0, load: None, sweeping: false }
    }

    /// Those in memory, by when they are due.
    pub(super) fn in_memory(&self) -> &BTreeMap<RetryId, Retry> {
        &self.memory
    }

    /// How many in memory have a key.
    pub(super) fn keyed(&self) -> usize {
        self.keyed
    }

    /// How many there are. After a restart those that are put while the store is counted may count twice, until memory has all.
    pub(super) fn len(&self) -> u64 {
        self.memory.len() as u64 + self.beyond
    }

    /// How many of them only the store has.
    pub(super) fn beyond(&self) -> u64 {
        self.beyond
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.memory.is_empty() && self.has_all()
    }

    /// Whether memory has all of them.
    pub(super) fn has_all(&self) -> bool {
        self.reach == Reach::All
    }

    /// Whether memory has all that have a key.
    pub(super) fn has_all_keyed(&self) -> bool {
        self.reach != Reach::Nothing
    }

    /// Whether the store is being read or swept.
    pub(super) fn is_busy(&self) -> bool {
        self.load.is_some() || self.sweeping
    }

    /// Whether the store is being rid of some: what is put meanwhile might go too.
    pub(super) fn is_swept(&self) -> bool {
        self.sweeping
    }

    /// One more waits, which the store has or will have by the next checkpoint. Whether it is new in memory.
    pub(super) fn put(&mut self, retry: Retry) -> bool {
        let (id, keyed) = (retry.id(), retry.key_hash.is_some());
        if !keyed && Reach::To(id) > self.reach {
            self.leave(id);
            return false;
        }
        let is_new = self.memory.insert(id, retry).is_none();
        self.keyed += usize::from(is_new && keyed);
        if self.unkeyed() > self.limit {
            self.evict();
        }
        is_new
    }

    /// Takes one out of memory.
    pub(super) fn take(&mut self, id: &RetryId) -> Option<Retry> {
        let retry = self.memory.remove(id)?;
        self.keyed -= usize::from(retry.key_hash.is_some());
        Some(retry)
    }

    /// Whether only the store may have it: what it once had may have ended since.
    pub(super) fn is_beyond(&self, retry: &Retry) -> bool {
        Reach::To(retry.id()) > self.reach && (retry.key_hash.is_none() || !self.has_all_keyed())
    }

    /// One that only the store has is dealt with.
    pub(super) fn take_beyond(&mut self) {
        self.beyond = self.beyond.saturating_sub(1);
    }

    /// One that was taken is deleted from the store by the next checkpoint.
    pub(super) fn ended(&mut self, id: RetryId) {
        if let Some(load) = self.load.as_mut().filter(|_| Reach::To(id) > self.reach) {
            load.ended.insert(id);
        }
    }

    /// What is to be read next, once all that was put is in the store: when memory has few and the store more. Until
    /// [`Backlog::take_up`] nothing else is.
    pub(super) fn begin_load(&mut self) -> Option<Span> {
        let few = self.unkeyed() < (self.limit / 4).max(1);
        let span = match self.reach {
            Reach::Nothing => Span::Left,
            Reach::To(id) => Span::Behind(id),
            Reach::All => return None,
        };
        (few && !self.is_busy()).then(|| {
            self.load = Some(Load::default());
            span
        })
    }

    /// Takes up what was read, but for what `is_known`; `on_new` hears of each.
    pub(super) fn take_up(&mut self, found: Found, is_known: impl Fn(&Retry) -> bool, mut on_new: impl FnMut(&Retry)) {
        let Load { since, ended } = self.load.take().unwrap_or_default();
        self.beyond += found.counted;
        let (mut cut, mut last) = (false, None);
        for retry in found.retries {
            let (id, keyed) = (retry.id(), retry.key_hash.is_some());
            // Behind one that the reading may have missed, memory would not have all.
            cut |= !keyed && (since.is_some_and(|since| id >= since) || self.unkeyed() >= self.limit);
            if cut && !keyed {
                continue;
            }
            if !cut && since.is_none_or(|since| id < since) && found.upto.is_none_or(|upto| id <= upto) {
                last = Some(id);
            }
            if ended.contains(&id) || self.memory.contains_key(&id) || is_known(&retry) {
                continue;
            }
            on_new(&retry);
            self.keyed += usize::from(keyed);
            self.memory.insert(id, retry);
            self.take_beyond();
        }
        let upto = match (cut || since.is_some(), found.upto) {
            (false, None) => {
                (self.reach, self.beyond) = (Reach::All, 0);
                return;
            }
            (false, upto) => upto,
            (true, _) => last,
        };
        self.reach = self.reach.max(upto.map_or(Reach::Nothing, Reach::To));
        if let (Reach::Nothing, Some(id)) = (self.reach, since) {
            self.reach =
                Reach::To(RetryId { due: Time::ZERO, delivery: DeliveryId::from_bytes([0; 16]), replay: false, manual: false, ..id });
        }
    }

    /// The store is rid of some from now on, which memory has no more.
    pub(super) fn begin_sweep(&mut self) {
        self.sweeping = true;
    }

    /// So many are gone.
    pub(super) fn end_sweep(&mut self, removed: u64) {
        self.sweeping = false;
        self.swept(removed);
    }

    /// The store was rid of so many that memory did not have.
    pub(super) fn swept(&mut self, removed: u64) {
        self.beyond = self.beyond.saturating_sub(removed);
    }

    fn unkeyed(&self) -> usize {
        self.memory.len() - self.keyed
    }

    /// The last without a key makes room.
    fn evict(&mut self) {
        let mut last = self.memory.values().rev().filter(|retry| retry.key_hash.is_none()).map(Retry::id);
        let (Some(gone), Some(before)) = (last.next(), last.next()) else { return };
        self.memory.remove(&gone);
        self.reach = Reach::To(before);
        self.leave(gone);
    }

    fn leave(&mut self, id: RetryId) {
        self.beyond += 1;
        if let Some(load) = &mut self.load {
            load.since = Some(load.since.map_or(id, |since| since.min(id)));
        }
    }
}

#[cfg(test)]
#[path = "backlog_tests.rs"]
mod tests;
