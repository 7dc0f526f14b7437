//! The rows of the delivery state.

use bytes::Bytes;
use posthorn_domain::ids::{DeadLetterId, DeliveryId, MessageId, ReplayId, SubscriptionId};
use posthorn_domain::names::TopicName;
use posthorn_domain::node::ReplayState;
use posthorn_domain::position::Position;
use posthorn_domain::problem::Fault;
use posthorn_domain::reason::Reason;
use posthorn_domain::time::Time;

/// All lanes of a shard that have no [`LaneState`] have passed `offset`. The key is everything but `offset`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The topic.
    pub topic: TopicName,
    /// Which life of the topic.
    pub incarnation: u64,
    /// The partition.
    pub partition: u32,
    /// Which shard of `shards` wrote it.
    pub shard: u16,
    /// Into how many shards the lanes were split.
    pub shards: u16,
    /// The next offset to route.
    pub offset: u64,
}

/// A lane that is not at its base. The key is everything up to `replay`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneState {
    /// The subscription.
    pub subscription: SubscriptionId,
    /// The topic.
    pub topic: TopicName,
    /// Which life of the topic.
    pub incarnation: u64,
    /// The partition.
    pub partition: u32,
    /// The replay that it is, if it is one.
    pub replay: Option<ReplayId>,
    /// Everything below is settled.
    pub next: u64,
    /// Settled offsets above `next`, sorted.
    pub settled: Vec<u64>,
    /// Where a replay ends.
    pub until: Option<u64>,
}

/// Where a subscription that was first seen started. The key is everything but `offsets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The subscription.
    pub subscription: SubscriptionId,
    /// The topic.
    pub topic: TopicName,
    /// Which life of the topic.
    pub incarnation: u64,
    /// First offset to deliver, by partition.
    pub offsets: Vec<u64>,
}

/// What is wrong with a subscription's endpoint, if anything is. The key is `subscription`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The subscription.
    pub subscription: SubscriptionId,
    /// When the first of the attempts ended that have all failed.
    pub failing_since: Option<Time>,
    /// Whether operators were told that it is down.
    pub told_down: bool,
}

/// A delivery that waits for its next attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// To whom.
    pub subscription: SubscriptionId,
    /// The delivery.
    pub delivery: DeliveryId,
    /// The event.
    pub message: MessageId,
    /// When to try next.
    pub due: Time,
    /// Attempts made so far.
    pub attempts: u32,
    /// When the first was made.
    pub first_attempt_at: Time,
    /// Where the event's bytes are.
    pub source: RetrySource,
    /// Hash of the ordering key, for ordered subscriptions.
    pub key_hash: Option<u64>,
    /// What went wrong last; at most 200 bytes are kept.
    pub last_error: String,
    /// The replay that it belongs to, if it does; nil when an earlier version wrote the row.
    pub replay: Option<ReplayId>,
    /// Whether a person asked for it.
    pub manual: bool,
}

/// The key of a [`Retry`]. A retry that is put off is deleted by its old id and put again, in one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RetryId {
    /// To whom.
    pub subscription: SubscriptionId,
    /// When it is due.
    pub due: Time,
    /// The delivery.
    pub delivery: DeliveryId,
    /// Whether it belongs to a replay.
    pub replay: bool,
    /// Whether a person asked for it.
    pub manual: bool,
}

impl Retry {
    /// Its key.
    pub fn id(&self) -> RetryId {
        let Self { subscription, due, delivery, replay, manual, .. } = *self;
        RetryId { subscription, due, delivery, replay: replay.is_some(), manual }
    }
}

/// Where the bytes of a retried event are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetrySource {
    /// In the topic's log.
    Log {
        /// The topic.
        topic: TopicName,
        /// Which life of the topic.
        incarnation: u64,
        /// The partition.
        partition: u32,
        /// The offset.
        offset: u64,
    },
    /// In a dead letter.
    DeadLetter(DeadLetterId),
}

/// A delivery, or a refused event, that will not be tried again by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// Its id; carries the time at which it was made.
    pub id: DeadLetterId,
    /// Why.
    pub reason: Reason,
    /// Why, in words; at most 4 KiB are kept.
    pub detail: String,
    /// Since when.
    pub at: Time,
    /// The topic.
    pub topic: TopicName,
    /// Where in the log, when it got there.
    pub position: Option<Position>,
    /// The event, as [`posthorn_domain::record::Record`] writes it.
    pub record: Bytes,
    /// To whom; `None` for a refused event.
    pub subscription: Option<SubscriptionId>,
    /// The delivery, when there was one.
    pub delivery: Option<DeliveryId>,
    /// The replay that it belongs to, if it does.
    pub replay: Option<ReplayId>,
    /// Attempts made.
    pub attempts: u32,
    /// What a schema found.
    pub errors: Vec<Fault>,
}

/// A range that is, or was, delivered again to one subscription. The key is `subscription` and `id`. How far it has come stands in
/// its lanes.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// To whom.
    pub subscription: SubscriptionId,
    /// Its id.
    pub id: ReplayId,
    /// Whether it goes on.
    pub state: ReplayState,
    /// Where it began, as it was asked for.
    pub from: String,
    /// Where it ends, as it was asked for; the end of then when absent.
    pub to: Option<String>,
    /// Deliveries a second.
    pub rate: Option<f64>,
    /// Events in its range, wanted or not.
    pub events: u64,
    /// How many of them were looked at when it ended; while it runs its lanes tell.
    pub considered: u64,
    /// Deliveries that succeeded.
    pub delivered: u64,
    /// Deliveries that were given up.
    pub failed: u64,
    /// Deliveries that wait for another attempt. Of one that was cancelled: that have not been deleted yet.
    pub waiting: u64,
    /// When it was asked for.
    pub started_at: Time,
    /// When it was done or cancelled.
    pub ended_at: Option<Time>,
}

/// A reader with a place of its own on the server. The key is `name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderRow {
    /// Its name, at most 255 bytes.
    pub name: String,
    /// What it was made with, as JSON.
    pub document: String,
}

/// How far a reader has come on one partition. The key is everything but `next`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderCursor {
    /// The reader.
    pub reader: String,
    /// The topic.
    pub topic: TopicName,
    /// Which life of the topic.
    pub incarnation: u64,
    /// The partition.
    pub partition: u32,
    /// The next offset that it is to get.
    pub next: u64,
}
