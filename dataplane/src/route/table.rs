//! The compiled snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use foldhash::HashMap;
use posthorn_domain::event::Event;
use posthorn_domain::filter::Filter;
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::names::{SchemaName, SchemaRef, TopicName};
use posthorn_domain::resource::{Compatibility, Meta, SchemaVersion, Status, Subscription, Topic};
use posthorn_domain::schema::{CompiledSchema, Library, Registered};
use posthorn_domain::signing::SigningKey;
use posthorn_domain::time::Time;
use posthorn_storage::log::TopicLog;

use super::Index;

/// Everything that a snapshot says, ready to be used.
#[derive(Clone, Default)]
pub struct Table {
    /// The snapshot's revision.
    pub revision: u64,
    /// Topics by name.
    pub topics: HashMap<TopicName, Arc<TopicRoute>>,
    /// What is known of schemas beside their versions, by name.
    pub schema_infos: HashMap<SchemaName, SchemaFacts>,
    /// Schemas by name and version.
    pub schemas: HashMap<SchemaName, BTreeMap<u32, Arc<SchemaRoute>>>,
    /// Versions by the `$id` of their document.
    pub schema_ids: HashMap<String, SchemaRef>,
    /// Subscriptions of every status.
    pub subscriptions: HashMap<SubscriptionId, Arc<SubscriptionRoute>>,
}

/// A topic, its log, and the index of who wants its events.
pub struct TopicRoute {
    /// The topic.
    pub topic: Topic,
    /// Its log.
    pub log: Arc<dyn TopicLog>,
    /// Tells one state of the index from another: no two indices of this process share it.
    pub generation: u64,
    /// Active subscriptions that may want its events; the index speaks of them by their place here.
    pub slots: Vec<Arc<SubscriptionRoute>>,
    /// Finds those that do.
    pub index: Index,
    /// Where the next event without a key goes.
    pub(super) turn: AtomicU32,
}

/// What is known of a schema beside its versions.
#[derive(Clone, Debug)]
pub struct SchemaFacts {
    /// How a new version must fit the earlier ones.
    pub compatibility: Compatibility,
    /// Revision and times.
    pub meta: Meta,
}

/// A schema version, compiled.
pub struct SchemaRoute {
    /// What was registered.
    pub version: SchemaVersion,
    /// Ready to check data.
    pub compiled: Arc<CompiledSchema>,
    /// What a publisher who uses it is told.
    pub warning: Option<Arc<str>>,
}

impl SchemaRoute {
    /// The version and what checks data for it.
    pub fn new(version: SchemaVersion, compiled: Arc<CompiledSchema>) -> Self {
        let warning =
            version.deprecated.as_ref().map(|message| format!("schema `{}` is deprecated: {message}", version.reference()).into());
        Self { version, compiled, warning }
    }
}

impl Library for Table {
    fn registered(&self, reference: &SchemaRef) -> Option<Registered<'_>> {
        let version = &self.schemas.get(&reference.name)?.get(&reference.version)?.version;
        Some(Registered { schema: &version.spec.schema, references: &version.references })
    }
}

/// A subscription, compiled.
pub struct SubscriptionRoute {
    /// What was registered.
    pub subscription: Subscription,
    /// What its filters mean; all must hold.
    pub filters: Vec<Filter>,
    /// What signs its requests, newest first, each with the time at which it stops.
    pub keys: Vec<(SigningKey, Option<Time>)>,
}

impl TopicRoute {
    /// The partition of an event with this key; events without one take turns.
    pub fn partition(&self, key: Option<&str>) -> u32 {
        let count = self.topic.spec.partitions.max(1);
        match key {
            Some(key) => crc32fast::hash(key.as_bytes()) % count,
            None if count == 1 => 0,
            None => self.turn.fetch_add(1, Ordering::Relaxed) % count,
        }
    }
}

impl SubscriptionRoute {
    /// Its id.
    pub fn id(&self) -> SubscriptionId {
        self.subscription.id
    }

    /// Whether it delivers.
    pub fn is_active(&self) -> bool {
        self.subscription.spec.status == Status::Active
    }

    /// Whether all its filters hold.
    pub fn matches(&self, topic: &str, event: &Event) -> bool {
        self.filters.iter().all(|filter| filter.matches(topic, event))
    }

    /// Whether any event of this topic could match, as far as the topic alone tells.
    pub fn admits_topic(&self, topic: &str) -> bool {
        self.filters.iter().all(|filter| filter.admits_topic(topic))
    }

    /// The only topic whose events could match, if there is just one.
    pub fn only_topic(&self) -> Option<&str> {
        self.filters.iter().find_map(Filter::only_topic)
    }
}
