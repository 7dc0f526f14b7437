//! What was tried: attempt records, gathered by delivery.
//!
//! A delivery is listed at its newest attempt. One that has not ended its first attempt has no record yet and is not listed.

use std::sync::Arc;

use posthorn_domain::ids::{DeliveryId, MessageId};
use posthorn_domain::names::TopicName;
use posthorn_domain::node::{Attempt as Shown, Delivery, DeliveryFilter};
use posthorn_domain::problem::{Code, Problem};
use posthorn_storage::attempts::{Attempt, DeliveryPrefix, Found, Mark, Outcome, Query, event_hash};
use serde_json::{Value, json};

use super::{Answers, bad_parameter, failed};

/// Records that one page looks at.
const SCAN: usize = 100_000;
/// Attempts of one delivery that are shown.
const MAX_ATTEMPTS: usize = 200;
/// Deliveries of one page.
const MAX_LIMIT: u32 = 1000;

impl Answers {
    pub(super) async fn deliveries(&self, filter: DeliveryFilter, limit: u32, token: Option<String>) -> Result<Value, Problem> {
        let mut before: Option<Mark> = match token {
            Some(token) => Some(token.parse().map_err(|error| bad_parameter("page_token", error))?),
            None => None,
        };
        let limit = limit.clamp(1, MAX_LIMIT) as usize;
        let Some(query) = query(&filter)? else { return Ok(json!({"items": [], "next_page_token": null})) };
        let mut items: Vec<Delivery> = Vec::new();
        let mut scanned = 0;
        loop {
            let found = self.find(query.clone(), before, limit - items.len(), SCAN).await?;
            scanned += found.attempts.len().max(1);
            for attempt in found.attempts {
                if items.iter().any(|item| same(item, &attempt)) {
                    continue;
                }
                if let Some(delivery) = self.gather(attempt).await?.filter(|delivery| wanted(&filter, delivery)) {
                    items.push(delivery);
                }
            }
            before = found.next;
            if before.is_none() || items.len() >= limit || scanned >= SCAN {
                break;
            }
        }
        Ok(json!({"items": items, "next_page_token": before.map(|mark| mark.to_string())}))
    }

    pub(super) async fn one_delivery(&self, id: &str) -> Result<Value, Problem> {
        let unknown = || Problem::new(Code::NotFound, format!("there is no record of a delivery {id}"));
        let parsed: DeliveryId = id.parse().map_err(|error| bad_parameter("id", error))?;
        let query = Query { delivery: Some(DeliveryPrefix::from(parsed)), ..Query::default() };
        let newest = self.find(query, None, 1, usize::MAX).await?.attempts.into_iter().next().ok_or_else(unknown)?;
        let delivery = self.gather(newest).await?.filter(|delivery| delivery.id == id).ok_or_else(unknown)?;
        super::json(&delivery)
    }

    async fn find(&self, query: Query, before: Option<Mark>, limit: usize, scan: usize) -> Result<Found, Problem> {
        let attempts = Arc::clone(&self.attempts);
        let found = self.blocking.spawn_blocking(move || attempts.find(&query, before, limit, scan)).await;
        found.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
    }

    /// The delivery of which `attempt` is the newest; `None` when there is a newer one, at which it is listed.
    async fn gather(&self, attempt: Attempt) -> Result<Option<Delivery>, Problem> {
        let alone = attempt.number == 1 && matches!(attempt.outcome, Outcome::Delivered | Outcome::Dropped);
        let attempts = if alone {
            vec![attempt]
        } else {
            let query = Query { subscription: Some(attempt.subscription), delivery: Some(attempt.delivery), ..Query::default() };
            let found = self.find(query, None, MAX_ATTEMPTS, usize::MAX).await?.attempts;
            if found.first().is_some_and(|newest| (newest.at, newest.number) != (attempt.at, attempt.number)) {
                return Ok(None);
            }
            found
        };
        let Some(newest) = attempts.first() else { return Ok(None) };
        let (event_id, message) = self.event_of(newest).await;
        let full = message.map(|message| DeliveryId::of(newest.subscription, message));
        let id = full.filter(|id| DeliveryPrefix::from(*id) == newest.delivery).unwrap_or_else(|| padded(newest.delivery));
        Ok(Some(Delivery {
            id: id.to_string(),
            message: message.map(|message| message.to_string()).unwrap_or_default(),
            subscription: newest.subscription.to_string(),
            topic: newest.topic.to_string(),
            partition: newest.position.partition,
            offset: newest.position.offset,
            event_id,
            status: status(newest.outcome).to_owned(),
            next_attempt_at: newest.next_attempt_at.filter(|_| newest.outcome == Outcome::Retry),
            attempts: attempts.iter().rev().map(shown).collect(),
        }))
    }

