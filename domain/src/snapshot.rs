//! What the control plane pushes to data planes: all resources at one revision, or the change between two revisions.
//!
//! A resource travels as JSON with its secrets beside it by pointer, so that the document itself can be shown and logged.
//! The same form is kept on a data plane's disk (sealed) and in the control plane's store.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::resource::{Meta, Subscription};

mod document;

pub use document::{Document, Secrets};

/// Names one resource over all kinds: `topics/orders`, `schemas/order/3`, `subscriptions/sub_…`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ResourceKey(String);

/// Kinds of resource, in the order in which a data plane must apply them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// What is known of a schema beside its versions.
    SchemaInfo,
    /// A version of a schema.
    Schema,
    /// A topic.
    Topic,
    /// A subscription.
    Subscription,
}

/// One resource as it travels.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// The revision that last changed it.
    pub revision: u64,
    /// The revision that made it.
    pub incarnation: u64,
    /// The document as the API shows it, secrets redacted.
    pub document: Document,
    /// The secrets, by JSON pointer into the document.
    #[serde(default, skip_serializing_if = "Secrets::is_empty")]
    pub secrets: Secrets,
}

/// All resources at one revision.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// One rising integer for all resources (interfaces §9).
    pub revision: u64,
    /// The resources.
    pub resources: BTreeMap<ResourceKey, Resource>,
}

/// What leads from one revision to a later one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Delta {
    /// The revision that it leads to.
    pub revision: u64,
    /// Made or changed.
    pub changed: BTreeMap<ResourceKey, Resource>,
    /// Deleted.
    pub removed: Vec<ResourceKey>,
}

/// A resource that a data plane could not use, and why. It goes on with the last good version (I8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Nack {
    /// Which.
    pub resource: String,
    /// Why.
    pub reason: String,
}

impl ResourceKey {
    /// A topic's key.
    pub fn topic(name: &str) -> Self {
        Self(format!("topics/{name}"))
    }

    /// A schema version's key.
    pub fn schema(name: &str, version: u32) -> Self {
        Self(format!("schemas/{name}/{version}"))
    }

    /// The key of what is known of a schema beside its versions.
    pub fn schema_info(name: &str) -> Self {
        Self(format!("schema-infos/{name}"))
    }

    /// A subscription's key.
    pub fn subscription(id: impl fmt::Display) -> Self {
        Self(format!("subscriptions/{id}"))
    }

    /// From its text, as it came over the wire.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Which kind of resource, when it is one that this version knows.
    pub fn kind(&self) -> Option<Kind> {
        match self.0.split('/').next() {
            Some("topics") => Some(Kind::Topic),
            Some("schemas") => Some(Kind::Schema),
            Some("schema-infos") => Some(Kind::SchemaInfo),
            Some("subscriptions") => Some(Kind::Subscription),
            _ => None,
        }
    }
}

impl Resource {
    /// A subscription as it travels.
    pub fn of_subscription(subscription: &Subscription) -> Self {
        let secrets = subscription.spec.secrets().into_iter().map(|(at, secret)| (at, secret.expose())).collect();
        let Meta { revision, incarnation, .. } = subscription.meta;
        Self { revision, incarnation, document: Document::of(subscription), secrets }
    }

    /// The document with its secrets in place, ready to be parsed by the resource's type.
    ///
    /// # Errors
    /// As [`Document::read`].
    pub fn revealed(&self) -> serde_json::Result<Value> {
        let mut document = self.document.read()?;
        for (pointer, secret) in self.secrets.iter() {
            if let Some(place) = document.pointer_mut(pointer) {
                *place = Value::String(secret.to_owned());
            }
        }
        Ok(document)
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} secrets)", self.document.as_str(), self.secrets.iter().count())
    }
}

impl Snapshot {
    /// Moves to the revision that `delta` leads to.
    pub fn apply(&mut self, delta: Delta) {
        self.revision = delta.revision;
        self.resources.extend(delta.changed);
        for key in delta.removed {
            self.resources.remove(&key);
        }
    }
}
