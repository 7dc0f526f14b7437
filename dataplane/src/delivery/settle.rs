//! Attempts end: windows, retries, dead letters and records of attempts are brought up to date, all in one checkpoint (I2).

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use posthorn_domain::event::EventBuilder;
use posthorn_domain::ids::{DeadLetterId, DeliveryId, MessageId, SubscriptionId};
use posthorn_domain::position::Position;
use posthorn_domain::qos::{DeadLetter as DeadLetterRule, Durability};
use posthorn_domain::reason::Reason;
use posthorn_domain::record::Record;
use posthorn_domain::time::Time;
use posthorn_storage::attempts::{Attempt, DeliveryPrefix, ERROR_MAX, HEAD_MAX, Outcome, event_hash};
use posthorn_storage::state::{DeadLetter, Retry, RetrySource, StateError};

use super::attempt::{Progress, Step, dice};
use super::health::Signal;
use super::item::{Item, Origin};
use super::lane::{LaneKey, Mode, weight};
use super::outcome::Verdict;
use super::shard::Shard;
use super::subscriber::{Items, RETRIES_IN_MEMORY, Subscriber};
use super::tell::{self, DISABLE_AFTER};
use super::work::{self, Attempted, Ending};

/// How long a retry whose event could not be read waits.
const UNREADABLE_WAIT: Duration = Duration::from_secs(5);

/// What one attempt looked like, for the record.
struct Report {
    at: Time,
    duration: Duration,
    status: Option<u16>,
    head: Bytes,
    error: String,
}

impl Shard {
    pub(super) fn on_attempt(&mut self, attempted: Attempted) {
        self.context.metrics.in_flight.decrement(1.0);
        self.context.metrics.attempt_seconds.record(attempted.duration.as_secs_f64());
        let Attempted { subscription: id, items, was_probe, had_token, ending, at, duration } = attempted;
        let now = self.context.clock.now();
        let well_spent = !matches!(&ending, Ending::Sent { verdict, .. } if *verdict != Verdict::Delivered);
        if had_token && well_spent {
            self.purse.keep(id);
        }
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        subscriber.in_flight -= 1;
        let mut report = Report { at, duration, status: None, head: Bytes::new(), error: String::new() };
        match ending {
            Ending::Sent { verdict, status, head, took, allowed_rate } => {
                report.status = status;
                report.head = head;
                report.error = error_text(&verdict);
                subscriber.last_error = (!report.error.is_empty()).then(|| report.error.clone());
                let signal = Signal { verdict: &verdict, was_probe, took, allowed_rate, error: &report.error };
                let failing_for = self.judge(id, &signal, &items, now);
                for item in items {
                    self.after_request(id, item, &verdict, &report, now);
                }
                if failing_for >= self.context.config.disable_after {
                    self.disable(id, DISABLE_AFTER);
                }
            }
            Ending::Never(reason, detail) => {
                self.release(id, was_probe);
                for item in items {
                    self.give_up(id, item, reason, &detail, None, now);
                }
            }
            Ending::Unreadable(detail) => {
                self.release(id, was_probe);
                tracing::error!(subscription = %id, detail, "an event to be retried cannot be read; it waits");
                for item in items {
                    let due = now.after(UNREADABLE_WAIT);
                    let made = item.made - 1;
                    self.put_off(id, item, made, due, &detail);
                }
            }
        }
        self.look_at(id);
        self.checkpoint_soon();
    }

