//! What one request carries: one event, or in the format `batch` several, by count, bytes and time. Pure.
//!
//! A batch goes out when it is full, when its oldest event has waited, or when its subscription lags or the node drains. First
//! attempts, retries and replays are never mixed, so that the request's head is true of all its events.

use std::cmp::Reverse;
use std::time::Duration;

use foldhash::{HashMap, HashSet};
use posthorn_domain::ids::{MessageId, ReplayId};
use posthorn_domain::resource::{BatchLimits, Format};
use posthorn_domain::time::Time;
use posthorn_storage::state::{Retry, RetryId, RetrySource};

use super::item::{Item, Origin, key_hash};
use super::lane::{Lane, LaneKey};
use super::subscriber::{Items, Names, Subscriber, fresh};
use crate::config;

/// Events of ordered keys that may be under way or wait; beyond that the subscription's lanes stop.
const MAX_KEYED: usize = 1000;
/// How far an ordered lane looks past events whose key is busy.
const LOOK_AHEAD: usize = 1024;
/// For how long batches stay smaller after a 413.
const SMALLER_FOR: Duration = Duration::from_secs(600);

/// Up to where one request is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fill {
    pub(super) events: usize,
    pub(super) bytes: usize,
    pub(super) wait: Duration,
}

/// What goes out next.
pub(super) enum Picked {
    /// These.
    Items(Items),
    /// Something, but not before this time.
    At(Time),
    /// Nothing.
    Nothing,
}

impl Picked {
    /// Whether something is tried again.
    pub(super) fn is_retry(&self) -> bool {
        matches!(self, Self::Items(items) if items.iter().any(|item| matches!(item.origin, Origin::Retry(_))))
    }
}

/// What waits in lanes that take turns.
struct Waiting {
    events: usize,
    bytes: usize,
    oldest: Time,
    lags: bool,
}

impl Subscriber {
    /// The next request: retries that are due, if it `may_retry`, else the next events of the lanes in turn.
    pub(super) fn pick(&mut self, now: Time, names: &Names, config: &config::Delivery, may_retry: bool) -> Picked {
        let fill = self.fill(now, config);
        let again = if may_retry { self.due(now, fill) } else { Picked::Nothing };
        if !matches!(again, Picked::Nothing) {
            return again;
        }
        // An ordered lane must know of all keys that wait before it goes on.
        if self.is_ordered() && (self.keys.len() >= MAX_KEYED || !self.retries.has_all_keyed()) {
            return Picked::Nothing;
        }
        if self.is_batch() { self.gather(now, names, fill) } else { self.one(now, names) }
    }

    /// Whether several events go into one request.
    pub(super) fn is_batch(&self) -> bool {
        self.route.subscription().spec.endpoint.format == Format::Batch
    }

    /// How far requests are filled `now`.
    pub(super) fn fill(&self, now: Time, config: &config::Delivery) -> Fill {
        if !self.is_batch() {
            return Fill { events: 1, bytes: usize::MAX, wait: Duration::ZERO };
        }
        let BatchLimits { max_events, max_bytes, max_wait } = self.route.subscription().spec.endpoint.batch.unwrap_or_default();
        let asked = usize::try_from(max_events).unwrap_or(usize::MAX);
        let smaller = self.smaller.filter(|(_, until)| *until > now).map_or(usize::MAX, |(events, _)| events);
        let most = [config.max_batch_events, config.max_lane_events, smaller, self.rate.burst()];
        let events = most.into_iter().fold(asked, usize::min).max(1);
        Fill { events, bytes: max_bytes.as_usize().min(config.max_batch_bytes), wait: max_wait.std() }
    }

    /// A batch of so many events was too large for the endpoint.
    pub(super) fn send_less(&mut self, events: usize, now: Time) {
        let before = self.smaller.filter(|(_, until)| *until > now).map_or(usize::MAX, |(events, _)| events);
        self.smaller = Some(((events / 2).max(1).min(before), now.after(SMALLER_FOR)));
    }

    /// Items that were not sent after all wait where they came from.
    pub(super) fn put_back(&mut self, items: Items) {
        for item in items {
            match item.origin {
                Origin::Lane(key, offset) => {
                    self.keys.free(item.key_hash, offset);
                    let (Some(lane), Some(stored)) = (self.lanes.get_mut(&key), item.stored) else { continue };
                    lane.come_back(stored);
                    if lane.queue.len() == 1 {
                        self.ready.push_back(key);
                    }
                }
                Origin::Retry(retry) => {
                    self.flying.remove(&retry.id());
                    self.retries.put(*retry);
                }
            }
        }
    }

