//! What a shard tells operators of. The fate of operational events themselves is not among it: a dead subscriber of theirs would
//! otherwise cause the next ones.

use std::ops::Range;

use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::names::TopicName;
use posthorn_domain::operations::TOPIC;
use posthorn_domain::reason::Reason;
use posthorn_domain::resource::{Status, Subscription};

use super::item::Item;
use super::shard::Context;
use super::subscriber::Subscriber;
use crate::operations::{Kind, Note};

/// Why a subscription is disabled whose attempts have all failed for too long, as its `status_reason` says.
pub(super) const DISABLE_AFTER: &str = "disable_after";

/// A delivery ended without success.
pub(super) fn given_up(context: &Context, id: SubscriptionId, topic: &TopicName, reason: Reason, kept: bool) {
    if topic.as_str() == TOPIC {
        return;
    }
    let kind = if kept { Kind::DeliveryDeadLettered } else { Kind::DeliveryDropped };
    let note = Note::new(kind, id, reason.as_str()).with("subscription", id.to_string());
    context.operations.tell(note.with("topic", topic.as_str()));
}

/// A subscription lost so many events of a range to retention: they are `kept` as dead letters, or dropped.
pub(super) fn retention_passed(
    context: &Context,
    id: SubscriptionId,
    topic: &TopicName,
    partition: u32,
    (lost, count): (Range<u64>, u64),
    kept: bool,
) {
    if count == 0 {
        return;
    }
    let outcome = if kept { "dead_lettered" } else { "dropped" };
    metrics::counter!("posthorn_lane_retention_passed_total", "topic" => topic.to_string(), "outcome" => outcome).increment(count);
    if topic.as_str() == TOPIC {
        return;
    }
    let note = Note::new(Kind::RetentionPassed, id, "").with("subscription", id.to_string());
    let note = note.with("topic", topic.as_str()).with("partition", partition).with("from", lost.start).with("to", lost.end);
    context.operations.tell(note.with("outcome", outcome).times(count));
}

/// A request ended, and was `answered` or not; the breaker has heard of it.
pub(super) fn endpoint(context: &Context, subscriber: &mut Subscriber, items: &[Item], answered: bool, error: &str) {
    let id = subscriber.id();
    let is_open = subscriber.breaker.is_open();
    if is_open && !subscriber.told_down && items.iter().any(|item| item.topic.as_str() != TOPIC) {
        subscriber.told_down = true;
        let note = Note::new(Kind::EndpointDown, id, "").with("subscription", id.to_string());
        context.operations.tell(note.with("error", error));
    } else if answered && !is_open && std::mem::take(&mut subscriber.told_down) {
        context.operations.tell(Note::new(Kind::EndpointRecovered, id, "").with("subscription", id.to_string()));
    }
}

/// A subscription changed: says so when it is disabled now and was not before.
pub(super) fn disabled(context: &Context, before: &Subscription, after: &Subscription) {
    if after.spec.status != Status::Disabled || before.spec.status == Status::Disabled {
        return;
    }
    // Without a reason it was a person who wrote it so.
    let reason = after.status_reason.as_deref().unwrap_or("admin");
    let note = Note::new(Kind::SubscriptionDisabled, after.id, reason).with("subscription", after.id.to_string());
    context.operations.tell(note.with("name", after.spec.name.as_str()).with("owner", after.spec.owner.as_str()));
}
