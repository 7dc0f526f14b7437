//! Requests of a subscription that wait for a connection: so few that one is there whenever a connection comes free. Those behind them
//! are not made yet, since each would hold memory that is cold by the time of its turn.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use posthorn_domain::ids::SubscriptionId;
use tokio::sync::Notify;

/// Requests of one subscription that may wait.
const WAITING: u32 = 4;
/// Once no more wait, there is room again for somebody who found none.
const FEW: u32 = 1;

/// Who waits for a connection, of one subscription.
#[derive(Debug, Default)]
pub(super) struct Door {
    waiting: Cell<u32>,
    turned_away: Cell<bool>,
}

/// The doors of a shard at which there is room again.
#[derive(Debug, Default)]
pub(super) struct Doors {
    free: RefCell<Vec<SubscriptionId>>,
    room: Notify,
}

/// A place at the door, until a connection is had or none is wanted any more.
pub(super) struct Place {
    subscription: SubscriptionId,
    door: Rc<Door>,
    doors: Rc<Doors>,
}

impl Door {
    /// Whether one more may wait. If not, [`Doors::take_free`] names the subscription once one may.
    pub(super) fn has_room(&self) -> bool {
        let room = self.waiting.get() < WAITING;
        self.turned_away.set(!room);
        room
    }
}

impl Doors {
    /// Until there is something to take.
    pub(super) async fn room(&self) {
        self.room.notified().await;
    }

    /// The subscriptions that found no room and have it now.
    pub(super) fn take_free(&self) -> Vec<SubscriptionId> {
        std::mem::take(&mut self.free.borrow_mut())
    }
}

impl Place {
    pub(super) fn take(subscription: SubscriptionId, door: &Rc<Door>, doors: &Rc<Doors>) -> Self {
        door.waiting.set(door.waiting.get() + 1);
        Self { subscription, door: Rc::clone(door), doors: Rc::clone(doors) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let waiting = self.door.waiting.get() - 1;
        self.door.waiting.set(waiting);
        if waiting <= FEW && self.door.turned_away.take() {
            self.doors.free.borrow_mut().push(self.subscription);
            self.doors.room.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_found_no_room_is_named_once_there_is() {
        let (door, doors, id) = (Rc::default(), Rc::<Doors>::default(), SubscriptionId::from_bytes([7; 16]));
        let mut places: Vec<_> = (0..WAITING).map(|_| Place::take(id, &door, &doors)).collect();
        let drop_one = |places: &mut Vec<Place>| drop(places.pop());
        drop_one(&mut places);
        assert!(door.has_room(), "nobody was turned away");
        places.push(Place::take(id, &door, &doors));
        assert!(!door.has_room());
        while places.len() > FEW as usize + 1 {
            drop_one(&mut places);
            assert_eq!(doors.take_free(), []);
        }
        drop_one(&mut places);
        assert_eq!(doors.take_free(), [id]);
        drop_one(&mut places);
        assert_eq!(doors.take_free(), [], "once");
        assert!(door.has_room());
    }
}
