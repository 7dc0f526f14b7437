//! Retention against lanes that are behind: what is held for them, and what becomes of events that go before they were delivered.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use posthorn_domain::event::EventBuilder;
use posthorn_domain::ids::{DeadLetterId, DeliveryId, ReplayId, SubscriptionId};
use posthorn_domain::names::TopicName;
use posthorn_domain::position::Position;
use posthorn_domain::qos::{DeadLetter as DeadLetterRule, Durability};
use posthorn_domain::reason::Reason;
use posthorn_domain::record::{Record, Stored};
use posthorn_domain::time::Time;
use posthorn_storage::attempts::{Attempt, Outcome, event_hash};
use posthorn_storage::log::{LogError, Page};
use posthorn_storage::state::{DeadLetter, RetrySource};
use tokio::sync::oneshot;

use super::lane::{LaneKey, Mode};
use super::shard::Shard;
use super::subscriber::Subscriber;
use super::tell;
use super::work::Done;

/// Bytes of events that one sweep keeps as dead letters, for lanes and again for what waits; what goes beyond is told of as ranges.
const LETTER_BYTES: usize = 16 << 20;
const PAGE_BYTES: usize = 1 << 20;
const PAGE_RECORDS: usize = 512;

/// A place in a topic's log: topic, partition, offset.
pub type Place = (TopicName, u32, u64);

/// A partition of which is asked what is still needed.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its topic.
    pub topic: TopicName,
    /// Its number.
    pub partition: u32,
    /// Whether it is asked of all subscriptions, not only of those that allow no dead letters.
    pub of_all: bool,
}

/// What is still needed of one partition.
#[derive(Clone, Debug)]
pub struct Needed {
    /// The least offset that shards need for themselves, or for subscriptions that allow no dead letters.
    pub never: Least,
    /// The least offset that the other subscriptions need, if it was asked for.
    pub others: Least,
}

/// A least offset, as far as memory knows.
#[derive(Clone, Debug)]
pub struct Least {
    /// The offset; the greatest of all when nothing is needed.
    pub offset: u64,
    /// Subscriptions that need what waits in the store too, beyond what is in memory.
    pub spilled: Vec<SubscriptionId>,
}

impl Default for Needed {
    fn default() -> Self {
        let nothing = Least { offset: u64::MAX, spilled: Vec::new() };
        Self { never: nothing.clone(), others: nothing }
    }
}

impl Needed {
    /// Takes in what another shard needs.
    pub(super) fn join(&mut self, other: Self) {
        for (mine, other) in [(&mut self.never, other.never), (&mut self.others, other.others)] {
            mine.offset = mine.offset.min(other.offset);
            mine.spilled.extend(other.spilled);
        }
    }

    /// Whether the store is to be asked as well.
    pub(super) fn looks_further(&self) -> bool {
        !self.never.spilled.is_empty() || !self.others.spilled.is_empty()
    }
}

/// Events of one partition that are about to go, and the lanes that lose them one by one.
pub(super) struct Passing {
    part: u32,
    /// The rest of what is to be read.
    range: Range<u64>,
    lanes: Vec<(SubscriptionId, LaneKey, Range<u64>)>,
    /// Bytes that may still be kept, of all that pass at once.
    room: Rc<Cell<usize>>,
}

