//! Merges partitions fairly: round-robin over those that have something, each in its own order.

use std::collections::VecDeque;
use std::sync::Arc;

use posthorn_domain::filter::Filter;
use posthorn_domain::position::Cursor;
use posthorn_domain::problem::Problem;
use posthorn_domain::record::Stored;
use posthorn_storage::log::{Gap, Page, Wanted};
use tokio::sync::OwnedSemaphorePermit;

use super::pass::pass;
use super::place::of_log;
use crate::route::{TopicRoute, look};

/// Events that one read looks at when it has a filter, about.
const MAX_LOOKED_AT: usize = 10_000;
/// Events that are loaded at once when there is a filter.
const SHARE: usize = 256;

/// What one read of a topic gave.
#[derive(Debug)]
pub struct Slice {
    /// In the order in which to show them.
    pub entries: Vec<Entry>,
    /// Where to read on.
    pub cursor: Cursor,
    /// It ended because of how much it had looked at, and there may be more already.
    pub more: bool,
    /// Bytes of its events.
    pub(super) bytes: usize,
    /// What is held of the bytes that all pages may hold.
    pub held: Option<OwnedSemaphorePermit>,
}

/// One thing read, and the cursor behind it.
#[derive(Debug)]
pub struct Entry {
    /// What it is.
    pub item: Item,
    /// Where to read on after it.
    pub cursor: String,
}

/// What there is to read.
#[derive(Debug)]
pub enum Item {
    /// An event.
    Event(Arc<Stored>),
    /// Offsets that are lost.
    Gap {
        /// In this partition.
        partition: u32,
        /// Which, and why.
        gap: Gap,
    },
}

enum Piece {
    Record(Arc<Stored>),
    Gap(Gap),
}

/// What a read has done so far.
struct Progress<'a> {
    filter: Option<&'a Filter>,
    reads_data: bool,
    limit: usize,
    max_bytes: usize,
    entries: Vec<Entry>,
    bytes: usize,
    looked_at: usize,
}

/// Reads at most `limit` entries and about `max_bytes` of events, of which one is always given, and moves `cursor` behind them. Of events, only those are entries for which the filter holds.
pub(super) async fn read(
    route: &TopicRoute,
    cursor: &mut Cursor,
    limit: usize,
    max_bytes: usize,
    filter: Option<&(Filter, Wanted)>,
) -> Result<Slice, Problem> {
    let (filter, wanted) = filter.map(|(filter, wanted)| (filter, wanted)).unzip();
    let reads_data = filter.is_some_and(Filter::reads_data);
    let mut progress = Progress { filter, reads_data, limit, max_bytes, entries: Vec::new(), bytes: 0, looked_at: 0 };
    while progress.has_room() {
        let records = if filter.is_some() { SHARE } else { limit - progress.entries.len() };
        if let Some(wanted) = wanted {
            for (partition, next) in (0..).zip(&mut cursor.next) {
                *next = pass(&*route.log, partition, *next, wanted);
            }
        }
        let mut queues = load(route, cursor, records, max_bytes.saturating_sub(progress.bytes).max(1)).await?;
        if queues.iter().all(|(_, pieces)| pieces.is_empty()) {
            return Ok(progress.slice(cursor, false));
        }
        drain(route, &mut queues, cursor, &mut progress);
        if filter.is_some() {
            // Evaluating takes time that others on this thread want too.
            tokio::task::yield_now().await;
        }
    }
    Ok(progress.slice(cursor, true))
}

impl Progress<'_> {
    fn has_room(&self) -> bool {
        self.entries.len() < self.limit && self.bytes < self.max_bytes && (self.filter.is_none() || self.looked_at < MAX_LOOKED_AT)
    }

    fn slice(self, cursor: &Cursor, more: bool) -> Slice {
        Slice { entries: self.entries, cursor: cursor.clone(), more, bytes: self.bytes, held: None }
    }

    fn takes(&mut self, route: &TopicRoute, stored: &Stored) -> bool {
        let Some(filter) = self.filter else { return true };
        self.looked_at += 1;
        look(&route.topic.name, &stored.record, self.reads_data, |view| filter.matches(view))
    }
}

/// A share of what is asked for from every partition that has something.
async fn load(route: &TopicRoute, cursor: &mut Cursor, records: usize, bytes: usize) -> Result<Vec<(u32, VecDeque<Piece>)>, Problem> {
    let has_more = |partition: &u32| cursor.next[*partition as usize] < route.log.bounds(*partition).end;
    let mut partitions: Vec<u32> = (0..).take(cursor.next.len()).filter(has_more).collect();
    let Some(count) = std::num::NonZeroUsize::new(partitions.len()) else { return Ok(Vec::new()) };
    // Small pages must not always begin with the same partition; the sum moves on with every event read.
    let sum = cursor.next.iter().fold(0u64, |sum, next| sum.wrapping_add(*next));
    partitions.rotate_left(usize::try_from(sum % count.get() as u64).unwrap_or(0));
    partitions.truncate(records);
    let (records, bytes) = (records.div_ceil(partitions.len()), bytes.div_ceil(partitions.len()));
    let mut queues = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let next = &mut cursor.next[partition as usize];
        let page = route.log.read(partition, *next, bytes, records).await.map_err(|error| of_log(route, &error))?;
        let after = page.next;
        let pieces = in_order(page);
        if pieces.is_empty() {
            // Nothing to show, yet somewhere else to read on.
            *next = after.max(*next);
        }
        queues.push((partition, pieces));
    }
    Ok(queues)
}

fn in_order(page: Page) -> VecDeque<Piece> {
    let mut pieces: VecDeque<Piece> = page.records.into_iter().map(Piece::Record).collect();
    for gap in page.gaps {
        let at = pieces.partition_point(|piece| piece.start() < gap.from);
        pieces.insert(at, Piece::Gap(gap));
    }
    pieces
}

impl Piece {
    fn start(&self) -> u64 {
        match self {
            Self::Record(stored) => stored.offset,
            Self::Gap(gap) => gap.from,
        }
    }
}

/// One of each in turn, until there is enough. What is left over is read again next time.
fn drain(route: &TopicRoute, queues: &mut [(u32, VecDeque<Piece>)], cursor: &mut Cursor, progress: &mut Progress<'_>) {
    loop {
        let mut moved = false;
        for (partition, pieces) in &mut *queues {
            if !progress.has_room() {
                return;
            }
            let Some(piece) = pieces.pop_front() else { continue };
            moved = true;
            let next = &mut cursor.next[*partition as usize];
            let item = match piece {
                Piece::Record(stored) => {
                    *next = stored.offset + 1;
                    if !progress.takes(route, &stored) {
                        continue;
                    }
                    progress.bytes += stored.record.encoded_len();
                    Item::Event(stored)
                }
                Piece::Gap(gap) => {
                    *next = gap.to;
                    Item::Gap { partition: *partition, gap }
                }
            };
            progress.entries.push(Entry { item, cursor: cursor.to_string() });
        }
        if !moved {
            return;
        }
    }
}
