//! Subscriptions by id, in little room: the id is in the route, so no key stands beside it.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::sync::Arc;

use imbl::OrdSet;
use posthorn_domain::ids::SubscriptionId;

use super::subscription::SubscriptionRoute;

/// Versions share what did not change.
#[derive(Clone, Default)]
pub struct Subscriptions(OrdSet<ById>);

#[derive(Clone)]
struct ById(Arc<SubscriptionRoute>);

impl Subscriptions {
    /// The one with this id.
    pub fn get(&self, id: &SubscriptionId) -> Option<&Arc<SubscriptionRoute>> {
        self.0.get(id).map(|ById(route)| route)
    }

    /// Whether there is one with this id.
    pub fn contains_key(&self, id: &SubscriptionId) -> bool {
        self.0.contains(id)
    }

    /// All, in the order of their ids.
    pub fn values(&self) -> impl Iterator<Item = &Arc<SubscriptionRoute>> {
        self.0.iter().map(|ById(route)| route)
    }

    /// All ids, in order.
    pub fn keys(&self) -> impl Iterator<Item = &SubscriptionId> {
        self.0.iter().map(Borrow::borrow)
    }

    pub(super) fn insert(&mut self, route: Arc<SubscriptionRoute>) {
        self.0.insert(ById(route));
    }

    pub(super) fn remove(&mut self, id: &SubscriptionId) -> Option<Arc<SubscriptionRoute>> {
        self.0.remove(id).map(|ById(route)| route)
    }
}

impl Borrow<SubscriptionId> for ById {
    fn borrow(&self) -> &SubscriptionId {
        &self.0.id
    }
}

impl Ord for ById {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.id.cmp(&other.0.id)
    }
}

impl PartialOrd for ById {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById {}
