//! One subscription on its shard: its lanes, its retries, its limits, and which delivery goes out next. No I/O here.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashMap, HashSet};
use posthorn_domain::guard::TargetUrl;
use posthorn_domain::ids::{DeliveryId, SubscriptionId};
use posthorn_domain::names::TopicName;
use posthorn_domain::position::Position;
use posthorn_domain::qos::Ordering;
use posthorn_domain::record::Stored;
use posthorn_domain::resource::Format;
use posthorn_domain::time::Time;
use posthorn_storage::state::{Retry, RetryId, RetrySource};
use smallvec::SmallVec;

use super::breaker::{Breaker, Gate};
use super::item::{Item, Origin, key_hash};
use super::lane::{Lane, LaneKey};
use super::rate::Rate;
use super::request::Template;
use super::signatures::Signatures;
use crate::egress::Target;
use crate::route::SubscriptionRoute;

/// Retries that are held in memory; the rest wait in the store.
pub(super) const RETRIES_IN_MEMORY: usize = 1024;
/// Keys that may wait for a retry in an ordered subscription; beyond that its lanes stop.
const MAX_BUSY_KEYS: usize = 1000;
/// Events of one request in batch format.
const BATCH_EVENTS: usize = 100;
const BATCH_BYTES: usize = 1 << 20;
/// How far an ordered lane looks past events whose key is busy.
const LOOK_AHEAD: usize = 1024;

/// What goes out in one request.
pub(super) type Items = SmallVec<[Item; 1]>;

/// The subscription.
pub(super) struct Subscriber {
    pub(super) route: Arc<SubscriptionRoute>,
    /// Made when the first request goes out: most subscriptions rest.
    fittings: Option<Fittings>,
    pub(super) lanes: HashMap<LaneKey, Lane>,
    /// Lanes whose queue is not empty, taking turns.
    pub(super) ready: VecDeque<LaneKey>,
    pub(super) in_flight: u32,
    pub(super) breaker: Breaker,
    pub(super) rate: Rate,
    pub(super) retries: BTreeMap<RetryId, Retry>,
    /// Whether the store has retries that are not in memory.
    pub(super) spilled: bool,
    pub(super) loading: bool,
    /// Retries that are being attempted.
    pub(super) flying: HashSet<RetryId>,
    /// Ordering keys with a delivery under way or waiting.
    busy: HashSet<u64>,
    /// Set when it is to be disabled: the endpoint answered 410, or failed for too long. Cleared by a new revision of it.
    pub(super) gone: bool,
    /// When the first of the attempts ended that have all failed, and none has succeeded since.
    pub(super) failing_since: Option<Time>,
    /// Whether it was told that the endpoint is down.
    pub(super) told_down: bool,
    pub(super) last_error: Option<String>,
    /// The earliest wake-up that was asked for.
    pub(super) wake: Option<Time>,
}

/// Why nothing can go out just now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// Until something ends, or the subscription changes.
    Open,
    /// Until this time.
    Until(Time),
}

/// Where the requests go, and what they share.
pub(super) type Fittings = (Rc<Target>, Rc<Template>);

/// Partition names by the shard's numbers.
pub(super) type Names = HashMap<u32, (TopicName, u32)>;

impl Subscriber {
    /// Of a route whose [`target_of`] there is.
    pub(super) fn new(route: Arc<SubscriptionRoute>) -> Self {
        let mut rate = Rate::default();
        rate.set(route.subscription.spec.limits.rate);
        Self {
            route,
            fittings: None,
            lanes: HashMap::default(),
            ready: VecDeque::new(),
            in_flight: 0,
            breaker: Breaker::default(),
            rate,
            retries: BTreeMap::new(),
            spilled: false,
            loading: false,
            flying: HashSet::default(),
            busy: HashSet::default(),
            gone: false,
            failing_since: None,
            told_down: false,
            last_error: None,
            wake: None,
        }
    }

    /// The subscription changed, to one whose [`target_of`] there is.
    pub(super) fn change(&mut self, route: Arc<SubscriptionRoute>) {
        self.rate.set(route.subscription.spec.limits.rate);
        self.gone = false;
        self.failing_since = None;
        self.route = route;
        self.fittings = None;
    }

    /// What its requests are made with.
    pub(super) fn fittings(&mut self, signatures: &Signatures) -> Fittings {
        let route = &self.route;
        let made = self.fittings.get_or_insert_with(|| {
            let target = target_of(route).expect("no route without a target comes here");
            let template = Template::new(route, &target, signatures);
            (Rc::new(target), Rc::new(template))
        });
        made.clone()
    }

    /// The subscription's id.
    pub(super) fn id(&self) -> SubscriptionId {
        self.route.id()
    }

    /// Whether it may send at all.
    pub(super) fn is_live(&self) -> bool {
        self.route.pushes() && !self.gone
    }

    /// Whether it sees the events of one key in order (I12).
    pub(super) fn is_ordered(&self) -> bool {
        self.route.subscription.spec.qos.ordering == Ordering::Key
    }