impl Shard {
    /// The least offsets that are still needed: by the shard itself, and by subscriptions.
    pub(super) fn needed(&self, asked: &Asked) -> Needed {
        let mut needed = Needed::default();
        let Some(number) = self.numbers.get(&(asked.topic.clone(), asked.partition)).copied() else { return needed };
        let Some(part) = self.parts.get(&number) else { return needed };
        needed.never.offset = part.fed;
        for subscriber in self.subscribers.values() {
            let least = if !allows(subscriber) {
                &mut needed.never
            } else if asked.of_all {
                &mut needed.others
            } else {
                continue;
            };
            let lanes = subscriber.lanes.iter().filter(|(key, _)| key.part == number).map(|(_, lane)| match lane.mode {
                // Its start is still being looked up.
                Mode::Lagging { next: u64::MAX, .. } => 0,
                _ => lane.cursor(part.fed),
            });
            let waiting = subscriber.retries.in_memory().values().filter_map(|retry| match &retry.source {
                RetrySource::Log { topic, partition, offset, .. } if *topic == asked.topic && *partition == asked.partition => {
                    Some(*offset)
                }
                _ => None,
            });
            least.offset = lanes.chain(waiting).fold(least.offset, u64::min);
            // Of what is being attempted only the store knows the place.
            if !subscriber.retries.has_all() || !subscriber.flying.is_empty() {
                least.spilled.push(subscriber.id());
            }
        }
        needed
    }

    /// Events below these places are about to be deleted: lanes that are behind are put there, and what they and waiting deliveries
    /// lose becomes dead letters where that is allowed. Answered once all of it is stored.
    pub(super) fn pass(&mut self, places: Arc<[Place]>, answer: oneshot::Sender<()>) {
        let room = Rc::new(Cell::new(LETTER_BYTES));
        for (topic, partition, end) in &*places {
            let Some(number) = self.numbers.get(&(topic.clone(), *partition)).copied() else { continue };
            if let Some(part) = self.parts.get_mut(&number) {
                part.passed = part.passed.max(*end);
            }
            self.pass_part(number, *end, &room);
        }
        self.rescue(places, LETTER_BYTES, answer);
    }

    fn pass_part(&mut self, number: u32, end: u64, room: &Rc<Cell<usize>>) {
        let most = self.context.config.max_retention_letters as u64;
        let mut behind = Vec::new();
        for (id, subscriber) in &mut self.subscribers {
            let allowed = allows(subscriber);
            for (key, lane) in subscriber.lanes.iter_mut().filter(|(key, _)| key.part == number) {
                let Mode::Lagging { next, .. } = lane.mode else { continue };
                let end = lane.until.unwrap_or(u64::MAX).min(end);
                if next < end {
                    // A page that is being read meanwhile is not taken any more.
                    lane.mode = Mode::Lagging { next: end, reading: false };
                    behind.push((*id, *key, next..end, allowed));
                }
            }
        }
        let mut one_by_one = Vec::new();
        for (id, key, range, allowed) in behind {
            self.dirty_lanes.insert((id, key));
            if allowed && range.end - range.start <= most {
                one_by_one.push((id, key, range));
            } else {
                self.lose_lane_range(id, key, range, Reason::RetentionPassed);
                self.end_replay(id, key);
            }
            self.look_at(id);
        }
        let Some(from) = one_by_one.iter().map(|(.., range)| range.start).min() else { return };
        let passing = Passing { part: number, range: from..end, lanes: one_by_one, room: Rc::clone(room) };
        // No checkpoint before the dead letters are known: a lane must not be seen behind them without them.
        self.starting += 1;
        self.read_passing(passing);
    }

    fn read_passing(&mut self, passing: Passing) {
        let Some(part) = self.parts.get(&passing.part) else { return self.end_passing(&passing) };
        let (log, partition, from) = (Arc::clone(&part.topic.log), part.partition, passing.range.start);
        self.work.push(Box::pin(async move {
            let page = log.read(partition, from, PAGE_BYTES, PAGE_RECORDS).await;
            Done::Passing { passing: Box::new(passing), page }
        }));
    }

