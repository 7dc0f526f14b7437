//! Ranges of topics: delivered again, or sampled.

use std::sync::Arc;

use posthorn_domain::event::DataKind;
use posthorn_domain::ids::{ReplayId, SubscriptionId};
use posthorn_domain::position::Cursor;
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::resource::Status;
use posthorn_domain::time::Time;
use serde_json::{Value, json};

use super::{Answers, bad_parameter, failed};
use crate::delivery::ReplayRange;
use crate::route::TopicRoute;

/// Events of one sample.
const MAX_SAMPLE: u32 = 10_000;
/// Bytes of one sample.
const SAMPLE_BYTES: usize = 8 << 20;
const PAGE_BYTES: usize = 1 << 20;
const PAGE_RECORDS: usize = 500;

/// A place that a person names.
enum Place {
    Earliest,
    Latest,
    At(Time),
    Cursor(Cursor),
}

impl Answers {
    pub(super) async fn replay(&self, id: SubscriptionId, from: &str, to: Option<&str>) -> Result<Value, Problem> {
        let subscription = self.subscription(id)?;
        if subscription.subscription.spec.status != Status::Active {
            return Err(Problem::new(Code::InUse, "the subscription does not deliver; resume it, then replay"));
        }
        if subscription.is_pulled() {
            let detail = "the subscription is pulled; go back with `POST /v1/readers/{id}/cursor` instead";
            return Err(Problem::new(Code::InUse, detail));
        }
        let from = place("from", from)?;
        let to = place("to", to.unwrap_or("latest"))?;
        let table = self.live.snapshot();
        let mut ranges: Vec<ReplayRange> = Vec::new();
        for topic in table.topics.values().filter(|topic| subscription.admits_topic(&topic.topic.name)) {
            for partition in 0..topic.topic.spec.partitions {
                let start = resolve(&from, topic, partition).await?;
                let end = resolve(&to, topic, partition).await?;
                if let (Some(start), Some(end)) = (start, end)
                    && start < end
                {
                    ranges.push((topic.topic.name.clone(), partition, start..end));
                }
            }
        }
        let events: u64 = ranges.iter().map(|(.., range)| range.end - range.start).sum();
        let replay = ReplayId::make();
        if events > 0 {
            self.delivery.replay(id, replay, ranges).await?;
        }
        Ok(json!({"replay": replay, "events": events}))
    }

    pub(super) async fn sample(&self, topic: &str, limit: u32) -> Result<Value, Problem> {
        let route = self.live.load().topics.get(topic).cloned();
        let route = route.ok_or_else(|| Problem::new(Code::TopicUnknown, format!("topic `{topic}` is not known to this node")))?;
        let limit = limit.clamp(1, MAX_SAMPLE) as usize;
        let mut data = Vec::new();
        let mut bytes = 0;
        let share = u64::try_from(limit).unwrap_or(u64::MAX).div_ceil(u64::from(route.topic.spec.partitions.max(1)));
        for partition in 0..route.topic.spec.partitions {
            let bounds = route.log.bounds(partition);
            let mut next = bounds.end.saturating_sub(share).max(bounds.start);
            while next < bounds.end && data.len() < limit && bytes < SAMPLE_BYTES {
                let page = route.log.read(partition, next, PAGE_BYTES, PAGE_RECORDS).await.map_err(|error| failed(&error))?;
                for stored in page.records.iter().filter(|stored| stored.record.event.data_kind() == DataKind::Json) {
                    if let Ok(value) = serde_json::from_slice::<Value>(stored.record.event.data()) {
                        bytes += stored.record.event.data().len();
                        data.push(value);
                    }
                }
                if page.next <= next {
                    break;
                }
                next = page.next;
            }
        }
        data.truncate(limit);
        Ok(Value::Array(data))
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
