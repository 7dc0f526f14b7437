//! The health of an endpoint, as one shard keeps it: what each request says of it, what is shown of it, what outlives a restart.
//!
//! The decisions are in [`super::breaker`], [`super::flow`] and [`super::purse`].

use std::rc::Rc;
use std::time::Duration;

use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::node::SubscriptionState;
use posthorn_domain::time::Time;
use posthorn_storage::state::{Batch, Health};

use super::breaker::{Breaker, Change, Trip};
use super::concurrency::Sign;
use super::item::Item;
use super::outcome::Verdict;
use super::shard::{Context, Shard};
use super::subscriber::Subscriber;
use super::tell;
use crate::egress::AllowedRate;

/// What is known of a request that ended.
pub(super) struct Signal<'a> {
    pub(super) verdict: &'a Verdict,
    pub(super) was_probe: bool,
    /// How long the endpoint took: zero when it was not reached, for ever when it did not answer in time.
    pub(super) took: Duration,
    pub(super) allowed_rate: Option<AllowedRate>,
    /// What went wrong; empty when nothing did.
    pub(super) error: &'a str,
}

impl Shard {
    /// A request ended: the endpoint is judged by it. For how long all attempts have failed.
    pub(super) fn judge(&mut self, id: SubscriptionId, signal: &Signal<'_>, items: &[Item], now: Time) -> Duration {
        let context = Rc::clone(&self.context);
        let (config, metrics) = (&context.config, &context.metrics);
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return Duration::ZERO };
        let timeout = subscriber.route.subscription().spec.endpoint.timeout.map_or(config.timeout, |timeout| timeout.std());
        let most = subscriber.most_in_flight(config.max_in_flight_per_subscription);
        let slow = signal.took >= config.breaker.slow_after(timeout);
        let sign = sign_of(signal.verdict);
        let change = match sign {
            Sign::Answered => subscriber.breaker.succeeded(signal.was_probe, slow, now, &config.breaker),
            Sign::Failed | Sign::Overloaded => subscriber.breaker.failed(signal.was_probe, slow, now, &config.breaker),
        };
        subscriber.flow.ended(sign, signal.took, most, config.adaptive_concurrency);
        match change {
            Change::None => {}
            Change::Closed => subscriber.flow.restart(),
            Change::Opened(Trip::InARow) => metrics.opened_in_a_row.increment(1),
            Change::Opened(Trip::FailureShare) => metrics.opened_failure_share.increment(1),
            Change::Opened(Trip::Latency) => metrics.opened_latency.increment(1),
        }
        if let Some(rate) = signal.allowed_rate {
            subscriber.flow.allow(rate);
        }
        if let Verdict::Retry { retry_after: Some(wait), .. } = signal.verdict
            && !wait.is_zero()
            && subscriber.flow.hold(now.after((*wait).min(config.max_endpoint_hold)))
        {
            metrics.holds.increment(1);
        }
        show(&context, subscriber);
        if *signal.verdict != Verdict::Gone {
            tell::endpoint(&context, subscriber, items, sign == Sign::Answered, signal.error);
        }
        let failing_for = subscriber.failing_for(*signal.verdict == Verdict::Delivered, now);
        if subscriber.kept != subscriber.to_keep() {
            self.note_health(id);
        }
        failing_for
    }

    /// A place that was not used for a request after all.
    pub(super) fn release(&mut self, id: SubscriptionId, was_probe: bool) {
        if let Some(subscriber) = self.subscribers.get_mut(&id) {
            subscriber.breaker.released(was_probe);
            show(&self.context, subscriber);
        }
    }

    /// Gives the retries that wait for the node's budget their turns, and tells it of first attempts.
    pub(super) fn spend(&mut self, now: Time) {
        while let Some(id) = self.purse.next_turn(now) {
            self.pump(id, now, usize::MAX);
            self.purse.end_turn();
        }
        self.purse.flush();
        let (joined, grown) = self.purse.changes();
        if joined > 0 {
            self.context.metrics.retries_held.increment(joined);
        }
        if grown != 0 {
            self.context.metrics.retries_in_line.increment(grown as f64);
        }
    }

    /// Has the next checkpoint write what changed of the health that outlives a restart.
    pub(super) fn note_health(&mut self, id: SubscriptionId) {
        if self.subscribers.get(&id).is_some_and(|subscriber| subscriber.kept != subscriber.to_keep()) {
            self.dirty_health.insert(id);
            self.checkpoint_soon();
        }
    }

    pub(super) fn put_health(&mut self, batch: &mut Batch) {
        for id in self.dirty_health.drain() {
            let Some(subscriber) = self.subscribers.get_mut(&id) else { continue };
            subscriber.kept = subscriber.to_keep();
            match subscriber.kept {
                (None, false) => batch.delete_health(id),
                (failing_since, told_down) => batch.put_health(Health { subscription: id, failing_since, told_down }),
            };
        }
    }

    pub(super) fn state_of(&self, id: SubscriptionId) -> Option<SubscriptionState> {
        let subscriber = self.subscribers.get(&id)?;
        let now = self.context.clock.now();
        let lag = subscriber.lanes.iter().filter(|(key, _)| key.replay.is_none()).filter_map(|(key, lane)| {
            let part = self.parts.get(&key.part)?;
            Some(part.topic.log.bounds(part.partition).end.saturating_sub(lane.cursor(part.fed)))
        });
        let most = subscriber.most_in_flight(self.context.config.max_in_flight_per_subscription);
        let opened = subscriber.breaker.opened();
        Some(SubscriptionState {
            in_flight: u64::from(subscriber.in_flight),
            waiting: subscriber.retries.len(),
            lag: lag.sum(),
            breaker: subscriber.breaker.name().into(),
            last_error: subscriber.last_error.clone(),
            breaker_reason: opened.map(|(reason, _)| reason.as_str().to_owned()),
            breaker_since: opened.map(|(_, since)| since),
            next_probe_at: subscriber.breaker.next_probe().map(|at| at.max(now)),
            concurrency: u64::from(if opened.is_some() { 1 } else { subscriber.flow.limit(most) }),
            held_until: subscriber.flow.held_until(now),
            allowed_rate: subscriber.flow.allowed().map(u64::from),
            retries_held: self.purse.holds(id),
            failing_since: subscriber.failing_since,
        })
    }
}

