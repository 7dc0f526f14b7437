//! Questions and orders to a shard about one of its subscriptions.

use std::rc::Rc;
use std::sync::Arc;

use posthorn_domain::event::{DataKind, Event, EventBuilder};
use posthorn_domain::ids::{DeadLetterId, DeliveryId, MessageId, ReplayId, SubscriptionId};
use posthorn_domain::names::TopicName;
use posthorn_domain::node::{Attempt, Replay, SubscriptionState};
use posthorn_storage::state::{self, Retry, RetrySource};
use tokio::sync::oneshot;

use super::outcome::{Verdict, classify};
use super::pull::{Moves, Pull};
use super::request::Envelope;
use super::retention::{Asked, Needed, Place};
use super::shard::Shard;
use super::work::Done;

/// A question or an order. Answers are `None` when the subscription is not here.
pub(super) enum Ask {
    /// Where it stands.
    State(SubscriptionId, oneshot::Sender<Option<SubscriptionState>>),
    /// Try a dead letter again, now; answered once that is stored.
    Retry(SubscriptionId, Letter, oneshot::Sender<()>),
    /// Send a test event, outside lanes and schedules.
    Test(SubscriptionId, oneshot::Sender<Option<Attempt>>),
    /// Deliver these ranges again, if no more replays run than may. Answered at once, and once more when it is stored.
    Replay(Box<state::Replay>, Vec<Range>, oneshot::Sender<bool>, oneshot::Sender<()>),
    /// Its replays.
    Replays(SubscriptionId, oneshot::Sender<Option<Vec<Replay>>>),
    /// End a replay. Answered at once, and once more when it is stored.
    CancelReplay(SubscriptionId, ReplayId, oneshot::Sender<Option<Replay>>, oneshot::Sender<()>),
    /// The least offsets that are still needed of these partitions.
    Needed(Arc<[Asked]>, oneshot::Sender<Vec<Needed>>),
    /// Events below these places are about to be deleted; answered once what that means is stored.
    Pass(Arc<[Place]>, oneshot::Sender<()>),
    /// Where a reader of it goes on.
    Pulled(SubscriptionId, oneshot::Sender<Option<Pull>>),
    /// A reader of it has come so far. Answered at once, and once more when it is stored.
    Moved(SubscriptionId, Moves, oneshot::Sender<bool>, oneshot::Sender<()>),
}

/// What is needed of a dead letter to try it again.
pub(super) struct Letter {
    pub(super) id: DeadLetterId,
    pub(super) delivery: DeliveryId,
    pub(super) message: MessageId,
    /// Attempts made so far; the count goes on.
    pub(super) attempts: u32,
}

/// Offsets of one partition.
pub(super) struct Range {
    pub(super) topic: TopicName,
    pub(super) partition: u32,
    pub(super) from: u64,
    pub(super) until: u64,
}

impl Ask {
    /// Which subscription it is about, if it is about one.
    pub(super) fn about(&self) -> Option<SubscriptionId> {
        match self {
            Self::State(id, ..) | Self::Retry(id, ..) | Self::Test(id, ..) | Self::Replays(id, ..) => Some(*id),
            Self::CancelReplay(id, ..) | Self::Pulled(id, ..) | Self::Moved(id, ..) => Some(*id),
            Self::Replay(row, ..) => Some(row.subscription),
            Self::Needed(..) | Self::Pass(..) => None,
        }
    }

    /// Whether the subscription is afterwards what it was before.
    pub(super) fn changes_nothing(&self) -> bool {
        matches!(self, Self::State(..) | Self::Replays(..))
    }
}

