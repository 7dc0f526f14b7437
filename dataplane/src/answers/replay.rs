//! Ranges of topics, delivered again.

use std::sync::Arc;

use posthorn_domain::ids::{ReplayId, SubscriptionId};
use posthorn_domain::node::ReplayState;
use posthorn_domain::position::Cursor;
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::resource::Status;
use posthorn_domain::time::Time;
use posthorn_storage::state::Replay;
use serde_json::{Value, json};

use super::{Answers, bad_parameter, failed};
use crate::delivery::ReplayRange;
use crate::route::TopicRoute;

/// A place that a person names.
enum Place {
    Earliest,
    Latest,
    At(Time),
    Cursor(Cursor),
}

impl Answers {
    pub(super) async fn replay(
        &self,
        id: SubscriptionId,
        replay: ReplayId,
        from: String,
        to: Option<String>,
        rate: Option<f64>,
    ) -> Result<Value, Problem> {
        let subscription = self.subscription(id)?;
        if subscription.read().spec.status != Status::Active {
            return Err(Problem::new(Code::InUse, "the subscription does not deliver; resume it, then replay"));
        }
        if subscription.is_pulled() {
            let detail = "the subscription is pulled; go back with `POST /v1/readers/{id}/cursor` instead";
            return Err(Problem::new(Code::InUse, detail));
        }
        let start = place("from", &from)?;
        let end = place("to", to.as_deref().unwrap_or("latest"))?;
        let table = self.live.snapshot();
        let mut ranges: Vec<ReplayRange> = Vec::new();
        for topic in table.topics.values().filter(|topic| subscription.admits_topic(&topic.topic.name)) {
            for partition in 0..topic.topic.spec.partitions {
                let start = resolve(&start, topic, partition).await?;
                let end = resolve(&end, topic, partition).await?;
                if let (Some(start), Some(end)) = (start, end)
                    && start < end
                {
                    ranges.push((topic.topic.name.clone(), partition, start..end));
                }
            }
        }
        let events: u64 = ranges.iter().map(|(.., range)| range.end - range.start).sum();
        let row = Replay {
            subscription: id,
            id: replay,
            state: ReplayState::Running,
            from,
            to,
            rate,
            events,
            considered: 0,
            delivered: 0,
            failed: 0,
            waiting: 0,
            started_at: self.clock.now(),
            ended_at: None,
        };
        if !self.delivery.replay(row, ranges).await? {
            let detail = "as many replays of the subscription run as may (`delivery.max_replays`); wait for one to end, or cancel one";
            return Err(Problem::new(Code::RateLimited, detail));
        }
        Ok(json!({"replay": replay, "events": events}))
    }
}

fn place(parameter: &str, text: &str) -> Result<Place, Problem> {
    match text {
        "earliest" => return Ok(Place::Earliest),
        "latest" => return Ok(Place::Latest),
        _ => {}
    }
    if let Some(time) = Time::parse(text.strip_prefix("time:").unwrap_or(text)) {
        return Ok(Place::At(time));
    }
    text.parse().map(Place::Cursor).map_err(|error| bad_parameter(parameter, error))
}

/// The offset of the place in one partition; `None` when a cursor belongs to another topic.
async fn resolve(place: &Place, topic: &Arc<TopicRoute>, partition: u32) -> Result<Option<u64>, Problem> {
    let bounds = topic.log.bounds(partition);
    let offset = match place {
        Place::Earliest => bounds.start,
        Place::Latest => bounds.end,
        Place::At(time) => topic.log.offset_at(partition, *time).await.map_err(|error| failed(&error))?,
        Place::Cursor(cursor) if cursor.incarnation == topic.topic.meta.incarnation => {
            cursor.next.get(partition as usize).copied().unwrap_or(0)
        }
        Place::Cursor(_) => return Ok(None),
    };
    Ok(Some(offset.clamp(bounds.start, bounds.end)))
}
