//! One subscription on its shard: its lanes, its retries, its limits, and which delivery goes out next. No I/O here.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use foldhash::HashSet;
use posthorn_domain::guard::TargetUrl;
use posthorn_domain::ids::{DeliveryId, SubscriptionId};
use posthorn_domain::names::TopicName;
use posthorn_domain::position::Position;
use posthorn_domain::qos::Ordering;
use posthorn_domain::record::Stored;
use posthorn_domain::time::Time;
use posthorn_storage::log::Wanted;
use posthorn_storage::state::{Retry, RetryId};
use smallvec::SmallVec;

use super::backlog::{Backlog, Found};
use super::batch::offset_of;
use super::breaker::{Breaker, Gate};
use super::budget::Budget;
use super::door::Door;
use super::flow::Flow;
use super::gone::Gone;
use super::item::{Item, Origin};
use super::keys::Keys;
use super::lane::{Lane, LaneKey};
use super::maps::HashMap;
use super::rate::Rate;
use super::replays::Replays;
use super::request::Template;
use super::signatures::Signatures;
use crate::egress::Target;
use crate::route::SubscriptionRoute;

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
    /// Those of them that have no connection yet.
    pub(super) door: Rc<Door>,
    pub(super) breaker: Breaker,
    pub(super) flow: Flow,
    pub(super) rate: Rate,
    pub(super) retries: Backlog,
    pub(super) replays: Replays,
    /// Retries that are being attempted.
    pub(super) flying: HashSet<RetryId>,
    /// Ordering keys with a delivery under way or waiting.
    pub(super) keys: Keys,
    /// Events of a batch and until when, after a 413.
    pub(super) smaller: Option<(usize, Time)>,
    /// Whether batches go out however small.
    pub(super) flush: bool,
    /// Whether it waits in line for memory or a read.
    pub(super) in_line: bool,
    wanted: Option<Rc<Wanted>>,
    /// Set when it is to be disabled: the endpoint answered 410, or failed for too long. Cleared by a new revision of it.
    pub(super) gone: Option<Gone>,
    /// When the first of the attempts ended that have all failed, and none has succeeded since.
    pub(super) failing_since: Option<Time>,
    /// Whether it was told that the endpoint is down.
    pub(super) told_down: bool,
    /// What the store has of [`Subscriber::to_keep`].
    pub(super) kept: (Option<Time>, bool),
    /// The state of the breaker that the metrics show.
    pub(super) shown: Option<&'static str>,
    /// How many retries they show.
    pub(super) shown_waiting: u64,
    /// How many lanes they show as behind.
    pub(super) shown_lagging: usize,
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

/// Bounds of a lane that is filled from the log.
pub(super) struct LaneEvents {
    /// With fewer, more are read.
    pub(super) low: usize,
    /// No more than these are held.
    pub(super) most: usize,
}

/// Where the requests go, and what they share.
pub(super) type Fittings = (Rc<Target>, Rc<Template>);

/// Partition names by the shard's numbers.
pub(super) type Names = HashMap<u32, (TopicName, u32)>;

impl Subscriber {
    /// Of a route whose [`target_of`] there is.
    pub(super) fn new(route: Arc<SubscriptionRoute>, retries: Backlog) -> Self {
        let mut rate = Rate::default();
        rate.set(route.subscription().spec.limits.rate);
        Self {
            route,
            fittings: None,
            lanes: HashMap::default(),
            ready: VecDeque::new(),
            in_flight: 0,
            door: Rc::default(),
            breaker: Breaker::default(),
            flow: Flow::default(),
            rate,
            retries,
            replays: Replays::default(),
            flying: HashSet::default(),
            keys: Keys::default(),
            smaller: None,
            flush: false,
            in_line: false,
            wanted: None,
            gone: None,
            failing_since: None,
            told_down: false,
            kept: (None, false),
            shown: None,
            shown_waiting: 0,
            shown_lagging: 0,
            last_error: None,
            wake: None,
        }
    }

    /// The subscription changed, to one whose [`target_of`] there is.
    pub(super) fn change(&mut self, route: Arc<SubscriptionRoute>) {
        self.rate.set(route.subscription().spec.limits.rate);
        self.gone = None;
        self.failing_since = None;
        // Perhaps another endpoint, of which nothing is known yet.
        self.flow.forget();
        self.breaker.hurry();
        self.route = route;
        self.fittings = None;
        self.smaller = None;
        self.wanted = None;
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
        self.route.pushes() && self.gone.is_none()
    }

