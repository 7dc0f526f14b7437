//! What a shard waits for, as futures: attempts, reads of the log, loads of retries, commits. Each ends in a [`Done`].

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use posthorn_domain::event::Event;
use posthorn_domain::ids::{ReplayId, SubscriptionId};
use posthorn_domain::reason::Reason;
use posthorn_domain::record::{Record, Stored};
use posthorn_domain::time::Time;
use posthorn_storage::log::{LogError, Page};
use posthorn_storage::state::{Retry, RetryId, RetrySource, State, StateError};
use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::backlog::{Found, Span};
use super::batch::message_of;
use super::door::Place;
use super::item::{Item, Origin};
use super::outcome::{Verdict, classify};
use super::request::{Envelope, Template};
use super::rescue::{self, Rescue};
use super::retention::Passing;
use super::shard::Context;
use super::subscriber::Items;
use super::traced::Attempts;
use crate::egress::{AllowedRate, Target};
use crate::route::{SubscriptionRoute, Table};

/// When what the store could not give is asked for again.
const READ_AGAIN: Duration = Duration::from_millis(500);

/// What ended.
pub(super) enum Done {
    /// A request.
    Attempt(Box<Attempted>),
    /// A read for lagging lanes.
    Page { part: u32, from: u64, page: Result<Page, LogError> },
    /// A partition's read.
    Part { part: u32, page: Result<Page, LogError> },
    /// A load of retries from the store.
    Retries { subscription: SubscriptionId, found: Found },
    /// The deletion of what waited of a pulled subscription and was passed over.
    Swept { subscription: SubscriptionId, removed: u64, answer: oneshot::Sender<()> },
    /// A read of events that are about to go.
    Passing { passing: Box<Passing>, page: Result<Page, LogError> },
    /// A search for waiting deliveries whose events are about to go.
    Rescued { rescue: Box<Rescue>, found: Vec<(Retry, rescue::Found)> },
    /// The deletion of what waited of a cancelled replay.
    ReplayCleared { subscription: SubscriptionId, replay: ReplayId, removed: u64 },
    /// A checkpoint.
    Committed(Result<(), StateError>),
    /// Something that answered for itself.
    Nothing,
    /// Where a new subscription starts on a partition.
    Start { subscription: SubscriptionId, part: u32, offset: u64 },
}

/// A request and what came of it.
pub(super) struct Attempted {
    /// The subscription as it was when the request was made.
    pub(super) route: Arc<SubscriptionRoute>,
    /// What it carried.
    pub(super) items: Items,
    /// What was to be in it and will not be sent now.
    pub(super) lost: Vec<(Item, Loss)>,
    /// What it had no room for.
    pub(super) rest: Items,
    pub(super) was_probe: bool,
    pub(super) had_token: bool,
    /// Whether the subscription was behind.
    pub(super) behind: bool,
    pub(super) ending: Ending,
    pub(super) at: Time,
    pub(super) duration: Duration,
}

/// How an attempt ended.
pub(super) enum Ending {
    /// There was a request.
    Sent {
        verdict: Verdict,
        status: Option<u16>,
        head: Bytes,
        /// How long the endpoint took: zero when it was not reached, for ever when it did not answer in time.
        took: Duration,
        allowed_rate: Option<AllowedRate>,
    },
    /// There was none: everything was lost.
    Unsent,
}

/// Why an event was not sent.
pub(super) enum Loss {
    /// It never will be.
    Never(Reason, String),
    /// The log or the store could not be read; it is tried again.
    Unreadable(String),
}

impl Ending {
    /// Whether the endpoint takes less at once (413).
    pub(super) fn is_too_large(&self) -> bool {
        matches!(self, Self::Sent { status: Some(413), .. })
    }
}

/// What an attempt needs of its subscription, kept while it is under way.
pub(super) struct Outfit {
    pub(super) route: Arc<SubscriptionRoute>,
    pub(super) target: Rc<Target>,
    pub(super) template: Rc<Template>,
    pub(super) table: Arc<Table>,
    pub(super) was_probe: bool,
    /// Bytes of events that the request may have; one event is always sent.
    pub(super) max_bytes: usize,
    /// Whether it is a retry that the node's budget pays for.
    pub(super) had_token: bool,
    /// Whether the subscription was behind.
    pub(super) behind: bool,
    /// Given up once it has a connection.
    pub(super) place: Place,
}

