//! Attempts end: windows, retries, dead letters and records of attempts are brought up to date, all in one checkpoint (I2).

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use posthorn_domain::ids::{DeadLetterId, SubscriptionId};
use posthorn_domain::qos::DeadLetter as DeadLetterRule;
use posthorn_domain::reason::Reason;
use posthorn_domain::time::Time;
use posthorn_storage::attempts::{Attempt, ERROR_MAX, HEAD_MAX, Outcome, event_hash};
use posthorn_storage::state::{DeadLetter, Retry, RetrySource};

use super::attempt::{Progress, Step, dice};
use super::backlog::{Backlog, Found};
use super::health::Signal;
use super::item::{Item, Origin};
use super::lane::{LaneKey, weight};
use super::outcome::Verdict;
use super::replays::Went;
use super::retention::allows;
use super::shard::Shard;
use super::subscriber::Items;
use super::tell::{self, DISABLE_AFTER};
use super::traced;
use super::work::{self, Attempted, Ending, Loss};
use crate::route::SubscriptionRoute;

/// How long a retry whose event could not be read waits.
const UNREADABLE_WAIT: Duration = Duration::from_secs(5);

/// What one attempt looked like, for the record.
pub(super) struct Report {
    at: Time,
    duration: Duration,
    status: Option<u16>,
    head: Bytes,
    error: String,
}

impl Shard {
    pub(super) fn on_attempt(&mut self, attempted: Attempted) {
        self.sent[0] -= 1;
        self.context.metrics.attempt_seconds.record(attempted.duration.as_secs_f64());
        let Attempted { route, items, lost, rest, was_probe, had_token, behind, ending, at, duration } = attempted;
        if behind {
            self.spare.ended();
        }
        let id = route.id();
        let now = self.context.clock.now();
        let well_spent = !matches!(&ending, Ending::Sent { verdict, .. } if *verdict != Verdict::Delivered);
        if had_token && well_spent {
            self.purse.keep(id);
        }
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        subscriber.in_flight -= 1;
        subscriber.replays.ended(items.first().or(rest.first()).or(lost.first().map(|(item, _)| item)));
        let url = |route: &SubscriptionRoute| route.subscription().spec.endpoint.url.clone();
        let elsewhere = !Arc::ptr_eq(&route, &subscriber.route) && url(&route) != url(&subscriber.route);
        self.put_back(id, rest);
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        let too_large = items.len() > 1 && ending.is_too_large();
        let mut report = Report { at, duration, status: None, head: Bytes::new(), error: String::new() };
        match ending {
            Ending::Sent { verdict, status, head, took, allowed_rate } => {
                let verdict = if elsewhere { verdict.of_another_endpoint() } else { verdict };
                report.status = status;
                report.head = head;
                report.error = error_text(&verdict);
                let failing_for = if elsewhere {
                    self.release(id, was_probe);
                    Duration::ZERO
                } else {
                    subscriber.last_error = (!report.error.is_empty()).then(|| report.error.clone());
                    let signal = Signal { verdict: &verdict, was_probe, took, allowed_rate, error: &report.error };
                    self.judge(id, &signal, &items, now)
                };
                if too_large {
                    self.halve(id, items, now);
                } else {
                    items.into_iter().for_each(|item| self.after_request(id, item, &verdict, &report, now));
                }
                if failing_for >= self.context.config.disable_after {
                    self.disable(id, DISABLE_AFTER);
                }
            }
            Ending::Unsent => self.release(id, was_probe),
        }
        for (item, loss) in lost {
            match loss {
                Loss::Never(reason, detail) => self.give_up(id, item, reason, &detail, None, now),
                Loss::Unreadable(detail) => {
                    tracing::error!(subscription = %id, detail, "an event to be retried cannot be read; it waits");
                    let made = item.made - 1;
                    self.put_off(id, item, made, now.after(UNREADABLE_WAIT), &detail);
                }
            }
        }
        self.look_at(id);
        self.checkpoint_soon();
    }

