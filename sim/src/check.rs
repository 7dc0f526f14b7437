//! What must hold at the end, when everything is well again and has had time: every event is accounted for (I2).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use posthorn_domain::node::ReplayState;
use posthorn_domain::reason::Reason;
use posthorn_domain::record::Record;
use posthorn_domain::time::Time;
use posthorn_storage::state::memory::Memory;
use posthorn_storage::state::{DeadLetterFilter, State};

use crate::control::{Control, Status};
use crate::leftovers::is_of_now;
use crate::node::number_of;
use crate::oracle::{End, Oracle, Place, event_of};
use crate::plan::more::More;
use crate::reading::Reading;
use crate::world::World;

/// From the beginning of an attempt to the next one: its timeout, and the longest delay of a schedule or that an endpoint asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(10 + 72);

/// Dead letters.
#[derive(Default)]
struct Letters {
    /// By subscription and event.
    single: BTreeMap<(usize, usize), Reason>,
    /// Offsets that one tells of.
    ranges: Vec<(usize, Place, RangeInclusive<u64>)>,
}

impl Letters {
    /// Why the event became one.
    fn reason(&self, subscription: usize, event: usize, place: Place, offset: u64) -> Option<Reason> {
        let told = |(of, at, range): &(usize, Place, RangeInclusive<u64>)| *of == subscription && *at == place && range.contains(&offset);
        let single = self.single.get(&(subscription, event)).copied();
        single.or_else(|| self.ranges.iter().any(told).then_some(Reason::RetentionPassed))
    }
}

/// Looks at every event and every subscription that wants it.
pub(crate) fn accounts(world: &World, control: &Control, state: &Memory) {
    let mut oracle = world.oracle.lock();
    let [letters, of_replays] = letters(world, state, &mut oracle);
    let now = world.now();
    for (number, wanted) in world.plan.subscriptions.iter().enumerate() {
        if control.statuses[number] == Status::Deleted {
            continue;
        }
        for event in 0..oracle.events.len() {
            let Some(kept) = oracle.events[event].kept.filter(|_| oracle.owed(number, event)) else { continue };
            let delivery = oracle.deliveries.get(&(number, event)).cloned().unwrap_or_default();
            let expired = |by: Time| kept.expires.is_some_and(|expires| expires <= by);
            // What would be due behind the greatest age is given up when that is known.
            let oldest = delivery.first.map(|first| first.after(Duration::from_secs(wanted.max_age)));
            let too_old = oldest.is_some_and(|oldest| oldest < delivery.last.after(LONGEST_WAIT));
            let given_up = expired(now) || delivery.requests >= wanted.attempts || too_old || delivery.gone;
            let gone = oracle.is_gone(kept.place, kept.offset);
            // What is held for whoever needs it never becomes one: it is of an event that the power took from there.
            let held = world.plan.third.is_some() && (!kept.letters || wanted.never) && holds_all(world);
            let told = letters.reason(number, event, kept.place, kept.offset).filter(|told| !held || *told != Reason::RetentionPassed);
            let done = match told {
                _ if delivery.taken.is_some() || oracle.is_before(number, kept.place, kept.offset) => true,
                Some(Reason::RetentionPassed) => world.plan.more.is_some(),
                // Retention may have taken it, and no dead letter was allowed.
                None if gone && (!kept.letters || wanted.never) && !holds_all(world) => true,
                // Who reads is not given it, and nobody is told.
                None if expired(now) && oracle.more.pulled.contains(&number) => true,
                Some(Reason::LogDamaged) => oracle.spoilt.contains(&kept.place),
                Some(Reason::Expired) => expired(now),
                Some(_) => given_up,
                None => (wanted.never || !kept.letters) && given_up,
            };
            if !done && !oracle.spoilt.contains(&kept.place) {
                let text = format!(
                    "subscription {number} wants event {event} at {kept:?}, and has {delivery:?}, dead letter: {told:?}, gone: {gone}"
                );
                oracle.broken("I2", text);
            }
        }
    }
    replays(world, control, state, &of_replays, &mut oracle);
}

fn holds_all(world: &World) -> bool {
    world.plan.more.as_ref().is_none_or(More::holds_all)
}

