//! Reading the registry.

use std::ops::Bound;
use std::sync::Arc;

use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::names::{Name, SchemaName, TopicName};
use posthorn_domain::operations;
use posthorn_domain::resource::{Mention, SchemaInfo, SchemaVersion, Subscription, Topic};
use posthorn_domain::snapshot::{Kind, ResourceKey};

use super::{Entry, Published, Registry, Schema};

impl Registry {
    /// A topic; the server's own too, which no list has.
    pub(crate) fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name).or_else(|| (name == operations::TOPIC).then(operations::topic))
    }

    /// A subscription.
    pub(crate) fn subscription(&self, id: SubscriptionId) -> Option<Arc<Subscription>> {
        self.subscriptions.get(&id).map(|packed| Arc::new(packed.read(id)))
    }

    /// Whether there is this subscription.
    pub(crate) fn has_subscription(&self, id: SubscriptionId) -> bool {
        self.subscriptions.contains_key(&id)
    }

    /// All subscriptions, one after the other.
    pub(super) fn all_subscriptions(&self) -> impl Iterator<Item = Subscription> {
        self.subscriptions.iter().map(|(id, packed)| packed.read(*id))
    }

    /// Those that say `text` somewhere: in a filter, as their name or elsewhere.
    pub(super) fn subscriptions_that_say(&self, text: &str) -> impl Iterator<Item = Subscription> {
        let wanted = Mention::of(text);
        let saying = self.subscriptions.iter().filter(move |(_, packed)| packed.mentions(&wanted));
        saying.map(|(id, packed)| packed.read(*id))
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
        self.subscriptions.range(range).take(limit).map(|(id, packed)| Arc::new(packed.read(*id))).collect()
    }

    /// The subscription with this name and owner; the oldest when several have them.
    pub(crate) fn subscription_named(&self, name: &str, owner: &str) -> Option<SubscriptionId> {
        let named = |subscription: &Subscription| subscription.spec.name == name && subscription.spec.owner == owner;
        let found = if name.is_empty() { self.all_subscriptions().find(named) } else { self.subscriptions_that_say(name).find(named) };
        found.map(|subscription| subscription.id)
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
            Kind::Subscription => self.subscription(name.parse().ok()?).map(Entry::Subscription),
        }
    }

    /// Everything that data planes are to know, in the order in which they apply it.
    pub(crate) fn all_published(&self) -> Vec<Published> {
        let schemas = self.schemas.values().filter(|schema| !schema.deleted).cloned().map(Entry::Schema);
        let versions = schemas.chain(self.versions.values().cloned().map(Entry::Version));
        let topics = self.topics.values().cloned().map(Entry::Topic);
        let subscriptions = self.subscriptions.iter().map(|(id, packed)| Published::Packed(*id, packed.clone()));
        versions.chain(topics).map(Published::Entry).chain(subscriptions).collect()
    }
}

fn start<T: Clone>(after: Option<&T>) -> Bound<T> {
    after.map_or(Bound::Unbounded, |name| Bound::Excluded(name.clone()))
}