    /// A batch was too large for its endpoint, which is no attempt: its events go again in smaller ones.
    fn halve(&mut self, id: SubscriptionId, items: Items, now: Time) {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        subscriber.send_less(items.len(), now);
        self.put_back(id, items);
        self.context.metrics.batches_halved.increment(1);
    }

    /// Items that were not sent after all go where they came from, but for those of a replay that was cancelled meanwhile.
    fn put_back(&mut self, id: SubscriptionId, items: Items) {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        let (ended, rest): (Items, Items) = items.into_iter().partition(|item| subscriber.replays.is_cancelled(item.of_replay()));
        subscriber.put_back(rest);
        ended.iter().for_each(|item| self.settle(id, item));
    }

    fn after_request(&mut self, id: SubscriptionId, item: Item, verdict: &Verdict, report: &Report, now: Time) {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        let progress = Progress { made: item.made, first_at: item.first_at };
        let step = progress.step(verdict, &subscriber.route.subscription().spec.retry, now, dice(item.delivery, item.made));
        match step {
            Step::Delivered => {
                self.context.metrics.delivered.increment(1);
                self.record(id, &item, report, Outcome::Delivered, None);
                self.count_replay(id, &item, Went::Delivered);
                if let Origin::Retry(retry) = &item.origin
                    && let RetrySource::DeadLetter(letter) = &retry.source
                {
                    self.outbox.delete_dead_letter(*letter);
                }
                self.settle(id, &item);
            }
            Step::Wait { due } => {
                let ended = subscriber.replays.is_cancelled(item.of_replay());
                self.context.metrics.retried.increment(1);
                self.record(id, &item, report, if ended { Outcome::Dropped } else { Outcome::Retry }, (!ended).then_some(due));
                let made = item.made;
                self.put_off(id, item, made, due, &report.error);
            }
            Step::GiveUp(reason) => {
                let detail = format!("attempt {} ended with {}", item.made, report.error);
                self.give_up(id, item, reason, &detail, Some(report), now);
            }
            Step::Disable => {
                self.disable(id, Reason::EndpointGone.as_str());
                self.give_up(id, item, Reason::EndpointGone, "the endpoint answered 410", Some(report), now);
            }
        }
    }

    /// The delivery waits for its next attempt in the retry store; its lane moves on.
    fn put_off(&mut self, id: SubscriptionId, item: Item, made: u32, due: Time, error: &str) {
        if self.subscribers.get(&id).is_some_and(|subscriber| subscriber.replays.is_cancelled(item.of_replay())) {
            return self.settle(id, &item);
        }
        if self.has_passed(&item) {
            let now = self.context.clock.now();
            return self.give_up_passed(id, Item { made: made + 1, ..item }, now);
        }
        let source = match &item.origin {
            Origin::Retry(retry) => retry.source.clone(),
            Origin::Lane(key, _) => self.log_source(&item, *key),
        };
        let retry = Retry {
            subscription: id,
            delivery: item.delivery,
            message: item.message,
            due,
            attempts: made,
            first_attempt_at: item.first_at,
            source,
            key_hash: item.key_hash,
            last_error: error.to_owned(),
            replay: item.of_replay(),
            manual: matches!(&item.origin, Origin::Retry(retry) if retry.manual),
        };
        let key_hash = item.key_hash;
        self.count_replay(id, &item, Went::Waits);
        self.settle(id, &item);
        self.outbox.put_retry(retry.clone());
        self.deleted[0].remove(&retry.id());
        if let Some(subscriber) = self.subscribers.get_mut(&id) {
            debug_assert_eq!(retry.key_hash, key_hash, "the key stays blocked while its event waits");
            subscriber.wait(retry);
        }
    }

