//! The registry: every topic, schema version and subscription, and the rules by which they change.
//!
//! Pure: [`Registry::apply`] looks at the state and a command and answers with the change or the problem; nothing happens
//! until the change is [`Registry::commit`]ted, so the store can be written in between. Called by `crate::api` only.

mod change;
mod command;
mod filters;
mod keys;
mod lists;
mod schemas;
mod subscriptions;
#[cfg(test)]
mod tests;
mod topics;
mod users;

use std::collections::BTreeMap;
use std::sync::Arc;

use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::names::{SchemaName, TopicName};
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::resource::{Meta, Packed, SchemaVersion, Topic};
use posthorn_domain::time::Time;

pub(crate) use change::{Change, Entry, Key, Outcome, Published, Schema, forget_oldest};
pub(crate) use command::{Basis, Command, Precondition, etag};
pub(crate) use keys::{Keep, Shown};

/// Most topics.
pub(crate) const MAX_TOPICS: usize = 10_000;
/// Most schemas.
pub(crate) const MAX_SCHEMAS: usize = 10_000;
/// Most versions of one schema.
pub(crate) const MAX_VERSIONS: usize = 1_000;
/// Most subscriptions.
pub(crate) const MAX_SUBSCRIPTIONS: usize = 1_000_000;

/// All resources at one revision.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Registry {
    revision: u64,
    topics: BTreeMap<TopicName, Arc<Topic>>,
    schemas: BTreeMap<SchemaName, Arc<Schema>>,
    versions: BTreeMap<(SchemaName, u32), Arc<SchemaVersion>>,
    subscriptions: BTreeMap<SubscriptionId, Packed>,
}

impl Registry {
    /// What `command` would change at the time `now`, or why it cannot be.
    pub(crate) fn apply(&self, command: Command, now: Time) -> Result<Change, Problem> {
        match command {
            Command::PutTopic { name, spec, when } => self.put_topic(name, spec, &when, now),
            Command::DeleteTopic { name, force, when } => self.delete_topic(&name, force, &when),
            Command::AddVersion { name, spec, basis } => self.add_version(name, spec, basis, now),
            Command::Deprecate { name, version, message, when } => self.deprecate(&name, version, message, &when, now),
            Command::PutSchema { name, compatibility, when } => self.put_schema(name, compatibility, &when, now),
            Command::DeleteVersion { name, version, when } => self.delete_version(&name, version, &when, now),
            Command::DeleteSchema { name, when } => self.delete_schema(&name, &when, now),
            Command::CreateSubscription { id, spec } => self.create_subscription(id, spec, now),
            Command::ReplaceSubscription { id, spec, keep, when } => self.replace_subscription(id, spec, keep, &when, now),
            Command::SetStatus { id, status, when } => self.set_status(id, status, &when, now),
            Command::Disable { id, reason } => self.disable(id, reason, now),
            Command::RotateSecret { id, overlap, when } => self.rotate_secret(id, overlap, &when, now),
            Command::DeleteSubscription { id, when } => self.delete_subscription(id, &when),
        }
    }

    /// Makes a change that [`Registry::apply`] gave for this very state.
    pub(crate) fn commit(&mut self, change: &Change) {
        debug_assert!(change.revision == self.revision || change.revision == self.revision + 1);
        for key in &change.removed {
            self.remove(key);
        }
        for entry in &change.put {
            self.put(entry.clone());
        }
        self.revision = change.revision;
    }

    /// The state that a store kept.
    pub(crate) fn restore(revision: u64, entries: impl IntoIterator<Item = Published>) -> Self {
        let mut registry = Self { revision, ..Self::default() };
        let mut subscriptions = Vec::new();
        for entry in entries {
            registry.revision = registry.revision.max(entry.revision());
            match entry {
                Published::Packed(id, packed) => subscriptions.push((id, packed)),
                Published::Entry(Entry::Subscription(one)) => subscriptions.push((one.id, Packed::of(&one))),
                Published::Entry(other) => registry.put(other),
            }
        }
        // A map that is made at once has no room left between its entries.
        registry.subscriptions = subscriptions.into_iter().collect();
        registry
    }

    fn put(&mut self, entry: Entry) {
        match entry {
            Entry::Topic(topic) => {
                self.topics.insert(topic.name.clone(), topic);
            }
            Entry::Schema(schema) => {
                self.schemas.insert(schema.name.clone(), schema);
            }
            Entry::Version(version) => {
                self.versions.insert((version.name.clone(), version.version), version);
            }
            Entry::Subscription(subscription) => {
                self.subscriptions.insert(subscription.id, Packed::of(&subscription));
            }
        }
    }

    fn remove(&mut self, key: &change::Key) {
        match key {
            change::Key::Topic(name) => drop(self.topics.remove(name)),
            change::Key::Version(name, version) => drop(self.versions.remove(&(name.clone(), *version))),
            change::Key::Subscription(id) => drop(self.subscriptions.remove(id)),
        }
    }

    /// The revision of the last change.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    fn next(&self) -> u64 {
        self.revision + 1
    }
}

/// Meta of something new or changed at `revision`.
fn meta(before: Option<&Meta>, revision: u64, now: Time) -> Meta {
    match before {
        Some(before) => Meta { revision, updated_at: now.max(before.updated_at), ..*before },
        None => Meta { revision, incarnation: revision, created_at: now, updated_at: now },
    }
}

fn not_found(what: &str, name: impl std::fmt::Display) -> Problem {
    Problem::new(Code::NotFound, format!("there is no {what} `{name}`"))
}

fn full(what: &str, limit: usize) -> Problem {
    Problem::new(Code::InvalidResource, format!("there are {limit} {what} already, the most that one control plane holds"))
}