    /// Whether a request may go out at `now`.
    pub(super) fn gate(&self, now: Time, max_in_flight: u32) -> Result<(), Hold> {
        let limit = self.route.subscription.spec.limits.in_flight.min(max_in_flight);
        if !self.is_live() || self.in_flight >= limit {
            return Err(Hold::Open);
        }
        match self.breaker.gate(now) {
            Gate::Open | Gate::Probe => Ok(()),
            Gate::Wait(until) => Err(Hold::Until(until)),
            Gate::Probing => Err(Hold::Open),
        }
    }

    /// The next request: a retry that is due, else the next events of the lanes in turn.
    pub(super) fn pick(&mut self, now: Time, names: &Names) -> Option<Items> {
        if let Some(item) = self.due(now) {
            return Some(SmallVec::from_buf([item]));
        }
        // Keys of retries that are still in the store are not known to be busy: after a start they are read first.
        if self.is_ordered() && (self.busy.len() >= MAX_BUSY_KEYS || self.spilled) {
            return None;
        }
        for _ in 0..self.ready.len() {
            let key = self.ready.pop_front()?;
            let items = self.take(key, now, names);
            if self.lanes.get(&key).is_some_and(|lane| !lane.queue.is_empty()) {
                self.ready.push_back(key);
            }
            if !items.is_empty() {
                return Some(items);
            }
        }
        None
    }

    /// When the next retry is due.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.retries.keys().next().map(|id| id.due)
    }

    fn due(&mut self, now: Time) -> Option<Item> {
        let first = self.retries.first_entry().filter(|entry| entry.key().due <= now)?;
        let retry = first.remove();
        self.flying.insert(retry.id());
        let (topic, position) = match &retry.source {
            RetrySource::Log { topic, partition, offset, .. } => (topic.clone(), Some(Position { partition: *partition, offset: *offset })),
            RetrySource::DeadLetter(_) => ("unknown".parse().expect("a name"), None),
        };
        Some(Item {
            topic,
            position,
            message: retry.message,
            delivery: retry.delivery,
            made: retry.attempts + 1,
            first_at: retry.first_attempt_at,
            key_hash: retry.key_hash,
            replay: retry.replay,
            stored: None,
            origin: Origin::Retry(Box::new(retry)),
        })
    }

    /// Takes from one lane what one request carries.
    fn take(&mut self, key: LaneKey, now: Time, names: &Names) -> Items {
        let batch = self.route.subscription.spec.endpoint.format == Format::Batch;
        let ordered = self.is_ordered();
        let mut items = Items::new();
        let (Some(lane), Some((topic, partition))) = (self.lanes.get_mut(&key), names.get(&key.part)) else { return items };
        let mut at = 0;
        let mut bytes = 0;
        while let Some(stored) = lane.queue.get(at).filter(|_| at < LOOK_AHEAD) {
            let hash = if ordered { stored.record.key().map(key_hash) } else { None };
            if hash.is_some_and(|hash| self.busy.contains(&hash)) {
                at += 1;
                continue;
            }
            bytes += stored.record.event.size();
            if !items.is_empty() && bytes > BATCH_BYTES {
                break;
            }
            let Some(stored) = lane.queue.remove(at) else { break };
            self.busy.extend(hash);
            items.push(fresh(&self.route, key, topic, *partition, stored, hash, now));
            if !batch || items.len() >= BATCH_EVENTS {
                break;
            }
        }
        items
    }

    /// For how long all attempts have failed, after one that ended at `now`.
    pub(super) fn failing_for(&mut self, succeeded: bool, now: Time) -> Duration {
        if succeeded {
            self.failing_since = None;
            return Duration::ZERO;
        }
        now.since(*self.failing_since.get_or_insert(now))
    }

    /// The key's next event may go out.
    pub(super) fn unblock(&mut self, key_hash: Option<u64>) {
        if let Some(hash) = key_hash {
            self.busy.remove(&hash);
        }
    }

    /// Puts a retry among those in memory; the one that is due last makes room.
    pub(super) fn wait(&mut self, retry: Retry) {
        self.busy.extend(retry.key_hash);
        self.retries.insert(retry.id(), retry);
        if self.retries.len() > RETRIES_IN_MEMORY {
            self.retries.pop_last();
            self.spilled = true;
        }
    }
}

/// Where the requests of the subscription go; none when no request can be made to its endpoint's URL.
pub(super) fn target_of(route: &SubscriptionRoute) -> Option<Target> {
    let endpoint = &route.subscription.spec.endpoint;
    let url = TargetUrl::parse(&endpoint.url).ok()?;
    Target::new(&url, &endpoint.query, &route.id().to_string(), None).ok()
}

fn fresh(
    route: &SubscriptionRoute,
    key: LaneKey,
    topic: &TopicName,
    partition: u32,
    stored: Arc<Stored>,
    key_hash: Option<u64>,
    now: Time,
) -> Item {
    let message = stored.record.message_id(topic);
    let delivery = match key.replay {
        None => DeliveryId::of(route.id(), message),
        Some(replay) => DeliveryId::of_replay(replay, message),
    };
    Item {
        origin: Origin::Lane(key, stored.offset),
        topic: topic.clone(),
        position: Some(Position { partition, offset: stored.offset }),
        message,
        delivery,
        made: 1,
        first_at: now,
        key_hash,
        replay: key.replay.is_some(),
        stored: Some(stored),
    }
}
