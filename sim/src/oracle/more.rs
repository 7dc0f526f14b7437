//! What the oracle knows of retention, of readers of pulled subscriptions, and of replays.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use posthorn_domain::ids::ReplayId;
use posthorn_domain::time::Time;

use super::{Delivery, End, GRACE, Oracle, Place};
use crate::plan::Plan;
use crate::plan::more::Keeps;

/// How long before a page is given the clock may have been looked at.
const READ: Duration = Duration::from_secs(2);

/// Of a replay whose topic is gone.
const NOWHERE: Place = (usize::MAX, 0);

/// The state.
#[derive(Default)]
pub struct MoreSeen {
    /// What topics keep, by number; empty where nothing is ever deleted.
    pub keeps: Vec<Keeps>,
    /// The first offsets that are kept.
    pub starts: BTreeMap<Place, u64>,
    /// By subscription that was made late: the first offsets that there were then.
    pub born: BTreeMap<usize, BTreeMap<Place, u64>>,
    /// Events that were taken in twice, because retention had taken the first of them.
    pub twice: BTreeSet<usize>,
    /// Subscriptions that were ever pulled.
    pub pulled: BTreeSet<usize>,
    /// Replays, in their order.
    pub replays: Vec<Run>,
    /// What became of replayed events, by subscription and event.
    pub replayed: BTreeMap<(usize, usize), Delivery>,
    /// Commits that were not answered yet.
    doubts: BTreeSet<(usize, usize)>,
}

/// A replay.
#[derive(Clone, Debug)]
pub struct Run {
    /// The subscription's number.
    pub subscription: usize,
    /// Its id.
    pub id: ReplayId,
    /// The partition.
    pub place: Place,
    /// Its offsets.
    pub range: Range<u64>,
    /// The life in which it began.
    pub life: u32,
    /// Whether it was said to be stored.
    pub stored: bool,
    /// When it was cancelled.
    pub cancelled: Option<Time>,
}

impl MoreSeen {
    pub(super) fn of(plan: &Plan) -> Self {
        Self { keeps: plan.more.as_ref().map_or_else(Vec::new, |more| more.keeps.clone()), ..Self::default() }
    }

    /// The topic is gone with these events.
    pub(super) fn bury(&mut self, topic: usize, events: &BTreeSet<usize>) {
        self.starts.retain(|place, _| place.0 != topic);
        self.born.values_mut().for_each(|starts| starts.retain(|place, _| place.0 != topic));
        self.twice.retain(|event| !events.contains(event));
        self.replayed.retain(|(_, event), _| !events.contains(event));
        self.doubts.retain(|(_, event)| !events.contains(event));
        // They were of other offsets than those that come now.
        self.replays.iter_mut().filter(|run| run.place.0 == topic).for_each(|run| run.place = NOWHERE);
    }
}

impl Oracle {
    /// The log begins here now: what stood before must be past its retention.
    pub fn starts_at(&mut self, place: Place, start: u64, now: Time) {
        if self.is_going(place.0) {
            return;
        }
        self.more.starts.insert(place, start);
        let Some(keeps) = self.more.keeps.get(place.0).copied() else { return };
        let log = self.log.get(&place);
        let gone: Vec<_> = log.map_or_else(Vec::new, |log| log.range(..start).map(|(offset, event)| (*offset, *event)).collect());
        for (offset, event) in gone {
            let kept = self.events[event].kept.filter(|kept| (kept.place, kept.offset) == (place, offset));
            let accepted = kept.map(|kept| kept.accepted);
            let young = accepted.is_some_and(|at| keeps.age.is_some_and(|age| now.since(at) < Duration::from_secs(age)));
            if keeps.all() || young {
                self.broken("I1", format!("event {event} is gone from {place:?}, which keeps {keeps:?}; it was taken in at {accepted:?}"));
            }
        }
    }

    /// Whether retention has taken the offset.
    pub fn is_gone(&self, place: Place, offset: u64) -> bool {
        self.more.starts.get(&place).is_some_and(|start| offset < *start)
    }

    /// Whether retention had taken the event before the subscription was made.
    pub fn is_before(&self, subscription: usize, place: Place, offset: u64) -> bool {
        self.more.born.get(&subscription).and_then(|starts| starts.get(&place)).is_some_and(|start| offset < *start)
    }

