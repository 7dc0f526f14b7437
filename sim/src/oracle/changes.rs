//! What the oracle knows of subscriptions whose URL and filter change, and of topics that are deleted and made again.
//!
//! A filter holds for what was not taken yet: an event that all filters want that were in force since it was kept must come, one that
//! none of them wants must not, and any other may, but for one that waited for another attempt when the filter changed: that is owed.
//! What stood in a topic that is gone must not come back in any way, and what becomes of it until then is nobody's concern.

use std::collections::{BTreeMap, BTreeSet};

use posthorn_domain::time::Time;

use super::{CHECKPOINTS, Delivery, End, GRACE, Kept, Oracle, SLACK};
use crate::plan::{Plan, Version};

/// The state.
#[derive(Default)]
pub struct Changes {
    /// By subscription: what it was and is, the newest last.
    versions: Vec<Vec<Span>>,
    /// URLs that have answered with 410 while their subscriptions delivered to them.
    left: BTreeSet<(usize, u32)>,
    /// By topic: how often it was deleted.
    lives: Vec<u32>,
    /// Topics that are to go; what becomes of their events is open.
    going: BTreeSet<usize>,
    /// Since when earlier lives of topics are gone for all.
    gone: BTreeMap<usize, Time>,
    /// Events that stood in a topic that is gone, or were to.
    buried: BTreeSet<usize>,
    /// Topics of which state may be left: the store had refused to forget it, or they were made anew without having been gone.
    pub unclean: BTreeSet<usize>,
    /// Subscriptions whose deletion was in force, and the life in which it was.
    pub deleted: BTreeMap<usize, u32>,
    /// Whether a read has failed in this life, so that what is well may be late.
    pub stumbled: bool,
}

/// A time of a subscription.
struct Span {
    version: Version,
    /// When it was decided.
    from: Time,
    /// When the next one was in force.
    until: Option<Time>,
}

impl Changes {
    pub(super) fn of(plan: &Plan) -> Self {
        let first = |version| vec![Span { version, from: Time::ZERO, until: None }];
        Self {
            versions: plan.subscriptions.iter().map(|wanted| first(wanted.version())).collect(),
            lives: vec![0; plan.topics.len()],
            ..Self::default()
        }
    }
}

impl Oracle {
    /// The subscription is to become this.
    pub fn alters(&mut self, subscription: usize, version: Version, now: Time) {
        self.changes.versions[subscription].push(Span { version, from: now, until: None });
    }

    /// It has: what it was before holds no more.
    pub fn altered(&mut self, subscription: usize, now: Time) {
        if let Some((_, before)) = self.changes.versions[subscription].split_last_mut() {
            before.iter_mut().for_each(|span| span.until = span.until.or(Some(now)));
        }
    }

    /// A process that has ended sends nothing any more, and the next one knows the newest only.
    pub(super) fn end_changes(&mut self, now: Time) {
        (0..self.changes.versions.len()).for_each(|subscription| self.altered(subscription, now));
        self.end_burials(now);
        self.changes.stumbled = false;
    }

    /// Versions that may have decided about an event that was kept then, and whether each wants it.
    fn verdicts(&self, subscription: usize, event: usize) -> impl Iterator<Item = (&Span, bool)> {
        let known = &self.events[event];
        let kept = known.kept.map_or(Time::ZERO, |kept| kept.at);
        let spans = self.changes.versions[subscription].iter().filter(move |span| span.until.is_none_or(|until| kept <= until));
        spans.map(|span| (span, span.version.wants(known.topic, known.ty)))
    }

    /// Whether the subscription may get the event.
    pub fn wanted(&self, subscription: usize, event: usize) -> bool {
        self.verdicts(subscription, event).any(|(_, wants)| wants)
    }

    /// Whether the subscription must get it, or be told what became of it.
    pub fn owed(&self, subscription: usize, event: usize) -> bool {
        let waits = self.deliveries.get(&(subscription, event)).and_then(|delivery| self.waited_since(delivery));
        let is_kept = |span: &Span| waits.is_some_and(|since| span.from > since);
        self.wanted(subscription, event) && self.verdicts(subscription, event).all(|(span, wants)| wants || is_kept(span))
    }

    /// Whether all that was in force since the event was kept wants it.
    pub fn wanted_by_all(&self, subscription: usize, event: usize) -> bool {
        self.wanted(subscription, event) && self.verdicts(subscription, event).all(|(_, wants)| wants)
    }

    /// Since when it surely waits for another attempt, whatever has ended the process since.
    fn waited_since(&self, delivery: &Delivery) -> Option<Time> {
        let (at, life) = delivery.waits?;
        let ends = &self.ends[life as usize..];
        let is_lost = ends.iter().any(|(how, ..)| *how == End::Power) || ends.first().is_some_and(|(.., unwritten)| *unwritten);
        (!is_lost).then(|| at.after(CHECKPOINTS + SLACK))
    }

