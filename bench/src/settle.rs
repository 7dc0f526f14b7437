//! What a shard's checkpoint writes: places of lanes, and retries that came and went, in one batch.

use posthorn_domain::ids::{DeliveryId, MessageId, SubscriptionId};
use posthorn_domain::names::TopicName;
use posthorn_domain::position::Position;
use posthorn_domain::time::Time;
use posthorn_storage::attempts::{self, Attempt, AttemptLog, Outcome, event_hash};
use posthorn_storage::state::embedded::Embedded;
use posthorn_storage::state::{Batch, LaneState, Retry, RetrySource, State as _};

use crate::Operation;

const LANES: u32 = 64;
const RETRIES: u64 = 8;
const ATTEMPTS: u64 = 64;

/// 64 lanes move on, 8 retries are put off: the old ones go, new ones come.
pub(crate) fn settle() -> Operation {
    let folder = tempfile::tempdir().expect("a folder");
    let state = Embedded::open(folder.path()).expect("the store opens");
    let subscription = SubscriptionId::make();
    let mut round = 0;
    Box::new(move || {
        let _kept = &folder;
        round += 1;
        let mut batch = Batch::new();
        for partition in 0..LANES {
            batch.put_lane(lane(subscription, partition, round));
        }
        for number in 0..RETRIES {
            batch.delete_retry(retry(subscription, number, round - 1).id());
            batch.put_retry(retry(subscription, number, round));
        }
        state.commit(batch, false).expect("the batch is kept");
    })
}

/// Records of 64 attempts that succeeded, put into the buffer and written as a block.
pub(crate) fn attempts() -> Operation {
    let folder = tempfile::tempdir().expect("a folder");
    let log = AttemptLog::open(folder.path(), attempts::Config::default()).expect("the folder is there");
    let (subscription, topic): (_, TopicName) = (SubscriptionId::make(), "github".parse().expect("a name"));
    let messages: Vec<_> = (0..ATTEMPTS).map(|n| MessageId::of_event("github", "github", "/bench", &n.to_string())).collect();
    let mut round = 0;
    Box::new(move || {
        let _kept = &folder;
        round += 1;
        for (offset, message) in (round * ATTEMPTS..).zip(&messages) {
            log.record(Attempt {
                subscription,
                topic: topic.clone(),
                position: Position { partition: 0, offset },
                message: *message,
                delivery: DeliveryId::of(subscription, *message),
                derived: true,
                event_hash: event_hash("4711"),
                number: 1,
                at: Time::from_millis(1_700_000_000_000 + round),
                duration_ms: 3,
                status: Some(204),
                outcome: Outcome::Delivered,
                error: String::new(),
                response_head: Vec::new(),
                next_attempt_at: None,
            });
        }
        log.flush().expect("the block is written");
    })
}

fn lane(subscription: SubscriptionId, partition: u32, round: u64) -> LaneState {
    let next = round * 100;
    let settled = vec![next + 2, next + 3];
    LaneState {
        subscription,
        topic: "github".parse().expect("a name"),
        incarnation: 1,
        partition,
        replay: None,
        next,
        settled,
        until: None,
    }
}

fn retry(subscription: SubscriptionId, number: u64, round: u64) -> Retry {
    let message = MessageId::of_event("github", "github", "/bench", &format!("{round}-{number}"));
    let due = Time::from_millis(1_700_000_000_000 + round * 1_000 + number);
    Retry {
        subscription,
        delivery: DeliveryId::of(subscription, message),
        message,
        due,
        attempts: 2,
        first_attempt_at: due,
        source: RetrySource::Log { topic: "github".parse().expect("a name"), incarnation: 1, partition: 0, offset: round * 100 + number },
        key_hash: None,
        last_error: "the endpoint answered 503".to_owned(),
        replay: None,
        manual: false,
    }
}
