//! What came of each HTTP request, in append-only segments that are dropped whole (DESIGN §6). History for people, not
//! state: losing some costs no delivery, so recording never blocks and a full buffer drops the oldest, counted.
//!
//! [`AttemptLog::record`] may be called from anywhere; [`AttemptLog::flush`] and [`AttemptLog::find`] block: the data plane's
//! writer thread flushes, a blocking pool finds.

mod block;
mod buffer;
mod query;
mod record;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use parking_lot::Mutex;
use posthorn_domain::clock::Clock;
use posthorn_domain::ids::{DeliveryId, MessageId, SubscriptionId};
use posthorn_domain::names::TopicName;
use posthorn_domain::position::Position;
use posthorn_domain::time::Time;

use buffer::Buffer;
pub use query::{Found, Mark, Query};
use segment::{Segment, Writer};

/// The longest error text that is kept, in bytes.
pub const ERROR_MAX: usize = 200;
/// The longest start of a response that is kept, in bytes.
pub const HEAD_MAX: usize = 512;

/// One HTTP request of a delivery, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// To whom.
    pub subscription: SubscriptionId,
    /// The topic of the event.
    pub topic: TopicName,
    /// Where the event stands.
    pub position: Position,
    /// The event's.
    pub message: MessageId,
    /// The delivery.
    pub delivery: DeliveryId,
    /// Whether that is [`DeliveryId::of`] subscription and message, as it is but for replays.
    pub derived: bool,
    /// [`event_hash`] of the event's `id`.
    pub event_hash: u32,
    /// 1, 2, 3…
    pub number: u32,
    /// When it began.
    pub at: Time,
    /// How long it took.
    pub duration_ms: u32,
    /// The HTTP status; `None` when there was no answer.
    pub status: Option<u16>,
    /// What it led to.
    pub outcome: Outcome,
    /// Why it failed; empty for a success.
    pub error: String,
    /// How the response's body began, for failures. Bytes as they came.
    pub response_head: Vec<u8>,
    /// When the next one is due.
    pub next_attempt_at: Option<Time>,
}

/// What an attempt led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// The endpoint took it.
    Delivered = 0,
    /// There will be another attempt.
    Retry = 1,
    /// It became a dead letter.
    DeadLettered = 2,
    /// QoS forbids dead letters, so it is gone.
    Dropped = 3,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Delivered, Self::Retry, Self::DeadLettered, Self::Dropped];

    /// The status of the delivery whose last attempt led to this (interfaces §4).
    #[must_use]
    pub const fn status(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retry => "waiting",
            Self::DeadLettered => "dead_lettered",
            Self::Dropped => "dropped",
        }
    }
}

/// The hash under which attempts of an event with this `id` are found. Different ids may share one: compare the event. An attempt
/// that ended before its event was looked up has that of an empty `id`.
pub fn event_hash(id: &str) -> u32 {
    crc32fast::hash(id.as_bytes())
}

/// Limits of an [`AttemptLog`].
#[derive(Clone, Debug)]
pub struct Config {
    /// A segment is closed at this size. A query holds one in memory.
    pub segment_bytes: u64,
    /// All segments together.
    pub max_bytes: u64,
    /// Segments with nothing younger are dropped.
    pub max_age: Duration,
    /// What waits for a flush, in bytes of memory.
    pub buffer_bytes: usize,
    /// The time.
    pub clock: Clock,
}

impl Default for Config {
    fn default() -> Self {
        let day = Duration::from_secs(86_400);
        Self { segment_bytes: 4 << 20, max_bytes: 256 << 20, max_age: 7 * day, buffer_bytes: 4 << 20, clock: Clock::system() }
    }
}

/// The attempts of one node.
pub struct AttemptLog {
    dir: PathBuf,
    config: Config,
    buffer: Mutex<Buffer>,
    files: Mutex<Files>,
}

/// The segments, oldest first; `writer` appends to the last one.
struct Files {
    segments: VecDeque<Segment>,
    writer: Option<Writer>,
}

