//! One reader: who it is, where it stands, who shares it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use posthorn_domain::filter::{Filter, View};
use posthorn_domain::ids::{MessageId, SubscriptionId};
use posthorn_domain::names::TopicName;
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::record::Stored;
use posthorn_domain::time::Time;
use posthorn_storage::log::Wanted as AtLeast;
use posthorn_storage::state::Batch;

use super::definition::Definition;
use super::group::{Group, PartKey};
use crate::delivery::{Handle, Pull, Waiting};
use crate::read::pass::wanted;
use crate::route::{Live, SubscriptionRoute, TopicRoute, look};

/// A reader.
pub(super) struct One {
    /// Its name.
    pub(super) name: String,
    /// The subscription that it reads, if it is one's.
    pub(super) subscription: Option<SubscriptionId>,
    pub(super) state: Mutex<State>,
}

/// What changes.
#[derive(Default)]
pub(super) struct State {
    /// What it was made with; none for a subscription's, and once it is deleted.
    pub(super) definition: Option<Definition>,
    /// Where it stands: the topic's life and the next offset. For a subscription the lanes know.
    pub(super) next: BTreeMap<PartKey, (u64, u64)>,
    pub(super) group: Group,
    /// From where to where nothing was for it: looked at once, not again.
    pub(super) passed: HashMap<PartKey, Passed>,
    /// Counts the times that it went elsewhere.
    pub(super) seeks: u64,
    /// Partitions whose place the store may not have, by the number of the last write of it: until that is kept.
    unkept: BTreeMap<PartKey, u64>,
    writes: u64,
}

/// A range that has nothing for a reader.
#[derive(Clone, Copy)]
pub(super) struct Passed {
    pub(super) from: u64,
    pub(super) to: u64,
    /// What was asked then: see [`Standing::asks`].
    pub(super) of: (u64, u64),
}

/// A write of places that is under way.
pub(super) struct Write {
    number: u64,
    parts: Vec<PartKey>,
}

/// Where a reader stands just now.
pub(super) struct Standing {
    pub(super) parts: BTreeMap<PartKey, Part>,
    /// Events that pushing left waiting.
    pub(super) waiting: Vec<(Waiting, MessageId)>,
    /// How many of them there are beside those.
    pub(super) more_waiting: u64,
    pub(super) wanted: Wanted,
    /// It has to wait for requests that are under way.
    pub(super) busy: bool,
}

/// On one partition.
pub(super) struct Part {
    pub(super) route: Arc<TopicRoute>,
    pub(super) next: u64,
    /// Offsets above it that were delivered.
    pub(super) settled: Vec<u64>,
}

/// Which events are its.
pub(super) enum Wanted {
    Own(Arc<[Filter]>),
    Subscription(Arc<SubscriptionRoute>),
}

impl Standing {
    /// Tells one question to a partition from another: the revision of the subscription's filters, and the topic's life.
    pub(super) fn asks(&self, part: &Part) -> (u64, u64) {
        let revision = match &self.wanted {
            Wanted::Own(_) => 0,
            Wanted::Subscription(route) => route.subscription().meta.revision,
        };
        (revision, part.route.log.settings().incarnation)
    }
}

impl State {
    /// Puts the places of these partitions into the batch, and those that an earlier write owes: who is told that a place is kept
    /// must find it after a restart, though it has not moved since.
    pub(super) fn write(&mut self, name: &str, moved: impl IntoIterator<Item = PartKey>, batch: &mut Batch) -> Write {
        self.writes += 1;
        let mut parts: Vec<PartKey> = moved.into_iter().chain(self.unkept.keys().cloned()).collect();
        parts.sort_unstable();
        parts.dedup();
        for key in &parts {
            if let Some((life, next)) = self.next.get(key) {
                batch.put_cursor(super::row(name, key, *life, *next));
            }
            self.unkept.insert(key.clone(), self.writes);
        }
        Write { number: self.writes, parts }
    }

    /// It was kept. Writes are made in their order, and may be told of in another.
    pub(super) fn kept(&mut self, write: &Write) {
        for key in &write.parts {
            if self.unkept.get(key).is_some_and(|number| *number <= write.number) {
                self.unkept.remove(key);
            }
        }
    }
}

impl One {
    pub(super) fn own(name: &str, definition: Definition) -> Self {
        Self { name: name.to_owned(), subscription: None, state: Mutex::new(State { definition: Some(definition), ..State::default() }) }
    }

