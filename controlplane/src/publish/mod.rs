//! Pushes snapshots to data planes and asks them questions: one session a node over the gRPC stream that it opened.
//!
//! The rules are those of `posthorn.snapshot.v1` (protocols §14): a full snapshot first and on any doubt, deltas after, at
//! most one unanswered push, and every push answered by an ack that names what could not be used.

mod answers;
mod door;
mod history;
mod nodes;
mod push;
mod session;

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use posthorn_domain::clock::Clock;
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::snapshot::ResourceKey;
use tokio::sync::{mpsc, watch};

use crate::registry::{Change, Registry};
pub(crate) use answers::{Answers, NodeReply};
pub(crate) use door::SnapshotDoor;
use history::History;
pub(crate) use nodes::{NodeView, Nodes};

/// Most data planes at one control plane.
pub(crate) const MAX_NODES: usize = 1000;

/// What sessions share.
pub(crate) struct Publisher {
    /// The control plane's id.
    pub(crate) identity: String,
    /// All resources.
    pub(crate) registry: RwLock<Registry>,
    /// Who is connected.
    pub(crate) nodes: Nodes,
    /// Questions to nodes.
    pub(crate) answers: Answers,
    /// Subscriptions whose endpoints nodes found gone; whoever serves disables them.
    pub(crate) gone: mpsc::Sender<(SubscriptionId, String)>,
    history: Mutex<History>,
    changed: watch::Sender<u64>,
    debounce: Duration,
    clock: Clock,
}

impl Publisher {
    /// Ready for nodes; `debounce` is the pause after an answered push in which further changes gather.
    pub(crate) fn new(
        identity: String,
        registry: Registry,
        debounce: Duration,
        clock: Clock,
        gone: mpsc::Sender<(SubscriptionId, String)>,
        deleted: BTreeMap<ResourceKey, u64>,
    ) -> Self {
        let revision = registry.revision();
        metrics::gauge!("posthorn_config_revision").set(revision as f64);
        Self {
            identity,
            registry: RwLock::new(registry),
            nodes: Nodes::new(clock.clone()),
            answers: Answers::default(),
            gone,
            history: Mutex::new(History::starting_at(revision, deleted)),
            changed: watch::Sender::new(revision),
            debounce,
            clock,
        }
    }

    /// Puts a stored change in force and wakes the sessions.
    pub(crate) fn publish(&self, change: &Change) {
        let keys = change.put.iter().map(crate::registry::Entry::key).chain(change.removed.iter().map(crate::registry::Key::resource));
        let keys: Vec<ResourceKey> = keys.filter(|key| key.kind().is_some()).collect();
        {
            let mut registry = self.registry.write();
            registry.commit(change);
            let mut history = self.history.lock();
            history.record(change.revision, keys);
            history.record_topics(change.revision, &change.topics_made(), &change.topics_deleted());
        }
        metrics::gauge!("posthorn_config_revision").set(change.revision as f64);
        self.changed.send_replace(change.revision);
    }
}
