//! Knows what was promised and sees what happens: events as publishers made them, the log as its tail tells it, requests as endpoints
//! get them. Says which promise is broken, by its number.

pub mod changes;
pub mod more;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use posthorn_domain::ids::MessageId;
use posthorn_domain::qos::{DeadLetter, Durability};
use posthorn_domain::record::{Record, Stored};
use posthorn_domain::time::Time;
use posthorn_storage::log::Gap;

use crate::plan::{CHECKPOINTS, Nature, Plan};
use crate::world::Violation;

/// A partition: the numbers of topic and partition.
pub type Place = (usize, u32);

/// An event, by what its publisher knows.
#[derive(Clone, Debug)]
pub struct Event {
    /// The number of its topic.
    pub topic: usize,
    /// Its ordering key.
    pub key: Option<u64>,
    /// Its type.
    pub ty: u64,
    /// What it asks for.
    pub durability: Durability,
    /// Bytes of padding.
    pub size: usize,
    /// Seconds to live that it asks for itself.
    pub ttl: Option<u64>,
    /// Whether its schema forbids dead letters.
    pub strict: bool,
    /// The life of its topic in which it was sent in last.
    pub life: u32,
    /// Where it was said to be.
    pub acked: Option<(Place, u64)>,
    /// Where it is in the log.
    pub kept: Option<Kept>,
}

/// An event in the log.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// The partition.
    pub place: Place,
    /// The offset.
    pub offset: u64,
    /// What it was kept with.
    pub durability: Durability,
    /// When it expires.
    pub expires: Option<Time>,
    /// Whether it may become a dead letter.
    pub letters: bool,
    /// When it was taken in.
    pub accepted: Time,
    /// When the log said so.
    pub at: Time,
    /// In which life.
    pub life: u32,
}

/// Who publishes.
pub const PUBLISHER: &str = "sim";
/// The `source` of all events.
pub const SOURCE: &str = "/sim";

/// How the last life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was told to, and everything was written.
    Clean,
    /// It was killed.
    Kill,
    /// The power was lost.
    Power,
}

/// What is known of a delivery: of one event to one subscription.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    /// Requests that carried it.
    pub requests: u32,
    /// When the first went out.
    pub first: Option<Time>,
    /// When the last did.
    pub last: Time,
    /// When the endpoint last took it, and in which life; with whether the process got the answer.
    pub taken: Option<(Time, u32, bool)>,
    /// Whether an endpoint answered it with 410.
    pub gone: bool,
    /// When an endpoint first did not take it and the process knew, and in which life: then it waits for another attempt.
    pub waits: Option<(Time, u32)>,
}

/// A record that some part of the process may still hold.
struct Held {
    record: Weak<Stored>,
    bytes: usize,
}

/// A request that is under way.
struct Flight {
    subscription: usize,
    url: u32,
    replay: bool,
    events: Vec<usize>,
}

/// What it knows.
pub struct Oracle {
    /// What was found wrong first.
    pub violation: Option<Violation>,
    /// By number, in the order in which they were made.
    pub events: Vec<Event>,
    /// The log: events by partition and offset.
    pub log: BTreeMap<Place, BTreeMap<u64, usize>>,
    /// By subscription and event.
    pub deliveries: BTreeMap<(usize, usize), Delivery>,
    /// The number of the life.
    pub life: u32,
    /// Acknowledged as written, and not yet told by the log.
    owed: Vec<(usize, Place, u64)>,
    /// Partitions of which a byte was spoilt.
    pub spoilt: Vec<Place>,
    /// Whether the state store has refused anything in this life, so that progress may be unwritten for long.
    pub refused: bool,
    /// How and when lives ended, and whether progress may have been unwritten for long.
    pub ends: Vec<(End, Time, bool)>,
    /// Since when subscriptions are known not to deliver.
    pub silent: Vec<Option<Time>>,
    /// Deliveries that a person has had tried again, which may come at any time.
    pub by_hand: BTreeSet<(usize, usize)>,
    /// Since when subscriptions can deliver, by their status and the process's life.
    pub ready: Vec<Time>,
    /// The longest that an event waited for its first request to an endpoint that is well, with nothing in its way.
    pub latest: Duration,
    /// The most bytes of records that the process held at a time.
    pub most_held: usize,
    /// Requests that were repeated after a restart.
    pub repeats: u32,
    /// Retention, pulled subscriptions, replays.
    pub more: more::MoreSeen,
    /// Changes of resources.
    pub changes: changes::Changes,
    held: Vec<Held>,
    max_held: usize,
    well: Vec<bool>,
    limits: Vec<u32>,
    ordered: Vec<bool>,
    in_flight: Vec<u32>,
    /// When each last ended a request.
    served: Vec<Time>,
    flights: BTreeMap<u64, Flight>,
    next: u64,
    /// By subscription and key: the offsets of each request in this life.
    order: BTreeMap<(usize, Place, u64), Vec<Vec<u64>>>,
}