    /// A reader of a pulled subscription, who asked at `asked`, is given these.
    pub fn given(&mut self, subscription: usize, events: &[usize], asked: Time, now: Time) {
        for event in &self.there(subscription, events, now) {
            if !self.wanted(subscription, *event) {
                self.broken("I2", format!("event {event} was given to readers of subscription {subscription}, which does not want it"));
            }
            let Some(kept) = self.events[*event].kept else {
                let text = format!("event {event} was given to readers of subscription {subscription}, and is not in the log");
                return self.broken("I1", text);
            };
            if kept.expires.is_some_and(|expires| now.since(expires) > READ && now > expires) {
                self.broken("I13", format!("event {event} was given to readers of subscription {subscription} after it had expired"));
            }
            let by_hand = self.by_hand.contains(&(subscription, *event)) || self.more.twice.contains(event);
            let life = self.life;
            let delivery = self.deliveries.entry((subscription, *event)).or_default();
            delivery.last = now;
            delivery.first.get_or_insert(now);
            // What is pushed while a page is being made may be on that page.
            if let Some((at, then, true)) = delivery.taken.filter(|(at, ..)| !by_hand && *at < asked) {
                self.repeats += 1;
                self.check_repeat(subscription, *event, at, then, life);
            }
        }
    }

    /// A reader commits them; until that is answered they may be had or not.
    pub fn commits(&mut self, subscription: usize, events: &[usize]) {
        self.more.doubts.extend(events.iter().map(|event| (subscription, *event)));
    }

    /// It was answered: they are had, surely or perhaps, or they are not.
    pub fn committed(&mut self, subscription: usize, events: &[usize], had: Option<bool>, now: Time) {
        for event in events {
            // Of one whose topic went meanwhile nothing is known any more.
            if !self.more.doubts.remove(&(subscription, *event)) {
                continue;
            }
            if let Some(surely) = had {
                let (at, life) = (now, self.life);
                let delivery = self.deliveries.entry((subscription, *event)).or_default();
                let knew = delivery.taken.is_some_and(|(_, then, knew)| knew && then == life);
                delivery.taken = Some((at, life, surely || knew));
            }
        }
    }

    /// The process has ended before it answered.
    pub(super) fn end_doubts(&mut self, now: Time) {
        let life = self.life;
        for place in std::mem::take(&mut self.more.doubts) {
            let delivery = self.deliveries.entry(place).or_default();
            delivery.taken.get_or_insert((now, life, false));
        }
    }

    /// A request of a replay carries these.
    pub(super) fn replays(&mut self, subscription: usize, events: &[usize], now: Time) {
        for event in events {
            if !self.wanted(subscription, *event) {
                self.broken("I2", format!("event {event} was replayed to subscription {subscription}, which does not want it"));
            }
            let Some(kept) = self.events[*event].kept else {
                return self.broken("I1", format!("event {event} was replayed to subscription {subscription}, and is not in the log"));
            };
            if kept.expires.is_some_and(|expires| expires <= now) {
                self.broken("I13", format!("event {event} was replayed to subscription {subscription} after it had expired"));
            }
            let runs = self.more.replays.iter().filter(|run| run.subscription == subscription && run.place == kept.place);
            let mut runs = runs.filter(|run| run.range.contains(&kept.offset));
            // That it was cancelled may have gone with the power.
            let is_forgotten = |at: Time| self.ends.iter().any(|(how, ended, _)| *how == End::Power && *ended >= at);
            let goes_on = |run: &Run| run.cancelled.is_none_or(|at| now.since(at) <= GRACE || is_forgotten(at));
            // A dead letter of a replay is sent as one of it, whatever became of that.
            let by_hand = self.by_hand.contains(&(subscription, *event));
            if !runs.any(goes_on) && !by_hand && !self.more.twice.contains(event) {
                let text = format!("event {event} at {kept:?} was replayed to subscription {subscription}, and nobody wanted that");
                self.broken("I2", text);
            }
            let delivery = self.more.replayed.entry((subscription, *event)).or_default();
            delivery.requests += 1;
            delivery.first.get_or_insert(now);
            delivery.last = now;
        }
    }
}