/// `load → build → sign → send → classify`; settling is the shard's.
pub(super) async fn attempt(context: Rc<Context>, outfit: Outfit, items: Items) -> Done {
    let at = context.clock.now();
    let start = context.clock.instant();
    let (mut ready, mut lost, mut rest) = (Items::new(), Vec::new(), Items::new());
    let mut bytes = 0;
    for mut item in items {
        // What has no room is not loaded, and nothing goes before it that came after it.
        if !rest.is_empty() || (!ready.is_empty() && bytes >= outfit.max_bytes) {
            rest.push(item);
            continue;
        }
        let loaded = match &item.stored {
            Some(_) => Ok(()),
            None => Box::pin(load(&context, &outfit.table, &mut item)).await,
        };
        let expired = item.stored.as_ref().is_some_and(|stored| stored.record.is_expired(context.clock.now()));
        let size = item.stored.as_ref().map_or(0, |stored| stored.record.event.size());
        match loaded {
            Err(loss) => lost.push((item, loss)),
            Ok(()) if expired => lost.push((item, expiry())),
            Ok(()) if !ready.is_empty() && bytes + size > outfit.max_bytes => rest.push(item),
            Ok(()) => {
                bytes += size;
                ready.push(item);
            }
        }
    }
    if ready.len() > 1 {
        // Loading some of them took time in which others may have expired.
        let now = context.clock.now();
        let is_expired = |item: &Item| item.stored.as_ref().is_some_and(|stored| stored.record.is_expired(now));
        let (expired, rest): (Items, Items) = ready.into_iter().partition(is_expired);
        lost.extend(expired.into_iter().map(|item| (item, expiry())));
        ready = rest;
    }
    let Outfit { was_probe, had_token, behind, .. } = outfit;
    let route = Arc::clone(&outfit.route);
    let ending = if ready.is_empty() { Ending::Unsent } else { send(&context, outfit, &ready).await };
    let duration = context.clock.instant().saturating_duration_since(start);
    Done::Attempt(Box::new(Attempted { route, items: ready, lost, rest, was_probe, had_token, behind, ending, at, duration }))
}

fn expiry() -> Loss {
    Loss::Never(Reason::Expired, "its time to live had passed".into())
}

async fn send(context: &Context, outfit: Outfit, items: &[Item]) -> Ending {
    let Outfit { route, target, template, place, .. } = outfit;
    let records: SmallVec<[&Arc<Stored>; 1]> = items.iter().filter_map(|item| item.stored.as_ref()).collect();
    let spans = Attempts::begin(context.config.traces, route.id(), items);
    let now = context.clock.now();
    let events: SmallVec<[&Event; 1]> = records.iter().map(|stored| &stored.record.event).collect();
    let stored = if let [only] = records.as_slice() { Some(*only) } else { None };
    let first = &items[0];
    let message = message_of(items);
    // Dead letters that are tried again may go with events that are not of a replay; those are not to be taken for one.
    let replay = items.iter().all(|item| item.replay.is_some());
    let envelope = Envelope { message, delivery: first.delivery, attempt: first.made, replay, stored, position: first.position };
    let (head, body) = template.build(context, &route, &envelope, &events, now);
    let deadline = route.subscription().spec.endpoint.timeout.map_or(context.config.timeout, |timeout| timeout.std());
    let result = context.pool.send(&target, head, body, deadline, || drop(place)).await;
    let verdict = classify(&result);
    spans.end(result.as_ref().ok().map(|reply| reply.status.as_u16()), &verdict);
    match result {
        Ok(reply) => {
            let (status, took) = (Some(reply.status.as_u16()), context.clock.instant().saturating_duration_since(reply.began));
            Ending::Sent { verdict, status, head: reply.body_head, took, allowed_rate: reply.allowed_rate }
        }
        Err(_) => {
            // A deadline that passed while the endpoint had the request is its own.
            let took = if matches!(verdict, Verdict::Retry { overload: true, .. }) { Duration::MAX } else { Duration::ZERO };
            Ending::Sent { verdict, status: None, head: Bytes::new(), took, allowed_rate: None }
        }
    }
}