/// How long after its delivery progress may go unwritten, beside the interval: the stalls that the simulation makes itself.
const SLACK: Duration = Duration::from_millis(2_500);

/// The longest that an endpoint that is well stands idle while there is an event for it, whatever its neighbours do.
const LATEST: Duration = Duration::from_secs(3);

/// What each event that has expired before it may take: the log is read for few at a time, while others read elsewhere.
const EXPIRED: Duration = Duration::from_millis(10);

/// How long after a pause what was begun before it may still go out.
const GRACE: Duration = Duration::from_secs(1);

impl Oracle {
    /// Of a run by this plan.
    pub fn new(plan: &Plan) -> Self {
        let most = plan.delivery.max_in_flight_per_subscription;
        Self {
            violation: None,
            events: Vec::new(),
            log: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            life: 0,
            owed: Vec::new(),
            spoilt: Vec::new(),
            refused: false,
            ends: Vec::new(),
            silent: vec![None; plan.subscriptions.len()],
            by_hand: BTreeSet::new(),
            ready: vec![Time::ZERO; plan.subscriptions.len()],
            latest: Duration::ZERO,
            most_held: 0,
            repeats: 0,
            more: more::MoreSeen::of(plan),
            changes: changes::Changes::of(plan),
            held: Vec::new(),
            max_held: plan.max_held(),
            well: plan.subscriptions.iter().map(|wanted| wanted.nature == Nature::Healthy && !wanted.rated).collect(),
            limits: plan.subscriptions.iter().map(|wanted| wanted.in_flight.min(most)).collect(),
            ordered: plan.subscriptions.iter().map(|wanted| wanted.ordered).collect(),
            in_flight: vec![0; plan.subscriptions.len()],
            served: vec![Time::ZERO; plan.subscriptions.len()],
            flights: BTreeMap::new(),
            next: 0,
            order: BTreeMap::new(),
        }
    }

    /// Something is wrong. Only the first is kept: what follows may follow from it.
    pub fn broken(&mut self, invariant: &'static str, text: String) {
        self.violation.get_or_insert(Violation { invariant, text });
    }

    /// A publisher makes an event; tells its number.
    pub fn make(&mut self, event: Event) -> usize {
        self.events.push(event);
        self.events.len() - 1
    }

    /// A publisher was told that its event is kept there.
    pub fn acked(&mut self, event: usize, place: Place, offset: u64) {
        // Where its topic goes, or was gone before the answer came, nothing is promised.
        if self.is_going(place.0) || self.events[event].life != self.life_of(event) {
            return;
        }
        self.events[event].acked = Some((place, offset));
        let there = self.log.get(&place).and_then(|log| log.get(&offset)).copied();
        match (there, self.events[event].durability) {
            (Some(there), _) if there == event => {}
            (_, Durability::None) => {}
            // It is written, behind one whose sync has failed since: it shows at the next start.
            (None, Durability::Log) => self.owed.push((event, place, offset)),
            (there, _) => self.broken("I1", format!("event {event} was acknowledged at {place:?} {offset}, where the log has {there:?}")),
        }
    }

