//! The same for an event that is in the log, with what became of its deliveries.

use std::collections::HashMap;
use std::sync::Arc;

use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::position::Position;
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::record::Stored;
use posthorn_storage::attempts::Query;
use posthorn_storage::log::LogError;
use serde_json::{Value, json};

use super::{Case, Explainer};
use crate::route::TopicRoute;

/// Attempts that are looked at.
const MAX_ATTEMPTS: usize = 10_000;

/// The last attempt of each delivery of one event, as the answer shows it.
#[derive(Default)]
pub(super) struct Deliveries(HashMap<SubscriptionId, Value>);

impl Deliveries {
    pub(super) fn of(&self, subscription: SubscriptionId) -> Option<&Value> {
        self.0.get(&subscription)
    }
}

impl Explainer {
    /// Who got, gets or would get the event that is kept at this place.
    ///
    /// # Errors
    /// `topic-unknown`; `not-found` when there is no such event, or no longer.
    pub async fn stored(&self, topic: &str, partition: u32, offset: u64, all: bool) -> Result<Value, Problem> {
        let (table, route) = self.route(topic)?;
        let Stored { record, .. } = read(&route, partition, offset).await?;
        let deliveries = self.deliveries(&route, Position { partition, offset }).await?;
        let kept = Some((record.accepted_at, record.expires_at));
        let id = record.event.id().to_owned();
        let case = Case { event: record.event, direction: record.direction, kept, deliveries, all };
        let mut answer = self.run(table, route, case).await?;
        answer["partition"] = partition.into();
        answer["offset"] = offset.into();
        answer["event_id"] = id.into();
        answer["accepted_at"] = json!(record.accepted_at);
        Ok(answer)
    }

    async fn deliveries(&self, route: &TopicRoute, position: Position) -> Result<Deliveries, Problem> {
        let Some(attempts) = self.attempts.clone() else { return Ok(Deliveries::default()) };
        let topic = route.topic.name.clone();
        let query = Query { topic: Some(topic), position: Some(position), ..Query::default() };
        let found = self.blocking.spawn_blocking(move || attempts.find(&query, None, MAX_ATTEMPTS, usize::MAX)).await;
        let Ok(Ok(found)) = found else {
            let detail = "the record of attempts cannot be read just now; ask again later";
            return Err(Problem::new(Code::Unavailable, detail).with_retry_after(2));
        };
        let mut last = HashMap::new();
        for attempt in found.attempts {
            // Newest first.
            last.entry(attempt.subscription).or_insert_with(|| {
                let status = attempt.outcome.status();
                json!({"id": attempt.delivery, "status": status, "attempts": attempt.number, "at": attempt.at, "status_code": attempt.status})
            });
        }
        Ok(Deliveries(last))
    }
}

async fn read(route: &Arc<TopicRoute>, partition: u32, offset: u64) -> Result<Stored, Problem> {
    let gone = |detail: String| Problem::new(Code::NotFound, detail);
    let partitions = route.topic.spec.partitions;
    if partition >= partitions {
        return Err(gone(format!("topic `{}` has the partitions 0 to {}", route.topic.name, partitions.saturating_sub(1))));
    }
    let bounds = route.log.bounds(partition);
    let not_there = || gone(format!("partition {partition} holds the offsets from {} to before {}", bounds.start, bounds.end));
    match route.log.read(partition, offset, 1, 1).await {
        Ok(page) => {
            let found = page.records.into_iter().find(|stored| stored.offset == offset);
            found.map(|stored| Stored::clone(&stored)).ok_or_else(not_there)
        }
        Err(LogError::BelowStart { .. }) => Err(not_there()),
        Err(error) => {
            tracing::warn!(topic = route.topic.name.as_str(), %error, "an event cannot be read to be explained");
            Err(Problem::new(Code::Unavailable, "the log cannot be read just now; ask again later").with_retry_after(2))
        }
    }
}
