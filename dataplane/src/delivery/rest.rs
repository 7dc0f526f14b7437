//! Subscriptions at rest. One that is sent to and has nothing under way, behind or waiting is only in the table; it gets its
//! [`Subscriber`] when there is something to do. Most rest, and there may be a hundred thousand.

use std::sync::Arc;

use posthorn_domain::ids::SubscriptionId;

use super::ask::Ask;
use super::health;
use super::replays::Replays;
use super::service::shard_of;
use super::shard::Shard;
use super::subscriber::{Subscriber, target_of};
use crate::route::{SubscriptionRoute, Table};

impl Shard {
    /// Whether the subscription is this shard's.
    pub(super) fn is_mine(&self, id: SubscriptionId) -> bool {
        shard_of(id, self.context.shards) == self.context.shard
    }

    /// A subscription that an earlier process knew appears, and that left nothing to go on with: true when it rests from now on.
    pub(super) fn begins_at_rest(&mut self, route: &SubscriptionRoute) -> bool {
        let rests = route.pushes() && self.restored.left_nothing(route.id());
        if rests {
            self.doubts.restored(route.id());
            health::show_resting(&self.context);
        }
        rests
    }

    /// A new subscription that has its places rests when it is at the end of every partition.
    pub(super) fn lay_to_rest(&mut self, id: SubscriptionId) -> bool {
        let is_blank = |subscriber: &Subscriber| {
            let Subscriber { lanes, retries, replays, .. } = subscriber;
            lanes.is_empty() && retries.is_empty() && replays.is_empty() && subscriber.to_keep() == (None, false)
        };
        let rests = self.subscribers.get(&id).is_some_and(|subscriber| subscriber.route.pushes() && is_blank(subscriber));
        if rests {
            self.subscribers.remove(&id);
        }
        rests
    }

    /// Has a subscription that rests act again.
    pub(super) fn rouse(&mut self, route: &Arc<SubscriptionRoute>) -> bool {
        let id = route.id();
        if self.subscribers.contains_key(&id) || !self.is_mine(id) || !route.pushes() || target_of(route).is_none() {
            return false;
        }
        let mut subscriber = Box::new(Subscriber::new(Arc::clone(route), self.backlog(false)));
        subscriber.replays = Replays::restored(Vec::new(), self.context.config.max_in_flight_per_subscription);
        health::show_roused(&mut subscriber);
        self.subscribers.insert(id, subscriber);
        true
    }

    /// The same by the subscription's id, where it stands in `table`.
    pub(super) fn rouse_in(&mut self, table: &Table, id: SubscriptionId) -> bool {
        table.subscriptions.get(&id).is_some_and(|route| self.rouse(route))
    }

    /// Questions and orders find who rests as if it did not; after a mere question it rests on.
    pub(super) fn on_ask(&mut self, ask: Ask) {
        let Some(id) = ask.about() else { return self.answer(ask) };
        let table = Arc::clone(&self.table);
        let roused = self.rouse_in(&table, id);
        let changes_nothing = ask.changes_nothing();
        self.answer(ask);
        if roused && changes_nothing {
            self.subscribers.remove(&id);
        }
    }

    /// Has all act again that rest, of those whom `wanted` is true of.
    pub(super) fn rouse_all(&mut self, wanted: impl Fn(&SubscriptionRoute) -> bool) {
        let table = Arc::clone(&self.table);
        for route in table.subscriptions.values().filter(|route| wanted(route)) {
            self.rouse(route);
        }
    }
}