    /// Of the topic that the lane was on: one of its name may have been made anew since, and has other events. Without it there is none.
    fn log_source(&self, item: &Item, key: LaneKey) -> RetrySource {
        let place = item.place();
        let incarnation = self.parts.get(&key.part).map_or(0, |part| part.topic.topic.meta.incarnation);
        RetrySource::Log { topic: item.topic.clone(), incarnation, partition: place.partition, offset: place.offset }
    }

    /// The delivery ends without success: a dead letter, or dropped where a rule forbids those.
    pub(super) fn give_up(&mut self, id: SubscriptionId, item: Item, reason: Reason, detail: &str, report: Option<&Report>, now: Time) {
        let Some(subscriber) = self.subscribers.get(&id) else { return };
        let record = item.stored.as_ref().map(|stored| &stored.record);
        // An event that is gone from the log cannot say what it allowed.
        let by_event = record.map_or(item.position.is_some(), |record| record.dead_letter == DeadLetterRule::Allow);
        let allowed = allows(subscriber) && by_event;
        let outcome = if allowed { Outcome::DeadLettered } else { Outcome::Dropped };
        if allowed {
            self.context.metrics.dead_lettered.increment(1);
        } else {
            self.context.metrics.dropped.increment(1);
        }
        if reason == Reason::RetentionPassed && self.has_passed(&item) {
            let (partition, offset) = (item.place().partition, item.place().offset);
            tell::retention_passed(&self.context, id, &item.topic, partition, (offset..offset + 1, 1), allowed);
        }
        tell::given_up(&self.context, id, &item.topic, reason, allowed);
        let made = if report.is_some() { item.made } else { item.made - 1 };
        if allowed && let Some(record) = record {
            // A dead letter that was tried again in vain stays the one it was.
            let known = match &item.origin {
                Origin::Retry(retry) => match retry.source {
                    RetrySource::DeadLetter(letter) => Some(letter),
                    RetrySource::Log { .. } => None,
                },
                Origin::Lane(..) => None,
            };
            self.outbox.put_dead_letter(DeadLetter {
                id: known.unwrap_or_else(DeadLetterId::make),
                reason,
                detail: detail.to_owned(),
                at: now,
                topic: item.topic.clone(),
                position: item.position,
                record: record.to_bytes(),
                subscription: Some(id),
                delivery: Some(item.delivery),
                replay: item.replay,
                attempts: made,
                errors: Vec::new(),
            });
        }
        if let (true, None, Some(position)) = (allowed, record, item.position) {
            let place = (item.topic.clone(), position.partition, position.offset);
            self.range_letter(id, place, reason, detail.to_owned(), item.of_replay());
        }
        let none = Report { at: now, duration: Duration::ZERO, status: None, head: Bytes::new(), error: reason.as_str().to_owned() };
        self.record(id, &item, report.unwrap_or(&none), outcome, None);
        self.count_replay(id, &item, Went::Failed);
        self.settle(id, &item);
    }

    /// Retention takes the event before another attempt can be made.
    pub(super) fn give_up_passed(&mut self, id: SubscriptionId, item: Item, now: Time) {
        let detail = "retention deleted the event before another attempt could be made";
        self.give_up(id, item, Reason::RetentionPassed, detail, None, now);
    }

    /// The same, when one dead letter for many tells of it.
    pub(super) fn give_up_passed_with_others(&mut self, id: SubscriptionId, item: &Item, now: Time) {
        let reason = Reason::RetentionPassed;
        self.context.metrics.dead_lettered.increment(1);
        let none = Report { at: now, duration: Duration::ZERO, status: None, head: Bytes::new(), error: reason.as_str().to_owned() };
        self.record(id, item, &none, Outcome::DeadLettered, None);
        self.count_replay(id, item, Went::Failed);
        self.settle(id, item);
    }