    /// The log says that these can be read now.
    pub fn durable(&mut self, place: Place, records: &[impl AsRef<Stored>], now: Time) {
        if self.is_going(place.0) {
            return;
        }
        for stored in records.iter().map(AsRef::as_ref) {
            let expected = self.log.get(&place).and_then(|log| log.last_key_value()).map_or(0, |(offset, _)| offset + 1);
            if stored.offset < expected {
                self.broken("I1", format!("offset {} of {place:?} was given to a second event", stored.offset));
            }
            self.keep(place, stored, now);
        }
    }

    fn keep(&mut self, place: Place, stored: &Stored, now: Time) {
        let Some(event) = event_of(&stored.record) else { return };
        let record = &stored.record;
        let kept = Kept {
            place,
            offset: stored.offset,
            durability: record.durability,
            expires: record.expires_at,
            letters: record.dead_letter == DeadLetter::Allow,
            accepted: record.accepted_at,
            at: now,
            life: self.life,
        };
        self.check_life(event, &kept);
        let before = self.events[event].kept.replace(kept);
        self.log.entry(place).or_default().insert(stored.offset, event);
        if let Some(before) = before {
            if self.is_gone(before.place, before.offset) {
                self.more.twice.insert(event);
            }
            if self.more.twice.contains(&event) || self.spoilt.contains(&before.place) {
                return;
            }
            let text = format!("event {event} is in the log twice: {:?} {} and {place:?} {}", before.place, before.offset, stored.offset);
            self.broken("I3", text);
        }
    }

    /// What a start found of a partition, after the last life had ended like this.
    pub fn found(&mut self, place: Place, records: &[impl AsRef<Stored>], gaps: &[Gap], end: u64, now: Time) {
        let how = self.ends.last().map_or(End::Clean, |(how, ..)| *how);
        let there: BTreeMap<u64, &Stored> = records.iter().map(|stored| (stored.as_ref().offset, stored.as_ref())).collect();
        let spoilt = self.spoilt.contains(&place);
        let known = self.log.get(&place).cloned().unwrap_or_default();
        for (offset, event) in &known {
            let found = there.get(offset).and_then(|stored| event_of(&stored.record));
            if found == Some(*event) || self.is_gone(place, *offset) {
                continue;
            }
            let durability = self.events[*event].kept.map_or(Durability::None, |kept| kept.durability);
            let damaged = spoilt && gaps.iter().any(|gap| (gap.from..gap.to).contains(offset));
            if !damaged && (how != End::Power || durability == Durability::Sync) {
                let text = format!("event {event} ({durability:?}) is gone from {place:?} {offset} after {how:?}; the log ends at {end}");
                self.broken("I1", text);
            }
            self.events[*event].kept = None;
            if let Some(log) = self.log.get_mut(&place) {
                log.remove(offset);
            }
        }
        for stored in records.iter().map(AsRef::as_ref).filter(|stored| !known.contains_key(&stored.offset)) {
            self.keep(place, stored, now);
        }
        let (owed, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.owed).into_iter().partition(|(_, at, _)| *at == place);
        self.owed = others;
        for (event, _, offset) in owed {
            if there.get(&offset).and_then(|stored| event_of(&stored.record)) != Some(event) && how != End::Power && !spoilt {
                self.broken("I1", format!("event {event} was acknowledged at {place:?} {offset}, and is not there after {how:?}"));
            }
        }
    }

    /// Whether an event must be readable there: it is in the log, and nobody has spoilt the partition.
    pub fn is_sound(&self, place: Place, offset: u64) -> bool {
        !self.spoilt.contains(&place) && self.log.get(&place).is_some_and(|log| log.contains_key(&offset))
    }

