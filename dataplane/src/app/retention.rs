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

use crate::delivery::{Asked, Blocking, Handle, Least};

/// How long a deletion waits for the state store. Beyond that the disk may need the room: lanes then find what is missing by
/// themselves.
const STORED_WITHIN: Duration = Duration::from_secs(10);

/// Partitions by topic and number.
type Parts<T> = BTreeMap<(TopicName, u32), T>;

/// The least offset that is needed of a partition.
#[derive(Clone, Copy)]
struct Need {
    /// Of all its events.
    any: u64,
    /// Of those that may not become dead letters.
    never_letters: u64,
}

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
        let needs = if expired.is_empty() { Parts::new() } else { self.needs(&expired).await? };
        let (going, held) = divide(expired, &needs, self.max_held_bytes);
        gauge!("posthorn_log_held_bytes").set(held as f64);
        if going.is_empty() {
            return Some(());
        }
        let mut ends = Parts::<u64>::new();
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

    async fn needs(&self, expired: &[Expired]) -> Option<Parts<Need>> {
        let mut parts = Parts::<bool>::new();
        for expired in expired {
            *parts.entry((expired.topic.clone(), expired.partition)).or_default() |= expired.never_letters;
        }
        let asked: Arc<[Asked]> = parts.into_iter().map(|((topic, partition), of_all)| Asked { topic, partition, of_all }).collect();
        let needed = self.delivery.needed(Arc::clone(&asked)).await?;
        let state = Arc::clone(&self.state);
        let looked_up = self.blocking.run(move || {
            let parts = asked.iter().zip(needed).map(|(asked, needed)| {
                let least = |least: Least| least.offset.min(least_waiting(&*state, asked, &least.spilled));
                let any = least(needed.never);
                ((asked.topic.clone(), asked.partition), Need { any, never_letters: any.min(least(needed.others)) })
            });
            parts.collect()
        });
        looked_up.await
    }
}

/// The least offset that waiting deliveries of these subscriptions need; all are needed when the store cannot tell.
fn least_waiting(state: &dyn State, asked: &Asked, subscriptions: &[SubscriptionId]) -> u64 {
    let least = subscriptions.iter().map(|id| match state.least_waiting(*id, &asked.topic, asked.partition) {
        Ok(least) => least.unwrap_or(u64::MAX),
        Err(error) => {
            tracing::warn!(%error, subscription = %id, "what waits cannot be read; its events are held");
            0
        }
    });
    least.min().unwrap_or(u64::MAX)
}

/// What goes, in order, and how many bytes are held: what is needed and what stands behind it in its partition, but for the oldest where
/// that is more than `limit`.
fn divide(mut expired: Vec<Expired>, needs: &Parts<Need>, limit: u64) -> (Vec<Expired>, u64) {
    expired.sort_by_key(|expired| (expired.last, expired.offsets.start));
    let mut needed: Vec<bool> = expired.iter().map(|expired| is_needed(expired, needs)).collect();
    loop {
        let stays = staying(&expired, &needed);
        let held = expired.iter().zip(&stays).filter_map(|(expired, stays)| stays.then_some(expired.bytes)).sum();
        match stays.iter().position(|stays| *stays).filter(|_| held > limit) {
            Some(oldest) => needed[oldest] = false,
            None => return (expired.into_iter().zip(stays).filter_map(|(expired, stays)| (!stays).then_some(expired)).collect(), held),
        }
    }
}

fn is_needed(expired: &Expired, needs: &Parts<Need>) -> bool {
    let need = needs.get(&(expired.topic.clone(), expired.partition));
    let least = need.map(|need| if expired.never_letters { need.never_letters } else { need.any });
    least.is_some_and(|least| least < expired.offsets.end)
}

/// A partition loses its segments from the front only.
fn staying(expired: &[Expired], needed: &[bool]) -> Vec<bool> {
    let mut held = BTreeSet::new();
    let stays = expired.iter().zip(needed).map(|(expired, needed)| {
        let part = (&expired.topic, expired.partition);
        let stays = *needed || held.contains(&part);
        if stays {
            held.insert(part);
        }
        stays
    });
    stays.collect()
}

#[cfg(test)]
mod tests {
    use posthorn_domain::time::Time;

    use super::*;

    fn segment(topic: &str, base: u64, last: u64) -> Expired {
        Expired {
            topic: topic.parse().expect("a name"),
            incarnation: 1,
            partition: 0,
            offsets: base..base + 10,
            bytes: 100,
            last: Time::from_millis(last),
            never_letters: false,
        }
    }

    fn gone(expired: &[Expired], needs: &Parts<Need>, limit: u64) -> (String, u64) {
        let (going, held) = divide(expired.to_vec(), needs, limit);
        (going.iter().map(|gone| format!("{}{}", gone.topic, gone.offsets.start)).collect::<Vec<_>>().join(" "), held)
    }

    fn need(topic: &str, any: u64, never_letters: u64) -> ((TopicName, u32), Need) {
        ((topic.parse().expect("a name"), 0), Need { any, never_letters })
    }

    #[test]
    fn what_is_needed_is_held_and_the_oldest_goes_when_it_is_too_much() {
        let expired = [segment("a", 0, 1), segment("a", 10, 5), segment("a", 20, 6), segment("b", 0, 2), segment("b", 10, 3)];
        let needs = Parts::from([need("a", 15, 0), need("b", 0, 0)]);
        assert_eq!(gone(&expired, &needs, 400), ("a0".into(), 400));
        assert_eq!(gone(&expired, &needs, 399), ("a0 b0".into(), 300));
        assert_eq!(gone(&expired, &needs, 250), ("a0 b0 b10".into(), 200));
        assert_eq!(gone(&expired, &needs, 0), ("a0 b0 b10 a10 a20".into(), 0));
    }

    #[test]
    fn a_segment_with_events_that_may_not_become_dead_letters_is_held_for_every_subscription() {
        let held = Expired { never_letters: true, ..segment("a", 10, 2) };
        let expired = [segment("a", 0, 1), held, segment("a", 20, 3)];
        assert_eq!(gone(&expired, &Parts::from([need("a", 30, 5)]), 400), ("a0".into(), 200));
        assert_eq!(gone(&expired, &Parts::from([need("a", 30, 5)]), 199), ("a0 a10 a20".into(), 0));
        assert_eq!(gone(&expired, &Parts::from([need("a", 30, 20)]), 400), ("a0 a10 a20".into(), 0));
    }
}
