//! What was tried: attempt records, gathered by delivery.
//!
//! A delivery is listed at its newest attempt that is asked for. One that has not ended its first attempt has no record yet and is not listed.

use std::sync::Arc;

use posthorn_domain::ids::DeliveryId;
use posthorn_domain::names::TopicName;
use posthorn_domain::node::{Attempt as Shown, Delivery, DeliveryFilter};
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::record::Stored;
use posthorn_storage::attempts::{Attempt, Found, Mark, Outcome, Query, event_hash};
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
                let id = attempt.delivery.to_string();
                if items.iter().any(|item| item.id == id) {
                    continue;
                }
                if let Some(delivery) = self.listed(attempt, &query).await?.filter(|delivery| wanted(&filter, delivery)) {
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
        let parsed: DeliveryId = id.parse().map_err(|error| bad_parameter("id", error))?;
        let attempts = self.attempts_of(parsed).await?;
        let delivery = self.gather(&attempts).await;
        super::json(&delivery.ok_or_else(|| Problem::new(Code::NotFound, format!("there is no record of a delivery {id}")))?)
    }

    /// The delivery of which `attempt` is the newest that the query wants; `None` when there is a newer one, at which it is listed.
    async fn listed(&self, attempt: Attempt, query: &Query) -> Result<Option<Delivery>, Problem> {
        let alone = attempt.number == 1 && matches!(attempt.outcome, Outcome::Delivered | Outcome::Dropped);
        if alone {
            return Ok(self.gather(&[attempt]).await);
        }
        let attempts = self.attempts_of(attempt.delivery).await?;
        let newest = attempts.iter().find(|other| query.matches(other));
        if newest.is_some_and(|newest| (newest.at, newest.number) != (attempt.at, attempt.number)) {
            return Ok(None);
        }
        Ok(self.gather(&attempts).await)
    }

    /// The newest first.
    async fn attempts_of(&self, delivery: DeliveryId) -> Result<Vec<Attempt>, Problem> {
        let query = Query { delivery: Some(delivery), ..Query::default() };
        Ok(self.find(query, None, MAX_ATTEMPTS, usize::MAX).await?.attempts)
    }

    async fn find(&self, query: Query, before: Option<Mark>, limit: usize, scan: usize) -> Result<Found, Problem> {
        let attempts = Arc::clone(&self.attempts);
        let found = self.blocking.spawn_blocking(move || attempts.find(&query, before, limit, scan)).await;
        found.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
    }

    /// The delivery that has these attempts, the newest first; `None` when there are none.
    async fn gather(&self, attempts: &[Attempt]) -> Option<Delivery> {
        let newest = attempts.first()?;
        let event = self.event_of(newest).await;
        Some(Delivery {
            id: newest.delivery.to_string(),
            message: newest.message.to_string(),
            subscription: newest.subscription.to_string(),
            topic: newest.topic.to_string(),
            partition: newest.position.partition,
            offset: newest.position.offset,
            event_id: event.map(|stored| stored.record.event.id().to_owned()),
            status: newest.outcome.status().to_owned(),
            next_attempt_at: newest.next_attempt_at.filter(|_| newest.outcome == Outcome::Retry),
            attempts: attempts.iter().rev().map(shown).collect(),
        })
    }

    /// The event, while the log still has it.
    async fn event_of(&self, newest: &Attempt) -> Option<Arc<Stored>> {
        let route = self.live.load().topics.get(&newest.topic).cloned()?;
        let place = newest.position;
        let page = route.log.read(place.partition, place.offset, 1, 1).await.ok()?;
        let stored = page.records.into_iter().find(|stored| stored.offset == place.offset)?;
        // After a loss of power, or in a later topic of the name, another event may stand there.
        (stored.message_id(&newest.topic) == newest.message).then_some(stored)
    }
}

/// `None` when nothing can match: what is in flight for the first time has no record.
fn query(filter: &DeliveryFilter) -> Result<Option<Query>, Problem> {
    let outcome = match filter.status.as_deref() {
        None => None,
        Some("in_flight") => return Ok(None),
        Some(named) => {
            let detail = || format!("`{named}` is not one of waiting, in_flight, delivered, dead_lettered, dropped");
            let found = Outcome::ALL.into_iter().find(|outcome| outcome.status() == named);
            Some(found.ok_or_else(|| bad_parameter("status", detail()))?)
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
