//! The newest events of a topic, for a schema that is to be tried on them.

use std::collections::VecDeque;

use posthorn_domain::event::DataKind;
use posthorn_domain::node::Sampled;
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::record::Stored;
use serde_json::Value;

use super::{Answers, failed, json};
use crate::route::TopicRoute;

/// Events of one sample.
const MAX_SAMPLE: usize = 10_000;
/// Events that are read for one sample, whatever the number of partitions.
const MAX_READ: usize = 200_000;
/// Bytes of data in one sample.
const SAMPLE_BYTES: usize = 8 << 20;
const PAGE_BYTES: usize = 1 << 20;
const PAGE_RECORDS: usize = 500;

impl Answers {
    /// The newest events of all partitions together, newest first.
    pub(super) async fn sample(&self, topic: &str, limit: u32) -> Result<Value, Problem> {
        let route = self.live.load().topics.get(topic).cloned();
        let route = route.ok_or_else(|| Problem::new(Code::TopicUnknown, format!("topic `{topic}` is not known to this node")))?;
        let limit = (limit as usize).clamp(1, MAX_SAMPLE);
        let partitions = route.topic.spec.partitions.max(1);
        let each = limit.min((MAX_READ / partitions as usize).max(1));
        let mut newest = Vec::new();
        for partition in 0..partitions {
            newest.extend(last(&route, partition, each).await?);
            keep_newest(&mut newest, limit);
        }
        json(&newest)
    }
}

fn keep_newest(events: &mut Vec<Sampled>, limit: usize) {
    events.sort_by_key(|event| std::cmp::Reverse(event.at));
    events.truncate(limit);
    let mut bytes = 0;
    events.retain(|event| {
        bytes += event.bytes;
        bytes <= SAMPLE_BYTES
    });
}

/// The last events of one partition, no more than a sample may hold.
async fn last(route: &TopicRoute, partition: u32, limit: usize) -> Result<VecDeque<Sampled>, Problem> {
    let bounds = route.log.bounds(partition);
    let mut next = bounds.end.saturating_sub(limit as u64).max(bounds.start);
    let (mut kept, mut bytes) = (VecDeque::new(), 0);
    while next < bounds.end {
        let page = route.log.read(partition, next, PAGE_BYTES, PAGE_RECORDS).await.map_err(|error| failed(&error))?;
        for stored in &page.records {
            let event = sampled(route, partition, stored);
            bytes += event.bytes;
            kept.push_back(event);
            while bytes > SAMPLE_BYTES
                && let Some(oldest) = kept.pop_front()
            {
                bytes -= oldest.bytes;
            }
        }
        if page.next <= next {
            break;
        }
        next = page.next;
    }
    Ok(kept)
}

fn sampled(route: &TopicRoute, partition: u32, stored: &Stored) -> Sampled {
    let event = &stored.record.event;
    let data = (event.data_kind() == DataKind::Json).then(|| serde_json::from_slice(event.data()).ok()).flatten();
    Sampled {
        topic: route.topic.name.to_string(),
        partition,
        offset: stored.offset,
        id: event.id().to_owned(),
        at: stored.record.accepted_at,
        bytes: event.data().len(),
        json: data.is_some(),
        data: data.unwrap_or_default(),
    }
}
