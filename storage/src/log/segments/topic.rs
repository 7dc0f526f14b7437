//! One topic's partitions, as the rest of the data plane sees them; and its retention.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::RwLock;
use posthorn_domain::qos::Durability;
use posthorn_domain::record::{Hint, Record};
use posthorn_domain::time::Time;

use super::partition::{Batch, Partition, TopicInfo};
use super::segment::{self, Segment};
use super::shared::Shared;
use crate::log::{Appending, Bounds, Expired, LogError, Page, TopicLog, TopicSettings, Wanted};

pub(super) struct SegmentTopic {
    pub(super) shared: Arc<Shared>,
    pub(super) info: Arc<TopicInfo>,
    pub(super) partitions: RwLock<Vec<Arc<Partition>>>,
}

impl TopicLog for SegmentTopic {
    fn append(&self, partition: u32, record: Record, hint: Option<Hint>, durability: Durability) -> Appending {
        match self.partition(partition) {
            Ok(partition) => partition.append(record, hint, durability),
            Err(error) => Appending::known(Err(error)),
        }
    }

    fn read(&self, partition: u32, from: u64, max_bytes: usize, max_records: usize) -> BoxFuture<'_, Result<Page, LogError>> {
        let at_end = |partition: &Partition| from >= partition.end.load(Ordering::Acquire);
        match self.partition(partition) {
            Ok(partition) if at_end(&partition) => std::future::ready(Ok(Page { next: from, ..Page::default() })).boxed(),
            found => self.off_thread(found, move |partition| partition.read(from, max_bytes, max_records)),
        }
    }

    fn skip(&self, partition: u32, from: u64, wanted: &Wanted) -> u64 {
        if wanted.conditions().is_empty() {
            return from;
        }
        self.partition(partition).map_or(from, |partition| partition.skip_to(from, wanted))
    }

    fn bounds(&self, partition: u32) -> Bounds {
        self.partition(partition).map_or_else(|_| Bounds::default(), |partition| partition.bounds())
    }

    fn offset_at(&self, partition: u32, time: Time) -> BoxFuture<'_, Result<u64, LogError>> {
        self.off_thread(self.partition(partition), move |partition| partition.offset_at(time))
    }

    fn settings(&self) -> TopicSettings {
        *self.info.settings.lock()
    }

    fn set_retention(&self, settings: TopicSettings) {
        let mut mine = self.info.settings.lock();
        mine.retention_age = settings.retention_age;
        mine.retention_bytes = settings.retention_bytes;
    }
}

impl SegmentTopic {
    fn partition(&self, number: u32) -> Result<Arc<Partition>, LogError> {
        self.partitions.read().get(number as usize).cloned().ok_or(LogError::NoPartition(number))
    }

    fn off_thread<T: Send + 'static>(
        &self,
        partition: Result<Arc<Partition>, LogError>,
        work: impl FnOnce(&Partition) -> Result<T, LogError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, LogError>> {
        let reads = self.shared.reads.clone();
        let here = self.shared.config.flushers == 0;
        async move {
            let partition = partition?;
            if here {
                return work(&partition);
            }
            let permit = reads.acquire_owned().await.map_err(|_| LogError::Closed)?;
            let work = move || {
                let _permit = permit;
                work(&partition)
            };
            tokio::task::spawn_blocking(work).await.unwrap_or(Err(LogError::Closed))
        }
        .boxed()
    }

    /// No more appends; what waits is refused.
    pub(super) fn retire(&self) {
        for partition in self.partitions.read().iter() {
            let _writing = partition.writing.lock();
            partition.removed.store(true, Ordering::Release);
            partition.fail(Batch::default(), &LogError::Removed);
            for segment in partition.segments.read().iter() {
                self.shared.forget(segment.id);
            }
        }
    }

    /// What age and bytes allow to delete: whole closed segments only, the oldest of all partitions first.
    pub(super) fn expired(&self, now: Time) -> Vec<Expired> {
        let settings = self.settings();
        let partitions = self.partitions.read().clone();
        if settings.retention_age.is_some() {
            partitions.iter().for_each(|partition| partition.roll_old());
        }
        let mut held: u64 = partitions.iter().map(|partition| partition.held()).sum();
        let mut closed: Vec<_> = partitions.iter().map(|partition| (partition.number, partition.closed())).collect();
        let mut expired = Vec::new();
        loop {
            let oldest = closed.iter_mut().filter(|(_, closed)| !closed.is_empty()).min_by_key(|(_, closed)| closed[0].last());
            let Some((partition, segments)) = oldest else { break };
            let aged = settings.retention_age.is_some_and(|age| segments[0].last().after(age.std()) <= now);
            let over = settings.retention_bytes.is_some_and(|bytes| held > bytes.bytes());
            let Some(segment) = segments.pop_front().filter(|_| aged || over) else { break };
            held = held.saturating_sub(segment.len());
            expired.push(Expired {
                topic: self.info.name.clone(),
                incarnation: self.info.incarnation,
                partition: *partition,
                offsets: segment.base..segment.end(),
                bytes: segment.len(),
                last: segment.last(),
                never_letters: segment.never_letters(),
            });
        }
        expired
    }

    /// Deletes a segment if it is still the oldest of its partition, and closed.
    pub(super) fn delete(&self, expired: &Expired) -> bool {
        let Ok(partition) = self.partition(expired.partition) else { return false };
        if partition.closed().front().is_none_or(|first| first.base != expired.offsets.start) {
            return false;
        }
        if let Err(error) = partition.drop_first() {
            tracing::warn!(topic = %self.info.name, partition = partition.number, %error, "a segment could not be deleted");
            return false;
        }
        true
    }
}

impl Partition {
    fn roll_old(&self) {
        let _writing = self.writing.lock();
        let last = self.segments.read().last().cloned();
        if let Some(last) = last.filter(|last| !last.is_blank() && self.is_old(last))
            && self.shared.refusal().is_none()
            && !self.removed.load(Ordering::Acquire)
            && let Err(error) = self.roll(Some(&last))
        {
            tracing::warn!(topic = %self.topic.name, partition = self.number, %error, "a segment could not be closed");
        }
    }

    fn held(&self) -> u64 {
        self.segments.read().iter().map(|segment| segment.len()).sum()
    }

    /// All segments but the one that is written to.
    fn closed(&self) -> VecDeque<Arc<Segment>> {
        let segments = self.segments.read();
        segments.iter().take(segments.len().saturating_sub(1)).cloned().collect()
    }

    fn drop_first(&self) -> std::io::Result<u64> {
        let first = {
            let _writing = self.writing.lock();
            self.segments.write().remove(0)
        };
        self.shared.forget(first.id);
        // Whoever reads it holds it open. A file that stays after all is found again by the next start.
        let path = segment::path(&self.dir, first.base);
        self.shared.disk.remove(&path)?;
        // Before the next one goes: else the power may bring this one back without it, and the log has a hole.
        self.shared.disk.sync_dir(&self.dir)?;
        if let Err(error) = self.shared.disk.remove(&path.with_extension("idx")) {
            tracing::debug!(file = %path.display(), %error, "the deleted segment has no index");
        }
        Ok(first.len())
    }
}
