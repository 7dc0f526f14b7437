//! After a process that did not end in good order: which attempts it may have made already. An upper bound, and only counted; that
//! nothing is lost does not depend on it. No I/O here.

use foldhash::HashMap;
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::time::Time;

use super::item::{Item, Origin};
use super::lane::LaneKey;

/// What an earlier process may have done beyond what it had stored. Empty after one that ended in good order.
#[derive(Default)]
pub(super) struct Doubts {
    /// When this process began, if there is any doubt.
    since: Option<Time>,
    /// How much the earlier process can have held in memory of a lane that was behind, and of retries.
    memory: u32,
    /// Where each partition ended when it was opened.
    ends: HashMap<u32, u64>,
    /// Subscriptions that it knew, with how many of their retries may still be repetitions.
    known: HashMap<SubscriptionId, u32>,
    /// Lanes that were behind, with how many of their events may still be.
    behind: HashMap<(SubscriptionId, LaneKey), u32>,
}

impl Doubts {
    /// After a process that was killed; this one began at `now`.
    pub(super) fn after_a_crash(now: Time, memory: usize) -> Self {
        Self { since: Some(now), memory: u32::try_from(memory).unwrap_or(u32::MAX), ..Self::default() }
    }

    /// A partition that ends there.
    pub(super) fn opened(&mut self, part: u32, end: u64) {
        if self.since.is_some() {
            self.ends.insert(part, end);
        }
    }

    /// A subscription that the earlier process knew.
    pub(super) fn restored(&mut self, id: SubscriptionId) {
        if self.since.is_some() {
            self.known.insert(id, self.memory);
        }
    }

    /// One of its lanes, which goes on at `next` on a partition that was fed up to `fed`.
    pub(super) fn lane(&mut self, id: SubscriptionId, lane: LaneKey, next: u64, fed: u64) {
        if self.since.is_some() && next.saturating_add(u64::from(self.memory)) < fed {
            self.behind.insert((id, lane), self.memory);
        }
    }

    /// How many of the deliveries that go out now may have gone out before.
    pub(super) fn count(&mut self, id: SubscriptionId, items: &[Item]) -> u64 {
        let Some(since) = self.since else { return 0 };
        let Some(retries) = self.known.get_mut(&id) else { return 0 };
        let mut count = 0;
        for item in items {
            let doubted = match &item.origin {
                Origin::Retry(retry) => retry.due <= since && take(retries),
                Origin::Lane(key, offset) => {
                    self.ends.get(&key.part).is_some_and(|end| offset < end) && self.behind.get_mut(&(id, *key)).is_none_or(take)
                }
            };
            count += u64::from(doubted);
        }
        count
    }
}

fn take(left: &mut u32) -> bool {
    let any = *left > 0;
    *left = left.saturating_sub(1);
    any
}
