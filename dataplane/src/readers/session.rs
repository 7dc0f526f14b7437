//! One who reads: a poll, or a stream. Reads on from where the reader stands, or from where it was told to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{FutureExt as _, select_all};
use posthorn_domain::position::Cursor;
use posthorn_domain::problem::{Code, Problem};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::Readers;
use super::group::PartKey;
use super::load::{Found, Limits, Loaded, load};
use super::one::{One, Passed, Standing};
use super::seek::{self, Target};
use super::token::Token;
use crate::delivery::{Moves, Waiting};
use crate::read::{Entry, Waiting as Tail};

/// Topics whose growth is waited for; of more, the rest is looked at every now and then.
const MAX_WATCHED: usize = 64;
/// How often it is looked at who shares the reader, and whether it is still there.
const LOOK: Duration = Duration::from_secs(1);
/// How often one is asked again that cannot say yet where it stands.
const BUSY: Duration = Duration::from_millis(20);

/// One who reads.
pub struct Session {
    readers: Readers,
    one: Arc<One>,
    member: Option<String>,
    lease: Duration,
    /// Where it has come to, ahead of where the reader stands, and in which time of holding the partition.
    at: BTreeMap<PartKey, (u64, Option<u64>)>,
    had: BTreeSet<Waiting>,
    seeks: u64,
    /// Bytes of a page.
    bytes: usize,
    /// Whether its end is the member's.
    goodbye: bool,
    /// Members that there may be, where it is the partitions that limit them; the member must not come back once it was sent away.
    strict: Option<usize>,
    joined: bool,
    /// The only partitions that it reads.
    only: Option<BTreeSet<PartKey>>,
    /// As long as this lives, it counts among those who read.
    _waits: OwnedSemaphorePermit,
}

/// What one read gave.
pub struct Page {
    /// In the order in which to show them.
    pub entries: Vec<Entry>,
    /// What to commit once they are dealt with, and where to read on.
    pub cursor: String,
    /// The partitions that were read, each with the next offset that the reader has not committed.
    pub parts: Vec<(PartKey, u64)>,
    /// For each entry, its partition and where that goes on behind it.
    pub places: Vec<(PartKey, u64)>,
    /// What is held of the bytes that all pages may hold.
    pub held: Option<OwnedSemaphorePermit>,
}

impl Session {
    pub(super) fn new(readers: Readers, one: Arc<One>, member: Option<String>, waits: OwnedSemaphorePermit) -> Self {
        let (lease, bytes, seeks) = (readers.0.config.lease, readers.0.shares.page_bytes(), one.state.lock().seeks);
        Self {
            readers,
            one,
            member,
            lease,
            at: BTreeMap::new(),
            had: BTreeSet::new(),
            seeks,
            bytes,
            goodbye: false,
            strict: None,
            joined: false,
            only: None,
            _waits: waits,
        }
    }

    /// For a stream: its pages are small, and the member is gone when this is; what it has nothing uncommitted of is free at once.
    pub fn streaming(mut self) -> Self {
        (self.goodbye, self.bytes) = (true, self.readers.0.shares.stream_bytes());
        self
    }

    /// At most `max` members, each silent for at most `lease`, and none comes back once it was sent away.
    pub fn strictly(mut self, max: usize, lease: Duration) -> Self {
        (self.strict, self.lease) = (Some(max), lease);
        self.streaming()
    }

    /// Has just these partitions, and no share in the others.
    ///
    /// # Errors
    /// `in-use` when another has one of them.
    pub async fn claim(&mut self, parts: BTreeSet<PartKey>) -> Result<(), Problem> {
        let Some(member) = self.member.clone() else { return Ok(()) };
        let now = self.readers.0.clock.now();
        let claimed = self.one.state.lock().group.claim(&member, parts.iter().cloned(), now, self.lease);
        claimed.map_err(|(topic, partition)| {
            Problem::new(Code::InUse, format!("partition {partition} of `{topic}` has its stream already"))
        })?;
        self.joined = true;
        self.check().await
    }

    /// Reads these partitions only.
    pub fn only(mut self, parts: BTreeSet<PartKey>) -> Self {
        self.only = Some(parts);
        self
    }

    /// The member has to go, with all that it did not commit.
    pub fn expel(&mut self) {
        if let Some(member) = &self.member {
            self.one.state.lock().group.remove(member);
        }
    }

