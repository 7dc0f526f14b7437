//! What all partitions of a segment log share: health, open files, limits, the ready queue.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex, RwLock};
use posthorn_domain::clock::Clock;

use super::disk::{Disk, DiskFile};
use super::partition::Partition;
use crate::log::{Health, LogError, TailSink};

/// Counts damaged places.
pub const METRIC_DAMAGE: &str = "posthorn_log_damage_total";

/// What to do about a damaged frame with whole ones behind it, when it is found at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDamage {
    /// Report it and start.
    Continue,
    /// Refuse to start.
    Stop,
}

/// How a segment log runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes after which a segment is closed.
    pub segment_bytes: u64,
    /// Bytes between two entries of the index in memory.
    pub index_interval: u64,
    /// Bytes that may wait to be written before appends are refused.
    pub max_pending_bytes: usize,
    /// Threads that write. With none, whoever owns the log has it write by [`super::SegmentLog::step`], and reads run on the thread
    /// that asks: so a simulation is alone on its thread.
    pub flushers: usize,
    /// Segment files held open.
    pub max_open_files: usize,
    /// Reads at a time.
    pub max_reads: usize,
    /// See [`OnDamage`].
    pub on_damage: OnDamage,
    /// The time.
    pub clock: Clock,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            segment_bytes: 128 << 20,
            index_interval: 128 << 10,
            max_pending_bytes: 64 << 20,
            flushers: 2,
            max_open_files: 512,
            max_reads: 32,
            on_damage: OnDamage::Continue,
            clock: Clock::system(),
        }
    }
}

pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) config: Config,
    pub(super) sink: Arc<dyn TailSink>,
    pub(super) health: RwLock<Health>,
    pub(super) pending: AtomicUsize,
    pub(super) reads: Arc<tokio::sync::Semaphore>,
    pub(super) closed: AtomicBool,
    ready: Mutex<VecDeque<(Arc<Partition>, Instant)>>,
    wake: Condvar,
    files: Mutex<Files>,
}

#[derive(Default)]
struct Files {
    open: HashMap<u64, (Arc<dyn DiskFile>, u64)>,
    clock: u64,
}

impl Shared {
    pub(super) fn new(config: Config, disk: Arc<dyn Disk>, sink: Arc<dyn TailSink>) -> Self {
        Self {
            disk,
            sink,
            health: RwLock::new(Health::Ok),
            pending: AtomicUsize::new(0),
            reads: Arc::new(tokio::sync::Semaphore::new(config.max_reads.max(1))),
            closed: AtomicBool::new(false),
            ready: Mutex::default(),
            wake: Condvar::new(),
            files: Mutex::default(),
            config,
        }
    }

    /// Queues a partition; the caller sees to it that it is in the queue once at most, which bounds the queue.
    pub(super) fn schedule(&self, partition: Arc<Partition>) {
        self.ready.lock().push_back((partition, self.config.clock.instant()));
        self.wake.notify_one();
    }

    /// The next partition to flush, and since when a thread that has nothing else to do could have had it; `None` once closed and drained.
    pub(super) fn next(&self) -> Option<(Arc<Partition>, Instant)> {
        let mut ready = self.ready.lock();
        let mut was_idle = false;
        loop {
            if let Some((partition, since)) = ready.pop_front() {
                return Some((partition, if was_idle { since } else { self.config.clock.instant() }));
            }
            if self.closed.load(Ordering::Acquire) {
                return None;
            }
            self.wake.wait(&mut ready);
            was_idle = true;
        }
    }

    /// The next partition to flush, if one waits.
    pub(super) fn try_next(&self) -> Option<(Arc<Partition>, Instant)> {
        self.ready.lock().pop_front()
    }

    pub(super) fn close(&self) {
        let _ready = self.ready.lock();
        self.closed.store(true, Ordering::Release);
        self.wake.notify_all();
    }

    /// The open file of segment `id`, opened when it is not.
    pub(super) fn file(&self, id: u64, path: &Path, make: bool) -> io::Result<Arc<dyn DiskFile>> {
        let mut files = self.files.lock();
        files.clock += 1;
        let now = files.clock;
        if let Some((file, used)) = files.open.get_mut(&id) {
            *used = now;
            return Ok(file.clone());
        }
        let file = self.disk.open(path, make)?;
        if files.open.len() >= self.config.max_open_files.max(1) {
            evict(&mut files.open);
        }
        files.open.insert(id, (file.clone(), now));
        Ok(file)
    }

    pub(super) fn forget(&self, id: u64) {
        self.files.lock().open.remove(&id);
    }

    pub(super) fn refusal(&self) -> Option<LogError> {
        match &*self.health.read() {
            Health::Poisoned { file, error } => Some(LogError::Poisoned { file: file.clone(), error: error.clone() }),
            _ => None,
        }
    }

    /// No acknowledgement any more: what the kernel did with earlier writes is not known.
    pub(super) fn poison(&self, file: &Path, error: &str) -> LogError {
        let file = file.display().to_string();
        tracing::error!(file, error, "the log is poisoned: no more appends until a restart");
        *self.health.write() = Health::Poisoned { file: file.clone(), error: error.into() };
        LogError::Poisoned { file, error: error.into() }
    }

    pub(super) fn set_full(&self, file: &Path) -> LogError {
        let file = file.display().to_string();
        tracing::error!(file, "the disk is full");
        let mut health = self.health.write();
        if !matches!(*health, Health::Poisoned { .. }) {
            *health = Health::Full { file: file.clone() };
        }
        LogError::Full { file }
    }

    pub(super) fn set_well(&self) {
        if matches!(*self.health.read(), Health::Full { .. }) {
            let mut health = self.health.write();
            if matches!(*health, Health::Full { .. }) {
                *health = Health::Ok;
            }
        }
    }
}

/// Closes the eighth that was used longest ago.
fn evict(open: &mut HashMap<u64, (Arc<dyn DiskFile>, u64)>) {
    let mut uses: Vec<u64> = open.values().map(|(_, used)| *used).collect();
    let at = uses.len() / 8;
    let (_, limit, _) = uses.select_nth_unstable(at);
    let limit = *limit;
    open.retain(|_, (_, used)| *used > limit);
}

/// Whether the disk, or the user's share of it, is full.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

pub(super) fn io_error(file: &Path, error: &io::Error) -> LogError {
    LogError::Io { file: file.display().to_string(), error: error.to_string() }
}
