//! Reading the registry.

use std::ops::Bound;
use std::sync::Arc;

use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::names::{Name, SchemaName, TopicName};
use posthorn_domain::resource::{SchemaInfo, SchemaVersion, Subscription, Topic};
use posthorn_domain::snapshot::{Kind, ResourceKey};

use super::{Entry, Registry, Schema};

impl Registry {
    /// A topic.
    pub(crate) fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// A subscription.
    pub(crate) fn subscription(&self, id: SubscriptionId) -> Option<&Arc<Subscription>> {
        self.subscriptions.get(&id)
    }

    /// A version of a schema.
    pub(crate) fn version(&self, name: &SchemaName, version: u32) -> Option<&Arc<SchemaVersion>> {
        self.versions.get(&(name.clone(), version))
    }

    /// The versions of a schema, oldest first.
    pub(crate) fn versions_of(&self, name: &SchemaName) -> impl DoubleEndedIterator<Item = &Arc<SchemaVersion>> {
        self.versions.range((name.clone(), 0)..=(name.clone(), u32::MAX)).map(|(_, version)| version)
    }

    /// The newest version of a schema.
    pub(crate) fn latest_version(&self, name: &SchemaName) -> Option<&Arc<SchemaVersion>> {
        self.versions_of(name).next_back()
    }

    /// A schema as the API shows it.
    pub(crate) fn schema_info(&self, name: &str) -> Option<SchemaInfo> {
        self.live_schema(name).map(|schema| self.info(schema))
    }

    fn info(&self, schema: &Schema) -> SchemaInfo {
        let versions = self.versions_of(&schema.name).map(|version| version.version).collect();
        SchemaInfo { name: schema.name.clone(), compatibility: schema.compatibility, versions, meta: schema.meta }
    }

    /// Topics after this name, at most `limit`.
    pub(crate) fn topics_after(&self, after: Option<&TopicName>, limit: usize) -> Vec<Arc<Topic>> {
        self.topics.range((start(after), Bound::Unbounded)).take(limit).map(|(_, topic)| topic.clone()).collect()
    }

    /// Schemas after this name, at most `limit`.
    pub(crate) fn schemas_after(&self, after: Option<&Name>, limit: usize) -> Vec<SchemaInfo> {
        let live = self.schemas.range((start(after), Bound::Unbounded)).map(|(_, schema)| schema).filter(|schema| !schema.deleted);
        live.take(limit).map(|schema| self.info(schema)).collect()
    }

    /// Subscriptions after this id, at most `limit`.
    pub(crate) fn subscriptions_after(&self, after: Option<&SubscriptionId>, limit: usize) -> Vec<Arc<Subscription>> {
        let range = (after.map_or(Bound::Unbounded, |id| Bound::Excluded(*id)), Bound::Unbounded);
        self.subscriptions.range(range).take(limit).map(|(_, subscription)| subscription.clone()).collect()
    }

    /// The subscription with this name and owner; the oldest when several have them.
    pub(crate) fn subscription_named(&self, name: &str, owner: &str) -> Option<&Arc<Subscription>> {
        self.subscriptions.values().find(|subscription| subscription.spec.name == name && subscription.spec.owner == owner)
    }

    /// Topics that demand this schema.
    pub(crate) fn topics_with_schema(&self, name: &SchemaName) -> Vec<TopicName> {
        self.topics.values().filter(|topic| topic.spec.schemas.contains(name)).map(|topic| topic.name.clone()).collect()
    }

    /// What data planes know by this key.
    pub(crate) fn published(&self, key: &ResourceKey) -> Option<Entry> {
        let mut parts = key.as_str().splitn(3, '/').skip(1);
        let name = parts.next()?;
        match key.kind()? {
            Kind::Topic => self.topics.get(name).cloned().map(Entry::Topic),
            Kind::SchemaInfo => self.live_schema(name).cloned().map(Entry::Schema),
            Kind::Schema => self.version(&name.parse().ok()?, parts.next()?.parse().ok()?).cloned().map(Entry::Version),
            Kind::Subscription => self.subscription(name.parse().ok()?).cloned().map(Entry::Subscription),
        }
    }

    /// Everything that data planes are to know, in the order in which they apply it.
    pub(crate) fn all_published(&self) -> Vec<Entry> {
        let schemas = self.schemas.values().filter(|schema| !schema.deleted).cloned().map(Entry::Schema);
        let versions = schemas.chain(self.versions.values().cloned().map(Entry::Version));
        let topics = self.topics.values().cloned().map(Entry::Topic);
        versions.chain(topics).chain(self.subscriptions.values().cloned().map(Entry::Subscription)).collect()
    }
}

fn start<T: Clone>(after: Option<&T>) -> Bound<T> {
    after.map_or(Bound::Unbounded, |name| Bound::Excluded(name.clone()))
}