    /// Reads on from here instead of where the reader stands, which stays where it is.
    ///
    /// # Errors
    /// `invalid-request` or `cursor-expired`.
    pub async fn from(&mut self, text: &str) -> Result<(), Problem> {
        let standing = self.readers.standing(&self.one).await?;
        let all: Vec<PartKey> = standing.parts.keys().cloned().collect();
        let Target { next, had, .. } = seek::resolve(&standing, &all, text).await?;
        self.at = next.into_iter().map(|(key, next)| (key, (next, None))).collect();
        self.had = had;
        Ok(())
    }

    /// What is there from here on, at most `limit`; waits for the first entry at most for `wait`.
    ///
    /// # Errors
    /// `not-found` once the reader is gone, `cursor-expired` once retention has passed it, `in-use` while members share it and this is
    /// none, `rate-limited` when there are too many members or pages, `unavailable` when the log cannot be read.
    pub async fn next(&mut self, limit: usize, wait: Duration) -> Result<Page, Problem> {
        let deadline = Instant::now() + wait;
        loop {
            let standing = self.readers.standing(&self.one).await?;
            if standing.busy {
                // It will be known in a moment who has what: nobody loses a share by it.
                if Instant::now() >= deadline || self.is_over() {
                    return Ok(self.page(&standing, &[], Vec::new(), None));
                }
                self.pause(deadline, BUSY).await;
                continue;
            }
            let mut grown: Vec<Tail> = self.watch(&standing);
            let mine = self.share(&standing)?;
            let mut at: Vec<(PartKey, u64)> = mine.iter().map(|(key, stamp)| (key.clone(), self.place(&standing, key, *stamp))).collect();
            let held = if self.has_more(&standing, &at) { Some(self.readers.0.shares.room(self.bytes).await?) } else { None };
            let limits = Limits { events: limit, bytes: self.bytes, now: self.readers.0.clock.now() };
            let loaded = load(&standing, &mut at, &self.had, limits).await?;
            if let (false, Some(id), Some(delivery)) = (loaded.lost.is_empty(), self.one.subscription, &self.readers.0.delivery) {
                delivery.moved(id, Moves { lost: loaded.lost.clone(), ..Moves::default() }).await?;
                if loaded.found.is_empty() {
                    continue;
                }
            }
            if !loaded.found.is_empty() {
                let held = Some(self.readers.0.shares.fit(held, loaded.bytes).await?);
                if let Some(page) = self.give(&standing, &mine, &at, loaded, held) {
                    return Ok(page);
                }
                // A partition went to somebody else meanwhile.
                continue;
            }
            self.pass(&standing, &mine, &at);
            if Instant::now() >= deadline || self.is_over() {
                return Ok(self.page(&standing, &mine, Vec::new(), None));
            }
            if loaded.more {
                continue;
            }
            drop(held);
            tokio::select! {
                biased;
                () = any(&mut grown) => {}
                () = self.pause(deadline, LOOK.min(self.lease / 4)) => {}
            }
        }
    }