    /// Whether a request may go to this URL.
    pub(super) fn check_url(&mut self, subscription: usize, url: u32, now: Time) {
        let spans = &self.changes.versions[subscription];
        let holds = |span: &Span| span.version.url == url && span.until.is_none_or(|until| now.since(until) <= GRACE);
        if !spans.iter().any(holds) {
            let newest = spans.last().map(|span| span.version.url);
            self.broken("I2", format!("a request went to URL {url} of subscription {subscription}, which delivers to {newest:?}"));
        }
    }

    /// The URL has answered with 410; whether that holds for the subscription, which may deliver elsewhere by now.
    pub(super) fn leaves(&mut self, subscription: usize, url: u32) -> bool {
        let holds = self.changes.versions[subscription].iter().any(|span| span.version.url == url && span.until.is_none());
        if holds {
            self.changes.left.insert((subscription, url));
        }
        holds
    }

    /// A subscription was given up because its endpoint is gone: one that it delivers to must have said so.
    pub fn check_gone(&mut self, subscription: usize, now: Time) {
        let is_lately = |span: &&Span| span.until.is_none_or(|until| now.since(until) <= 2 * GRACE);
        let mut spans = self.changes.versions[subscription].iter().filter(is_lately);
        if !spans.any(|span| self.changes.left.contains(&(subscription, span.version.url))) {
            self.broken("I2", format!("subscription {subscription} was given up, and its endpoint has not said that it is gone"));
        }
    }

    /// In which life of its topic the event is sent in now.
    pub fn sent_in(&mut self, event: usize) -> u32 {
        let known = &mut self.events[event];
        known.life = self.changes.lives[known.topic];
        known.life
    }

    /// How often the event's topic was deleted.
    pub fn life_of(&self, event: usize) -> u32 {
        self.changes.lives[self.events[event].topic]
    }

    /// The topic is to go.
    pub fn condemn(&mut self, topic: usize) {
        self.changes.going.insert(topic);
    }

    /// Whether nothing is sure of the topic just now.
    pub fn is_going(&self, topic: usize) -> bool {
        self.changes.going.contains(&topic) || self.changes.gone.get(&topic) == Some(&Time::MAX)
    }

    /// The topic's log is gone. Deliveries end once the shards know it: [`Self::end_burials`].
    pub fn bury(&mut self, topic: usize) {
        self.changes.going.remove(&topic);
        self.changes.gone.insert(topic, Time::MAX);
        let life = self.changes.lives[topic];
        self.changes.lives[topic] += 1;
        let events = &mut self.events;
        let old: BTreeSet<usize> = (0..events.len()).filter(|at| events[*at].topic == topic && events[*at].life == life).collect();
        old.iter().for_each(|event| events[*event].kept = None);
        let is_old = |event: &usize| old.contains(event);
        self.log.retain(|place, _| place.0 != topic);
        self.order.retain(|(_, place, _), _| place.0 != topic);
        self.owed.retain(|(_, place, _)| place.0 != topic);
        self.spoilt.retain(|place| place.0 != topic);
        self.deliveries.retain(|(_, event), _| !is_old(event));
        self.flights.values_mut().for_each(|flight| flight.events.retain(|event| !is_old(event)));
        self.more.bury(topic, &old);
        self.changes.buried.extend(old);
    }

    /// A start has found a topic made anew that was to go, and did not end that.
    pub fn wiped(&mut self, topic: usize, now: Time) {
        self.bury(topic);
        self.end_burials(now);
        self.changes.unclean.insert(topic);
    }

    /// All shards know of the topics whose logs are gone: from now on nothing of them is sent.
    pub fn end_burials(&mut self, now: Time) {
        self.changes.gone.values_mut().for_each(|since| *since = now.min(*since));
    }

    /// When the earlier life of the topic was gone, if there was one.
    pub fn gone_since(&self, topic: usize) -> Option<Time> {
        self.changes.gone.get(&topic).copied()
    }

    /// Of events that are sent or given those to look at: not those of a topic that goes. None may be of one that is gone.
    pub(super) fn there(&mut self, subscription: usize, events: &[usize], now: Time) -> Vec<usize> {
        for event in events.iter().filter(|event| self.changes.buried.contains(event) && !self.by_hand.contains(&(subscription, **event))) {
            let since = self.changes.gone.get(&self.events[*event].topic).copied().unwrap_or(Time::MAX);
            if now.since(since) > GRACE {
                let text = format!("event {event} went to subscription {subscription}, and its topic is gone since {since}");
                self.violation.get_or_insert(crate::world::Violation { invariant: "I2", text });
            }
        }
        let is_there = |event: &usize| !self.changes.buried.contains(event) && !self.changes.going.contains(&self.events[*event].topic);
        events.iter().copied().filter(is_there).collect()
    }

    /// An event is in the log: one of an earlier life of its topic may only be if it was sent in again.
    pub(super) fn check_life(&mut self, event: usize, kept: &Kept) {
        if self.changes.buried.contains(&event) && self.events[event].life == self.life_of(event) {
            self.changes.buried.remove(&event);
        } else if self.changes.buried.contains(&event) {
            self.broken("I2", format!("event {event} is at {kept:?}, and was in a topic of that name that is gone"));
        }
        if self.events[event].strict && kept.letters {
            self.broken("I2", format!("event {event} is kept as {kept:?}, and its schema forbids dead letters"));
        }
    }
}
