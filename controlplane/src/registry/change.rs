//! What a command changes: entries to write and keys to delete, at one revision.

use std::collections::BTreeMap;
use std::sync::Arc;

use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::names::{SchemaName, TopicName};
use posthorn_domain::resource::{Compatibility, Meta, Packed, SchemaVersion, Subscription, Topic};
use posthorn_domain::snapshot::ResourceKey;

use super::keys::Shown;

/// A change between two revisions; nothing changes when it is of the revision that the registry has.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    /// The revision that it leads to.
    pub(crate) revision: u64,
    /// Made or changed. The first is what the command was about.
    pub(crate) put: Vec<Entry>,
    /// Deleted.
    pub(crate) removed: Vec<Key>,
    /// What came of the command.
    pub(crate) outcome: Outcome,
    /// Secrets that were made and are shown this once.
    pub(crate) shown: Shown,
}

impl Change {
    /// The keys of topics that are written.
    pub(crate) fn topics_made(&self) -> Vec<ResourceKey> {
        self.put.iter().filter(|entry| matches!(entry, Entry::Topic(_))).map(Entry::key).collect()
    }

    /// The keys of topics that are deleted.
    pub(crate) fn topics_deleted(&self) -> Vec<ResourceKey> {
        self.removed.iter().filter(|key| matches!(key, Key::Topic(_))).map(Key::resource).collect()
    }
}

/// Deleted topics that are remembered.
const MAX_DELETED: usize = 4096;

/// Takes out the oldest deletions beyond what is remembered, and gives them.
pub(crate) fn forget_oldest(deleted: &mut BTreeMap<ResourceKey, u64>) -> Vec<ResourceKey> {
    let mut by_age: Vec<_> = deleted.iter().map(|(key, revision)| (*revision, key.clone())).collect();
    by_age.sort();
    by_age.truncate(deleted.len().saturating_sub(MAX_DELETED));
    by_age.into_iter().map(|(_, key)| key).filter(|key| deleted.remove(key).is_some()).collect()
}

/// What came of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Something new.
    Created,
    /// Something changed.
    Changed,
    /// It was so already.
    Unchanged,
    /// What the command was checked against has changed meanwhile: it is to be checked again.
    Stale,
    /// Gone.
    Deleted,
}

/// One resource.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entry {
    /// A topic.
    Topic(Arc<Topic>),
    /// A schema over its versions.
    Schema(Arc<Schema>),
    /// A version of a schema.
    Version(Arc<SchemaVersion>),
    /// A subscription.
    Subscription(Arc<Subscription>),
}

/// A resource as it is held, in little room.
pub(crate) enum Published {
    /// As it is.
    Entry(Entry),
    /// A subscription.
    Packed(SubscriptionId, Packed),
}

impl Published {
    /// The resource.
    pub(crate) fn entry(self) -> Entry {
        match self {
            Self::Entry(entry) => entry,
            Self::Packed(id, packed) => Entry::Subscription(Arc::new(packed.read(id))),
        }
    }

    /// The revision that wrote it.
    pub(crate) fn revision(&self) -> u64 {
        match self {
            Self::Entry(entry) => entry.revision(),
            Self::Packed(_, packed) => packed.meta().revision,
        }
    }
}

/// Names a resource that can be deleted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Key {
    /// A topic.
    Topic(TopicName),
    /// A version of a schema.
    Version(SchemaName, u32),
    /// A subscription.
    Subscription(SubscriptionId),
}

/// What is known of a schema beside its versions. It outlives them, so that no number is used twice.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Schema {
    /// Its name.
    pub(crate) name: SchemaName,
    /// How a new version must fit the earlier ones.
    pub(crate) compatibility: Compatibility,
    /// The highest number that was ever given; 0 when none was.
    pub(crate) last_version: u32,
    /// Deleted: nobody sees it, and its numbers stay used.
    pub(crate) deleted: bool,
    /// Revision and times.
    pub(crate) meta: Meta,
}

impl Entry {
    /// Its key.
    pub(crate) fn key(&self) -> ResourceKey {
        match self {
            Self::Topic(topic) => ResourceKey::topic(&topic.name),
            Self::Schema(schema) => ResourceKey::schema_info(&schema.name),
            Self::Version(version) => ResourceKey::schema(&version.name, version.version),
            Self::Subscription(subscription) => ResourceKey::subscription(subscription.id),
        }
    }

    /// The revision that wrote it.
    pub(crate) fn revision(&self) -> u64 {
        match self {
            Self::Topic(topic) => topic.meta.revision,
            Self::Schema(schema) => schema.meta.revision,
            Self::Version(version) => version.meta.revision,
            Self::Subscription(subscription) => subscription.meta.revision,
        }
    }
}

impl Key {
    /// Its key over all kinds.
    pub(crate) fn resource(&self) -> ResourceKey {
        match self {
            Self::Topic(name) => ResourceKey::topic(name),
            Self::Version(name, version) => ResourceKey::schema(name, *version),
            Self::Subscription(id) => ResourceKey::subscription(id),
        }
    }
}

impl Change {
    pub(super) fn put(revision: u64, outcome: Outcome, put: Vec<Entry>) -> Self {
        Self { revision, put, removed: Vec::new(), outcome, shown: Shown::default() }
    }

    pub(super) fn removal(revision: u64, key: Key, put: Vec<Entry>) -> Self {
        Self { revision, put, removed: vec![key], outcome: Outcome::Deleted, shown: Shown::default() }
    }

    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.outcome, Outcome::Unchanged | Outcome::Stale)
    }
}
