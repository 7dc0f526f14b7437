//! The bugs of delivery among those that the simulation must find: see [`posthorn_storage::planted`].

use posthorn_storage::planted::{Bug, is};
use posthorn_storage::state::LaneState;

use super::item::Origin;
use super::subscriber::{Items, Subscriber};

/// [`Bug::SettledBeforeSent`].
pub(super) fn settle_early(subscriber: &mut Subscriber, items: &Items) {
    for item in items.iter().filter(|_| is(Bug::SettledBeforeSent)) {
        if let Origin::Lane(key, offset) = &item.origin
            && let Some(lane) = subscriber.lanes.get_mut(key)
        {
            lane.window.settle(*offset);
        }
    }
}

/// [`Bug::RestoredOneTooFar`].
pub(super) fn restored(mut row: LaneState) -> LaneState {
    row.next += u64::from(is(Bug::RestoredOneTooFar));
    row
}
