//! One partition: what waits, and how a batch gets to the disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use posthorn_domain::names::TopicName;
use posthorn_domain::qos::Durability;
use posthorn_domain::record::{Hint, Record, Stored};

use super::segment::Segment;
use super::shared::{METRIC_DAMAGE, Shared};
use crate::log::relay::Answer;
use crate::log::{Appending, Bounds, Damage, Gap, GapReason, LogError, TopicSettings};

/// What the partitions of a topic share.
pub(super) struct TopicInfo {
    pub(super) name: TopicName,
    pub(super) dir: PathBuf,
    pub(super) incarnation: u64,
    pub(super) salt: u64,
    pub(super) settings: Mutex<TopicSettings>,
}

/// So that no frame comes near the length at which a reader takes it for broken.
const MAX_RECORD: usize = 32 << 20;

pub(super) struct Partition {
    pub(super) shared: Arc<Shared>,
    pub(super) topic: Arc<TopicInfo>,
    pub(super) number: u32,
    pub(super) dir: PathBuf,
    pub(super) pending: Mutex<Pending>,
    /// Held by whoever writes, rolls or deletes segments.
    pub(super) writing: Mutex<()>,
    pub(super) segments: RwLock<Vec<Arc<Segment>>>,
    /// One above the last offset that readers may see.
    pub(super) end: AtomicU64,
    pub(super) removed: AtomicBool,
    /// A new segment was begun and is not there yet.
    pub(super) rolling: AtomicBool,
    known: Mutex<Vec<Gap>>,
}

#[derive(Default)]
pub(super) struct Pending {
    pub(super) batch: Batch,
    /// The offset that the next entry is to have.
    pub(super) next: u64,
    pub(super) scheduled: bool,
}

/// What one flush takes.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) entries: Vec<Entry>,
    /// For those who wait until it is written.
    pub(super) written: Option<Answer>,
    /// For those who wait until it is on the disk.
    pub(super) synced: Option<Answer>,
}

pub(super) struct Entry {
    pub(super) stored: Arc<Stored>,
    pub(super) durability: Durability,
}

impl Partition {
    pub(super) fn new(shared: Arc<Shared>, topic: Arc<TopicInfo>, number: u32, segments: Vec<Arc<Segment>>, known: Vec<Gap>) -> Self {
        let end = segments.last().map_or(0, |segment| segment.end());
        Self {
            dir: topic.dir.join(number.to_string()),
            shared,
            topic,
            number,
            pending: Mutex::new(Pending { next: end, ..Pending::default() }),
            writing: Mutex::new(()),
            segments: RwLock::new(segments),
            end: AtomicU64::new(end),
            removed: AtomicBool::new(false),
            rolling: AtomicBool::new(false),
            known: Mutex::new(known),
        }
    }

    pub(super) fn append(self: &Arc<Self>, record: Record, hint: Option<Hint>, durability: Durability) -> Appending {
        let bytes = record.encoded_len();
        match self.admit(bytes) {
            Ok(()) => self.enqueue(record, hint, durability, bytes),
            Err(error) => Appending::known(Err(error)),
        }
    }

    fn admit(&self, bytes: usize) -> Result<(), LogError> {
        if bytes > MAX_RECORD {
            return Err(LogError::TooLarge { limit: MAX_RECORD });
        }
        if let Some(error) = self.shared.refusal() {
            return Err(error);
        }
        if self.shared.pending.fetch_add(bytes, Ordering::AcqRel) + bytes > self.shared.config.max_pending_bytes {
            self.shared.pending.fetch_sub(bytes, Ordering::AcqRel);
            return Err(LogError::Busy);
        }
        Ok(())
    }

    fn enqueue(self: &Arc<Self>, record: Record, hint: Option<Hint>, durability: Durability, bytes: usize) -> Appending {
        let mut pending = self.pending.lock();
        // Looked at under the lock: whoever removes or closes takes the lock afterwards and sees what came before.
        let gone = self.removed.load(Ordering::Acquire);
        if gone || self.shared.closed.load(Ordering::Acquire) {
            self.shared.pending.fetch_sub(bytes, Ordering::AcqRel);
            return Appending::known(Err(if gone { LogError::Removed } else { LogError::Closed }));
        }
        let offset = pending.next;
        pending.next += 1;
        let batch = &mut pending.batch;
        let appending = match durability {
            Durability::None => Appending::known(Ok(offset)),
            Durability::Log => Appending::waiting(batch.written.get_or_insert_default().flush(), offset),
            Durability::Sync => Appending::waiting(batch.synced.get_or_insert_default().flush(), offset),
        };
        batch.entries.push(Entry { stored: Arc::new(Stored::new(offset, record, hint)), durability });
        if !pending.scheduled {
            pending.scheduled = true;
            self.shared.schedule(self.clone());
        }
        appending
    }

    pub(super) fn bounds(&self) -> Bounds {
        let end = self.end.load(Ordering::Acquire);
        Bounds { start: self.segments.read().first().map_or(0, |segment| segment.base), end }
    }

    /// Says once that `gap` was found in `file`.
    pub(super) fn report(&self, file: String, from: u64, to: u64, reason: GapReason) -> Gap {
        let gap = Gap { from, to, reason };
        let mut known = self.known.lock();
        if !known.iter().any(|old| old.from <= from && to <= old.to) {
            known.push(gap);
            drop(known);
            let damage = Damage { topic: self.topic.name.clone(), partition: self.number, file, gap };
            tracing::error!(topic = %damage.topic, partition = self.number, file = damage.file, from, to, "the log is damaged");
            metrics::counter!(METRIC_DAMAGE).increment(1);
            self.shared.sink.damaged(&damage);
        }
        gap
    }
}
