//! What must hold at the end, when everything is well again and has had time: every event is accounted for (I2).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use posthorn_domain::reason::Reason;
use posthorn_domain::record::Record;
use posthorn_domain::time::Time;
use posthorn_storage::state::memory::Memory;
use posthorn_storage::state::{DeadLetterFilter, State};

use crate::control::{Control, Status};
use crate::oracle::{Oracle, event_of};
use crate::reading::Reading;
use crate::world::World;

/// From the beginning of an attempt to the next one: its timeout, and the longest delay of a schedule or that an endpoint asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(10 + 72);

/// Dead letters by subscription and event.
type Letters = BTreeMap<(usize, usize), Reason>;

/// Looks at every event and every subscription that wants it.
pub(crate) fn accounts(world: &World, control: &Control, state: &Memory) {
    let letters = letters(world, state);
    let mut oracle = world.oracle.lock();
    let now = world.now();
    for (number, wanted) in world.plan.subscriptions.iter().enumerate() {
        if control.statuses[number] == Status::Deleted {
            continue;
        }
        for event in 0..oracle.events.len() {
            let Some(kept) = oracle.events[event].kept.filter(|_| oracle.wanted(number, event)) else { continue };
            let delivery = oracle.deliveries.get(&(number, event)).cloned().unwrap_or_default();
            let expired = |by: Time| kept.expires.is_some_and(|expires| expires <= by);
            // What would be due behind the greatest age is given up when that is known.
            let oldest = delivery.first.map(|first| first.after(Duration::from_secs(wanted.max_age)));
            let too_old = oldest.is_some_and(|oldest| oldest < delivery.last.after(LONGEST_WAIT));
            let given_up = expired(now) || delivery.requests >= wanted.attempts || too_old || delivery.gone;
            let done = match letters.get(&(number, event)) {
                _ if delivery.taken.is_some() => true,
                Some(Reason::LogDamaged) => oracle.spoilt.contains(&kept.place),
                Some(Reason::Expired) => expired(now),
                Some(_) => given_up,
                None => (wanted.never || !kept.letters) && given_up,
            };
            if !done && !oracle.spoilt.contains(&kept.place) {
                let letter = letters.get(&(number, event));
                let text = format!("subscription {number} wants event {event} at {kept:?}, and has {delivery:?}, dead letter: {letter:?}");
                oracle.broken("I2", text);
            }
        }
    }
}

fn letters(world: &World, state: &Memory) -> Letters {
    let (mut found, mut after) = (Letters::new(), None);
    loop {
        let page = state.dead_letters(&DeadLetterFilter::default(), after, 1000).expect("memory can be read");
        for letter in &page.items {
            let subscription = world.plan.subscriptions.iter().position(|wanted| Some(wanted.id) == letter.subscription);
            let event = Record::decode(&letter.record).ok().and_then(|record| event_of(&record));
            found.extend(subscription.zip(event).map(|place| (place, letter.reason)));
        }
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

/// Whether every reader has got everything.
pub(crate) fn readers(oracle: &Oracle, readings: &[Rc<RefCell<Reading>>]) -> Option<String> {
    readings.iter().find_map(|reading| {
        let reading = reading.borrow();
        let logs = oracle.log.iter().filter(|((topic, _), _)| *topic == reading.topic());
        let ends = logs.filter_map(|((_, partition), log)| Some((*partition, log.last_key_value()?.0 + 1)));
        let behind = |(partition, end): &(u32, u64)| reading.expected.get(partition).copied().unwrap_or(0) < *end;
        ends.clone().find(behind).map(|(partition, end)| {
            format!("a reader of topic {} stands at {:?}, and {partition} ends at {end}", reading.topic(), reading.expected)
        })
    })
}
