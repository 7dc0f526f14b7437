//! Snapshot files of earlier versions: format 1 was the sealed JSON of [`All`], format 2 frames of that and of [`Later`].

use std::collections::BTreeMap;
use std::sync::Arc;

use posthorn_domain::sealing::SealingKey;
use posthorn_domain::snapshot::{Resource, ResourceKey};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::cache::{CacheError, first_frame, place};
use super::held::{Change, Step};
use super::kept::written;

/// All resources as they were sent, what of them could not be used, and what was in force instead.
#[derive(Deserialize)]
struct All {
    revision: u64,
    control_plane_id: String,
    resources: BTreeMap<ResourceKey, Arc<Resource>>,
    nacks: BTreeMap<ResourceKey, String>,
    good: BTreeMap<ResourceKey, Arc<Resource>>,
}

#[derive(Deserialize)]
struct Later {
    revision: u64,
    control_plane_id: String,
    changed: BTreeMap<ResourceKey, Arc<Resource>>,
    removed: Vec<ResourceKey>,
    nacks: BTreeMap<ResourceKey, String>,
    good: BTreeMap<ResourceKey, Arc<Resource>>,
}

/// What such a file says, as a step from nothing.
pub(super) fn read(key: &SealingKey, format: u16, header: &[u8], content: &[u8]) -> Result<Step, CacheError> {
    if format == 1 {
        return open(key, content, header).map(All::step);
    }
    let (whole, mut rest) = first_frame(content).ok_or(CacheError::Format)?;
    let mut all: All = open(key, whole, &place(header, 0))?;
    for number in 1.. {
        let Some((sealed, after)) = first_frame(rest) else { break };
        let Ok(later) = open(key, sealed, &place(header, number)) else { break };
        all.follow(later);
        rest = after;
    }
    if !rest.is_empty() {
        tracing::warn!(revision = all.revision, "the snapshot's file ends in a step that is not whole; it is left out");
    }
    Ok(all.step())
}

fn open<T: DeserializeOwned>(key: &SealingKey, sealed: &[u8], place: &[u8]) -> Result<T, CacheError> {
    serde_json::from_slice(&key.open(sealed, place)?).map_err(|_| CacheError::Content)
}

impl All {
    fn follow(&mut self, step: Later) {
        (self.revision, self.control_plane_id) = (step.revision, step.control_plane_id);
        (self.nacks, self.good) = (step.nacks, step.good);
        for key in step.removed {
            self.resources.remove(&key);
        }
        self.resources.extend(step.changed);
    }

    fn step(mut self) -> Step {
        let mut rows: BTreeMap<ResourceKey, Change> = BTreeMap::new();
        for (key, resource) in self.resources {
            let reason = self.nacks.remove(&key);
            let resource = written(&key, &resource);
            let change = if reason.is_some() {
                let good = self.good.remove(&key).map(|good| written(&key, &good));
                Change { good, bad: Some(resource), reason, ..Change::default() }
            } else {
                Change { good: Some(resource), ..Change::default() }
            };
            rows.insert(key, change);
        }
        // What is left could not even be read.
        rows.extend(self.nacks.into_iter().map(|(key, reason)| (key, Change { reason: Some(reason), ..Change::default() })));
        Step { revision: self.revision, control_plane_id: self.control_plane_id, rows }
    }
}
