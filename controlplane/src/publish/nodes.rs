//! Who is connected, and how far each node is.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use posthorn_domain::clock::Clock;
use posthorn_domain::snapshot::Nack;
use posthorn_domain::time::Time;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::MAX_NODES;
use super::push::Push;

/// The connected nodes.
pub(crate) struct Nodes {
    clock: Clock,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next_session: u64,
    nodes: BTreeMap<String, Node>,
}

struct Node {
    session: u64,
    ended: CancellationToken,
    version: String,
    connected_since: Time,
    acked_revision: u64,
    snapshot_at: Time,
    nacked: BTreeMap<String, String>,
}

/// A node as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct NodeView {
    /// Its id, kept over restarts.
    pub(crate) id: String,
    /// The revision that is in force on it; resources in `nacked` excepted.
    pub(crate) acked_revision: u64,
    /// Resources that it could not use; it goes on with their last good versions.
    pub(crate) nacked: Vec<Nack>,
    /// Since when its stream stands.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) connected_since: Time,
    /// How long ago the snapshot or delta that it runs on was sent.
    pub(crate) snapshot_age_seconds: u64,
    /// Posthorn's version on it.
    pub(crate) version: String,
}

/// A node's session; it stands in the table until this is dropped or another one of the same node takes its place.
pub(super) struct Registration<'a> {
    nodes: &'a Nodes,
    id: String,
    session: u64,
    /// Cancelled when another session takes its place.
    pub(super) ended: CancellationToken,
}

impl Nodes {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, table: Mutex::default() }
    }

    /// Enters a node; an older session of the same node ends. `None` when there are too many.
    pub(super) fn enter(&self, id: &str, version: &str, revision: u64) -> Option<Registration<'_>> {
        let mut table = self.table.lock();
        if !table.nodes.contains_key(id) && table.nodes.len() >= MAX_NODES {
            return None;
        }
        table.next_session += 1;
        let session = table.next_session;
        let ended = CancellationToken::new();
        let now = self.clock.now();
        let node = Node {
            session,
            ended: ended.clone(),
            version: version.to_owned(),
            connected_since: now,
            acked_revision: revision,
            snapshot_at: now,
            nacked: BTreeMap::new(),
        };
        if let Some(before) = table.nodes.insert(id.to_owned(), node) {
            before.ended.cancel();
        }
        metrics::gauge!("posthorn_nodes_connected").set(table.nodes.len() as f64);
        Some(Registration { nodes: self, id: id.to_owned(), session, ended })
    }

    /// All of them by id.
    pub(crate) fn list(&self) -> Vec<NodeView> {
        let now = self.clock.now();
        let table = self.table.lock();
        let view = |(id, node): (&String, &Node)| NodeView {
            id: id.clone(),
            acked_revision: node.acked_revision,
            nacked: node.nacked.iter().map(|(resource, reason)| Nack { resource: resource.clone(), reason: reason.clone() }).collect(),
            connected_since: node.connected_since,
            snapshot_age_seconds: now.since(node.snapshot_at).as_secs(),
            version: node.version.clone(),
        };
        table.nodes.iter().map(view).collect()
    }
}

impl Registration<'_> {
    /// Books the answer to a push that was sent at `sent_at`.
    pub(super) fn acked(&self, push: &Push, sent_at: Time, nacks: Vec<(String, String)>) {
        let mut table = self.nodes.table.lock();
        let Some(node) = table.nodes.get_mut(&self.id).filter(|node| node.session == self.session) else { return };
        node.acked_revision = push.revision;
        node.snapshot_at = sent_at;
        if push.full {
            node.nacked.clear();
        } else {
            node.nacked.retain(|resource, _| !push.keys.iter().any(|key| key.as_str() == resource));
        }
        node.nacked.extend(nacks);
    }
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        let mut table = self.nodes.table.lock();
        if table.nodes.get(&self.id).is_some_and(|node| node.session == self.session) {
            table.nodes.remove(&self.id);
            metrics::gauge!("posthorn_nodes_connected").set(table.nodes.len() as f64);
        }
    }
}
