//! The compiled snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use imbl::Vector;
use posthorn_domain::filter::View;
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::names::{SchemaName, SchemaRef, TopicName};
use posthorn_domain::operations::is_reserved;
use posthorn_domain::resource::{Compatibility, Meta, SchemaVersion, Topic};
use posthorn_domain::schema::{CompiledSchema, Library, Registered};
use posthorn_storage::log::TopicLog;

use super::index::Index;
use super::subscription::SubscriptionRoute;
use super::subscriptions::Subscriptions;

/// A map whose versions share what did not change. Its order is the same in every run; its keys are chosen by administrators.
pub type Map<K, V> = imbl::GenericHashMap<K, V, foldhash::fast::FixedState, imbl::shared_ptr::DefaultSharedPtr>;

/// Everything that a snapshot says, ready to be used. Cloning costs a few reference counts, and a change what it changes.
#[derive(Clone, Default)]
pub struct Table {
    /// The snapshot's revision.
    pub revision: u64,
    /// Tells one table from another: no two of this process share it, but for empty ones, which have 0.
    pub generation: u64,
    /// What is new in this table.
    pub changes: Changes,
    /// Topics by name.
    pub topics: Map<TopicName, Arc<TopicRoute>>,
    /// What is known of schemas beside their versions, by name.
    pub schema_infos: Map<SchemaName, SchemaFacts>,
    /// Schemas by name and version.
    pub schemas: Map<SchemaName, BTreeMap<u32, Arc<SchemaRoute>>>,
    /// Versions by the `$id` of their document.
    pub schema_ids: Map<String, SchemaRef>,
    /// Subscriptions of every status.
    pub subscriptions: Subscriptions,
    /// Finds active subscriptions by what they want, and speaks of them by their slots.
    pub index: Index,
    pub(super) slots: Vector<Option<Arc<SubscriptionRoute>>>,
}

/// How a table differs from the one before it.
#[derive(Clone, Default)]
pub struct Changes {
    /// The generation of the one before; none when everything may be new.
    pub since: Option<u64>,
    /// Subscriptions that were made, changed or removed.
    pub subscriptions: Vec<SubscriptionId>,
    /// Whether topics were.
    pub topics: bool,
}

/// A topic and its log.
pub struct TopicRoute {
    /// The topic.
    pub topic: Topic,
    /// Its log.
    pub log: Arc<dyn TopicLog>,
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

impl Table {
    /// Appends the slots of all active subscriptions that want the event.
    pub fn matches(&self, view: &View<'_>, slots: &mut Vec<u32>) {
        self.index.matches(view, slots);
        if is_reserved(view.topic) {
            slots.retain(|slot| self.in_slot(*slot).is_some_and(|route| route.may_read(view.topic)));
        }
    }

    /// The active subscription in this slot.
    pub fn in_slot(&self, slot: u32) -> Option<&Arc<SubscriptionRoute>> {
        self.slots.get(slot as usize)?.as_ref()
    }
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
