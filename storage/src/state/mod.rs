//! What the data plane must remember between runs: checkpoints, retries, dead letters and
//! readers (DESIGN §4.7, §6, I2).
//!
//! [`State`] is the contract, [`embedded::Embedded`] keeps it on the local disk. All methods block: call them from the
//! writer thread or a blocking pool, never from an async worker. A [`Batch`] is atomic over all kinds of rows; writing lane
//! cursors with the retries and dead letters that let them move on in one batch is what makes I2 hold.

mod batch;
#[doc(hidden)]
pub mod behaviour;
pub mod embedded;
mod keys;
#[doc(hidden)]
pub mod memory;
mod rows;
mod tables;
mod values;

pub(crate) use values::cut;

use posthorn_domain::ids::{DeadLetterId, ReplayId, SubscriptionId};
use posthorn_domain::names::TopicName;
use posthorn_domain::reason::Reason;
use posthorn_domain::time::Time;

pub use batch::{Batch, Op};
pub use rows::{Base, DeadLetter, Health, LaneState, ReaderCursor, ReaderRow, Replay, Retry, RetryId, RetrySource, Start};

/// A page looks at no more rows than this; a filter that matches little gives short pages with a `next`.
pub const PAGE_SCAN: usize = 10_000;
/// A page ends once its rows hold this many bytes of records.
pub const PAGE_BYTES: usize = 8 << 20;

/// The store of the delivery state.
pub trait State: Send + Sync {
    /// Writes all of `batch` or nothing; with `sync` it is on the disk when this returns. After an error the store may refuse
    /// all further writes: see [`State::health`].
    fn commit(&self, batch: Batch, sync: bool) -> Result<(), StateError>;
    /// Everything needed at start. Rows that cannot be read are reported and left out.
    fn load(&self) -> Result<Loaded, StateError>;
    /// The subscription's retries that are due first, behind `after` if given, at most `limit`, in the order of their ids.
    fn retries(&self, subscription: SubscriptionId, after: Option<RetryId>, limit: usize) -> Result<Vec<Retry>, StateError>;
    /// The least offset of this partition that a retry of the subscription still needs. Reads all its retries, one at a time.
    fn least_waiting(&self, subscription: SubscriptionId, topic: &TopicName, partition: u32) -> Result<Option<u64>, StateError>;
    /// For each subscription with retries, when the first is due. Costs one seek a subscription.
    fn first_due_per_subscription(&self) -> Result<Vec<(SubscriptionId, Time)>, StateError>;
    /// The subscriptions that have retries.
    fn retry_subscriptions(&self) -> Result<Vec<SubscriptionId>, StateError> {
        Ok(self.first_due_per_subscription()?.into_iter().map(|(subscription, _)| subscription).collect())
    }
    /// Removes the subscription's lanes, starts, health, replays and retries in bounded batches; dead letters stay. Returns the rows removed.
    /// Not atomic as a whole; calling again after a crash finishes the work.
    fn remove_subscription(&self, subscription: SubscriptionId) -> Result<u64, StateError>;
    /// Removes the retries of a replay in bounded batches. Returns how many. Not atomic as a whole, as
    /// [`State::remove_subscription`].
    fn remove_replay(&self, subscription: SubscriptionId, replay: ReplayId) -> Result<u64, StateError>;
    /// Removes the retries of the subscription that need the log of one of these topics and partitions from an offset on; those of
    /// replays stay. In bounded batches, as [`State::remove_replay`]. Returns how many.
    fn remove_waiting(&self, subscription: SubscriptionId, from: &[(TopicName, u32, u64)]) -> Result<u64, StateError>;
    /// All readers and their cursors. Rows that cannot be read are reported and left out.
    fn readers(&self) -> Result<Readers, StateError>;
    /// Removes the topic's bases, lanes, starts, retries and readers' cursors, as [`State::remove_subscription`] does.
    fn remove_topic(&self, topic: &TopicName) -> Result<u64, StateError>;
    /// One dead letter; `None` when there is none of this id, or its row cannot be read.
    fn dead_letter(&self, id: DeadLetterId) -> Result<Option<DeadLetter>, StateError>;
    /// Dead letters older than `after` (all when `None`), newest first, at most `limit`.
    fn dead_letters(&self, filter: &DeadLetterFilter, after: Option<DeadLetterId>, limit: usize) -> Result<Page, StateError>;
    /// Deletes all dead letters that match, in bounded batches. Returns how many.
    fn delete_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64, StateError>;
    /// Deletes at most `limit` dead letters made before `before`, oldest first. Returns how many.
    fn sweep_dead_letters(&self, before: Time, limit: usize) -> Result<usize, StateError>;
    /// `Err` once a write failed: nothing is accepted any more until a restart.
    fn health(&self) -> Result<(), StateError>;
    /// How many unreadable rows were met since the store was opened.
    fn unreadable(&self) -> u64;
    /// The last call: makes ready what the next start would have to. Nothing depends on it.
    fn close(&self) {}
}