    async fn pause(&self, deadline: Instant, most: Duration) {
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(deadline.min(Instant::now() + most)) => {}
            () = self.readers.0.shutdown.cancelled() => {}
        }
    }

    /// Whether it can be read at all, before anything is waited for.
    ///
    /// # Errors
    /// As [`Session::next`].
    pub async fn check(&mut self) -> Result<(), Problem> {
        let standing = self.readers.standing(&self.one).await?;
        if standing.busy {
            return Ok(());
        }
        let mine = self.share(&standing)?;
        let at: Vec<_> = mine.iter().map(|(key, stamp)| (key, self.place(&standing, key, *stamp))).collect();
        for (key, next) in at {
            let Some(part) = standing.parts.get(key) else { continue };
            if next < part.route.log.bounds(key.1).start {
                return Err(crate::read::place::expired(&part.route, "retention has deleted events behind the reader"));
            }
        }
        Ok(())
    }

    /// Whether the node is shutting down, so that a stream must end.
    pub fn is_over(&self) -> bool {
        self.readers.0.shutdown.is_cancelled()
    }

    fn watch(&self, standing: &Standing) -> Vec<Tail> {
        let topics: BTreeSet<_> = standing.parts.keys().map(|(topic, _)| topic).collect();
        topics.into_iter().take(MAX_WATCHED).map(|topic| self.readers.0.tail.subscribe(topic)).collect()
    }

    /// The partitions that it may read, each with the time of holding it.
    fn share(&mut self, standing: &Standing) -> Result<Vec<(PartKey, u64)>, Problem> {
        let (now, config) = (self.readers.0.clock.now(), &self.readers.0.config);
        let mut parts: Vec<PartKey> = standing.parts.keys().cloned().collect();
        if let Some(only) = &self.only {
            parts.retain(|key| only.contains(key));
        }
        let mut state = self.one.state.lock();
        if state.seeks != self.seeks {
            // The reader went elsewhere; so does who reads.
            self.seeks = state.seeks;
            self.at.clear();
            self.had.clear();
        }
        let Some(member) = &self.member else {
            let members = state.group.shown(now);
            return if members.is_empty() { Ok(parts.into_iter().map(|key| (key, 0)).collect()) } else { Err(shared(&members)) };
        };
        if self.strict.is_some() && self.joined && !state.group.knows(member) {
            return Err(Problem::new(Code::InUse, "the stream's lease has passed, or its reader was set to other cursors"));
        }
        let max = self.strict.unwrap_or(config.max_members).min(config.max_members);
        let mine = state.group.poll(member, &parts, now, self.lease, max);
        self.joined = mine.is_some();
        let mine = mine.ok_or_else(|| {
            if self.strict.is_some_and(|strict| strict <= config.max_members) {
                return Problem::new(Code::InUse, "every partition has its stream already; close one of them first");
            }
            let detail = format!("the reader has {} members already, the most that `readers.max_members` allows", config.max_members);
            Problem::new(Code::RateLimited, detail).with_retry_after(5)
        })?;
        let stamps: BTreeMap<_, _> = mine.iter().map(|(key, stamp)| (key, *stamp)).collect();
        // What was read ahead in an earlier time of holding may have been given to another since.
        self.at.retain(|key, (_, stamp)| match (stamps.get(key), &stamp) {
            (Some(now), Some(then)) => now == then,
            (Some(now), None) => {
                *stamp = Some(*now);
                true
            }
            (None, _) => false,
        });
        Ok(mine)
    }

    fn place(&self, standing: &Standing, key: &PartKey, stamp: u64) -> u64 {
        let Some(part) = standing.parts.get(key) else { return 0 };
        if let Some((next, _)) = self.at.get(key).filter(|(_, of)| of.is_none_or(|of| of == stamp)) {
            return *next;
        }
        let passed = self.one.state.lock().passed.get(key).copied();
        let of = standing.asks(part);
        passed.filter(|passed| passed.from == part.next && passed.of == of).map_or(part.next, |passed| passed.to)
    }

    fn has_more(&self, standing: &Standing, at: &[(PartKey, u64)]) -> bool {
        let grown = |(key, next): &(PartKey, u64)| standing.parts.get(key).is_some_and(|part| part.route.log.bounds(key.1).end > *next);
        at.iter().any(grown) || standing.waiting.iter().any(|(place, _)| !self.had.contains(place))
    }

    /// Moves on behind what was found; `None` when the member may not have it any more.
    fn give(
        &mut self,
        standing: &Standing,
        mine: &[(PartKey, u64)],
        at: &[(PartKey, u64)],
        loaded: Loaded,
        held: Option<OwnedSemaphorePermit>,
    ) -> Option<Page> {
        if let Some(member) = &self.member {
            let moved = mine.iter().zip(at).filter(|((key, _), (_, next))| {
                standing.parts.get(key).is_some_and(|part| *next > part.next) || loaded.found.iter().any(|found| found.part == *key)
            });
            let moved: Vec<_> = moved.map(|((key, stamp), (_, next))| (key.clone(), *stamp, *next)).collect();
            if !self.one.state.lock().group.give(member, &moved, self.readers.0.clock.now()) {
                return None;
            }
        }
        let mut marks = self.marks(standing, mine);
        let mut entries = Vec::with_capacity(loaded.found.len());
        let mut places = Vec::with_capacity(loaded.found.len());
        for Found { part, next, had, item } in loaded.found {
            if let Some(next) = next {
                marks.set(&part, next);
            }
            if let Some(had) = had {
                marks.had(&had);
                self.had.insert(had);
            }
            entries.push(Entry { item, cursor: marks.to_string() });
            places.push((part, next.unwrap_or(0)));
        }
        self.advance(mine, at);
        Some(Page { places, ..self.page(standing, mine, entries, held) })
    }

    fn advance(&mut self, mine: &[(PartKey, u64)], at: &[(PartKey, u64)]) {
        for ((key, stamp), (_, next)) in mine.iter().zip(at) {
            self.at.insert(key.clone(), (*next, Some(*stamp)));
        }
    }

    /// Nothing was for the reader up to here: nobody needs to look again.
    fn pass(&mut self, standing: &Standing, mine: &[(PartKey, u64)], at: &[(PartKey, u64)]) {
        {
            let mut state = self.one.state.lock();
            for (key, next) in at {
                let (Some(part), None) = (standing.parts.get(key), self.at.get(key)) else { continue };
                if *next > part.next {
                    let of = standing.asks(part);
                    state.passed.insert(key.clone(), Passed { from: part.next, to: *next, of });
                }
            }
        }
        let ahead: Vec<_> =
            mine.iter().zip(at).filter(|((key, _), _)| self.at.contains_key(key)).map(|(a, b)| (a.clone(), b.clone())).collect();
        for ((key, stamp), (_, next)) in ahead {
            self.at.insert(key, (next, Some(stamp)));
        }
    }

    fn page(&self, standing: &Standing, mine: &[(PartKey, u64)], entries: Vec<Entry>, held: Option<OwnedSemaphorePermit>) -> Page {
        let cursor = self.marks(standing, mine).to_string();
        let committed = |key: &PartKey| standing.parts.get(key).map_or(0, |part| part.next);
        let parts = mine.iter().map(|(key, _)| (key.clone(), committed(key))).collect();
        Page { entries, cursor, parts, places: Vec::new(), held }
    }

    /// Where it stands, as a text that grows with it.
    fn marks(&self, standing: &Standing, mine: &[(PartKey, u64)]) -> Marks {
        let places = mine.iter().map(|(key, stamp)| (key, self.place(standing, key, *stamp)));
        if let Some(((topic, _), part)) = standing.parts.first_key_value()
            && self.member.is_none()
            && self.one.subscription.is_none()
            && standing.parts.keys().all(|(of, _)| of == topic)
        {
            let incarnation = part.route.log.settings().incarnation;
            return Marks::Whole(Cursor { incarnation, next: places.map(|(_, next)| next).collect() });
        }
        let mut token = Token { had: self.had.clone(), ..Token::default() };
        for (key, next) in places {
            let Some(part) = standing.parts.get(key) else { continue };
            token.lives.insert(key.0.clone(), part.route.log.settings().incarnation);
            if next != part.next {
                token.next.insert(key.clone(), next);
            }
        }
        Marks::Moved(token)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(member) = self.member.as_ref().filter(|_| self.goodbye) {
            self.one.state.lock().group.leave(member, self.readers.0.clock.now());
        }
    }
}

