//! What this node holds: which resources in which versions, which of them are not in force, and what is still to be written down. The
//! resources themselves are in the snapshot's file. Pure.

use std::collections::BTreeMap;

use posthorn_domain::snapshot::{Delta, Nack, Resource, ResourceKey};

use super::kept::{Kept, Written, written};
use super::push::{Doubt, Push};
use super::stamps::{Stamps, stamp};

/// The snapshot of this node.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The revision; 0 when there is none.
    pub(super) revision: u64,
    /// Whose revisions these are.
    pub(super) control_plane_id: String,
    /// All resources as they were sent.
    resources: Stamps,
    /// What cannot be used, and why.
    pub(super) nacks: BTreeMap<ResourceKey, String>,
    /// Whether what was written down is lost: all has to come again.
    pub(super) lost: bool,
    /// What changed since it was last written down.
    unsaved: BTreeMap<ResourceKey, Change>,
}

/// What changed of one resource, in the order in which it counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Change {
    /// What it was is gone.
    pub(super) gone: bool,
    /// What is in force now.
    pub(super) good: Option<Written>,
    /// What could not be used (I8): a restart goes on with the good version, and tries this.
    pub(super) bad: Option<Written>,
    /// Why.
    pub(super) reason: Option<String>,
}

/// What leads from what was written down to what is held.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Step {
    pub(super) revision: u64,
    pub(super) control_plane_id: String,
    pub(super) rows: BTreeMap<ResourceKey, Change>,
}

impl Held {
    /// What leads from here to where `push` leads; it takes the push's resources.
    pub(super) fn delta(&mut self, push: &mut Push) -> Result<Delta, Doubt> {
        if push.full {
            return Ok(self.delta_of_full(push));
        }
        // An unchanged node gets an empty delta to its own revision as the first push.
        let empty = push.changed.is_empty() && push.removed.is_empty();
        let later = push.revision > self.revision || (empty && push.revision == self.revision);
        if push.control_plane_id != self.control_plane_id || !later {
            return Err(Doubt::Base);
        }
        if let Some((key, reason)) = push.unreadable.first_key_value() {
            return Err(Doubt::Unreadable(key.as_str().to_owned(), reason.clone()));
        }
        let changed = std::mem::take(&mut push.changed);
        Ok(Delta { revision: push.revision, changed, removed: push.removed.iter().cloned().collect() })
    }

    /// What differs; and what could not be used is tried once more.
    fn delta_of_full(&mut self, push: &mut Push) -> Delta {
        let gone = |key: &ResourceKey| !push.changed.contains_key(key) && !push.unreadable.contains_key(key);
        let removed = self.resources.keys().filter(gone).collect();
        let same =
            |key: &ResourceKey, new: &Resource| !self.nacks.contains_key(key) && self.resources.get(key) == Some(stamp(&written(key, new)));
        let (changed, unchanged) = std::mem::take(&mut push.changed).into_iter().partition(|(key, new)| !same(key, new));
        if std::mem::take(&mut self.lost) {
            let again = |key: &ResourceKey, resource| Change { good: Some(written(key, resource)), ..Change::default() };
            self.unsaved.extend(BTreeMap::iter(&unchanged).map(|(key, resource)| (key.clone(), again(key, resource))));
        }
        Delta { revision: push.revision, changed, removed }
    }

    /// Books an applied delta.
    pub(super) fn commit(&mut self, delta: Delta, nacks: Vec<Nack>) {
        let mut nacks: BTreeMap<ResourceKey, String> =
            nacks.into_iter().map(|nack| (ResourceKey::from_text(nack.resource), nack.reason)).collect();
        self.revision = delta.revision;
        for key in delta.removed {
            self.nacks.remove(&key);
            self.resources.remove(&key);
            self.unsaved.insert(key, Change::gone());
        }
        for (key, resource) in delta.changed {
            let written = written(&key, &resource);
            self.resources.insert(&key, stamp(&written));
            let resource = Some(written);
            match nacks.remove(&key) {
                None => {
                    self.nacks.remove(&key);
                    self.unsaved.insert(key, Change { good: resource, ..Change::default() });
                }
                Some(reason) => {
                    let change = self.unsaved.entry(key.clone()).or_default();
                    (change.bad, change.reason) = (resource, Some(reason.clone()));
                    self.nacks.insert(key, reason);
                }
            }
        }
    }

    /// Books who pushed, and what of a full push could not even be read.
    pub(super) fn commit_push(&mut self, control_plane_id: String, unreadable: BTreeMap<ResourceKey, String>) {
        self.control_plane_id = control_plane_id;
        let nothing_left = |key: &ResourceKey| self.resources.get(key).is_none() && !unreadable.contains_key(key);
        let over: Vec<ResourceKey> = self.nacks.keys().filter(|key| nothing_left(key)).cloned().collect();
        for key in over {
            self.nacks.remove(&key);
            self.unsaved.insert(key, Change::gone());
        }
        for (key, reason) in unreadable {
            self.unsaved.entry(key.clone()).or_default().reason = Some(reason.clone());
            self.nacks.insert(key, reason);
        }
    }

    /// Books what was written down and is to be in force again.
    pub(super) fn restore(&mut self, kept: &Kept) {
        let stamps = kept.rows().filter_map(|row| Some((row.key, stamp(row.bad.or(row.good)?))));
        self.resources = Stamps::of(stamps);
        self.revision = kept.revision;
        self.control_plane_id.clone_from(&kept.control_plane_id);
        let reasons = kept.rows().filter_map(|row| Some((ResourceKey::from_text(row.key), row.reason?.to_owned())));
        self.nacks = reasons.collect();
    }

    /// Books what of it is not in force after all.
    pub(super) fn not_restored(&mut self, nacks: Vec<Nack>) {
        self.nacks.extend(nacks.into_iter().map(|nack| (ResourceKey::from_text(nack.resource), nack.reason)));
    }

    /// What changed since the last call of this, to be written down.
    pub(super) fn step(&mut self) -> Step {
        let rows = std::mem::take(&mut self.unsaved);
        Step { revision: self.revision, control_plane_id: self.control_plane_id.clone(), rows }
    }

    /// The step was not written down after all.
    pub(super) fn keep(&mut self, step: Step) {
        let newer = std::mem::replace(&mut self.unsaved, step.rows);
        for (key, newer) in newer {
            self.unsaved.entry(key).or_default().follow(newer);
        }
    }
}

impl Change {
    fn gone() -> Self {
        Self { gone: true, ..Self::default() }
    }

    /// What both say, one after the other.
    pub(super) fn follow(&mut self, newer: Self) {
        if newer.gone || newer.good.is_some() {
            *self = newer;
        } else {
            self.bad = newer.bad.or(self.bad.take());
            self.reason = newer.reason.or(self.reason.take());
        }
    }
}
