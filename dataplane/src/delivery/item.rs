//! One delivery on its way: what is picked, sent and settled.

use std::sync::Arc;

use posthorn_domain::ids::{DeliveryId, MessageId, ReplayId, SubscriptionId};
use posthorn_domain::names::TopicName;
use posthorn_domain::position::Position;
use posthorn_domain::record::Stored;
use posthorn_domain::time::Time;
use posthorn_storage::state::{Retry, RetrySource};

use super::lane::LaneKey;

/// A delivery that is being attempted.
pub(super) struct Item {
    pub(super) origin: Origin,
    pub(super) topic: TopicName,
    pub(super) position: Option<Position>,
    pub(super) message: MessageId,
    pub(super) delivery: DeliveryId,
    /// Attempts made, this one included.
    pub(super) made: u32,
    pub(super) first_at: Time,
    /// The hash of its ordering key, for ordered subscriptions.
    pub(super) key_hash: Option<u64>,
    /// The replay that it is of, or whose dead letter it is.
    pub(super) replay: Option<ReplayId>,
    /// The event; a retry's is loaded when it is attempted.
    pub(super) stored: Option<Arc<Stored>>,
}

/// Where an item came from, and so how it is settled.
pub(super) enum Origin {
    /// A lane, at this offset.
    Lane(LaneKey, u64),
    /// The retry store.
    Retry(Box<Retry>),
}

impl Item {
    /// The next attempt of what waited.
    pub(super) fn again(retry: Retry) -> Self {
        let (topic, position) = match &retry.source {
            RetrySource::Log { topic, partition, offset, .. } => (topic.clone(), Some(Position { partition: *partition, offset: *offset })),
            RetrySource::DeadLetter(_) => ("unknown".parse().expect("a name"), None),
        };
        Self {
            topic,
            position,
            message: retry.message,
            delivery: retry.delivery,
            made: retry.attempts + 1,
            first_at: retry.first_attempt_at,
            key_hash: retry.key_hash,
            replay: retry.replay,
            stored: None,
            origin: Origin::Retry(Box::new(retry)),
        }
    }

    /// Whether the delivery's id is the one that subscription and event give it.
    pub(super) fn is_derived(&self, subscription: SubscriptionId) -> bool {
        match &self.origin {
            Origin::Lane(key, _) => key.replay.is_none(),
            Origin::Retry(_) => self.delivery == DeliveryId::of(subscription, self.message),
        }
    }

    /// Its place, for records of attempts; dead letters of refused events have none.
    pub(super) fn place(&self) -> Position {
        self.position.unwrap_or(Position { partition: 0, offset: 0 })
    }
}

/// The hash of an ordering key. Equal keys meet; unequal ones that meet by chance only wait for each other.
pub(super) fn key_hash(key: &str) -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    // Fixed, because hashes of waiting retries outlive the process.
    let mut hasher = foldhash::quality::FixedState::with_seed(0x706f_7374_686f_726e).build_hasher();
    hasher.write(key.as_bytes());
    hasher.finish()
}
