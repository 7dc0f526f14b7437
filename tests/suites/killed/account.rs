//! The account of every event at the end, for every subscription: lost, repeated, out of order.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Result, ensure};

use super::kinds::{Kind, key};
use super::ledger::{Book, Entry, Ledger, Mark};
use super::repeats::{self, Window};

/// Checkpoints after which what was answered before the first of them is stored for certain: one may have been under way, the
/// next may have been put together while the answer was still on its way, and two that came after.
const SURELY: u64 = 4;

/// What there was to deliver.
#[derive(Debug)]
pub(crate) struct Truth {
    /// All events of the log.
    pub(crate) log: BTreeSet<u64>,
    /// Partition and offset of those whose publisher got an answer.
    pub(crate) places: BTreeMap<u64, (u64, u64)>,
}

/// Sums over all subscriptions.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    /// Deliveries, first ones and repeats.
    pub(crate) delivered: u64,
    /// Those beyond the first.
    pub(crate) repeated: u64,
    /// Those that were stored for certain before a kill, and so had to come only once.
    pub(crate) protected: u64,
    /// What kills repeated, and how much of it was counted.
    pub(crate) window: Window,
}

/// Checks everything and gives the sums.
pub(crate) fn account(ledger: &Ledger, truth: &Truth) -> Result<Sums> {
    ledger.look(|book| {
        ensure!(book.faults.is_empty(), "{:#?}", &book.faults[..book.faults.len().min(10)]);
        let (stored, mut sums) = (stored(&book.marks), Sums::default());
        for kind in ledger.kinds() {
            let entries = book.entries.get(kind.name).map(Vec::as_slice).unwrap_or_default();
            complete(kind, entries, truth)?;
            let of_kind = repeats(kind, entries, &stored)?;
            if kind.is_ordered() {
                in_order(kind, entries, truth)?;
            }
            println!(
                "{:20} {:6} delivered, {:4} of them again, {:6} could not be",
                kind.name, of_kind.delivered, of_kind.repeated, of_kind.protected
            );
            sums.delivered += of_kind.delivered;
            sums.repeated += of_kind.repeated;
            sums.protected += of_kind.protected;
        }
        sums.window = repeats::check(ledger.kinds(), book)?;
        Ok(sums)
    })
}

/// What a subscription has still to get.
pub(crate) fn missing(book: &Book, kind: &Kind, log: &BTreeSet<u64>) -> Vec<u64> {
    let got: BTreeSet<u64> = book.entries.get(kind.name).into_iter().flatten().map(|entry| entry.event).collect();
    log.iter().copied().filter(|event| (kind.wants)(*event) && !got.contains(event)).collect()
}

fn complete(kind: &Kind, entries: &[Entry], truth: &Truth) -> Result<()> {
    let got: BTreeSet<u64> = entries.iter().map(|entry| entry.event).collect();
    let due: BTreeSet<u64> = truth.log.iter().copied().filter(|event| (kind.wants)(*event)).collect();
    let (lost, foreign): (Vec<_>, Vec<_>) = (due.difference(&got).collect(), got.difference(&due).collect());
    ensure!(lost.is_empty(), "{}: lost {lost:?}", kind.name);
    ensure!(foreign.is_empty(), "{}: got what it must not get: {foreign:?}", kind.name);
    Ok(())
}

/// For each life, the tick up to which all answers were stored before its end.
fn stored(marks: &[Mark]) -> HashMap<u32, u64> {
    let mut last: HashMap<u32, u64> = HashMap::new();
    for mark in marks {
        last.entry(mark.life).and_modify(|most| *most = mark.checkpoints.max(*most)).or_insert(mark.checkpoints);
    }
    let mut stored = HashMap::new();
    for mark in marks.iter().filter(|mark| mark.checkpoints + SURELY <= last[&mark.life]) {
        stored.entry(mark.life).and_modify(|tick: &mut u64| *tick = mark.tick.max(*tick)).or_insert(mark.tick);
    }
    stored
}

/// Whether a delivery was kept for certain before its life ended, so that no kill may repeat it.
fn is_protected(kind: &Kind, entry: &Entry, stored: &HashMap<u32, u64>) -> bool {
    let is_stored = stored.get(&entry.life).is_some_and(|until| entry.answered < *until);
    if kind.is_pulled() { entry.committed } else { kind.has_time() && is_stored }
}