    /// The delivery is done with where it came from; its key is free.
    fn settle(&mut self, id: SubscriptionId, item: &Item) {
        self.count_ended();
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        subscriber.keys.free(item.key_hash, item.place().offset);
        match &item.origin {
            Origin::Lane(key, offset) => {
                if let Some(lane) = subscriber.lanes.get_mut(key) {
                    let weight = item.stored.as_ref().map_or(0, |stored| weight(stored));
                    self.budget.give(&mut lane.held, weight);
                    lane.window.settle(*offset);
                    self.dirty_lanes.insert((id, *key));
                }
                self.end_replay(id, *key);
            }
            Origin::Retry(retry) => {
                subscriber.flying.remove(&retry.id());
                subscriber.retries.ended(retry.id());
                self.outbox.delete_retry(retry.id());
                self.deleted[0].insert(retry.id());
            }
        }
    }

    /// Settles what has expired before it was sent (I13); gives back the rest, if any.
    pub(super) fn drop_expired(&mut self, id: SubscriptionId, items: Items, now: Time) -> Option<Items> {
        let mut rest = Items::new();
        for item in items {
            if item.stored.as_ref().is_some_and(|stored| stored.record.is_expired(now)) {
                self.give_up(id, item, Reason::Expired, "its time to live had passed", None, now);
                self.checkpoint_soon();
            } else {
                rest.push(item);
            }
        }
        (!rest.is_empty()).then_some(rest)
    }

    /// Takes a replay away that has come to its end.
    pub(super) fn end_replay(&mut self, id: SubscriptionId, key: LaneKey) {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        if subscriber.lanes.get(&key).is_some_and(super::lane::Lane::is_finished) {
            self.drop_lane(id, key);
            if let Some(replay) = key.replay {
                self.finish_replay(id, replay);
            }
        }
    }

    fn record(&self, id: SubscriptionId, item: &Item, report: &Report, outcome: Outcome, next: Option<Time>) {
        traced::settled(self.context.config.traces, id, item, outcome, &report.error, next);
        let delivered = outcome == Outcome::Delivered;
        let event_id = item.stored.as_ref().map_or("", |stored| stored.record.event.id());
        self.context.attempts.record(Attempt {
            subscription: id,
            topic: item.topic.clone(),
            position: item.place(),
            message: item.message,
            delivery: item.delivery,
            derived: item.is_derived(id),
            event_hash: event_hash(event_id),
            number: item.made,
            at: report.at,
            duration_ms: u32::try_from(report.duration.as_millis()).unwrap_or(u32::MAX),
            status: report.status,
            outcome,
            error: report.error.chars().take(ERROR_MAX / 4).collect(),
            response_head: if delivered { Vec::new() } else { report.head[..report.head.len().min(HEAD_MAX)].to_vec() },
            next_attempt_at: next,
        });
    }

    /// Memory for what waits, of which the store may have some `left` by an earlier process.
    pub(super) fn backlog(&self, left: bool) -> Backlog {
        Backlog::new(self.context.config.max_retries_in_memory, left)
    }

    /// Loads more retries when memory has few and the store has more, once the store has all that was put there.
    pub(super) fn refill_retries(&mut self, id: SubscriptionId) {
        let Some(span) = self.subscribers.get_mut(&id).and_then(|subscriber| subscriber.retries.begin_load()) else { return };
        let written = self.all_written();
        let limit = self.context.config.max_retries_in_memory;
        self.work.push(Box::pin(work::load_retries(Rc::clone(&self.context), id, span, limit, written)));
    }

    pub(super) fn on_retries(&mut self, id: SubscriptionId, found: Found) {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        subscriber.take_up(found);
        self.finish_replays(id);
        self.look_at(id);
    }
}

/// As records of attempts have it; empty when it was delivered.
pub(super) fn error_text(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Delivered => String::new(),
        Verdict::Gone => "status_410".into(),
        Verdict::Forbidden => "egress_forbidden".into(),
        Verdict::Retry { error, .. } => error.as_str().to_owned(),
    }
}