/// Reads the event of a retry from where it is kept.
async fn load(context: &Context, table: &Table, item: &mut Item) -> Result<(), Loss> {
    let (None, Origin::Retry(retry)) = (&item.stored, &item.origin) else { return Ok(()) };
    let never = |reason, detail: &str| Err(Loss::Never(reason, detail.into()));
    let stored = match &retry.source {
        RetrySource::Log { topic, incarnation, partition, offset } => {
            let route = table.topics.get(topic).filter(|route| route.topic.meta.incarnation == *incarnation);
            let Some(route) = route else { return never(Reason::RetentionPassed, "its topic was deleted") };
            match route.log.read(*partition, *offset, 1, 1).await {
                // On its own, because a page in memory for every retry under way would be too much.
                Ok(page) => match page.records.into_iter().find(|stored| stored.offset == *offset) {
                    Some(stored) if stored.message_id(topic) == item.message => Arc::new(stored.detached()),
                    // The state outlived what the log had not synced, and its offset was given away again (I3).
                    Some(_) => return never(Reason::LogDamaged, "the log lost the event with the power"),
                    None => return never(Reason::LogDamaged, "the log is damaged where the event stood"),
                },
                Err(LogError::BelowStart { .. }) => return never(Reason::RetentionPassed, "retention deleted the event"),
                Err(error) => return Err(Loss::Unreadable(error.to_string())),
            }
        }
        RetrySource::DeadLetter(id) => {
            let (state, id) = (Arc::clone(&context.state), *id);
            let letter = context.blocking.run(move || state.dead_letter(id)).await;
            match letter {
                Some(Ok(Some(letter))) => {
                    item.topic = letter.topic.clone();
                    item.replay = letter.replay;
                    item.position = letter.position;
                    let offset = letter.position.map_or(0, |position| position.offset);
                    match Record::decode(&letter.record) {
                        Ok(record) => Arc::new(Stored::new(offset, record, None)),
                        Err(_) => return never(Reason::LogDamaged, "the dead letter cannot be read"),
                    }
                }
                Some(Ok(None)) => return never(Reason::RetentionPassed, "the dead letter was deleted"),
                Some(Err(error)) => return Err(Loss::Unreadable(error.to_string())),
                None => return Err(Loss::Unreadable("the state store's thread ended".into())),
            }
        }
    };
    item.stored = Some(stored);
    Ok(())
}

/// Loads retries of the subscription, in whose memory there is room for so many, once all is written that was to be.
pub(super) async fn load_retries(
    context: Rc<Context>,
    id: SubscriptionId,
    span: Span,
    limit: usize,
    written: oneshot::Receiver<()>,
) -> Done {
    // A shard that ends meanwhile asks nothing more.
    drop(written.await);
    let (mut found, mut without_key) = (Found::default(), 0);
    let mut after = if let Span::Behind(after) = span { Some(after) } else { None };
    loop {
        let Some(page) = retries(&context, id, after, limit).await else { return Done::Nothing };
        after = page.last().filter(|_| page.len() >= limit).map(Retry::id);
        if let Span::Behind(_) = span {
            (found.retries, found.upto) = (page, after);
            break;
        }
        // What has no key waits in the store beyond the limit, and is counted.
        found.counted += page.len() as u64;
        for retry in page {
            without_key += usize::from(retry.key_hash.is_none());
            if retry.key_hash.is_some() || without_key <= limit {
                found.retries.push(retry);
            }
        }
        if after.is_none() {
            let last = found.retries.iter().rev().find(|retry| retry.key_hash.is_none());
            found.upto = last.filter(|_| without_key > limit).map(Retry::id);
            break;
        }
    }
    Done::Retries { subscription: id, found }
}

/// A page of them; none when the process ends.
async fn retries(context: &Context, id: SubscriptionId, after: Option<RetryId>, limit: usize) -> Option<Vec<Retry>> {
    loop {
        let state: Arc<dyn State> = Arc::clone(&context.state);
        match context.blocking.run(move || state.retries(id, after, limit)).await? {
            Ok(page) => return Some(page),
            Err(error) => tracing::error!(%error, subscription = %id, "waiting deliveries cannot be loaded"),
        }
        tokio::time::sleep(READ_AGAIN).await;
    }
}