/// Every event of a replay that was not cancelled was sent, or is accounted for.
fn replays(world: &World, control: &Control, state: &Memory, letters: &Letters, oracle: &mut Oracle) {
    let rows = state.load().expect("memory can be read").replays;
    let now = world.now();
    for run in oracle.more.replays.clone() {
        let lost = oracle.ends[run.life as usize..].iter().any(|(how, ..)| *how == End::Power);
        // What was stored may have gone with the power; of those that ended long ago the rows are gone.
        let row = rows.iter().find(|row| row.id == run.id);
        if lost || !run.stored || run.cancelled.is_some() || control.statuses[run.subscription] == Status::Deleted {
            continue;
        }
        if row.is_some_and(|row| row.state != ReplayState::Done) {
            oracle.broken("I2", format!("a replay is not done: {run:?} {row:?}"));
        }
        let wanted = &world.plan.subscriptions[run.subscription];
        let events: Vec<(u64, usize)> = oracle
            .log
            .get(&run.place)
            .map_or_else(Vec::new, |log| log.range(run.range.clone()).map(|(offset, event)| (*offset, *event)).collect());
        for (offset, event) in events {
            if !oracle.wanted_by_all(run.subscription, event) {
                continue;
            }
            let Some(kept) = oracle.events[event].kept.filter(|kept| (kept.place, kept.offset) == (run.place, offset)) else { continue };
            let sent = oracle.more.replayed.get(&(run.subscription, event)).is_some_and(|delivery| delivery.requests > 0);
            let expired = kept.expires.is_some_and(|expires| expires <= now);
            let told = letters.reason(run.subscription, event, run.place, offset).is_some();
            let gone = oracle.is_gone(run.place, offset) && (!kept.letters || wanted.never) && !holds_all(world);
            if !sent && !told && !expired && !gone && !oracle.spoilt.contains(&run.place) {
                oracle.broken("I2", format!("event {event} at {kept:?} was to be replayed, and never was: {run:?} {row:?}"));
            }
        }
    }
}

/// Of deliveries, and of replays.
fn letters(world: &World, state: &Memory, oracle: &mut Oracle) -> [Letters; 2] {
    let (mut found, mut after) = ([Letters::default(), Letters::default()], None);
    loop {
        let page = state.dead_letters(&DeadLetterFilter::default(), after, 1000).expect("memory can be read");
        for letter in &page.items {
            let subscription = world.plan.subscriptions.iter().position(|wanted| Some(wanted.id) == letter.subscription);
            let Some((subscription, record)) = subscription.zip(Record::decode(&letter.record).ok()) else { continue };
            if !is_of_now(world, oracle, letter, subscription) {
                continue;
            }
            let letters = &mut found[usize::from(letter.replay.is_some())];
            if let Some(event) = event_of(&record) {
                letters.single.insert((subscription, event), letter.reason);
            } else if letter.reason == Reason::RetentionPassed
                && let (Some(topic), Some(position)) = (number_of(&letter.topic), letter.position)
            {
                let range = range_of(&letter.detail).unwrap_or(position.offset..=position.offset);
                letters.ranges.push((subscription, (topic, position.partition), range));
            }
        }
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

/// The offsets in `… offsets 3 to 7 of partition …`.
fn range_of(detail: &str) -> Option<RangeInclusive<u64>> {
    let (from, rest) = detail.split_once("offsets ")?.1.split_once(" to ")?;
    Some(from.parse().ok()?..=rest.split(' ').next()?.parse().ok()?)
}

/// Whether every reader has got everything.
pub(crate) fn readers(oracle: &Oracle, readings: &[Rc<RefCell<Reading>>]) -> Option<String> {
    readings.iter().find_map(|reading| {
        let reading = reading.borrow();
        let logs = oracle.log.iter().filter(|((topic, _), _)| *topic == reading.topic());
        // What retention has taken nobody can be given.
        let logs =
            logs.filter_map(|(place, log)| Some((*place, *log.last_key_value()?.0))).filter(|(place, last)| !oracle.is_gone(*place, *last));
        let ends = logs.map(|((_, partition), last)| (partition, last + 1));
        let behind = |(partition, end): &(u32, u64)| reading.expected.get(partition).copied().unwrap_or(0) < *end;
        ends.clone().find(behind).map(|(partition, end)| {
            format!("a reader of topic {} stands at {:?}, and {partition} ends at {end}", reading.topic(), reading.expected)
        })
    })
}