    /// Whether it sees the events of one key in order (I12).
    pub(super) fn is_ordered(&self) -> bool {
        self.route.subscription().spec.qos.ordering == Ordering::Key
    }

    /// Whether a request may go out at `now`.
    pub(super) fn gate(&self, now: Time, max_in_flight: u32) -> Result<(), Hold> {
        let most = self.most_in_flight(max_in_flight);
        if !self.is_live() || self.retries.is_swept() || self.in_flight >= most {
            return Err(Hold::Open);
        }
        self.flow.ready(now).map_err(Hold::Until)?;
        match self.breaker.gate(now) {
            Gate::Open if self.in_flight >= self.flow.limit(most) => Err(Hold::Open),
            Gate::Open | Gate::Probe => Ok(()),
            Gate::Wait(until) => Err(Hold::Until(until)),
            Gate::Probing => Err(Hold::Open),
        }
    }

    /// When the next retry will be due that is not yet.
    pub(super) fn next_due(&self, now: Time) -> Option<Time> {
        self.retries.in_memory().keys().map(|id| id.due).find(|due| *due > now)
    }

    /// How far its lanes are filled from the log, where each may hold `max`.
    pub(super) fn lane_events(&self, max: usize) -> LaneEvents {
        if self.is_ordered() {
            // What waits for its key must not keep others out, nor leave a probe without an event.
            LaneEvents { low: (max - max / 4).max(1), most: max }
        } else if self.breaker.is_open() {
            // A probe needs one; reading more behind a dead endpoint would only fill memory.
            LaneEvents { low: 1, most: 1 }
        } else {
            LaneEvents { low: (max / 4).max(1), most: max }
        }
    }

    /// Whether it is behind on some partition, and so has to stand back for those that are not.
    pub(super) fn is_behind(&self) -> bool {
        self.lanes.values().any(Lane::is_lagging)
    }

    /// Whether a retry is due.
    pub(super) fn is_due(&self, now: Time) -> bool {
        self.retries.in_memory().keys().next().is_some_and(|id| id.due <= now)
    }

    /// As [`Lane::cut`].
    pub(super) fn cut(&mut self, key: LaneKey, keep: usize, budget: &mut Budget) -> bool {
        let Some(lane) = self.lanes.get_mut(&key) else { return false };
        let cut = lane.cut(keep, budget);
        if cut && lane.queue.is_empty() {
            self.ready.retain(|ready| *ready != key);
        }
        cut
    }

    /// What it wants of the log at least.
    pub(super) fn wanted(&mut self) -> Rc<Wanted> {
        let route = &self.route;
        let made = || Rc::new(Wanted::of(&route.filters.iter().flat_map(|filter| filter.atoms()).collect::<Vec<_>>()));
        Rc::clone(self.wanted.get_or_insert_with(made))
    }

    /// For how long all attempts have failed, after one that ended at `now`.
    pub(super) fn failing_for(&mut self, succeeded: bool, now: Time) -> Duration {
        if succeeded {
            self.failing_since = None;
            return Duration::ZERO;
        }
        now.since(*self.failing_since.get_or_insert(now))
    }

    /// One more waits; its row is in the outbox.
    pub(super) fn wait(&mut self, retry: Retry) {
        let (key, offset) = (retry.key_hash, offset_of(&retry));
        if self.retries.put(retry) {
            self.keys.block(key, offset);
        }
    }

    /// What was read of the store waits in memory now.
    pub(super) fn take_up(&mut self, found: Found) {
        let Self { retries, flying, replays, keys, .. } = self;
        let is_known = |retry: &Retry| flying.contains(&retry.id()) || replays.is_cancelled(retry.replay);
        retries.take_up(found, is_known, |retry| keys.block(retry.key_hash, offset_of(retry)));
    }
}

/// Where the requests of the subscription go; none when no request can be made to its endpoint's URL.
pub(super) fn target_of(route: &SubscriptionRoute) -> Option<Target> {
    let endpoint = &route.subscription().spec.endpoint;
    let url = TargetUrl::parse(&endpoint.url).ok()?;
    Target::new(&url, &endpoint.query, &route.id().to_string(), None).ok()
}

/// The first attempt of an event.
pub(super) fn fresh(
    route: &SubscriptionRoute,
    key: LaneKey,
    topic: &TopicName,
    partition: u32,
    stored: Arc<Stored>,
    key_hash: Option<u64>,
    now: Time,
) -> Item {
    let message = stored.message_id(topic);
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
        replay: key.replay,
        stored: Some(stored),
    }
}
