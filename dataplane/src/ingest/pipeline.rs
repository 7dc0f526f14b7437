//! One event after the other through admit, append and answer. Doors call it; it knows none of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use compact_str::CompactString;
use futures_util::future::BoxFuture;
use posthorn_domain::clock::Clock;
use posthorn_domain::direction::Direction;
use posthorn_domain::event::Event;
use posthorn_domain::ids::MessageId;
use posthorn_domain::operations::is_reserved;
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::reason::Reason;
use posthorn_storage::log::{Appending, LogError};
use tokio::sync::oneshot;

use super::admit::{Verdict, admit, id_of};
use super::answer::Warnings;
use super::dedup::{Claim, Claimed, Dedup, First};
use super::traced::Accepting;
use super::{Budget, DeadLetterSink, Outcome, hops, schemas};
use crate::config;
use crate::route::{Live, Table, TopicRoute};
use crate::telemetry::IngestMetrics;

/// What a pipeline is made of.
pub struct Parts {
    /// The newest table.
    pub live: Live,
    /// Where duplicates are known from; one for all pipelines of a node.
    pub dedup: Arc<Dedup>,
    /// Where refused events go that are to be kept.
    pub letters: Arc<dyn DeadLetterSink>,
    /// The time.
    pub clock: Clock,
    /// Limits and the default durability.
    pub config: config::Ingest,
    /// What is counted.
    pub metrics: IngestMetrics,
}

/// Takes events in. One serves all shards; scratch is by thread.
pub struct Pipeline {
    parts: Parts,
    budget: Budget,
    draining: AtomicBool,
}

/// One event to be taken in.
pub struct Publish<'a> {
    /// The topic that the request's path names; wins over what the event says.
    pub topic: Option<&'a str>,
    /// The event as it was decoded.
    pub event: Event,
    /// Who sends it; empty when nobody was authenticated.
    pub publisher: &'a str,
    /// What stands in for `source` and `id` as the key for duplicates.
    pub idempotency_key: Option<&'a str>,
    /// Which way it goes.
    pub direction: Direction,
    /// When a Posthorn sent it: the hops that its request tells beside the event, else 0.
    pub relayed: Option<u32>,
}

/// An event whose topic is known: what is needed to try it, and to try it again.
pub(super) struct Submission {
    pub(super) table: Arc<Table>,
    pub(super) route: Arc<TopicRoute>,
    /// With its `topic` set.
    pub(super) event: Event,
    pub(super) publisher: CompactString,
    pub(super) idempotency_key: Option<CompactString>,
    /// What it and its duplicates are known by.
    pub(super) message: MessageId,
    pub(super) direction: Direction,
    /// Posthorns on its way.
    pub(super) hops: u32,
    pub(super) trace: Accepting,
    /// A refusal is the answer even where QoS would keep the event as a dead letter: it is one already.
    strict: bool,
}

/// An event that was begun: its append, if there is one, is under way. [`Pipeline::finish`] waits for the outcome.
#[must_use = "the outcome is known only at the end"]
pub struct Begun(Stage);

enum Stage {
    Done(Result<Outcome, Problem>),
    Appending(InFlight),
    Letter { kept: BoxFuture<'static, Result<(), String>>, answer: Outcome, _claim: Option<Claim> },
    Waiting(oneshot::Receiver<()>, Box<Submission>),
}

impl Pipeline {
    /// A pipeline of these parts.
    pub fn new(parts: Parts) -> Self {
        let budget = Budget::new(parts.config.max_in_flight_bytes, parts.metrics.clone());
        Self { parts, budget, draining: AtomicBool::new(false) }
    }

    /// From now on every event is answered with 503: the node is shutting down.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// The limits that it holds to.
    pub fn config(&self) -> &config::Ingest {
        &self.parts.config
    }

    /// What all requests of all doors may hold.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// What it counts.
    pub fn metrics(&self) -> &IngestMetrics {
        &self.parts.metrics
    }

    /// Takes one event in and waits for the outcome.
    ///
    /// # Errors
    /// The problem that the publisher is to be told (interfaces §2).
    pub async fn publish(&self, publish: Publish<'_>) -> Result<Outcome, Problem> {
        let begun = self.begin(publish);
        self.finish(begun).await
    }

    /// Takes a dead letter in again, held to the schemas of `instead` in place of those that it names of the same ones. When it is
    /// refused again, that is the answer, and no second letter is made of it.
    ///
    /// # Errors
    /// As [`Pipeline::publish`].
    pub async fn republish(&self, publish: Publish<'_>, instead: &[(&str, Option<u32>)]) -> Result<Outcome, Problem> {
        self.open()?;
        let mut submission = self.receive(publish)?;
        if !instead.is_empty() {
            submission.event = schemas::renamed(&submission.table, &submission.event, instead)?;
        }
        let begun = self.submit(Submission { strict: true, ..submission });
        self.finish(begun).await
    }