    pub(super) fn of_subscription(id: SubscriptionId) -> Self {
        Self { name: id.to_string(), subscription: Some(id), state: Mutex::default() }
    }

    /// Where it stands.
    pub(super) async fn standing(&self, live: &Live, delivery: Option<&Handle>) -> Result<Standing, Problem> {
        match self.subscription {
            None => self.own_standing(live),
            Some(id) => subscription_standing(live, delivery, id).await,
        }
    }

    fn own_standing(&self, live: &Live) -> Result<Standing, Problem> {
        let state = self.state.lock();
        let Some(definition) = &state.definition else { return Err(unknown(&self.name)) };
        let (table, mut parts) = (live.load(), BTreeMap::new());
        for topic in &definition.topics {
            let route = table.topics.get(topic).ok_or_else(|| crate::ingest::topic_unknown(topic))?;
            let life = route.log.settings().incarnation;
            for partition in 0..route.log.settings().partitions {
                let key = (topic.clone(), partition);
                // A partition, or a life of the topic, that came later is read from its first event.
                let next = state.next.get(&key).filter(|(of, _)| *of == life).map_or(0, |(_, next)| *next);
                parts.insert(key, Part { route: Arc::clone(route), next, settled: Vec::new() });
            }
        }
        Ok(Standing { parts, waiting: Vec::new(), more_waiting: 0, wanted: Wanted::Own(Arc::clone(&definition.compiled)), busy: false })
    }
}

async fn subscription_standing(live: &Live, delivery: Option<&Handle>, id: SubscriptionId) -> Result<Standing, Problem> {
    let route = live.load().subscriptions.get(&id).cloned().ok_or_else(|| unknown(&id.to_string()))?;
    let Some(delivery) = delivery else { return Err(unknown(&id.to_string())) };
    if !route.is_pulled() {
        return Err(not_pulled(id));
    }
    let pulled = match delivery.pulled(id).await? {
        None => return Err(unknown(&id.to_string())),
        Some(Pull::NotPulled) => return Err(not_pulled(id)),
        Some(Pull::Busy) => None,
        Some(Pull::Ready(pulled)) => Some(pulled),
    };
    let busy = pulled.is_none();
    let (table, pulled, mut parts) = (live.snapshot(), pulled.unwrap_or_default(), BTreeMap::new());
    for place in pulled.places {
        let topic = table.topics.get(&place.topic).filter(|topic| topic.topic.meta.incarnation == place.incarnation);
        let Some(topic) = topic.filter(|_| route.admits_topic(&place.topic)) else { continue };
        parts.insert((place.topic, place.partition), Part { route: Arc::clone(topic), next: place.next, settled: place.settled });
    }
    Ok(Standing { parts, waiting: pulled.waiting, more_waiting: pulled.more_waiting, wanted: Wanted::Subscription(route), busy })
}

impl Wanted {
    /// What holds of every event that is its, in terms by which a log can pass over others.
    pub(super) fn at_least(&self) -> AtLeast {
        match self {
            Self::Own(filters) => wanted(filters.iter()),
            Self::Subscription(route) => wanted(route.filters.iter().map(|filter| &***filter)),
        }
    }

    /// Whether the event is for the reader. What has expired is not given to a subscription's (I13).
    pub(super) fn takes(&self, topic: &TopicName, stored: &Stored, now: Time) -> bool {
        match self {
            Self::Own(filters) if filters.is_empty() => true,
            Self::Own(filters) => {
                let every = |view: &View<'_>| filters.iter().all(|filter| filter.matches(view));
                look(topic, &stored.record, filters.iter().any(Filter::reads_data), every)
            }
            Self::Subscription(route) => {
                let reads = route.filters.iter().any(|filter| filter.reads_data());
                !stored.record.is_expired(now) && look(topic, &stored.record, reads, |view| route.matches(view))
            }
        }
    }
}

/// There is no such reader.
pub(super) fn unknown(name: &str) -> Problem {
    let shown: String = name.chars().take(200).collect();
    Problem::new(Code::NotFound, format!("there is no reader `{shown}`; make it with PUT /v1/readers/{{name}}"))
}

fn not_pulled(id: SubscriptionId) -> Problem {
    Problem::new(Code::InUse, format!("{id} is not there to be read: an active subscription with `\"mode\": \"pull\"` is"))
}