    /// A request reaches an endpoint; tells its number.
    pub fn request(&mut self, (subscription, url): (usize, u32), events: Vec<usize>, replay: bool, webhook_id: &str, now: Time) -> u64 {
        self.in_flight[subscription] += 1;
        if self.in_flight[subscription] > self.limits[subscription] {
            let text = format!("{} requests at a time to subscription {subscription}", self.in_flight[subscription]);
            self.broken("I4", text);
        }
        if self.silent[subscription].is_some_and(|since| now.since(since) > GRACE) {
            self.broken("I2", format!("a request went to subscription {subscription}, which does not deliver"));
        }
        self.check_url(subscription, url, now);
        if let [event] = events.as_slice() {
            let topic = format!("topic-{}", self.events[*event].topic);
            let own = MessageId::of_event(&topic, PUBLISHER, SOURCE, &format!("e{event}")).to_string();
            if own != webhook_id {
                self.broken("I3", format!("event {event} went to subscription {subscription} as {webhook_id}; its id is {own}"));
            }
        }
        let events = self.there(subscription, &events, now);
        if replay {
            self.replays(subscription, &events, now);
        } else {
            self.check_order(subscription, &events);
            events.iter().for_each(|event| self.requested(subscription, *event, now));
        }
        self.next += 1;
        self.flights.insert(self.next, Flight { subscription, url, replay, events });
        self.next
    }

    fn requested(&mut self, subscription: usize, event: usize, now: Time) {
        if !self.wanted(subscription, event) {
            self.broken("I2", format!("event {event} went to subscription {subscription}, which does not want it"));
        }
        let by_hand = self.by_hand.contains(&(subscription, event));
        let Some(kept) = self.events[event].kept else {
            // A dead letter has its event with it.
            if by_hand {
                return;
            }
            return self.broken("I1", format!("event {event} went to subscription {subscription}, and is not in the log"));
        };
        if kept.expires.is_some_and(|expires| expires <= now) {
            self.broken("I13", format!("event {event} went to subscription {subscription} after it had expired"));
        }
        let life = self.life;
        let is_first = self.deliveries.get(&(subscription, event)).is_none_or(|delivery| delivery.requests == 0);
        let well = self.well[subscription];
        if is_first && well && kept.life == life && !self.refused && !self.changes.stumbled {
            let late = now.since(kept.at.max(self.ready[subscription]).max(self.served[subscription]));
            self.latest = self.latest.max(late);
            if late > LATEST && late > LATEST + EXPIRED * self.expired_before(subscription, event, now) {
                let text = format!("subscription {subscription}, whose endpoint is well, stood idle for {late:?} before event {event}");
                self.violation.get_or_insert(Violation { invariant: "I4", text });
            }
        }
        let delivery = self.deliveries.entry((subscription, event)).or_default();
        delivery.requests += 1;
        delivery.first.get_or_insert(now);
        delivery.last = now;
        if let Some((at, then, true)) = delivery.taken.filter(|_| !by_hand && !self.more.twice.contains(&event)) {
            self.repeats += 1;
            self.check_repeat(subscription, event, at, then, life);
        }
    }

    /// Events before this one that have expired before they were sent.
    fn expired_before(&self, subscription: usize, event: usize, now: Time) -> u32 {
        let Some(kept) = self.events[event].kept else { return 0 };
        let before = self.log.get(&kept.place).into_iter().flat_map(|log| log.range(..kept.offset)).map(|(_, event)| *event);
        let expired = |event: &usize| self.events[*event].kept.and_then(|kept| kept.expires).is_some_and(|expires| expires <= now);
        let was_sent = |event: usize| self.deliveries.get(&(subscription, event)).is_some_and(|delivery| delivery.requests > 0);
        let passed = before.filter(expired).filter(|event| self.wanted(subscription, *event) && !was_sent(*event));
        u32::try_from(passed.count()).unwrap_or(u32::MAX)
    }

    /// Once an endpoint has said that it took an event, the event comes again only if the process ended before it could write that.
    fn check_repeat(&mut self, subscription: usize, event: usize, at: Time, then: u32, life: u32) {
        let what = format!("event {event} went to subscription {subscription} again");
        if then == life {
            return self.broken("I3", format!("{what} within one life"));
        }
        let (how, ended, unwritten) = self.ends[then as usize];
        let since = ended.since(at);
        match how {
            End::Power => {}
            // Later ends may have taken the written progress away again.
            _ if self.ends[then as usize..].iter().any(|(how, ..)| *how == End::Power) => {}
            End::Clean => self.broken("I3", format!("{what} after an orderly end")),
            End::Kill if since > CHECKPOINTS + SLACK && !unwritten => {
                self.broken("I3", format!("{what}, although the process lived {since:?} after it was taken"));
            }
            End::Kill => {}
        }
    }