    /// The event's `id` and message id, while the log still has it.
    async fn event_of(&self, attempt: &Attempt) -> (Option<String>, Option<MessageId>) {
        let route = self.live.load().topics.get(&attempt.topic).cloned();
        let Some(route) = route else { return (None, None) };
        let place = attempt.position;
        let page = route.log.read(place.partition, place.offset, 1, 1).await;
        let stored = page.ok().and_then(|page| page.records.into_iter().find(|stored| stored.offset == place.offset));
        let same = stored.filter(|stored| event_hash(stored.record.event.id()) == attempt.event_hash);
        match same {
            Some(stored) => {
                let id = stored.record.event.id().to_owned();
                (Some(id), Some(stored.message_id(&attempt.topic)))
            }
            None => (None, None),
        }
    }
}

/// `None` when nothing can match: what is in flight for the first time has no record.
fn query(filter: &DeliveryFilter) -> Result<Option<Query>, Problem> {
    let outcome = match filter.status.as_deref() {
        None => None,
        Some("delivered") => Some(Outcome::Delivered),
        Some("waiting") => Some(Outcome::Retry),
        Some("dead_lettered") => Some(Outcome::DeadLettered),
        Some("dropped") => Some(Outcome::Dropped),
        Some("in_flight") => return Ok(None),
        Some(other) => {
            let detail = format!("`{other}` is not one of waiting, in_flight, delivered, dead_lettered, dropped");
            return Err(bad_parameter("status", detail));
        }
    };
    let topic: Option<TopicName> = match &filter.topic {
        Some(topic) => Some(topic.parse().map_err(|error| bad_parameter("topic", error))?),
        None => None,
    };
    let event_hash = filter.event_id.as_deref().map(event_hash);
    Ok(Some(Query { subscription: filter.subscription, topic, outcome, event_hash, ..Query::default() }))
}

/// Different events may share a hash; an event that is gone is given the benefit of the doubt.
fn wanted(filter: &DeliveryFilter, delivery: &Delivery) -> bool {
    let event = match (&filter.event_id, &delivery.event_id) {
        (Some(wanted), Some(id)) => wanted == id,
        _ => true,
    };
    event && filter.status.as_ref().is_none_or(|status| *status == delivery.status)
}

fn same(item: &Delivery, attempt: &Attempt) -> bool {
    let prefix = item.id.parse::<DeliveryId>().map(DeliveryPrefix::from);
    prefix == Ok(attempt.delivery) && item.subscription == attempt.subscription.to_string()
}

/// What can be said of an id whose event is gone: the part that was recorded.
fn padded(prefix: DeliveryPrefix) -> DeliveryId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&prefix.0);
    DeliveryId::from_bytes(bytes)
}

const fn status(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Delivered => "delivered",
        Outcome::Retry => "waiting",
        Outcome::DeadLettered => "dead_lettered",
        Outcome::Dropped => "dropped",
    }
}

fn shown(attempt: &Attempt) -> Shown {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Shown {
        number: attempt.number,
        at: attempt.at,
        duration_ms: u64::from(attempt.duration_ms),
        status_code: attempt.status,
        // A status speaks for itself; `error` is for what happened without one, or to the body behind one (interfaces §4).
        error: Some(attempt.error.clone()).filter(|error| !error.is_empty() && !error.starts_with("status_")),
        response_head: Some(text(&attempt.response_head)).filter(|head| !head.is_empty()),
    }
}
