//! Reading a topic (interfaces §3): pages, long polls and streams, merged over its partitions, at places that cursors name.
//!
//! [`Reader`] knows no door. The HTTP door turns its [`Slice`]s into answers; [`TailNotify`] is what wakes those who wait and is fed
//! by whoever owns the log's tail.

mod merge;
mod notify;
mod page;
pub(crate) mod pass;
pub(crate) mod place;
pub(crate) mod query;
mod shares;
pub mod sse;

pub use merge::{Entry, Item, Slice};
pub use notify::{TailNotify, Waiting};
pub(crate) use page::write_entry;
pub use page::write_page;
pub use query::Query;
pub use shares::Shares;

use std::sync::Arc;
use std::time::Duration;

use posthorn_domain::filter::Filter;
use posthorn_domain::position::Cursor;
use posthorn_domain::problem::Problem;
use posthorn_storage::log::Wanted;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ingest::topic_unknown;
use crate::route::{Live, TopicRoute};

/// Reads topics. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    live: Live,
    tail: Arc<TailNotify>,
    shares: Shares,
    shutdown: CancellationToken,
}

/// One reader's place in one topic.
pub struct Session {
    reader: Reader,
    route: Arc<TopicRoute>,
    waiting: Waiting,
    cursor: Cursor,
    filter: Option<(Filter, Wanted)>,
    /// Bytes of a page.
    bytes: usize,
    /// As long as this lives, it counts among those who read.
    _turn: OwnedSemaphorePermit,
}

impl Reader {
    /// A reader whose waits end at `shutdown`.
    pub fn new(live: Live, tail: Arc<TailNotify>, shares: Shares, shutdown: CancellationToken) -> Self {
        Self { live, tail, shares, shutdown }
    }

    /// Opens `topic` at the place that the query names.
    ///
    /// # Errors
    /// `topic-unknown`, `cursor-expired` with the member `earliest`, `invalid-request` for a cursor that is none; `rate-limited` when
    /// too many read already.
    pub async fn open(&self, topic: &str, query: &Query) -> Result<Session, Problem> {
        let route = self.route(topic)?;
        let turn = self.shares.turn()?;
        let cursor = place::resolve(&route, query.cursor.as_deref().unwrap_or("earliest")).await?;
        let waiting = self.tail.subscribe(&route.topic.name);
        let filter = query.filter.clone().map(|filter| {
            let wanted = pass::wanted([&filter]);
            (filter, wanted)
        });
        let bytes = self.shares.page_bytes();
        Ok(Session { reader: self.clone(), route, waiting, cursor, filter, bytes, _turn: turn })
    }

    fn route(&self, topic: &str) -> Result<Arc<TopicRoute>, Problem> {
        self.live.load().topics.get(topic).cloned().ok_or_else(|| topic_unknown(topic))
    }
}

impl Session {
    /// For a stream: its pages are small, because each is held for as long as the client takes to read it.
    pub fn streaming(mut self) -> Self {
        self.bytes = self.reader.shares.stream_bytes();
        self
    }

    /// What is there from here on, at most `limit`; waits for the first entry at most for `wait`. Moves the place behind what it gives
    /// and what it passed over. With a filter it may come to its end before it has found anything: read on from where it stands.
    ///
    /// # Errors
    /// As [`Reader::open`], for a topic may go and retention may pass while one reads, and pages may hold all that they may;
    /// `unavailable` when the log cannot be read. It has to be opened again after an error.
    pub async fn next(&mut self, limit: usize, wait: Duration) -> Result<Slice, Problem> {
        let deadline = Instant::now() + wait;
        loop {
            self.waiting.mark();
            self.follow()?;
            let room = if self.has_more() { Some(self.reader.shares.room(self.bytes).await?) } else { None };
            let mut slice = merge::read(&self.route, &mut self.cursor, limit, self.bytes, self.filter.as_ref()).await?;
            if !slice.entries.is_empty() {
                slice.held = Some(self.reader.shares.fit(room, slice.bytes).await?);
                return Ok(slice);
            }
            if wait.is_zero() || slice.more {
                return Ok(slice);
            }
            drop(room);
            tokio::select! {
                biased;
                () = self.waiting.changed() => {}
                () = tokio::time::sleep_until(deadline) => return Ok(slice),
                () = self.reader.shutdown.cancelled() => return Ok(slice),
            }
        }
    }

    /// Whether the node is shutting down, so that a stream must end.
    pub fn is_over(&self) -> bool {
        self.reader.shutdown.is_cancelled()
    }

    fn has_more(&self) -> bool {
        (0..).zip(&self.cursor.next).any(|(partition, next)| self.route.log.bounds(partition).end > *next)
    }

    /// The topic may have changed since: partitions may have come, it may have gone or begun another life.
    fn follow(&mut self) -> Result<(), Problem> {
        let route = self.reader.route(&self.route.topic.name)?;
        self.route = route;
        place::check(&self.route, &mut self.cursor)
    }
}
