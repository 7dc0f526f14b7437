//! From the log's flusher to a shard: what has just become durable, while it is still warm. Bounded: when a shard is too slow
//! the records are let go, and the shard reads them from the log when it gets there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use posthorn_domain::clock::Clock;
use posthorn_domain::names::TopicName;
use posthorn_domain::record::Stored;
use tokio::sync::Notify;

use super::maps::HashSet;

/// Records of one partition, in offset order.
pub(super) struct Mail {
    pub(super) topic: TopicName,
    pub(super) partition: u32,
    pub(super) records: Vec<Arc<Stored>>,
}

/// The mailbox of one shard.
pub(super) struct Mailbox {
    inner: Mutex<Inner>,
    notify: Notify,
    max_bytes: usize,
    clock: Clock,
}

#[derive(Default)]
struct Inner {
    mail: Vec<Mail>,
    /// When the first of it came.
    since: Option<Instant>,
    /// How long it had waited before.
    before: Duration,
    bytes: usize,
    /// Partitions whose records were let go.
    behind: HashSet<(TopicName, u32)>,
}

/// Everything that had arrived.
#[derive(Default)]
pub(super) struct Delivered {
    pub(super) mail: Vec<Mail>,
    pub(super) behind: Vec<(TopicName, u32)>,
    /// How long the first of it has waited.
    pub(super) waited: Duration,
}

impl Mailbox {
    /// Holds at most `max_bytes` of records.
    pub(super) fn new(max_bytes: usize, clock: Clock) -> Self {
        Self { inner: Mutex::default(), notify: Notify::new(), max_bytes, clock }
    }

    /// What comes next has waited so long already.
    pub(super) fn waited(&self, time: Duration) {
        let mut inner = self.inner.lock();
        inner.before = inner.before.max(time);
    }

    /// Puts records in, or notes that they must be read from the log.
    pub(super) fn put(&self, topic: &TopicName, partition: u32, records: &[Arc<Stored>]) {
        let size: usize = records.iter().map(|stored| stored.record.event.size() + 128).sum();
        let mut inner = self.inner.lock();
        if inner.bytes + size > self.max_bytes {
            inner.behind.insert((topic.clone(), partition));
        } else {
            inner.bytes += size;
            inner.mail.push(Mail { topic: topic.clone(), partition, records: records.to_vec() });
            if inner.since.is_none() {
                inner.since = Some(self.clock.instant());
            }
        }
        drop(inner);
        self.notify.notify_one();
    }

    /// Waits until something has arrived.
    pub(super) async fn arrived(&self) {
        self.notify.notified().await;
    }

    /// Takes everything out.
    pub(super) fn take(&self) -> Delivered {
        let mut inner = self.inner.lock();
        inner.bytes = 0;
        let since = inner.since.take();
        let here = since.map_or(Duration::ZERO, |since| self.clock.instant().saturating_duration_since(since));
        let waited = here + std::mem::take(&mut inner.before);
        Delivered { mail: std::mem::take(&mut inner.mail), behind: inner.behind.drain().collect(), waited }
    }
}
