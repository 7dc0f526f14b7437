//! Which resources there are, and what tells one version of them from another. Little room each: there may be a million.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _};

use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::snapshot::{Kind, ResourceKey};

/// Any will do: stamps are told to nobody.
const SEED: u64 = 1;

/// Stamps by resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamps {
    subscriptions: BTreeMap<SubscriptionId, u64>,
    others: BTreeMap<ResourceKey, u64>,
}

impl Stamps {
    /// All of these at once.
    pub(super) fn of<'a>(all: impl Iterator<Item = (&'a str, u64)>) -> Self {
        let (mut subscriptions, mut others) = (Vec::new(), BTreeMap::new());
        for (key, stamp) in all {
            let key = ResourceKey::from_text(key);
            match id(&key) {
                Some(id) => subscriptions.push((id, stamp)),
                None => drop(others.insert(key, stamp)),
            }
        }
        Self { subscriptions: subscriptions.into_iter().collect(), others }
    }

    pub(super) fn get(&self, key: &ResourceKey) -> Option<u64> {
        id(key).map_or_else(|| self.others.get(key), |id| self.subscriptions.get(&id)).copied()
    }

    pub(super) fn insert(&mut self, key: &ResourceKey, stamp: u64) {
        match id(key) {
            Some(id) => self.subscriptions.insert(id, stamp),
            None => self.others.insert(key.clone(), stamp),
        };
    }

    pub(super) fn remove(&mut self, key: &ResourceKey) {
        match id(key) {
            Some(id) => self.subscriptions.remove(&id),
            None => self.others.remove(key),
        };
    }

    /// The keys of all.
    pub(super) fn keys(&self) -> impl Iterator<Item = ResourceKey> + '_ {
        self.others.keys().cloned().chain(self.subscriptions.keys().map(ResourceKey::subscription))
    }
}

/// Of a key that is written as this version writes it.
fn id(key: &ResourceKey) -> Option<SubscriptionId> {
    let text = key.as_str().strip_prefix("subscriptions/").filter(|_| key.kind() == Some(Kind::Subscription))?;
    text.parse().ok().filter(|id: &SubscriptionId| id.write_to(&mut [0; 40]) == text)
}

/// The stamp of a version that is written down.
pub(super) fn stamp(written: &[u8]) -> u64 {
    let mut hasher = foldhash::quality::FixedState::with_seed(SEED).build_hasher();
    hasher.write(written);
    hasher.finish()
}