    /// Whether this node knows all these schemas.
    ///
    /// # Errors
    /// `schema-unknown` or `schema-version-unknown`, as a publisher hears them.
    pub fn knows_schemas(&self, named: &[(&str, Option<u32>)]) -> Result<(), Problem> {
        let table = self.parts.live.load();
        named.iter().try_for_each(|(name, version)| schemas::find(&table, name, *version).map(drop).map_err(|refusal| refusal.problem))
    }

    /// Does all that can be done without waiting. Begin a whole batch before finishing its first: one flush serves all.
    pub fn begin(&self, publish: Publish<'_>) -> Begun {
        match self.open().and_then(|()| public(&publish)).and_then(|()| self.receive(publish)) {
            Ok(submission) => self.submit(submission),
            Err(problem) => Begun(Stage::Done(Err(problem))),
        }
    }

    /// Takes in what this node itself says, on a topic of the server's own; also while the node is shutting down.
    ///
    /// # Errors
    /// As [`Pipeline::publish`].
    pub async fn tell(&self, topic: &str, event: Event) -> Result<Outcome, Problem> {
        let direction = Direction::Incoming;
        let publish = Publish { topic: Some(topic), event, publisher: "posthorn", idempotency_key: None, direction, relayed: None };
        let begun = self.submit(self.receive(publish)?);
        self.outcome(begun).await
    }

    /// Waits for the outcome. When the caller stops waiting, the append goes on and its duplicates are known all the same.
    ///
    /// # Errors
    /// As [`Pipeline::publish`].
    pub async fn finish(&self, begun: Begun) -> Result<Outcome, Problem> {
        let result = self.outcome(begun).await;
        let metrics = &self.parts.metrics;
        match &result {
            Ok(Outcome::Accepted { .. }) => metrics.accepted.increment(1),
            Ok(Outcome::Duplicate { .. }) => metrics.duplicate.increment(1),
            Ok(Outcome::DeadLettered { .. }) => metrics.dead_lettered.increment(1),
            Err(_) => metrics.refused.increment(1),
        }
        result
    }

    async fn outcome(&self, begun: Begun) -> Result<Outcome, Problem> {
        let mut stage = begun.0;
        loop {
            match stage {
                Stage::Done(result) => return result,
                Stage::Appending(in_flight) => return in_flight.outcome().await,
                Stage::Letter { kept, answer, .. } => return kept.await.map(|()| answer).map_err(|error| not_kept(&error)),
                Stage::Waiting(first, submission) => {
                    // Either way it says only that there is an outcome now.
                    first.await.ok();
                    stage = self.submit(*submission).0;
                }
            }
        }
    }

    fn open(&self) -> Result<(), Problem> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(Problem::new(Code::Draining, "the node is shutting down; send to another, or again").with_retry_after(2));
        }
        Ok(())
    }

    fn receive(&self, publish: Publish<'_>) -> Result<Submission, Problem> {
        let Publish { topic, event, publisher, idempotency_key, direction, relayed } = publish;
        let max = self.parts.config.max_event_bytes;
        if event.size() > max {
            let detail = format!("the event takes {} bytes, attributes and data; at most {max} are taken", event.size());
            return Err(Problem::new(Code::TooLarge, detail));
        }
        let table = self.parts.live.snapshot();
        let name = named(topic, &event);
        let route = table.topics.get(name).cloned().ok_or_else(|| topic_unknown(name))?;
        let (event, hops) = hops::arrived(event.with_attr("topic", &route.topic.name), relayed)?;
        let message = match idempotency_key {
            Some(key) => MessageId::of_key(&route.topic.name, publisher, key),
            None => MessageId::of_event(&route.topic.name, publisher, event.source(), event.id()),
        };
        let trace = Accepting::begin(self.parts.config.traces, message, &route.topic.name, &event);
        let (publisher, idempotency_key) = (publisher.into(), idempotency_key.map(Into::into));
        Ok(Submission { table, route, event, publisher, idempotency_key, message, direction, hops, trace, strict: false })
    }

    /// The key for duplicates comes first, so that a re-send of what was accepted is answered as such whatever has changed since.
    fn submit(&self, mut submission: Submission) -> Begun {
        let now = self.parts.clock.now();
        let spec = &submission.route.topic.spec;
        let incarnation = submission.route.topic.meta.incarnation;
        let mut claim = None;
        if spec.dedup_window.millis() > 0 {
            match self.parts.dedup.claim(submission.message, incarnation, now) {
                Claimed::Fresh(fresh) => claim = Some(fresh),
                Claimed::Pending(first) => return Begun(Stage::Waiting(first, Box::new(submission))),
                Claimed::Seen(first) => {
                    submission.trace.outcome("duplicate");
                    return Begun(Stage::Done(Ok(duplicate(&submission, first))));
                }
            }
        }
        let verdict = submission.trace.validate(|| admit(&submission, &self.parts.config, now));
        if !matches!(verdict, Verdict::Keep(..)) {
            submission.trace.outcome("refused");
        }
        match verdict {
            Verdict::Refuse(problem) => Begun(Stage::Done(Err(problem))),
            Verdict::Letter(refused, _) if submission.strict => Begun(Stage::Done(Err(refused.1))),
            Verdict::Letter(refused, warnings) => {
                let (letter, _) = *refused;
                let answer = dead_lettered(&submission, letter.reason, warnings);
                Begun(Stage::Letter { kept: self.parts.letters.put(letter), answer, _claim: claim })
            }
            Verdict::Keep(record, hint, warnings) => {
                let partition = submission.route.partition(record.key());
                let durability = record.durability;
                submission.trace.append(partition);
                let appending = submission.route.log.append(partition, record, Some(hint), durability);
                let clock = self.parts.clock.clone();
                Begun(Stage::Appending(InFlight(Some(Append { appending, claim, submission, partition, clock, warnings }))))
            }
        }
    }
}