    /// Retries that are due, in the order in which they are: those that can share a request with the first of them. Of a key only what
    /// no earlier event holds back.
    fn due(&mut self, now: Time, fill: Fill) -> Picked {
        let mut group: Vec<RetryId> = Vec::new();
        let mut ahead: HashMap<u64, usize> = HashMap::default();
        let mut alike = None;
        for retry in self.in_turn(now, fill.events) {
            let before = retry.key_hash.map_or(0, |key| ahead.get(&key).copied().unwrap_or(0));
            let kind = (retry.attempts, retry.replay);
            if self.keys.before(retry.key_hash, offset_of(retry)) > before || kind != *alike.get_or_insert(kind) {
                continue;
            }
            group.push(retry.id());
            if let Some(key) = retry.key_hash {
                *ahead.entry(key).or_default() += 1;
            }
            if group.len() >= fill.events {
                break;
            }
        }
        if group.is_empty() {
            return Picked::Nothing;
        }
        if let Err(at) = self.rate.fits(now, group.len()) {
            return Picked::At(at);
        }
        Picked::Items(in_order(group.into_iter().filter_map(|id| self.begin(id)).collect()))
    }

    /// What is due, by when it was, with the events of a key in the log's order; without a key at most `most`. All that have one are among
    /// them: those that are due first may wait for others of their keys that are due last.
    fn in_turn<'a>(&'a self, now: Time, most: usize) -> impl Iterator<Item = &'a Retry> {
        let due = || self.retries.in_memory().values().take_while(move |retry| retry.due <= now);
        let mut lines: HashMap<u64, Vec<&Retry>> = HashMap::default();
        if self.retries.keyed() > 0 {
            for retry in due() {
                if let Some(key) = retry.key_hash {
                    lines.entry(key).or_default().push(retry);
                }
            }
            lines.values_mut().for_each(|line| line.sort_by_key(|retry| Reverse(offset_of(retry))));
        }
        let (mut with_key, mut without) = (self.retries.keyed(), most);
        let next = move |retry: &'a Retry| {
            if with_key == 0 && without == 0 {
                return None;
            }
            Some(if let Some(key) = retry.key_hash {
                with_key = with_key.saturating_sub(1);
                lines.get_mut(&key).and_then(Vec::pop)
            } else {
                let is_in = without > 0;
                without = without.saturating_sub(1);
                is_in.then_some(retry)
            })
        };
        due().map_while(next).flatten()
    }

    fn begin(&mut self, id: RetryId) -> Option<Item> {
        let retry = self.retries.take(&id)?;
        self.flying.insert(id);
        Some(Item::again(retry))
    }

    /// One event of the next lane that has one that may go; what is new goes before what is delivered again.
    fn one(&mut self, now: Time, names: &Names) -> Picked {
        if !self.ready.is_empty()
            && let Err(at) = self.rate.fits(now, 1)
        {
            return Picked::At(at);
        }
        let (fill, limit) = (Fill { events: 1, bytes: usize::MAX, wait: Duration::ZERO }, self.limit());
        for replays in [false, true] {
            for _ in 0..self.ready.len() {
                let Some(key) = self.ready.pop_front() else { break };
                let mut items = Items::new();
                if key.replay.is_some() == replays && self.replays.admit(key, now, limit) {
                    self.take(key, now, names, fill, &mut items);
                }
                if self.lanes.get(&key).is_some_and(|lane| !lane.queue.is_empty()) {
                    self.ready.push_back(key);
                }
                if !items.is_empty() {
                    return Picked::Items(items);
                }
            }
        }
        Picked::Nothing
    }

    /// A batch out of all lanes in turn; of a replay apart from the rest, and after it.
    fn gather(&mut self, now: Time, names: &Names, fill: Fill) -> Picked {
        let mut wake: Option<Time> = None;
        let replay = self.next_replay(now);
        for replay in std::iter::once(None).chain(replay.map(Some)) {
            let waiting = self.waiting(replay, fill);
            if waiting.events == 0 {
                continue;
            }
            let full = waiting.events >= fill.events || waiting.bytes >= fill.bytes || waiting.lags || self.flush;
            let at = if full { now } else { waiting.oldest.after(fill.wait) };
            let at = if at > now { Err(at) } else { self.rate.fits(now, waiting.events.min(fill.events)) };
            match at {
                Ok(()) => return Picked::Items(in_order(self.take_all(replay, now, names, fill))),
                Err(at) => wake = Some(wake.map_or(at, |wake| wake.min(at))),
            }
        }
        wake.map_or(Picked::Nothing, Picked::At)
    }

    /// The replay whose turn it is, of those that may send.
    fn next_replay(&mut self, now: Time) -> Option<ReplayId> {
        let limit = self.limit();
        self.ready.iter().find(|key| key.replay.is_some() && self.replays.admit(**key, now, limit)).and_then(|key| key.replay)
    }

    /// Requests that it may have under way by its own limit.
    fn limit(&self) -> u32 {
        self.route.subscription().spec.limits.in_flight
    }

    fn waiting(&self, replay: Option<ReplayId>, fill: Fill) -> Waiting {
        let mut waiting = Waiting { events: 0, bytes: 0, oldest: Time::MAX, lags: false };
        let lanes = self.ready.iter().filter(|key| key.replay == replay).filter_map(|key| self.lanes.get(key));
        for lane in lanes {
            waiting.lags |= lane.is_lagging();
            if self.keys.len() == 0 || !self.is_ordered() {
                waiting.events += lane.queue.len();
                waiting.bytes += lane.queued;
                let oldest = lane.queue.front().map_or(Time::MAX, |stored| stored.record.accepted_at);
                waiting.oldest = waiting.oldest.min(oldest);
            } else if waiting.events < fill.events {
                self.count_free(lane, &mut waiting);
            }
        }
        waiting
    }

    /// Counts what no busy key holds back.
    fn count_free(&self, lane: &Lane, waiting: &mut Waiting) {
        for stored in lane.queue.iter().take(LOOK_AHEAD) {
            if !stored.record.key().map(key_hash).is_some_and(|hash| self.keys.is_busy(hash)) {
                waiting.events += 1;
                waiting.bytes += stored.record.event.size();
                waiting.oldest = waiting.oldest.min(stored.record.accepted_at);
            }
        }
    }

    fn take_all(&mut self, replay: Option<ReplayId>, now: Time, names: &Names, fill: Fill) -> Items {
        let mut items = Items::new();
        for _ in 0..self.ready.len() {
            let Some(key) = self.ready.pop_front() else { break };
            if key.replay == replay {
                self.take(key, now, names, fill, &mut items);
            }
            if self.lanes.get(&key).is_some_and(|lane| !lane.queue.is_empty()) {
                self.ready.push_back(key);
            }
        }
        items
    }

    /// Takes from one lane what the request has room for. Events of one key may go together, in log order.
    fn take(&mut self, key: LaneKey, now: Time, names: &Names, fill: Fill, items: &mut Items) {
        let ordered = self.is_ordered();
        let (Some(lane), Some((topic, partition))) = (self.lanes.get_mut(&key), names.get(&key.part)) else { return };
        let mut mine: HashSet<u64> = HashSet::default();
        let mut bytes: usize = items.iter().filter_map(|item| item.stored.as_ref()).map(|stored| stored.record.event.size()).sum();
        let mut at = 0;
        while items.len() < fill.events
            && at < LOOK_AHEAD
            && (!ordered || self.keys.len() < MAX_KEYED)
            && let Some(stored) = lane.queue.get(at)
        {
            let hash = if ordered { stored.record.key().map(key_hash) } else { None };
            if hash.is_some_and(|hash| self.keys.is_busy(hash) && !mine.contains(&hash)) {
                at += 1;
                continue;
            }
            bytes += stored.record.event.size();
            if !items.is_empty() && bytes > fill.bytes {
                break;
            }
            let Some(stored) = lane.leave(at) else { break };
            self.keys.block(hash, stored.offset);
            if fill.events > 1 {
                mine.extend(hash);
            }
            items.push(fresh(&self.route, key, topic, *partition, stored, hash, now));
        }
    }
}

/// As they stand in their logs, so that the same events make the same batch again.
fn in_order(mut items: Items) -> Items {
    if items.len() > 1 {
        items.sort_by(|a, b| (&*a.topic, a.place()).cmp(&(&*b.topic, b.place())));
    }
    items
}

/// The id of the request: of its event, or of the batch.
pub(super) fn message_of(items: &[Item]) -> MessageId {
    match items {
        [only] => only.message,
        many => MessageId::of_batch(many.iter().map(|item| item.message)),
    }
}

/// The offset of what waits; a dead letter has none, and no key either.
pub(super) fn offset_of(retry: &Retry) -> u64 {
    match &retry.source {
        RetrySource::Log { offset, .. } => *offset,
        RetrySource::DeadLetter(_) => 0,
    }
}
