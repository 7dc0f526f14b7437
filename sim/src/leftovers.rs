//! What the state store must not have at the end: anything of subscriptions and topics that are gone but their dead letters; and what no
//! dead letter may say.

use posthorn_domain::reason::Reason;
use posthorn_domain::record::Record;
use posthorn_storage::state::memory::Memory;
use posthorn_storage::state::{DeadLetter, Loaded, State};

use crate::control::{Control, Life};
use crate::node::number_of;
use crate::oracle::{End, Oracle, event_of};
use crate::world::World;

/// Looks at every row. For runs in which resources change.
pub(crate) fn leftovers(world: &World, control: &Control, state: &Memory) {
    if world.plan.third.is_none() {
        return;
    }
    let loaded = state.load().expect("memory can be read");
    let mut oracle = world.oracle.lock();
    of_subscriptions(world, state, &loaded, &mut oracle);
    of_topics(control, &loaded, &mut oracle);
}

fn of_subscriptions(world: &World, state: &Memory, loaded: &Loaded, oracle: &mut Oracle) {
    for (number, life) in oracle.changes.deleted.clone() {
        let id = world.plan.subscriptions[number].id;
        // The power may bring back what was written last; what is noted as gone, the next start removes.
        let came_back = oracle.ends[life as usize..].iter().any(|(how, ..)| *how == End::Power);
        if came_back || loaded.gone.contains(&id) {
            continue;
        }
        let rows = [
            loaded.lanes.iter().filter(|row| row.subscription == id).count(),
            loaded.starts.iter().filter(|row| row.subscription == id).count(),
            loaded.replays.iter().filter(|row| row.subscription == id).count(),
            loaded.health.iter().filter(|row| row.subscription == id).count(),
            state.retries(id, None, usize::MAX).expect("memory can be read").len(),
        ];
        if rows.iter().sum::<usize>() > 0 {
            let text = format!("subscription {number} is gone, and has lanes, starts, replays, health and retries: {rows:?}");
            oracle.broken("I2", text);
        }
    }
}

fn of_topics(control: &Control, loaded: &Loaded, oracle: &mut Oracle) {
    let lanes = loaded.lanes.iter().map(|row| (&row.topic, row.incarnation));
    for (name, incarnation) in loaded.bases.iter().map(|row| (&row.topic, row.incarnation)).chain(lanes) {
        let Some(topic) = number_of(name) else { continue };
        if control.topics[topic] != Life::There(incarnation) && !oracle.changes.unclean.contains(&topic) {
            oracle.broken("I2", format!("{name} is in its life {:?}, and places of life {incarnation} are kept", control.topics[topic]));
        }
    }
}

/// A dead letter may only tell of damage where there is some, and never be of an event whose schema forbids it. One of an earlier life of its
/// topic says nothing.
pub(crate) fn is_of_now(world: &World, oracle: &mut Oracle, letter: &DeadLetter, subscription: usize) -> bool {
    let Some(topic) = number_of(&letter.topic) else { return true };
    if oracle.gone_since(topic).is_some_and(|gone| letter.at <= gone) {
        return false;
    }
    if world.plan.third.is_none() {
        return true;
    }
    let place = letter.position.map(|position| (topic, position.partition));
    let lost_power = oracle.ends.iter().any(|(how, ..)| *how == End::Power);
    if letter.reason == Reason::LogDamaged && !lost_power && place.is_some_and(|place| !oracle.spoilt.contains(&place)) {
        let text = format!("a dead letter of subscription {subscription} tells of damage at {:?}: {}", letter.position, letter.detail);
        oracle.broken("I2", text);
    }
    let event = Record::decode(&letter.record).ok().and_then(|record| event_of(&record));
    if let Some(event) = event.filter(|event| oracle.events[*event].strict) {
        let text = format!("event {event} is a dead letter of subscription {subscription}, and its schema forbids that: {}", letter.reason);
        oracle.broken("I2", text);
    }
    true
}