    pub(super) fn on_passing(&mut self, mut passing: Passing, page: Result<Page, LogError>) {
        let page = match page {
            Ok(page) if page.next > passing.range.start => page,
            // What cannot be read is told of as a range.
            _ => return self.end_passing(&passing),
        };
        for stored in page.records.iter().filter(|stored| stored.offset < passing.range.end) {
            for (id, key, _) in passing.lanes.iter().filter(|(.., range)| range.contains(&stored.offset)) {
                let kept = self.lose_event(*id, *key, stored);
                passing.room.set(passing.room.get().saturating_sub(kept));
            }
        }
        for gap in &page.gaps {
            for (id, key, range) in &passing.lanes {
                let lost = gap.from.max(range.start)..gap.to.min(range.end);
                if !lost.is_empty() {
                    self.lose_lane_range(*id, *key, lost, Reason::LogDamaged);
                }
            }
        }
        passing.range.start = page.next.min(passing.range.end);
        if passing.range.is_empty() || passing.room.get() == 0 {
            self.end_passing(&passing);
        } else {
            self.read_passing(passing);
        }
    }

    /// What was not read becomes a range for each lane.
    fn end_passing(&mut self, passing: &Passing) {
        self.starting = self.starting.saturating_sub(1);
        for (id, key, range) in &passing.lanes {
            let rest = range.start.max(passing.range.start)..range.end;
            if !rest.is_empty() {
                self.lose_lane_range(*id, *key, rest, Reason::RetentionPassed);
            }
            self.end_replay(*id, *key);
        }
        self.commit.at = Some(Time::ZERO);
    }

    /// One event that a lane loses, if it wanted it; answers how many bytes are kept of it.
    fn lose_event(&mut self, id: SubscriptionId, key: LaneKey, stored: &Arc<Stored>) -> usize {
        let Some(part) = self.parts.get(&key.part) else { return 0 };
        let (topic, partition) = (Arc::clone(&part.topic), part.partition);
        let (table, name) = (Arc::clone(&self.table), topic.topic.name.clone());
        let Some(subscriber) = self.subscribers.get(&id) else { return 0 };
        if subscriber.lanes.get(&key).is_some_and(|lane| lane.window.has_settled(stored.offset)) {
            return 0;
        }
        if !self.decided.wants(&subscriber.route, &table, &topic, key.part, stored) {
            return 0;
        }
        let kept = stored.record.dead_letter == DeadLetterRule::Allow;
        tell::retention_passed(&self.context, id, &name, partition, (stored.offset..stored.offset + 1, 1), kept);
        tell::given_up(&self.context, id, &name, Reason::RetentionPassed, kept);
        let ended = if kept { &self.context.metrics.dead_lettered } else { &self.context.metrics.dropped };
        ended.increment(1);
        self.count_lost(id, key.replay);
        let message = stored.message_id(&name);
        let delivery = key.replay.map_or_else(|| DeliveryId::of(id, message), |replay| DeliveryId::of_replay(replay, message));
        let position = Position { partition, offset: stored.offset };
        self.context.attempts.record(Attempt {
            subscription: id,
            topic: name.clone(),
            position,
            message,
            delivery,
            derived: key.replay.is_none(),
            event_hash: event_hash(stored.record.event.id()),
            number: 1,
            at: self.context.clock.now(),
            duration_ms: 0,
            status: None,
            outcome: if kept { Outcome::DeadLettered } else { Outcome::Dropped },
            error: Reason::RetentionPassed.as_str().into(),
            response_head: Vec::new(),
            next_attempt_at: None,
        });
        if !kept {
            return 0;
        }
        let record = stored.record.to_bytes();
        let bytes = record.len();
        self.outbox.put_dead_letter(DeadLetter {
            id: DeadLetterId::make(),
            reason: Reason::RetentionPassed,
            detail: "retention deleted the event before it could be delivered".into(),
            at: self.context.clock.now(),
            topic: name,
            position: Some(position),
            record,
            subscription: Some(id),
            delivery: Some(delivery),
            replay: key.replay,
            attempts: 0,
            errors: Vec::new(),
        });
        bytes
    }

