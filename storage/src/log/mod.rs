//! The topic log: what was acknowledged, in order, by topic and partition. The data plane's ingest appends, its lanes and
//! readers read. [`segments`] keeps it in files of this node; another implementation may keep it elsewhere.
//!
//! Rules that every implementation keeps: an append is answered with success only once its record has reached its
//! durability (I1); readers and the [`TailSink`] see a record only after that; nothing is skipped without a [`Gap`].

#[doc(hidden)]
pub mod behaviour;
mod relay;
pub mod segments;
mod types;
mod wanted;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use posthorn_domain::names::TopicName;
use posthorn_domain::qos::Durability;
use posthorn_domain::record::{Hint, Record, Stored};
use posthorn_domain::time::Time;

pub use relay::relay;
pub use types::{Appending, Bounds, Damage, Expired, Gap, GapReason, Health, LogError, Page, TopicSettings};
pub use wanted::{Condition, SUMMED_UP, Text, Wanted};

/// All topics' logs.
pub trait Log: Send + Sync + 'static {
    /// Opens a topic's log, making it when absent; another incarnation of it is wiped first. More partitions than before
    /// are added; fewer are an error. Blocks.
    fn open(&self, topic: &TopicName, settings: TopicSettings) -> Result<Arc<dyn TopicLog>, LogError>;

    /// Removes a topic with all it holds. Blocks. Appends that wait are answered with [`LogError::Removed`].
    fn remove(&self, topic: &TopicName) -> Result<(), LogError>;

    /// The topics that are kept, with their incarnations.
    fn topics(&self) -> Vec<(TopicName, u64)>;

    /// Whether it takes appends.
    fn health(&self) -> Health;
}

/// One topic's log. Partitions that it does not have are [`LogError::NoPartition`].
pub trait TopicLog: Send + Sync {
    /// Puts a record at the end; never blocks. Resolves to its offset once `durability` is reached; at
    /// [`Durability::None`] at once, with the offset it is to have.
    fn append(&self, partition: u32, record: Record, hint: Option<Hint>, durability: Durability) -> Appending;

    /// Records from `from` on: at most `max_records` and about `max_bytes`, at least one if there is one. At the end the page is
    /// empty; below the start it is [`LogError::BelowStart`]. Must be called within a tokio runtime.
    fn read(&self, partition: u32, from: u64, max_bytes: usize, max_records: usize) -> BoxFuture<'_, Result<Page, LogError>>;

    /// The first offset from `from` on that may hold an event that is wanted or a gap; `from` where nothing is known. Never blocks.
    fn skip(&self, partition: u32, from: u64, wanted: &Wanted) -> u64 {
        let _ = (partition, wanted);
        from
    }

    /// The offsets that can be read.
    fn bounds(&self, partition: u32) -> Bounds;

    /// The first offset whose record was accepted at or after `time`; the end when there is none. Within a tokio runtime.
    fn offset_at(&self, partition: u32, time: Time) -> BoxFuture<'_, Result<u64, LogError>>;

    /// What it was opened with, or last given.
    fn settings(&self) -> TopicSettings;

    /// Takes over the retention of `settings`; incarnation and partitions stay.
    fn set_retention(&self, settings: TopicSettings);
}

/// Told of what became readable.
pub trait TailSink: Send + Sync {
    /// Records that have reached their durability, in offset order for each partition. Called by the thread that flushes: must not block.
    fn durable(&self, topic: &TopicName, partition: u32, records: Vec<Arc<Stored>>);

    /// So long what will be durable next took from when a thread could have written it until that had: syncs are not in it. Must not block.
    fn waited(&self, _time: Duration) {}

    /// Damage that was found while running, once for each place. Must not block.
    fn damaged(&self, _damage: &Damage) {}
}