impl Subscriber {
    /// Requests at the same time that its contract and the node allow.
    pub(super) fn most_in_flight(&self, of_node: u32) -> u32 {
        self.route.subscription().spec.limits.in_flight.min(of_node)
    }

    /// Takes up what an earlier process left: an endpoint that was down is probed before it is sent more.
    pub(super) fn restore(&mut self, health: &Health, now: Time) {
        self.failing_since = health.failing_since;
        self.told_down = health.told_down;
        self.kept = self.to_keep();
        if health.told_down {
            self.breaker = Breaker::left_open(health.failing_since.unwrap_or(now));
        }
    }

    /// What outlives a restart: since when all attempts have failed, and whether it was told that the endpoint is down.
    pub(super) fn to_keep(&self) -> (Option<Time>, bool) {
        (self.failing_since, self.told_down)
    }
}

/// Shows the state of the breaker in the metrics, once it is another one.
pub(super) fn show(context: &Context, subscriber: &mut Subscriber) {
    let now = Some(subscriber.breaker.name());
    let before = std::mem::replace(&mut subscriber.shown, now);
    if before != now {
        count(context, before, -1.0);
        count(context, now, 1.0);
    }
}

/// Shows how many deliveries wait in the metrics, once it is another number.
pub(super) fn show_waiting(context: &Context, subscriber: &mut Subscriber) {
    let now = subscriber.retries.len();
    let before = std::mem::replace(&mut subscriber.shown_waiting, now);
    if before != now {
        context.metrics.waiting.increment(now as f64 - before as f64);
    }
}

/// A subscription begins to rest: nothing is known against its endpoint.
pub(super) fn show_resting(context: &Context) {
    count(context, Some(Breaker::default().name()), 1.0);
}

/// It rests no more, and is shown as it was.
pub(super) fn show_roused(subscriber: &mut Subscriber) {
    subscriber.shown = Some(subscriber.breaker.name());
}

/// The subscription is no longer here.
pub(super) fn hide(context: &Context, subscriber: &Subscriber) {
    count(context, subscriber.shown, -1.0);
}

fn count(context: &Context, breaker: Option<&'static str>, by: f64) {
    let metrics = &context.metrics;
    match breaker {
        Some("closed") => metrics.breaker_closed.increment(by),
        Some("half_open") => metrics.breaker_half_open.increment(by),
        Some(_) => metrics.breaker_open.increment(by),
        None => {}
    }
    if breaker.is_some_and(|breaker| breaker != "closed") {
        metrics.breakers_open.increment(by);
    }
}

fn sign_of(verdict: &Verdict) -> Sign {
    match verdict {
        Verdict::Retry { overload: true, .. } => Sign::Overloaded,
        Verdict::Retry { endpoint_fault: true, .. } | Verdict::Forbidden => Sign::Failed,
        _ => Sign::Answered,
    }
}
