//! Reads what is there on some partitions, each in its own order, within limits on events, bytes and what is looked at.

use std::collections::BTreeSet;
use std::sync::Arc;

use posthorn_domain::names::TopicName;
use posthorn_domain::problem::Problem;
use posthorn_domain::reason::Reason;
use posthorn_domain::record::Stored;
use posthorn_domain::time::Time;
use posthorn_storage::log::{Gap, LogError, Page};

use super::group::PartKey;
use super::one::{Part, Standing};
use crate::delivery::{Lost, Waiting};
use crate::read::Item;
use crate::read::pass::pass;
use crate::read::place::{expired, of_log};

/// Events that one read looks at, about.
const MAX_LOOKED_AT: usize = 10_000;
/// Events of one partition before the next one's turn.
const TURN: usize = 256;

/// How much may be read.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) events: usize,
    /// Of events; one is always given.
    pub(super) bytes: usize,
    pub(super) now: Time,
}

/// What was read.
#[derive(Default)]
pub(super) struct Loaded {
    pub(super) found: Vec<Found>,
    /// It ended because of how much it had looked at.
    pub(super) more: bool,
    /// Of the events that were found.
    pub(super) bytes: usize,
    /// What had been waiting and cannot be given any more.
    pub(super) lost: Vec<Lost>,
    looked_at: usize,
}

/// One thing, and what it moves.
pub(super) struct Found {
    pub(super) part: PartKey,
    /// Where its partition goes on; none for what had been waiting.
    pub(super) next: Option<u64>,
    pub(super) had: Option<Waiting>,
    pub(super) item: Item,
}

/// Reads on from `at`, which moves behind what is given and passed over.
pub(super) async fn load(
    standing: &Standing,
    at: &mut [(PartKey, u64)],
    had: &BTreeSet<Waiting>,
    limits: Limits,
) -> Result<Loaded, Problem> {
    let mut loaded = Loaded::default();
    waiting(standing, at, had, limits, &mut loaded).await?;
    let least = standing.wanted.at_least();
    let turns = at.len().max(1);
    // Small pages must not always begin with the same partition; the sum moves on with every event read.
    let sum = at.iter().fold(0u64, |sum, (_, next)| sum.wrapping_add(*next));
    let first = usize::try_from(sum % turns as u64).unwrap_or(0);
    let (mut idle, mut turn) = (0, first);
    while idle < at.len() && loaded.has_room(limits) {
        let (key, next) = &mut at[turn % turns];
        turn += 1;
        let Some(part) = standing.parts.get(key) else {
            idle += 1;
            continue;
        };
        let before = *next;
        *next = pass(&*part.route.log, key.1, before, &least);
        one_turn(standing, key, part, next, limits, turns, &mut loaded).await?;
        idle = if *next == before { idle + 1 } else { 0 };
        // Evaluating takes time that others on this thread want too.
        tokio::task::yield_now().await;
    }
    loaded.more = loaded.looked_at >= MAX_LOOKED_AT;
    Ok(loaded)
}

impl Loaded {
    fn has_room(&self, limits: Limits) -> bool {
        self.found.len() < limits.events && self.bytes < limits.bytes && self.looked_at < MAX_LOOKED_AT
    }
}

async fn one_turn(
    standing: &Standing,
    key: &PartKey,
    part: &Part,
    next: &mut u64,
    limits: Limits,
    turns: usize,
    loaded: &mut Loaded,
) -> Result<(), Problem> {
    let bounds = part.route.log.bounds(key.1);
    if *next < bounds.start {
        return Err(expired(&part.route, "retention has deleted events behind the reader"));
    }
    // After a power loss the log may be shorter than a place; what is written next must not be passed over.
    *next = (*next).min(bounds.end);
    if *next == bounds.end {
        return Ok(());
    }
    let records = (limits.events - loaded.found.len()).div_ceil(turns).clamp(1, TURN);
    let bytes = (limits.bytes - loaded.bytes).max(1);
    let page = part.route.log.read(key.1, *next, bytes, records).await.map_err(|error| of_log(&part.route, &error))?;
    take(standing, key, part, next, page, limits, loaded);
    Ok(())
}

fn take(standing: &Standing, key: &PartKey, part: &Part, next: &mut u64, page: Page, limits: Limits, loaded: &mut Loaded) {
    let mut gaps = page.gaps.into_iter().peekable();
    for stored in page.records {
        while let Some(gap) = gaps.next_if(|gap| gap.from < stored.offset) {
            loaded.gap(key, gap, next);
        }
        if !loaded.has_room(limits) {
            return;
        }
        loaded.looked_at += 1;
        *next = stored.offset + 1;
        let settled = part.settled.binary_search(&stored.offset).is_ok();
        if !settled && standing.wanted.takes(&key.0, &stored, limits.now) {
            loaded.bytes += stored.record.encoded_len();
            loaded.found.push(Found { part: key.clone(), next: Some(*next), had: None, item: Item::Event(stored) });
        }
    }
    for gap in gaps {
        loaded.gap(key, gap, next);
    }
    *next = page.next.max(*next);
}

impl Loaded {
    fn gap(&mut self, key: &PartKey, gap: Gap, next: &mut u64) {
        *next = gap.to.max(*next);
        self.found.push(Found { part: key.clone(), next: Some(*next), had: None, item: Item::Gap { partition: key.1, gap } });
    }
}

/// What pushing left waiting comes first: those events are older, and the order of a key wants it.
async fn waiting(
    standing: &Standing,
    at: &[(PartKey, u64)],
    had: &BTreeSet<Waiting>,
    limits: Limits,
    loaded: &mut Loaded,
) -> Result<(), Problem> {
    let mut due: Vec<_> = standing.waiting.iter().filter(|(place, _)| !had.contains(place)).collect();
    due.sort_unstable();
    for (place, message) in due {
        if !loaded.has_room(limits) {
            return Ok(());
        }
        let key: (TopicName, u32) = (place.topic.clone(), place.partition);
        let (Some(part), true) = (standing.parts.get(&key), at.iter().any(|(mine, _)| *mine == key)) else { continue };
        let mut lose = |reason, detail, stored| loaded.lost.push(Lost { place: place.clone(), reason, detail, stored });
        let page = match part.route.log.read(key.1, place.offset, 1, 1).await {
            Ok(page) => page,
            Err(LogError::BelowStart { .. }) => {
                lose(Reason::RetentionPassed, "retention deleted the event", None);
                continue;
            }
            Err(error) => return Err(of_log(&part.route, &error)),
        };
        let is_it = |stored: &Arc<Stored>| stored.offset == place.offset && stored.message_id(&place.topic) == *message;
        let Some(stored) = page.records.into_iter().find(is_it) else {
            lose(Reason::LogDamaged, "the log has lost the event", None);
            continue;
        };
        if stored.record.is_expired(limits.now) {
            lose(Reason::Expired, "its time to live had passed", Some(stored));
            continue;
        }
        loaded.bytes += stored.record.encoded_len();
        loaded.found.push(Found { part: key, next: None, had: Some(place.clone()), item: Item::Event(Arc::clone(&stored)) });
    }
    Ok(())
}
