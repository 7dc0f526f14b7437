//! Fills the table of duplicates from the logs' tails, so that a restart forgets nothing of the window.

use posthorn_domain::time::Time;
use posthorn_storage::log::LogError;

use super::dedup::{Dedup, First};
use crate::route::TopicRoute;

const PAGE_RECORDS: usize = 1000;
const PAGE_BYTES: usize = 4 << 20;

/// Notes every event of `topic` that is within its window at `now`; answers how many. To be called before the doors open.
///
/// # Errors
/// When the log cannot be read.
pub async fn rebuild(dedup: &Dedup, topic: &TopicRoute, now: Time) -> Result<u64, LogError> {
    let window = topic.topic.spec.dedup_window.std();
    let mut count = 0;
    if window.is_zero() {
        return Ok(count);
    }
    for partition in 0..topic.log.settings().partitions {
        let end = topic.log.bounds(partition).end;
        // What the table could not hold need not be read.
        let newest = end.saturating_sub(dedup.capacity() as u64);
        let mut next = topic.log.offset_at(partition, now.before(window)).await?.max(newest);
        while next < end {
            let page = topic.log.read(partition, next, PAGE_BYTES, PAGE_RECORDS).await?;
            for stored in &page.records {
                let record = &stored.record;
                let id = record.idempotency_key.as_ref().map(|_| record.event.id().into());
                let first = First { partition, offset: stored.offset, id };
                let expires = record.accepted_at.after(window);
                dedup.restore(record.message_id(&topic.topic.name), topic.topic.meta.incarnation, first, expires, now);
                count += 1;
            }
            if page.next <= next {
                break;
            }
            next = page.next;
        }
    }
    Ok(count)
}