impl Shard {
    /// Who asks may have given up; a lost answer is no fault.
    pub(super) fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::State(id, answer) => drop(answer.send(self.state_of(id))),
            Ask::Retry(id, letter, answer) => {
                self.retry_letter(id, &letter);
                self.after_commit.push(answer);
                self.checkpoint_soon();
            }
            Ask::Test(id, answer) => self.test(id, answer),
            Ask::Needed(parts, answer) => {
                let needed: Vec<_> = parts.iter().map(|asked| self.needed(asked)).collect();
                let looks_further = needed.iter().any(Needed::looks_further);
                // What was put off a moment ago is to be found in the store.
                let written = looks_further.then(|| self.all_written());
                self.work.push(Box::pin(async move {
                    if let Some(written) = written {
                        // A shard that ends meanwhile answers nothing.
                        drop(written.await);
                    }
                    // Whoever asked may have given up waiting.
                    answer.send(needed).ok();
                    Done::Nothing
                }));
            }
            Ask::Pass(places, answer) => self.pass(places, answer),
            Ask::Pulled(id, answer) => drop(answer.send(self.pulled(id))),
            Ask::Moved(id, moves, answer, stored) => self.on_moved(id, &moves, answer, stored),
            Ask::Replay(row, ranges, answer, stored) => drop(answer.send(self.begin_replay(*row, ranges, stored))),
            Ask::Replays(id, answer) => drop(answer.send(self.replays_of(id))),
            Ask::CancelReplay(id, replay, answer, stored) => drop(answer.send(self.cancel_replay(id, replay, stored))),
        }
    }

    fn retry_letter(&mut self, id: SubscriptionId, letter: &Letter) {
        let now = self.context.clock.now();
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        let retry = Retry {
            subscription: id,
            delivery: letter.delivery,
            message: letter.message,
            due: now,
            attempts: letter.attempts,
            first_attempt_at: now,
            source: RetrySource::DeadLetter(letter.id),
            key_hash: None,
            last_error: String::new(),
            replay: None,
            manual: true,
        };
        let waiting =
            subscriber.retries.in_memory().keys().chain(&subscriber.flying).any(|known| known.manual && known.delivery == letter.delivery);
        if !waiting {
            self.deleted[0].remove(&retry.id());
            self.outbox.put_retry(retry.clone());
            subscriber.wait(retry);
            self.look_at(id);
        }
    }

    fn test(&mut self, id: SubscriptionId, answer: oneshot::Sender<Option<Attempt>>) {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return drop(answer.send(None)) };
        let context = Rc::clone(&self.context);
        let (route, (target, template)) = (Arc::clone(&subscriber.route), subscriber.fittings(&context.signatures));
        self.work.push(Box::pin(async move {
            let at = context.clock.now();
            let event = test_event(id, &at.to_string());
            let message = MessageId::of_event("posthorn.test", "posthorn", event.source(), event.id());
            let envelope =
                Envelope { message, delivery: DeliveryId::of(id, message), attempt: 1, replay: false, stored: None, position: None };
            let (head, body) = template.build(&context, &route, &envelope, &[&event], at);
            let deadline = route.subscription().spec.endpoint.timeout.map_or(context.config.timeout, |timeout| timeout.std());
            let start = context.clock.instant();
            let result = context.pool.send(&target, head, body, deadline, || ()).await;
            let error = match classify(&result) {
                Verdict::Delivered | Verdict::Gone => None,
                Verdict::Forbidden => Some("egress_forbidden".to_owned()),
                // A status speaks for itself.
                Verdict::Retry { error, .. } => Some(error.to_string()).filter(|error| !error.starts_with("status_")),
            };
            let reply = result.as_ref().ok();
            let attempt = Attempt {
                number: 1,
                at,
                duration_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
                status_code: reply.map(|reply| reply.status.as_u16()),
                error,
                response_head: reply.map(|reply| String::from_utf8_lossy(&reply.body_head).into_owned()),
            };
            drop(answer.send(Some(attempt)));
            Done::Nothing
        }));
    }
}

fn test_event(id: SubscriptionId, at: &str) -> Event {
    let mut builder = EventBuilder::new(&format!("test-{at}"), "/posthorn/test", "posthorn.test");
    builder.push("datacontenttype", posthorn_domain::event::AttrKind::String, "application/json");
    builder.push("topic", posthorn_domain::event::AttrKind::String, "posthorn.test");
    let data = format!("{{\"test\":true,\"subscription\":\"{id}\",\"at\":\"{at}\"}}");
    builder.with_data(DataKind::Json, data.into())
}
