//! The words of the log's interface.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use posthorn_domain::names::TopicName;
use posthorn_domain::record::Stored;
use posthorn_domain::time::Time;
use posthorn_domain::units::{Dur, Size};

use super::relay::Flush;

/// What a topic's log is opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// Which life of the topic: the revision at which it was created.
    pub incarnation: u64,
    /// How many partitions, from 1.
    pub partitions: u32,
    /// Records older than this may be deleted.
    pub retention_age: Option<Dur>,
    /// What all partitions together may hold, in stored bytes.
    pub retention_bytes: Option<Size>,
}

/// Readable offsets: `start..end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The first that retention has left.
    pub start: u64,
    /// One above the last that has reached its durability.
    pub end: u64,
}

/// A closed part of a partition that retention allows to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The topic.
    pub topic: TopicName,
    /// Which life of it.
    pub incarnation: u64,
    /// The partition.
    pub partition: u32,
    /// Its offsets.
    pub offsets: Range<u64>,
    /// Its size on the disk.
    pub bytes: u64,
    /// When its last record was accepted.
    pub last: Time,
    /// Whether it may have an event that may not become a dead letter.
    pub never_letters: bool,
}

/// What one read gave.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// In offset order.
    pub records: Vec<Arc<Stored>>,
    /// Offsets that are lost, in order; records of the page may stand before and behind them.
    pub gaps: Vec<Gap>,
    /// Where to read on.
    pub next: u64,
}

/// Offsets `from..to` that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first lost.
    pub from: u64,
    /// One above the last lost.
    pub to: u64,
    /// Why.
    pub reason: GapReason,
}

/// Why offsets are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// The stored bytes are not what was written.
    Damaged,
    /// A file is not there.
    Missing,
}

/// A gap and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: u32,
    /// The file.
    pub file: String,
    /// The offsets.
    pub gap: Gap,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: offsets {} to {} are lost ({:?})", self.file, self.gap.from, self.gap.to.saturating_sub(1), self.gap.reason)
    }
}

/// Whether the log takes appends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Ok,
    /// The disk is full; the next append tries again.
    Full {
        /// What could not be written.
        file: String,
    },
    /// A write or flush failed: no more appends until a restart.
    Poisoned {
        /// What failed.
        file: String,
        /// How.
        error: String,
    },
}

/// Why the log could not do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// More bytes wait to be written than may (I9).
    #[error("too many bytes wait to be written to the log")]
    Busy,
    /// One record is larger than the log takes.
    #[error("a record may have at most {limit} bytes")]
    TooLarge {
        /// In bytes.
        limit: usize,
    },
    /// The disk is full.
    #[error("the disk is full: {file}")]
    Full {
        /// What could not be written.
        file: String,
    },
    /// An earlier write or flush failed.
    #[error("the log takes no more writes: {file}: {error}")]
    Poisoned {
        /// What failed.
        file: String,
        /// How.
        error: String,
    },
    /// The offset was deleted by retention.
    #[error("the offset is below the first that is kept, {start}")]
    BelowStart {
        /// The first that is kept.
        start: u64,
    },
    /// The topic has no such partition.
    #[error("the topic has no partition {0}")]
    NoPartition(u32),
    /// Partitions cannot be taken away.
    #[error("the topic has {have} partitions, which cannot become {wanted}")]
    FewerPartitions {
        /// On disk.
        have: u32,
        /// Asked for.
        wanted: u32,
    },
    /// The topic was removed.
    #[error("the topic was removed")]
    Removed,
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
    /// Another process has the folder.
    #[error("{0} is in use by another process")]
    InUse(String),
    /// A damaged file, where damage must stop the start.
    #[error("the log is damaged: {0}")]
    Damaged(String),
    /// Reading or making a file failed.
    #[error("{file}: {error}")]
    Io {
        /// The file.
        file: String,
        /// How.
        error: String,
    },
}

/// An append under way; resolves to the record's offset.
#[must_use = "the answer says whether the record is kept"]
#[derive(Debug)]
pub struct Appending(State);

#[derive(Debug)]
enum State {
    Known(Result<u64, LogError>),
    Waiting { flush: Arc<Flush>, ticket: Option<usize>, offset: u64 },
}

impl Appending {
    /// Already decided.
    pub fn known(result: Result<u64, LogError>) -> Self {
        Self(State::Known(result))
    }

    /// The record has this offset if the flush succeeds.
    pub(super) fn waiting(flush: Arc<Flush>, offset: u64) -> Self {
        Self(State::Waiting { flush, ticket: None, offset })
    }
}

impl Future for Appending {
    type Output = Result<u64, LogError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Known(result) => Poll::Ready(result.clone()),
            State::Waiting { flush, ticket, offset } => {
                let offset = *offset;
                flush.poll(ticket, context).map_ok(|()| offset)
            }
        }
    }
}
