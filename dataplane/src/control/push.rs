//! Gathers the messages of one push.

use std::collections::{BTreeMap, BTreeSet};

use posthorn_domain::snapshot::{Resource, ResourceKey};
use posthorn_proto::snapshot::ControlMessage;

/// Bytes of all bodies of a push.
const MAX_BYTES: usize = 1 << 29;
/// Resources and removals of a push.
const MAX_ITEMS: usize = 2_000_000;

/// A whole push.
#[derive(Debug, Default)]
pub(super) struct Push {
    pub(super) nonce: String,
    pub(super) revision: u64,
    pub(super) control_plane_id: String,
    pub(super) full: bool,
    pub(super) changed: BTreeMap<ResourceKey, Resource>,
    pub(super) removed: BTreeSet<ResourceKey>,
    /// Bodies that are no resources, and why.
    pub(super) unreadable: BTreeMap<ResourceKey, String>,
}

/// Why a push cannot be trusted; a full snapshot is asked for then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Doubt {
    #[error("the parts of the push do not belong together")]
    Mixed,
    #[error("the push is too large")]
    TooLarge,
    #[error("the push names {0} twice")]
    Twice(String),
    #[error("the push starts from another state than this node's")]
    Base,
    #[error("what this node had kept of its snapshot is lost")]
    Lost,
    #[error("{0} cannot be read: {1}")]
    Unreadable(String, String),
}

/// A push of which not all messages have come.
#[derive(Default)]
pub(super) struct Gather {
    push: Option<Push>,
    bytes: usize,
}

impl Gather {
    /// Takes the next message; gives the push when it was the last.
    pub(super) fn take(&mut self, message: ControlMessage) -> Result<Option<Push>, Doubt> {
        let push = self.push.get_or_insert_with(|| Push {
            nonce: message.nonce.clone(),
            revision: message.revision,
            control_plane_id: message.control_plane_id.clone(),
            full: message.full,
            ..Push::default()
        });
        let same = push.nonce == message.nonce
            && push.revision == message.revision
            && push.full == message.full
            && push.control_plane_id == message.control_plane_id;
        if !same {
            return Err(Doubt::Mixed);
        }
        for update in message.changed {
            self.bytes += update.key.len() + update.body.len();
            add(push, update.key, &update.body)?;
        }
        for key in message.removed {
            self.bytes += key.len();
            let key = ResourceKey::from_text(key);
            if push.names(&key) {
                return Err(Doubt::Twice(key.as_str().to_owned()));
            }
            push.removed.insert(key);
        }
        if self.bytes > MAX_BYTES || push.changed.len() + push.removed.len() + push.unreadable.len() > MAX_ITEMS {
            return Err(Doubt::TooLarge);
        }
        if !message.last {
            return Ok(None);
        }
        self.bytes = 0;
        Ok(self.push.take())
    }
}

fn add(push: &mut Push, key: String, body: &[u8]) -> Result<(), Doubt> {
    let key = ResourceKey::from_text(key);
    if push.names(&key) {
        return Err(Doubt::Twice(key.as_str().to_owned()));
    }
    match serde_json::from_slice(body) {
        Ok(resource) => {
            push.changed.insert(key, resource);
        }
        Err(error) => {
            // The error's own text may quote the body, which may hold a secret.
            push.unreadable.insert(key, format!("the resource cannot be read (line {}, column {})", error.line(), error.column()));
        }
    }
    Ok(())
}

impl Push {
    fn names(&self, key: &ResourceKey) -> bool {
        self.changed.contains_key(key) || self.removed.contains(key) || self.unreadable.contains_key(key)
    }
}
