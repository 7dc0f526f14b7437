//! What a shard waits for, as futures: attempts, reads of the log, loads of retries, commits. Each ends in a [`Done`].

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use posthorn_domain::event::Event;
use posthorn_domain::ids::{MessageId, SubscriptionId};
use posthorn_domain::reason::Reason;
use posthorn_domain::record::{Record, Stored};
use posthorn_domain::time::Time;
use posthorn_storage::log::{LogError, Page};
use posthorn_storage::state::{Retry, RetrySource, State, StateError};
use smallvec::SmallVec;

use super::item::{Item, Origin};
use super::lane::LaneKey;
use super::outcome::{Verdict, classify};
use super::request::{Envelope, Template};
use super::shard::Context;
use super::subscriber::Items;
use crate::egress::Target;
use crate::route::{SubscriptionRoute, Table};

/// What ended.
pub(super) enum Done {
    /// A request.
    Attempt(Box<Attempted>),
    /// A lane's read.
    Lane { subscription: SubscriptionId, lane: LaneKey, from: u64, page: Result<Page, LogError> },
    /// A partition's read.
    Part { part: u32, page: Result<Page, LogError> },
    /// A load of retries from the store.
    Retries { subscription: SubscriptionId, loaded: Result<Vec<Retry>, StateError> },
    /// A checkpoint.
    Committed(Result<(), StateError>),
    /// Something that answered for itself.
    Nothing,
    /// Where a new subscription starts on a partition.
    Start { subscription: SubscriptionId, part: u32, offset: u64 },
}

/// A request and what came of it.
pub(super) struct Attempted {
    pub(super) subscription: SubscriptionId,
    pub(super) items: Items,
    pub(super) was_probe: bool,
    pub(super) ending: Ending,
    pub(super) at: Time,
    pub(super) duration: Duration,
}

/// How an attempt ended.
pub(super) enum Ending {
    /// There was a request.
    Sent { verdict: Verdict, status: Option<u16>, head: Bytes },
    /// There was none, and there will be none.
    Never(Reason, String),
    /// There was none because the log or the store could not be read; it is tried again.
    Unreadable(String),
}

/// What an attempt needs of its subscription, kept while it is under way.
pub(super) struct Outfit {
    pub(super) route: Arc<SubscriptionRoute>,
    pub(super) target: Rc<Target>,
    pub(super) template: Rc<Template>,
    pub(super) table: Arc<Table>,
    pub(super) was_probe: bool,
}

/// `load → build → sign → send → classify`; settling is the shard's.
pub(super) async fn attempt(context: Rc<Context>, outfit: Outfit, mut items: Items) -> Done {
    let at = context.clock.now();
    let start = context.clock.instant();
    let ending = match load(&context, &outfit.table, &mut items).await {
        Ok(()) => send(&context, &outfit, &items).await,
        Err(ending) => ending,
    };
    let duration = context.clock.instant().saturating_duration_since(start);
    let subscription = outfit.route.id();
    Done::Attempt(Box::new(Attempted { subscription, items, was_probe: outfit.was_probe, ending, at, duration }))
}

async fn send(context: &Context, outfit: &Outfit, items: &[Item]) -> Ending {
    let records: SmallVec<[&Arc<Stored>; 1]> = items.iter().filter_map(|item| item.stored.as_ref()).collect();
    let now = context.clock.now();
    if let [only] = records.as_slice()
        && only.record.is_expired(now)
    {
        return Ending::Never(Reason::Expired, "its time to live had passed".into());
    }
    let events: SmallVec<[&Event; 1]> = records.iter().map(|stored| &stored.record.event).collect();
    let stored = if let [only] = records.as_slice() { Some(*only) } else { None };
    let first = &items[0];
    let message = if items.len() == 1 { first.message } else { MessageId::of_batch(items.iter().map(|item| item.message)) };
    let envelope = Envelope { message, delivery: first.delivery, attempt: first.made, replay: first.replay, stored };
    let (head, body) = outfit.template.build(context, &outfit.route, &envelope, &events, now);
    let deadline = outfit.route.subscription.spec.endpoint.timeout.map_or(context.config.timeout, |timeout| timeout.std());
    let result = context.pool.send(&outfit.target, head, body, deadline).await;
    let verdict = classify(&result);
    match result {
        Ok(reply) => Ending::Sent { verdict, status: Some(reply.status.as_u16()), head: reply.body_head },
        Err(_) => Ending::Sent { verdict, status: None, head: Bytes::new() },
    }
}

/// Reads the event of a retry from where it is kept.
async fn load(context: &Context, table: &Table, items: &mut Items) -> Result<(), Ending> {
    for item in items.iter_mut().filter(|item| item.stored.is_none()) {
        let Origin::Retry(retry) = &item.origin else { continue };
        let stored = match &retry.source {
            RetrySource::Log { topic, incarnation, partition, offset } => {
                let route = table.topics.get(topic).filter(|route| route.topic.meta.incarnation == *incarnation);
                let Some(route) = route else { return Err(Ending::Never(Reason::RetentionPassed, "its topic was deleted".into())) };
                match route.log.read(*partition, *offset, 1, 1).await {
                    Ok(page) => match page.records.into_iter().find(|stored| stored.offset == *offset) {
                        Some(stored) if stored.record.message_id(topic) == item.message => stored,
                        // The state outlived what the log had not synced, and its offset was given away again (I3).
                        Some(_) => return Err(Ending::Never(Reason::LogDamaged, "the log lost the event with the power".into())),
                        None => return Err(Ending::Never(Reason::LogDamaged, "the log is damaged where the event stood".into())),
                    },
                    Err(LogError::BelowStart { .. }) => {
                        return Err(Ending::Never(Reason::RetentionPassed, "retention deleted the event".into()));
                    }
                    Err(error) => return Err(Ending::Unreadable(error.to_string())),
                }
            }
            RetrySource::DeadLetter(id) => {
                let (state, id) = (Arc::clone(&context.state), *id);
                let letter = context.blocking.run(move || state.dead_letter(id)).await;
                match letter {
                    Some(Ok(Some(letter))) => {
                        item.topic = letter.topic.clone();
                        item.position = letter.position;
                        let offset = letter.position.map_or(0, |position| position.offset);
                        match Record::decode(&letter.record) {
                            Ok(record) => Arc::new(Stored { offset, record, hint: None }),
                            Err(_) => return Err(Ending::Never(Reason::LogDamaged, "the dead letter cannot be read".into())),
                        }
                    }
                    Some(Ok(None)) => return Err(Ending::Never(Reason::RetentionPassed, "the dead letter was deleted".into())),
                    Some(Err(error)) => return Err(Ending::Unreadable(error.to_string())),
                    None => return Err(Ending::Unreadable("the state store's thread ended".into())),
                }
            }
        };
        item.stored = Some(stored);
    }
    Ok(())
}

/// Loads the subscription's retries that are due first.
pub(super) async fn load_retries(context: Rc<Context>, subscription: SubscriptionId, limit: usize) -> Done {
    let state: Arc<dyn State> = Arc::clone(&context.state);
    let loaded = context.blocking.run(move || state.retries(subscription, limit)).await;
    let loaded = loaded.unwrap_or_else(|| Err(StateError::Store("its thread ended".into())));
    Done::Retries { subscription, loaded }
}