/// What [`State::load`] gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// Per partition and shard, what all lanes without an exception have passed.
    pub bases: Vec<Base>,
    /// The exceptions.
    pub lanes: Vec<LaneState>,
    /// Where subscriptions started.
    pub starts: Vec<Start>,
    /// Endpoints with which something is wrong.
    pub health: Vec<Health>,
    /// Ranges that are, or were, delivered again.
    pub replays: Vec<Replay>,
    /// Subscriptions that were deleted and whose rows are still to be removed.
    pub gone: Vec<SubscriptionId>,
    /// Whether the last process had written everything it had done: see [`Batch::mark_clean`].
    pub clean: bool,
}

impl Loaded {
    /// Leaves out what is of the subscription.
    pub fn forget(&mut self, id: SubscriptionId) {
        self.lanes.retain(|lane| lane.subscription != id);
        self.starts.retain(|start| start.subscription != id);
        self.health.retain(|health| health.subscription != id);
        self.replays.retain(|replay| replay.subscription != id);
    }
}

/// What [`State::readers`] gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readers {
    /// By name.
    pub readers: Vec<ReaderRow>,
    /// Where they stand.
    pub cursors: Vec<ReaderCursor>,
}

/// Which dead letters; an absent member matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Of this topic.
    pub topic: Option<TopicName>,
    /// Of this subscription; the only member with an index.
    pub subscription: Option<SubscriptionId>,
    /// For this reason.
    pub reason: Option<Reason>,
}

impl DeadLetterFilter {
    /// Whether `letter` is one of them.
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        self.topic.as_ref().is_none_or(|topic| *topic == letter.topic)
            && self.subscription.is_none_or(|subscription| Some(subscription) == letter.subscription)
            && self.reason.is_none_or(|reason| reason == letter.reason)
    }
}

/// One page of dead letters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// Newest first; may be empty although there is a `next`.
    pub items: Vec<DeadLetter>,
    /// Give this as `after` for the rest; `None` at the end.
    pub next: Option<DeadLetterId>,
}

/// A store that cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process has the folder.
    #[error("another process uses the state store in {0}; stop it, or give this one its own data folder")]
    Locked(String),
    /// Written by a newer version of Posthorn.
    #[error("the state store has format {found}, this version knows up to {known}; run the newer version that wrote it")]
    NewerFormat {
        /// What the store says.
        found: u64,
        /// What this version writes.
        known: u64,
    },
    /// An earlier write failed.
    #[error("the state store stopped after a failed write ({0}); check the disk and restart")]
    Stopped(String),
    /// The operating system refused.
    #[error("the state store's disk failed; check space and permissions of the data folder")]
    Io(#[source] std::io::Error),
    /// Anything else.
    #[error("the state store failed: {0}; if it comes back after a restart, restore the data folder from a backup")]
    Store(String),
}
