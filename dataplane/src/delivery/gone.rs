//! Subscriptions whose endpoint is given up: nothing more is sent, and the control plane is asked to disable them until it has.

use std::time::Duration;

use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::time::Time;

use super::shard::Shard;

/// When it is asked again where a report found no room, as when very many are given up at once.
const NO_ROOM: Duration = Duration::from_secs(5);
/// When it is asked again where there was room: reports wait for the control plane, and not all of them.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// Why one is given up, and when the control plane is to be asked next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone {
    reason: &'static str,
    next: Time,
}

impl Shard {
    /// No further attempts; the control plane is asked to disable it, and says so to its owner.
    pub(super) fn disable(&mut self, id: SubscriptionId, reason: &'static str) {
        let now = self.context.clock.now();
        let Some(subscriber) = self.subscribers.get_mut(&id).filter(|subscriber| subscriber.gone.is_none()) else { return };
        subscriber.gone = Some(Gone { reason, next: now });
        tracing::warn!(subscription = %id, reason, "the endpoint is given up; the subscription is disabled");
        self.ask_to_disable(id, now);
    }

    /// Asks, when it is time and the subscription is what it was: one that changed is not given up any more.
    pub(super) fn ask_to_disable(&mut self, id: SubscriptionId, now: Time) {
        let Some(subscriber) = self.subscribers.get_mut(&id).filter(|subscriber| subscriber.route.is_active()) else { return };
        let Some(gone) = &mut subscriber.gone else { return };
        if gone.next <= now {
            let told = self.context.gone.try_send((id, gone.reason)).is_ok();
            gone.next = now.after(if told { ASK_AGAIN } else { NO_ROOM });
        }
        let next = gone.next;
        self.wake(id, next);
    }
}