impl AttemptLog {
    /// Opens the segments in `dir`, or makes the folder. A torn tail of the last segment is cut.
    pub fn open(dir: impl Into<PathBuf>, config: Config) -> io::Result<Self> {
        let dir = dir.into();
        std::fs::create_dir_all(&dir)?;
        let mut segments = segment::list(&dir)?;
        let writer = segments.back_mut().map(Writer::resume).transpose()?.flatten();
        let buffer = Mutex::new(Buffer::new(config.buffer_bytes));
        Ok(Self { dir, config, buffer, files: Mutex::new(Files { segments, writer }) })
    }

    /// Keeps `attempt` for the next flush. Never blocks on I/O; when the buffer is full the oldest are dropped.
    pub fn record(&self, attempt: Attempt) {
        self.buffer.lock().push(attempt);
    }

    /// How many attempts were dropped: the buffer was full, or a write failed.
    pub fn dropped(&self) -> u64 {
        self.buffer.lock().dropped()
    }

    /// Writes what was recorded, without fsync, and drops segments past retention. After an error a new segment is begun.
    pub fn flush(&self) -> io::Result<()> {
        let mut files = self.files.lock();
        let attempts = self.buffer.lock().take();
        let mut rest = attempts.as_slices().0;
        debug_assert!(attempts.as_slices().1.is_empty(), "the buffer hands out one slice");
        let mut result = Ok(());
        while !rest.is_empty() {
            match files.append(&self.dir, &self.config, rest) {
                Ok(taken) => rest = &rest[taken..],
                Err(error) => {
                    files.writer = None;
                    self.buffer.lock().count_dropped(rest.len());
                    result = Err(error);
                    break;
                }
            }
        }
        files.retain(&self.config)?;
        result
    }

    /// Attempts that match, newest first, from before `before` (the newest when `None`). Looks at about `scan` records and ends
    /// early with a `next` where there may be more. What was recorded before the call is found.
    pub fn find(&self, query: &Query, before: Option<Mark>, limit: usize, scan: usize) -> io::Result<Found> {
        if before.is_none() {
            self.flush()?;
        }
        let segments: Vec<Segment> = self.files.lock().segments.iter().cloned().collect();
        query::run(&segments, query, before, limit.max(1), scan)
    }

    /// Bytes on the disk.
    pub fn bytes(&self) -> u64 {
        self.files.lock().segments.iter().map(|segment| segment.bytes).sum()
    }
}

impl Files {
    /// Appends one block of the first of `attempts`; returns how many it took.
    fn append(&mut self, dir: &std::path::Path, config: &Config, attempts: &[Attempt]) -> io::Result<usize> {
        let now = config.clock.now();
        // A segment that stays open too long could never age out.
        let full = |segment: &Segment| segment.bytes >= config.segment_bytes || now.since(segment.since) > config.max_age / 4;
        if self.segments.back().is_none_or(full) {
            self.writer = None;
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let number = self.segments.back().map_or(1, |segment| segment.number + 1);
                let (segment, writer) = Writer::create(dir, number, now)?;
                self.segments.push_back(segment);
                none.insert(writer)
            }
        };
        let segment = self.segments.back_mut().expect("a writer has its segment");
        writer.append(segment, attempts)
    }

    fn retain(&mut self, config: &Config) -> io::Result<()> {
        let oldest = config.clock.now().before(config.max_age);
        let mut total: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        // A segment ends when the next one begins; the last one takes nothing once it is a quarter of the age old.
        let is_over = |segments: &VecDeque<Segment>, total| match segments.get(1) {
            Some(next) => total > config.max_bytes || next.since < oldest,
            None => segments.front().is_some_and(|last| last.since < oldest.before(config.max_age / 4)),
        };
        while is_over(&self.segments, total) {
            let Some(segment) = self.segments.pop_front() else { break };
            total -= segment.bytes;
            if self.segments.is_empty() {
                self.writer = None;
            }
            match std::fs::remove_file(&segment.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}