    /// Within a life the events of one key go out in the log's order, each again and again before the next. Those of one batch may have
    /// gone out together.
    fn check_order(&mut self, subscription: usize, events: &[usize]) {
        let mut lines: BTreeMap<(Place, u64), Vec<u64>> = BTreeMap::new();
        // What only another filter wanted may have been passed over before.
        let counts = |event: &usize| !self.by_hand.contains(&(subscription, *event)) && self.wanted_by_all(subscription, *event);
        for event in events.iter().filter(|event| self.ordered[subscription] && counts(event)) {
            if let (Some(key), Some(kept)) = (self.events[*event].key, self.events[*event].kept) {
                lines.entry((kept.place, key)).or_default().push(kept.offset);
            }
        }
        for ((place, key), offsets) in lines {
            let earlier = self.order.entry((subscription, place, key)).or_default();
            let overtaken = offsets
                .iter()
                .find(|offset| earlier.iter().any(|request| !request.contains(offset) && request.iter().any(|other| other > *offset)));
            let text = overtaken
                .map(|at| format!("key {key} of subscription {subscription}: the event at {place:?} {at} went out after a later one"));
            earlier.push(offsets);
            if let Some(text) = text {
                self.broken("I12", text);
            }
        }
    }

    /// The process has these in memory now.
    pub fn hold(&mut self, records: &[Arc<Stored>]) {
        let held = records.iter().map(|stored| Held { record: Arc::downgrade(stored), bytes: stored.record.encoded_len() });
        self.held.extend(held);
    }

    /// Counts what of it is still there.
    pub fn weigh(&mut self) {
        self.held.retain(|held| held.record.strong_count() > 0);
        let bytes: usize = self.held.iter().map(|held| held.bytes).sum();
        self.most_held = self.most_held.max(bytes);
        if bytes > self.max_held {
            self.broken("I9", format!("the process holds {bytes} bytes of records; {} are what its limits allow", self.max_held));
        }
    }

    /// A request has ended. `taken`: the endpoint has the events. `answered`: the process knows what became of it.
    pub fn ended(&mut self, request: u64, taken: bool, answered: bool, gone: bool, now: Time) {
        let Some(flight) = self.flights.remove(&request) else { return };
        self.in_flight[flight.subscription] -= 1;
        self.served[flight.subscription] = now;
        let life = self.life;
        let gone = gone && self.leaves(flight.subscription, flight.url);
        let deliveries = if flight.replay { &mut self.more.replayed } else { &mut self.deliveries };
        for event in flight.events {
            let delivery = deliveries.entry((flight.subscription, event)).or_default();
            delivery.gone |= gone;
            if answered && !taken && delivery.waits.is_none() {
                delivery.waits = Some((now, life));
            }
            if taken {
                let knew = delivery.taken.is_some_and(|(_, then, knew)| knew && then == life);
                delivery.taken = Some((now, life, answered || knew));
            }
        }
    }

    /// A life has ended: what was under way is lost.
    pub fn died(&mut self, how: End, now: Time) {
        self.end_doubts(now);
        self.end_changes(now);
        self.ends.push((how, now, std::mem::take(&mut self.refused)));
        self.flights.clear();
        self.in_flight.iter_mut().for_each(|count| *count = 0);
        self.order.clear();
        self.silent.iter_mut().for_each(|since| *since = None);
        self.ready.iter_mut().for_each(|since| *since = Time::MAX);
        self.held.clear();
        self.life += 1;
    }
}

/// The number that the event carries in its id.
pub fn event_of(record: &Record) -> Option<usize> {
    record.event.id().strip_prefix('e')?.parse().ok()
}