    /// A range of a partition is lost: so it is for every lane that was to get it from here. Lagging lanes will meet it themselves.
    pub(super) fn lose_range(&mut self, number: u32, lost: Range<u64>, reason: Reason) {
        let Some(part) = self.parts.get(&number) else { return };
        let topic = part.topic.topic.name.clone();
        let key = LaneKey { part: number, replay: None };
        let awaits = |subscriber: &Subscriber| match subscriber.lanes.get(&key).map(|lane| lane.mode) {
            None => true,
            Some(Mode::Tailing { from }) => from < lost.end,
            Some(Mode::Lagging { .. }) => false,
        };
        self.rouse_all(|route| route.admits_topic(&topic));
        let wanting = self.subscribers.values().filter(|subscriber| subscriber.is_live() && subscriber.route.admits_topic(&topic));
        let wanting: Vec<_> = wanting.filter(|subscriber| awaits(subscriber)).map(|subscriber| subscriber.id()).collect();
        for id in wanting {
            self.lose_lane_range(id, key, lost.clone(), reason);
        }
    }

    /// A lane loses a range of the log: one dead letter tells of it, unless retention took it from a subscription that allows none.
    pub(super) fn lose_lane_range(&mut self, id: SubscriptionId, key: LaneKey, lost: Range<u64>, reason: Reason) {
        let Some((topic, partition)) = self.names.get(&key.part).cloned() else { return };
        let Some(subscriber) = self.subscribers.get(&id).filter(|_| !lost.is_empty()) else { return };
        let last = lost.end - 1;
        let detail = if reason == Reason::RetentionPassed {
            let allowed = allows(subscriber);
            tell::retention_passed(&self.context, id, &topic, partition, (lost.clone(), lost.end - lost.start), allowed);
            tracing::warn!(subscription = %id, %topic, from = lost.start, to = lost.end, allowed, "retention passed a lane");
            if !allowed {
                return tell::given_up(&self.context, id, &topic, reason, false);
            }
            let count = lost.end - lost.start;
            format!(
                "retention deleted offsets {} to {last} of partition {partition} before they were delivered: at most {count} events",
                lost.start
            )
        } else {
            tracing::error!(subscription = %id, %topic, partition, from = lost.start, to = lost.end, "deliveries are lost in a damaged range of the log");
            format!("the log is damaged: offsets {} to {last} of partition {partition} are lost", lost.start)
        };
        tell::given_up(&self.context, id, &topic, reason, true);
        self.range_letter(id, (topic, partition, lost.start), reason, detail, key.replay);
        self.checkpoint_soon();
    }

    /// A dead letter for what cannot be read any more, from this place on.
    pub(super) fn range_letter(
        &mut self,
        id: SubscriptionId,
        (topic, partition, offset): Place,
        reason: Reason,
        detail: String,
        replay: Option<ReplayId>,
    ) {
        let now = self.context.clock.now();
        let event = EventBuilder::new(&format!("{topic}-{partition}-{offset}"), "/posthorn/log", "posthorn.log.gap").build();
        let record = Record {
            event: event.with_attr("topic", &topic),
            publisher: "posthorn".into(),
            idempotency_key: None,
            accepted_at: now,
            expires_at: None,
            durability: Durability::Log,
            dead_letter: DeadLetterRule::Allow,
            direction: posthorn_domain::direction::Direction::Incoming,
        };
        let message = record.message_id(&topic);
        self.outbox.put_dead_letter(DeadLetter {
            id: DeadLetterId::make(),
            reason,
            detail,
            at: now,
            topic,
            position: Some(Position { partition, offset }),
            record: record.to_bytes(),
            subscription: Some(id),
            delivery: Some(DeliveryId::of(id, message)),
            replay,
            attempts: 0,
            errors: Vec::new(),
        });
    }
}

/// Whether what it does not get may become dead letters.
pub(super) fn allows(subscriber: &Subscriber) -> bool {
    subscriber.route.subscription().spec.qos.dead_letter == DeadLetterRule::Allow
}