/// An append whose duplicates must learn of its outcome even when the publisher has gone.
struct InFlight(Option<Append>);

struct Append {
    appending: Appending,
    claim: Option<Claim>,
    submission: Submission,
    partition: u32,
    clock: Clock,
    warnings: Warnings,
}

impl InFlight {
    async fn outcome(mut self) -> Result<Outcome, Problem> {
        let append = self.0.as_mut().expect("it is taken only here and on drop");
        let result = (&mut append.appending).await;
        let append = self.0.take().expect("it is taken only here and on drop");
        append.settle(result)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let Some(mut append) = self.0.take().filter(|append| append.claim.is_some()) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let result = (&mut append.appending).await;
                drop(append.settle(result));
            });
        }
    }
}

impl Append {
    fn settle(self, result: Result<u64, LogError>) -> Result<Outcome, Problem> {
        let Self { claim, mut submission, partition, clock, warnings, .. } = self;
        submission.trace.appended(result.as_ref().ok().copied());
        let offset = result.map_err(|error| of_log(&error, &submission))?;
        if let Some(claim) = claim {
            let id = submission.idempotency_key.as_ref().map(|_| submission.event.id().into());
            let topic = &submission.route.topic;
            let now = clock.now();
            claim.keep(topic.meta.incarnation, First { partition, offset, id }, now.after(topic.spec.dedup_window.std()), now);
        }
        Ok(Outcome::Accepted { id: id_of(&submission.event), topic: submission.route.topic.name.clone(), partition, offset, warnings })
    }
}

/// Publishers have no business on topics of the server's own.
fn public(publish: &Publish<'_>) -> Result<(), Problem> {
    let topic = named(publish.topic, &publish.event);
    if is_reserved(topic) {
        let topic: String = topic.chars().take(200).collect();
        let detail = format!("topic `{topic}` is the server's own: it can be read and subscribed to, but only Posthorn publishes there");
        return Err(Problem::new(Code::InsufficientScope, detail));
    }
    Ok(())
}

/// The topic by its path, else by its attribute, else by its type.
fn named<'a>(path: Option<&'a str>, event: &'a Event) -> &'a str {
    path.or_else(|| event.get("topic")).unwrap_or_else(|| event.ty())
}

fn duplicate(submission: &Submission, first: First) -> Outcome {
    let id = first.id.map_or_else(|| id_of(&submission.event), Into::into);
    Outcome::Duplicate { id, topic: submission.route.topic.name.clone(), partition: first.partition, offset: first.offset }
}

fn dead_lettered(submission: &Submission, reason: Reason, warnings: Warnings) -> Outcome {
    Outcome::DeadLettered { id: id_of(&submission.event), topic: submission.route.topic.name.clone(), reason, warnings }
}

/// What a publisher, or a reader, hears of a topic that is not there.
pub(crate) fn topic_unknown(name: &str) -> Problem {
    let shown: String = name.chars().take(200).collect();
    let detail = format!(
        "topic `{shown}` is not known to this node; make it at the control plane, or name another in the path or the attribute `topic`"
    );
    Problem::new(Code::TopicUnknown, detail)
}

fn of_log(error: &LogError, submission: &Submission) -> Problem {
    match error {
        LogError::Busy => {
            Problem::new(Code::RateLimited, "more waits to be written to the log than may; send again a little later").with_retry_after(1)
        }
        LogError::Removed => topic_unknown(&submission.route.topic.name),
        LogError::Closed => Problem::new(Code::Draining, "the node is shutting down; send to another, or again").with_retry_after(2),
        error => {
            tracing::warn!(topic = submission.route.topic.name.as_str(), %error, "an event could not be kept");
            Problem::new(Code::Unavailable, "the log takes no events just now; send again later").with_retry_after(5)
        }
    }
}

fn not_kept(error: &str) -> Problem {
    tracing::warn!(error, "a refused event could not be kept as a dead letter");
    Problem::new(Code::Unavailable, "the refused event could not be kept as a dead letter; send again later").with_retry_after(5)
}
