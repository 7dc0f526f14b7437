//! Deletes what is past retention, in this order: what is needed is asked of the shards, what may be held is held, what lanes lose
//! is stored, and only then do files go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use posthorn_domain::clock::Clock;
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::names::TopicName;
use posthorn_storage::log::Expired;
use posthorn_storage::log::segments::SegmentLog;
use posthorn_storage::state::{Batch, State};
use tokio_util::sync::CancellationToken;

use crate::delivery::{Blocking, Handle};

/// How long a deletion waits for the state store. Beyond that the disk may need the room: lanes then find what is missing by
/// themselves.
const STORED_WITHIN: Duration = Duration::from_secs(10);

/// Partitions by topic and number, with the least offset that is needed.
type Needs = BTreeMap<(TopicName, u32), u64>;

/// Looks after retention.
pub struct Keeper {
    /// What it looks after.
    pub log: Arc<SegmentLog>,
    /// The shards, which know what is needed.
    pub delivery: Handle,
    /// Where deliveries wait of which memory knows nothing.
    pub state: Arc<dyn State>,
    /// The time.
    pub clock: Clock,
    /// What may be held beyond retention, over all topics.
    pub max_held_bytes: u64,
    /// Where files are looked at and deleted.
    pub blocking: Blocking,
}

impl Keeper {
    /// Runs until `shutdown`.
    pub async fn run(self, every: Duration, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(every);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => {}
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                swept = self.sweep() => if swept.is_none() {
                    tracing::warn!("retention could not be looked after this time");
                },
            }
        }
    }

    /// `None` when somebody who is to be asked did not answer.
    #[expect(clippy::cast_precision_loss, reason = "a gauge")]
    async fn sweep(&self) -> Option<()> {
        let (log, now) = (Arc::clone(&self.log), self.clock.now());
        let expired = self.blocking.run(move || log.expired(now)).await?;
        let needs = if expired.is_empty() { Needs::new() } else { self.needs(&expired).await? };
        let (going, held) = divide(expired, &needs, self.max_held_bytes);
        gauge!("posthorn_log_held_bytes").set(held as f64);
        if going.is_empty() {
            return Some(());
        }
        let mut ends = Needs::new();
        for gone in &going {
            let end = ends.entry((gone.topic.clone(), gone.partition)).or_default();
            *end = gone.offsets.end.max(*end);
        }
        let places = ends.into_iter().map(|((topic, partition), end)| (topic, partition, end)).collect();
        match tokio::time::timeout(STORED_WITHIN, self.delivery.pass(places)).await {
            Ok(true) => {}
            Ok(false) => return None,
            Err(_) => tracing::warn!("the state store takes long; segments are deleted before it has what lanes lose by it"),
        }
        // What the power may take of the state would otherwise need events that are gone.
        let state = Arc::clone(&self.state);
        if let Err(error) = self.blocking.run(move || state.commit(Batch::new(), true)).await? {
            tracing::warn!(%error, "the state store cannot be synced; segments are deleted all the same");
        }
        let log = Arc::clone(&self.log);
        let deleted = self.blocking.run(move || {
            for gone in going {
                log.delete(&gone);
            }
        });
        deleted.await
    }

    async fn needs(&self, expired: &[Expired]) -> Option<Needs> {
        let parts: BTreeSet<_> = expired.iter().map(|expired| (expired.topic.clone(), expired.partition)).collect();
        let parts: Arc<[(TopicName, u32)]> = parts.into_iter().collect();
        let needed = self.delivery.needed(Arc::clone(&parts)).await?;
        let state = Arc::clone(&self.state);
        let looked_up = self.blocking.run(move || {
            let parts = parts.iter().zip(needed);
            parts.map(|(part, (offset, spilled))| (part.clone(), offset.min(least_waiting(&*state, part, &spilled)))).collect()
        });
        looked_up.await
    }
}

/// The least offset that waiting deliveries of these subscriptions need; all are needed when the store cannot tell.
fn least_waiting(state: &dyn State, (topic, partition): &(TopicName, u32), subscriptions: &[SubscriptionId]) -> u64 {
    let least = subscriptions.iter().map(|id| match state.least_waiting(*id, topic, *partition) {
        Ok(least) => least.unwrap_or(u64::MAX),
        Err(error) => {
            tracing::warn!(%error, subscription = %id, "what waits cannot be read; its events are held");
            0
        }
    });
    least.min().unwrap_or(u64::MAX)
}

/// What goes, in order, and how many bytes are held: all that is needed, but for the oldest where that is more than `limit`.
fn divide(mut expired: Vec<Expired>, needs: &Needs, limit: u64) -> (Vec<Expired>, u64) {
    expired.sort_by_key(|expired| (expired.last, expired.offsets.start));
    let is_needed = |expired: &Expired| {
        let needed = needs.get(&(expired.topic.clone(), expired.partition));
        needed.is_some_and(|needed| *needed < expired.offsets.end)
    };
    let mut held: u64 = expired.iter().filter(|expired| is_needed(expired)).map(|expired| expired.bytes).sum();
    let mut going = Vec::new();
    for expired in expired {
        if !is_needed(&expired) {
            going.push(expired);
        } else if held > limit {
            held -= expired.bytes;
            going.push(expired);
        }
    }
    (going, held)
}

#[cfg(test)]
mod tests {
    use posthorn_domain::time::Time;

    use super::*;

    #[test]
    fn what_is_needed_is_held_and_the_oldest_goes_when_it_is_too_much() {
        let segment = |topic: &str, base: u64, last: u64| Expired {
            topic: topic.parse().expect("a name"),
            incarnation: 1,
            partition: 0,
            offsets: base..base + 10,
            bytes: 100,
            last: Time::from_millis(last),
        };
        let expired = vec![segment("a", 0, 1), segment("a", 10, 5), segment("a", 20, 6), segment("b", 0, 2), segment("b", 10, 3)];
        let needs = Needs::from([(("a".parse().expect("a name"), 0), 15), (("b".parse().expect("a name"), 0), 0)]);
        let gone = |limit| {
            let (going, held) = divide(expired.clone(), &needs, limit);
            (going.iter().map(|gone| format!("{}{}", gone.topic, gone.offsets.start)).collect::<Vec<_>>().join(" "), held)
        };
        assert_eq!(gone(400), ("a0".into(), 400));
        assert_eq!(gone(399), ("a0 b0".into(), 300));
        assert_eq!(gone(250), ("a0 b0 b10".into(), 200));
        assert_eq!(gone(0), ("a0 b0 b10 a10 a20".into(), 0));
    }
}
