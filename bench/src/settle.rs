//! What a shard's checkpoint writes: places of lanes, and retries that came and went, in one batch.

use posthorn_domain::ids::{DeliveryId, MessageId, SubscriptionId};
use posthorn_domain::time::Time;
use posthorn_storage::state::embedded::Embedded;
use posthorn_storage::state::{Batch, LaneState, Retry, RetrySource, State as _};

use crate::Operation;

const LANES: u32 = 64;
const RETRIES: u64 = 8;

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