/// An event comes again only in a later life, and only if it was not yet stored. What was committed never comes again.
fn repeats(kind: &Kind, entries: &[Entry], stored: &HashMap<u32, u64>) -> Result<Sums> {
    let mut earlier: HashMap<u64, &Entry> = HashMap::new();
    let mut sums = Sums { delivered: entries.len() as u64, ..Sums::default() };
    for entry in entries {
        sums.protected += u64::from(is_protected(kind, entry, stored));
        let Some(before) = earlier.insert(entry.event, entry) else { continue };
        sums.repeated += 1;
        ensure!(entry.life > before.life || !kind.has_time(), "{}: repeated without a kill: {before:?} {entry:?}", kind.name);
        ensure!(
            !is_protected(kind, before, stored),
            "{}: stored (up to {:?}), yet repeated: {before:?} {entry:?}",
            kind.name,
            stored.get(&before.life)
        );
    }
    Ok(sums)
}

/// The first deliveries of the events of a key come as they stand in the log (I12).
fn in_order(kind: &Kind, entries: &[Entry], truth: &Truth) -> Result<()> {
    let mut by_arrival: Vec<&Entry> = entries.iter().collect();
    by_arrival.sort_by_key(|entry| entry.arrived);
    let (mut seen, mut last) = (BTreeSet::new(), HashMap::new());
    for entry in by_arrival {
        // Of those that nobody was told the place of, nothing can be said.
        let Some(place) = truth.places.get(&entry.event).filter(|_| seen.insert(entry.event)) else { continue };
        if let Some((before, event)) = last.insert(key(entry.event), (*place, entry.event)) {
            ensure!(before < *place, "{}: {} at {place:?} came after {event} at {before:?}", kind.name, entry.event);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::time::Instant;

    use super::super::kinds::Endpoint;
    use super::*;

    fn plain() -> Kind {
        Kind { name: "plain", members: json!({}), endpoint: Endpoint::Well, wants: |_| true, made_in: 0 }
    }

    fn entry(event: u64, life: u32, tick: u64) -> Entry {
        Entry { event, life, arrived: tick, answered: tick + 1, committed: false }
    }

    #[test]
    fn what_is_stored_must_not_come_again_and_what_is_not_may() {
        let marks = [(10, 3), (20, 6), (30, 7), (40, 8)].map(|(tick, checkpoints)| Mark {
            life: 0,
            tick,
            until: tick,
            at: Instant::now(),
            checkpoints,
            redelivered: 0,
        });
        let stored = stored(&marks);
        assert_eq!(stored[&0], 10);
        let late = repeats(&plain(), &[entry(1, 0, 10), entry(1, 1, 50)], &stored).unwrap();
        assert_eq!((late.delivered, late.repeated, late.protected), (2, 1, 0));
        assert!(repeats(&plain(), &[entry(1, 0, 5), entry(1, 1, 50)], &stored).is_err(), "it was stored");
        assert!(repeats(&plain(), &[entry(1, 1, 60), entry(1, 1, 70)], &stored).is_err(), "nobody was killed in between");
    }

    #[test]
    fn what_was_committed_must_not_come_again_and_what_was_perhaps_may() {
        let pulled = Kind { members: json!({"mode": "pull"}), ..plain() };
        let read = |life, committed| Entry { committed, ..entry(1, life, 10) };
        assert!(repeats(&pulled, &[read(0, true), read(1, true)], &HashMap::new()).is_err());
        let perhaps = repeats(&pulled, &[read(0, false), read(1, true)], &HashMap::from([(0, 99)])).unwrap();
        assert_eq!((perhaps.repeated, perhaps.protected), (1, 1));
    }

    #[test]
    fn losses_strangers_and_disorder_are_found() {
        let truth = Truth { log: [0, 12].into(), places: [(0, (0, 4)), (12, (0, 5))].into() };
        let (first, second) = (entry(0, 0, 1), entry(12, 0, 3));
        complete(&plain(), &[first, second], &truth).unwrap();
        assert!(complete(&plain(), &[first], &truth).is_err());
        assert!(complete(&plain(), &[first, second, entry(24, 0, 5)], &truth).is_err());
        in_order(&plain(), &[first, second, entry(0, 1, 9)], &truth).unwrap();
        assert!(in_order(&plain(), &[entry(0, 0, 7), second], &truth).is_err());
    }
}
