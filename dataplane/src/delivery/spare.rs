//! How much those that are behind may do beside live traffic: as many requests at the same time as there are processors to spare for.
//! Pure, but for what the shards tell each other.
//!
//! The sign is how long what was accepted waits for a thread that writes it and then for its shard: next to nothing while a processor is
//! free, milliseconds when threads wait for one. Syncs, networks and endpoints are not in it. Once it is too long, at whichever shard, those
//! that are behind halve what they do; while it is not they do a little more; and without live traffic nothing holds them back. Where all are
//! behind there is nobody to stand back for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use posthorn_domain::time::Time;

/// Longer than this live events do not wait where there is a processor to spare.
pub(super) const LATE: Duration = Duration::from_millis(2);
/// How often the limit changes, in milliseconds.
const INTERVAL: u64 = 10;
/// After so many without live traffic nobody is stood back for.
const QUIET: u64 = 100;
/// In so many milliseconds beside live traffic it grows by one.
const GROWS: f64 = 50.0;
/// Less it does not become: whoever is behind comes to an end.
const LEAST: f64 = 2.0;
/// Beyond this there is no limit.
const MOST: f64 = 10_000.0;

/// What all shards of a node have seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Times that live events came in.
    live: AtomicU64,
    /// Those that had waited too long.
    late: AtomicU64,
}

/// One shard's share.
#[derive(Debug)]
pub(super) struct Spare {
    seen: Arc<Seen>,
    /// What had been seen when the limit changed last, when that was, and when there was live traffic.
    live: u64,
    late: u64,
    at: Time,
    last_live: Time,
    /// Requests at the same time of those that are behind.
    limit: f64,
    in_flight: usize,
}

impl Spare {
    pub(super) fn new(seen: Arc<Seen>) -> Self {
        Self { seen, live: 0, late: 0, at: Time::ZERO, last_live: Time::ZERO, limit: f64::INFINITY, in_flight: 0 }
    }

    /// Events for those that are not behind have waited so long for the shard.
    pub(super) fn heard(&self, waited: Duration) {
        self.seen.live.fetch_add(1, Ordering::Relaxed);
        if waited > LATE {
            self.seen.late.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether those that are behind have as much in flight as they may.
    pub(super) fn is_full(&self) -> bool {
        self.in_flight as f64 >= self.limit
    }

    /// A request of one that is behind begins.
    pub(super) fn began(&mut self) {
        self.in_flight += 1;
    }

    /// It has ended.
    pub(super) fn ended(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Follows what was seen; once a turn.
    pub(super) fn adjust(&mut self, now: Time) {
        let passed = now.millis().saturating_sub(self.at.millis());
        if passed < INTERVAL {
            return;
        }
        self.at = now;
        let live = self.seen.live.load(Ordering::Relaxed);
        let late = self.seen.late.load(Ordering::Relaxed);
        if live != self.live {
            self.last_live = now;
        }
        let is_quiet = now.millis() >= self.last_live.millis() + QUIET;
        self.limit = match late != self.late {
            true => (self.limit.min(self.in_flight as f64) / 2.0).max(LEAST),
            false if is_quiet => self.limit * 2.0,
            false => self.limit + passed as f64 / GROWS,
        };
        (self.live, self.late) = (live, late);
        if self.limit > MOST {
            self.limit = f64::INFINITY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Time passes in steps of an interval, each with this wait of live events, if there were any.
    fn pass(spare: &mut Spare, steps: u64, waited: Option<u64>) {
        for _ in 0..steps {
            if let Some(waited) = waited {
                spare.heard(Duration::from_millis(waited));
            }
            spare.adjust(spare.at.after(Duration::from_millis(INTERVAL)));
        }
    }

    /// How many begin until it is full.
    fn begin(spare: &mut Spare) -> usize {
        let mut most = 0;
        while most < 1000 && !spare.is_full() {
            spare.began();
            most += 1;
        }
        (0..most).for_each(|_| spare.ended());
        most
    }

    #[test]
    fn those_behind_do_less_while_live_events_wait_and_more_again_when_they_do_not() {
        let mut spare = Spare::new(Arc::default());
        pass(&mut spare, 5, Some(0));
        assert_eq!(begin(&mut spare), 1000, "nothing holds them back");
        (0..64).for_each(|_| spare.began());
        pass(&mut spare, 1, Some(3));
        (0..64).for_each(|_| spare.ended());
        assert_eq!(begin(&mut spare), 32);
        pass(&mut spare, 100, Some(3));
        assert_eq!(begin(&mut spare), 2, "they come to an end all the same");
        pass(&mut spare, 100, Some(0));
        assert_eq!(begin(&mut spare), 22, "one more in 50 ms");
        pass(&mut spare, 9, None);
        assert!(begin(&mut spare) < 30, "a pause is not the end");
        pass(&mut spare, 12, None);
        assert_eq!(begin(&mut spare), 1000, "nobody is there to stand back for");
    }

    #[test]
    fn a_shard_stands_back_for_the_live_traffic_of_another() {
        let seen = Arc::new(Seen::default());
        let (mut behind, live) = (Spare::new(Arc::clone(&seen)), Spare::new(seen));
        (0..8).for_each(|_| behind.began());
        live.heard(Duration::from_millis(5));
        behind.adjust(Time::from_millis(INTERVAL));
        assert!(behind.is_full());
    }
}