/// A place that becomes text.
enum Marks {
    /// A topic's cursor.
    Whole(Cursor),
    Moved(Token),
}

impl Marks {
    fn set(&mut self, key: &PartKey, next: u64) {
        match self {
            Self::Whole(cursor) => {
                if let Some(place) = cursor.next.get_mut(key.1 as usize) {
                    *place = next;
                }
            }
            Self::Moved(token) => drop(token.next.insert(key.clone(), next)),
        }
    }

    fn had(&mut self, place: &Waiting) {
        if let Self::Moved(token) = self {
            token.had.insert(place.clone());
        }
    }
}

impl std::fmt::Display for Marks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(cursor) => cursor.fmt(f),
            Self::Moved(token) => token.fmt(f),
        }
    }
}

/// Resolves when any of the topics has grown.
async fn any(grown: &mut [Tail]) {
    if grown.is_empty() {
        return std::future::pending().await;
    }
    select_all(grown.iter_mut().map(|tail| tail.changed().boxed())).await;
}

/// Members share the reader, and who asks is none.
pub(super) fn shared(members: &[super::group::Shown]) -> Problem {
    let names: Vec<_> = members.iter().take(10).map(|shown| shown.member.as_str()).collect();
    let detail = format!("members share this reader ({}); name yourself with `member`, or wait until they are gone", names.join(", "));
    Problem::new(Code::InUse, detail)
}