    fn after_request(&mut self, id: SubscriptionId, item: Item, verdict: &Verdict, report: &Report, now: Time) {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        let progress = Progress { made: item.made, first_at: item.first_at };
        let step = progress.step(verdict, &subscriber.route.subscription.spec.retry, now, dice(item.delivery, item.made));
        match step {
            Step::Delivered => {
                self.context.metrics.delivered.increment(1);
                self.record(id, &item, report, Outcome::Delivered, None);
                if let Origin::Retry(retry) = &item.origin
                    && let RetrySource::DeadLetter(letter) = &retry.source
                {
                    self.outbox.delete_dead_letter(*letter);
                }
                self.settle(id, &item);
            }
            Step::Wait { due } => {
                self.context.metrics.retried.increment(1);
                self.record(id, &item, report, Outcome::Retry, Some(due));
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

    /// No further attempts; the control plane is asked to disable it, and says so to its owner.
    fn disable(&mut self, id: SubscriptionId, reason: &'static str) {
        let Some(subscriber) = self.subscribers.get_mut(&id).filter(|subscriber| !subscriber.gone) else { return };
        subscriber.gone = true;
        tracing::warn!(subscription = %id, reason, "the endpoint is given up; the subscription is disabled");
        if self.context.gone.try_send((id, reason)).is_err() {
            tracing::warn!(subscription = %id, reason, "the control plane could not be told to disable the subscription");
        }
    }

    /// The delivery waits for its next attempt in the retry store; its lane moves on.
    fn put_off(&mut self, id: SubscriptionId, item: Item, made: u32, due: Time, error: &str) {
        let source = match &item.origin {
            Origin::Retry(retry) => retry.source.clone(),
            Origin::Lane(..) => self.log_source(&item),
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
            replay: item.replay,
            manual: matches!(&item.origin, Origin::Retry(retry) if retry.manual),
        };
        let key_hash = item.key_hash;
        self.settle(id, &item);
        self.outbox.put_retry(retry.clone());
        self.deleted[0].remove(&retry.id());
        if let Some(subscriber) = self.subscribers.get_mut(&id) {
            debug_assert_eq!(retry.key_hash, key_hash, "the key stays blocked while its event waits");
            subscriber.wait(retry);
        }
    }

    fn log_source(&self, item: &Item) -> RetrySource {
        let place = item.place();
        let incarnation = self.table.topics.get(&item.topic).map_or(0, |route| route.topic.meta.incarnation);
        RetrySource::Log { topic: item.topic.clone(), incarnation, partition: place.partition, offset: place.offset }
    }

    /// The delivery ends without success: a dead letter, or dropped where a rule forbids those.
    fn give_up(&mut self, id: SubscriptionId, item: Item, reason: Reason, detail: &str, report: Option<&Report>, now: Time) {
        let Some(subscriber) = self.subscribers.get(&id) else { return };
        let by_contract = subscriber.route.subscription.spec.qos.dead_letter;
        let record = item.stored.as_ref().map(|stored| &stored.record);
        let allowed = by_contract == DeadLetterRule::Allow && record.is_some_and(|record| record.dead_letter == DeadLetterRule::Allow);
        let outcome = if allowed { Outcome::DeadLettered } else { Outcome::Dropped };
        if allowed {
            self.context.metrics.dead_lettered.increment(1);
        } else {
            self.context.metrics.dropped.increment(1);
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
                attempts: made,
                errors: Vec::new(),
            });
        }
        let none = Report { at: now, duration: Duration::ZERO, status: None, head: Bytes::new(), error: reason.as_str().to_owned() };
        self.record(id, &item, report.unwrap_or(&none), outcome, None);
        self.settle(id, &item);
    }

    /// The delivery is done with where it came from; its key is free.
    fn settle(&mut self, id: SubscriptionId, item: &Item) {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        subscriber.unblock(item.key_hash);
        match &item.origin {
            Origin::Lane(key, offset) => {
                if let Some(stored) = &item.stored {
                    self.tail_bytes = self.tail_bytes.saturating_sub(weight(stored));
                }
                if let Some(lane) = subscriber.lanes.get_mut(key) {
                    lane.window.settle(*offset);
                    self.dirty_lanes.insert((id, *key));
                }
                self.end_replay(id, *key);
            }
            Origin::Retry(retry) => {
                subscriber.flying.remove(&retry.id());
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

    /// A damaged range of a partition: every lane that was to get it from here loses it. Lagging lanes will meet it themselves.
    pub(super) fn lose_range(&mut self, number: u32, from: u64, to: u64) {
        let Some(part) = self.parts.get(&number) else { return };
        let topic = part.topic.topic.name.clone();
        let key = LaneKey { part: number, replay: None };
        let awaits = |subscriber: &Subscriber| match subscriber.lanes.get(&key).map(|lane| lane.mode) {
            None => true,
            Some(Mode::Tailing { from }) => from < to,
            Some(Mode::Lagging { .. }) => false,
        };
        let wanting = self.subscribers.values().filter(|subscriber| subscriber.is_live() && subscriber.route.admits_topic(&topic));
        let wanting: Vec<_> = wanting.filter(|subscriber| awaits(subscriber)).map(|subscriber| subscriber.id()).collect();
        for id in wanting {
            self.lose_lane_range(id, key, from, to);
        }
    }

    /// One dead letter for a range of the log that cannot be read any more.
    pub(super) fn lose_lane_range(&mut self, id: SubscriptionId, key: LaneKey, from: u64, to: u64) {
        let Some((topic, partition)) = self.names.get(&key.part).cloned() else { return };
        let now = self.context.clock.now();
        let detail = format!("the log is damaged: offsets {from} to {} of partition {partition} are lost", to.saturating_sub(1));
        tracing::error!(subscription = %id, %topic, partition, from, to, "deliveries are lost in a damaged range of the log");
        let event = EventBuilder::new(&format!("{topic}-{partition}-{from}"), "/posthorn/log", "posthorn.log.gap").build();
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
        let message: MessageId = record.message_id(&topic);
        tell::given_up(&self.context, id, &topic, Reason::LogDamaged, true);
        self.outbox.put_dead_letter(DeadLetter {
            id: DeadLetterId::make(),
            reason: Reason::LogDamaged,
            detail,
            at: now,
            topic,
            position: Some(Position { partition, offset: from }),
            record: record.to_bytes(),
            subscription: Some(id),
            delivery: Some(DeliveryId::of(id, message)),
            attempts: 0,
            errors: Vec::new(),
        });
        self.checkpoint_soon();
    }

    /// Takes a replay away that has come to its end.
    pub(super) fn end_replay(&mut self, id: SubscriptionId, key: LaneKey) {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        if subscriber.lanes.get(&key).is_some_and(super::lane::Lane::is_finished) {
            self.drop_lane(id, key);
        }
    }

    fn record(&self, id: SubscriptionId, item: &Item, report: &Report, outcome: Outcome, next: Option<Time>) {
        let delivered = outcome == Outcome::Delivered;
        let event_id = item.stored.as_ref().map_or("", |stored| stored.record.event.id());
        self.context.attempts.record(Attempt {
            subscription: id,
            topic: item.topic.clone(),
            position: item.place(),
            delivery: DeliveryPrefix::from(item.delivery),
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

    /// Loads more retries when memory has few and the store has more.
    pub(super) fn refill_retries(&mut self, id: SubscriptionId) {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        if subscriber.spilled && !subscriber.loading && subscriber.retries.len() < RETRIES_IN_MEMORY / 4 {
            subscriber.loading = true;
            self.work.push(Box::pin(work::load_retries(Rc::clone(&self.context), id, RETRIES_IN_MEMORY)));
        }
    }

    pub(super) fn on_retries(&mut self, id: SubscriptionId, loaded: Result<Vec<Retry>, StateError>) {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        subscriber.loading = false;
        match loaded {
            Ok(retries) => {
                subscriber.spilled = retries.len() >= RETRIES_IN_MEMORY;
                for retry in retries {
                    let key = retry.id();
                    let known = subscriber.flying.contains(&key) || self.deleted.iter().any(|deleted| deleted.contains(&key));
                    if !known {
                        subscriber.wait(retry);
                    }
                }
            }
            Err(error) => tracing::error!(%error, subscription = %id, "waiting deliveries cannot be loaded"),
        }
        self.look_at(id);
    }
}

fn error_text(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Delivered => String::new(),
        Verdict::Gone => "status_410".into(),
        Verdict::Forbidden => "egress_forbidden".into(),
        Verdict::Retry { error, .. } => error.as_str().to_owned(),
    }
}
