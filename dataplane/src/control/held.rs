//! What this node holds: all resources as they were sent, which of them are not in force, and what is in force instead. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use posthorn_domain::snapshot::{Delta, Nack, Resource, ResourceKey};
use serde::{Deserialize, Serialize};

use super::push::{Doubt, Push};

/// The snapshot of this node. Cloning shares the resources.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// The revision; 0 when there is none.
    pub revision: u64,
    /// Whose revisions these are.
    pub control_plane_id: String,
    /// All resources as they were sent.
    pub resources: BTreeMap<ResourceKey, Arc<Resource>>,
    /// What cannot be used, and why.
    pub nacks: BTreeMap<ResourceKey, String>,
    /// The last good versions of what cannot be used (I8), so that they are in force again after a restart.
    pub good: BTreeMap<ResourceKey, Arc<Resource>>,
    /// What changed since it was last written down.
    #[serde(skip)]
    pub(super) unsaved: BTreeSet<ResourceKey>,
}

/// What leads from what was written down to what is held.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Step {
    revision: u64,
    control_plane_id: String,
    changed: BTreeMap<ResourceKey, Arc<Resource>>,
    removed: Vec<ResourceKey>,
    nacks: BTreeMap<ResourceKey, String>,
    good: BTreeMap<ResourceKey, Arc<Resource>>,
}

impl Held {
    /// What leads from here to where `push` leads.
    pub(super) fn delta(&self, push: &Push) -> Result<Delta, Doubt> {
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
        Ok(Delta { revision: push.revision, changed: push.changed.clone(), removed: push.removed.iter().cloned().collect() })
    }

    /// What differs; and what could not be used is tried once more.
    fn delta_of_full(&self, push: &Push) -> Delta {
        let same =
            |key: &ResourceKey, new: &Resource| !self.nacks.contains_key(key) && self.resources.get(key).is_some_and(|old| **old == *new);
        let changed = push.changed.iter().filter(|(key, new)| !same(key, new));
        let gone = |key: &&ResourceKey| !push.changed.contains_key(*key) && !push.unreadable.contains_key(*key);
        Delta {
            revision: push.revision,
            changed: changed.map(|(key, new)| (key.clone(), new.clone())).collect(),
            removed: self.resources.keys().filter(gone).cloned().collect(),
        }
    }

    /// The deltas that lead from nothing to here: what is in force, then what could not be used, so that it is named again.
    pub(super) fn deltas_from_nothing(&self) -> [Delta; 2] {
        let owned = |(key, resource): (&ResourceKey, &Arc<Resource>)| (key.clone(), (**resource).clone());
        let usable = self.resources.iter().filter(|(key, _)| !self.nacks.contains_key(*key)).chain(&self.good);
        let bad = self.resources.iter().filter(|(key, _)| self.nacks.contains_key(*key));
        let delta = |changed| Delta { revision: self.revision, changed, removed: Vec::new() };
        [delta(usable.map(owned).collect()), delta(bad.map(owned).collect())]
    }

    /// Books an applied delta.
    pub(super) fn commit(&mut self, delta: Delta, nacks: Vec<Nack>) {
        let nacks: BTreeMap<ResourceKey, String> =
            nacks.into_iter().map(|nack| (ResourceKey::from_text(nack.resource), nack.reason)).collect();
        self.revision = delta.revision;
        for key in delta.removed {
            self.forget(&key);
            self.resources.remove(&key);
            self.unsaved.insert(key);
        }
        for (key, resource) in delta.changed {
            let old = self.resources.insert(key.clone(), Arc::new(resource));
            self.unsaved.insert(key.clone());
            match nacks.get(&key) {
                None => self.forget(&key),
                Some(reason) => {
                    let before = self.nacks.insert(key.clone(), reason.clone());
                    if let (None, Some(old)) = (before, old) {
                        self.good.insert(key, old);
                    }
                }
            }
        }
    }

    /// Books who pushed, and what of a full push could not even be read.
    pub(super) fn commit_push(&mut self, control_plane_id: String, unreadable: BTreeMap<ResourceKey, String>) {
        self.control_plane_id = control_plane_id;
        self.nacks.retain(|key, _| self.resources.contains_key(key) || unreadable.contains_key(key));
        self.nacks.extend(unreadable);
    }

    /// What changed since the last call of this or of [`Held::whole`], to be written down.
    pub(super) fn step(&mut self) -> Step {
        let (mut changed, mut removed) = (BTreeMap::new(), Vec::new());
        for key in std::mem::take(&mut self.unsaved) {
            match self.resources.get(&key) {
                Some(resource) => drop(changed.insert(key, Arc::clone(resource))),
                None => removed.push(key),
            }
        }
        let (nacks, good) = (self.nacks.clone(), self.good.clone());
        Step { revision: self.revision, control_plane_id: self.control_plane_id.clone(), changed, removed, nacks, good }
    }

    /// All of it, to be written down.
    pub(super) fn whole(&mut self) -> Self {
        self.unsaved = BTreeSet::new();
        self.clone()
    }

    /// It is as it was written down.
    pub(super) fn restored(&mut self) {
        self.unsaved = BTreeSet::new();
    }

    /// Goes one step on, as it was written down.
    pub(super) fn follow(&mut self, step: Step) {
        (self.revision, self.control_plane_id) = (step.revision, step.control_plane_id);
        (self.nacks, self.good) = (step.nacks, step.good);
        for key in step.removed {
            self.resources.remove(&key);
        }
        self.resources.extend(step.changed);
    }

    fn forget(&mut self, key: &ResourceKey) {
        self.nacks.remove(key);
        self.good.remove(key);
    }
}
