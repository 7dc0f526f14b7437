//! One push: the messages that lead a node to the current revision.

use std::collections::BTreeSet;

use posthorn_domain::snapshot::ResourceKey;
use posthorn_proto::snapshot::{ControlMessage, ResourceUpdate};

use super::Publisher;
use crate::registry::{Entry, Published};
use crate::store::resource;

/// A full snapshot is cut into messages of about this size; a message holds at least one resource.
const MESSAGE_BYTES: usize = 1 << 20;

/// What is to be sent, cheap to hold: the bodies are written message by message.
pub(super) struct Push {
    /// The revision that it leads to.
    pub(super) revision: u64,
    /// Whether it replaces all.
    pub(super) full: bool,
    /// The keys that it carries, for the books on nacks.
    pub(super) keys: BTreeSet<ResourceKey>,
    entries: std::vec::IntoIter<Published>,
    next: Option<ResourceUpdate>,
    removed: Vec<String>,
    nonce: String,
    identity: String,
    done: bool,
}

impl Publisher {
    /// The push for a node that has `base`, or nothing.
    pub(super) fn push_from(&self, base: Option<u64>, nonce: String) -> Push {
        let registry = self.registry.read();
        let revision = registry.revision();
        let touched = base.filter(|base| *base <= revision).and_then(|base| self.history.lock().since(base));
        let full = touched.is_none();
        let (entries, removed, keys) = match touched {
            None => {
                let deleted = self.history.lock().deleted();
                (registry.all_published(), deleted.iter().map(|key| key.as_str().to_owned()).collect(), BTreeSet::new())
            }
            Some(keys) => {
                // Kinds in the order in which they depend on each other: schemas, topics, subscriptions.
                let mut ordered: Vec<&ResourceKey> = keys.iter().collect();
                ordered.sort_by_key(|key| key.kind());
                let entries = ordered.iter().filter_map(|key| registry.published(key).map(Published::Entry)).collect();
                let gone = ordered.iter().rev().filter(|key| registry.published(key).is_none());
                (entries, gone.map(|key| key.as_str().to_owned()).collect(), keys)
            }
        };
        drop(registry);
        let identity = self.identity.clone();
        Push { revision, full, keys, entries: entries.into_iter(), next: None, removed, nonce, identity, done: false }
    }
}

impl Iterator for Push {
    type Item = ControlMessage;

    fn next(&mut self) -> Option<ControlMessage> {
        if self.done {
            return None;
        }
        let mut changed = Vec::new();
        let mut size = 0;
        let mut update = self.next.take().or_else(|| self.entries.next().map(|next| written(&next.entry())));
        while let Some(this) = update {
            let this_size = this.key.len() + this.body.len();
            if size + this_size > MESSAGE_BYTES && !changed.is_empty() {
                self.next = Some(this);
                break;
            }
            size += this_size;
            changed.push(this);
            update = self.entries.next().map(|next| written(&next.entry()));
        }
        self.done = self.next.is_none();
        let removed = if self.done { std::mem::take(&mut self.removed) } else { Vec::new() };
        Some(ControlMessage {
            nonce: self.nonce.clone(),
            revision: self.revision,
            control_plane_id: self.identity.clone(),
            full: self.full,
            changed,
            removed,
            last: self.done,
        })
    }
}

fn written(entry: &Entry) -> ResourceUpdate {
    let body = serde_json::to_vec(&resource(entry)).expect("resources have string keys and finite numbers only");
    ResourceUpdate { key: entry.key().as_str().to_owned(), body: body.into() }
}
