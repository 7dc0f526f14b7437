//! What a kill may repeat, and what the process says of it: the window of each kill and `posthorn_redelivered_total`.
//!
//! The counter is of one life: deliveries that go out in it and may have gone out before it, added before the request is sent. So at
//! every reading it is at least what had come again until then. And it is at most what was tried until then of the events that were there
//! before the life began, each once, for what fails waits for a time that is no longer in doubt; and what is on its way or never arrived.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Result, ensure};

use super::kinds::Kind;
use super::ledger::{Book, Entry, Mark};

/// Deliveries that may have ended and not be stored (`delivery.max_unstored`).
pub(crate) const MAX_UNSTORED: u64 = 48;

/// What came of it, over all kills.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// The most that one kill repeated, and what it might have.
    pub(crate) most: u64,
    pub(crate) allowed: u64,
    /// Repeats, and those of them that a reading of the counter came after.
    pub(crate) repeated: u64,
    pub(crate) read: u64,
    /// The last reading of each life, and what it might have been.
    pub(crate) counted: u64,
    pub(crate) countable: u64,
}

type Ticks = BTreeMap<u32, Vec<u64>>;

/// A delivery that came again: in which life the one before it came.
#[derive(Debug, Clone, Copy)]
struct Repeat {
    before: u32,
    entry: Entry,
}

/// Holds both against what the receiver saw.
pub(crate) fn check(kinds: &[Kind], book: &Book) -> Result<Window> {
    let sent_to: Vec<&Kind> = kinds.iter().filter(|kind| !kind.is_pulled()).collect();
    // Where answers come late an event may come twice in one life, which no kill explains.
    let repeats: Vec<Repeat> = sent_to.iter().filter(|kind| kind.has_time()).flat_map(|kind| repeats(book, kind)).collect();
    let in_flight: u64 = sent_to.iter().map(|kind| kind.most_in_flight()).sum();
    // Nothing is sent once so many have ended; what is under way then ends too.
    let mut window = Window { allowed: MAX_UNSTORED - 1 + in_flight, repeated: repeats.len() as u64, ..Window::default() };
    of_each_kill(&repeats, &mut window)?;
    let seen = by_life(repeats.iter().map(|repeat| (repeat.entry.life, repeat.entry.arrived)));
    let under_way = |within| in_flight + sent_to.iter().map(|kind| kind.most_in_vain(within)).sum::<u64>();
    counted(book, &seen, &tried(&sent_to, book), under_way, &mut window)?;
    Ok(window)
}

fn repeats(book: &Book, kind: &Kind) -> Vec<Repeat> {
    let mut last: HashMap<u64, u32> = HashMap::new();
    let again = |entry: &Entry| last.insert(entry.event, entry.life).map(|before| Repeat { before, entry: *entry });
    book.entries.get(kind.name).into_iter().flatten().filter_map(again).collect()
}

/// What came again of the deliveries of one life was not stored when it ended.
fn of_each_kill(repeats: &[Repeat], window: &mut Window) -> Result<()> {
    for (life, repeated) in by_life(repeats.iter().map(|repeat| (repeat.before, repeat.entry.arrived))) {
        let repeated = repeated.len() as u64;
        ensure!(repeated <= window.allowed, "the end of life {life} repeated {repeated}, and {} are allowed", window.allowed);
        window.most = window.most.max(repeated);
    }
    Ok(())
}

/// When the events that were there before a life were tried in it.
fn tried(kinds: &[&Kind], book: &Book) -> Ticks {
    let mut tried = Vec::new();
    for (&life, beginning) in &book.begun {
        for kind in kinds {
            let attempts = book.attempts.get(&(kind.name, life));
            let arrived = |event: &u64| attempts.and_then(|attempts| attempts.get(event).copied());
            tried.extend((0..beginning.sent).filter_map(|event| arrived(&event)).map(|tick| (life, tick)));
        }
    }
    by_life(tried.into_iter())
}

/// Every reading of the counter is between what had come again before it and what had been tried after it.
fn counted(book: &Book, seen: &Ticks, tried: &Ticks, under_way: impl Fn(Duration) -> u64, window: &mut Window) -> Result<()> {
    let before = |ticks: &Ticks, life, tick| ticks.get(&life).map_or(0, |ticks| ticks.partition_point(|at| *at < tick)) as u64;
    let mut last: BTreeMap<u32, [u64; 3]> = BTreeMap::new();
    for mark in &book.marks {
        let Mark { life, redelivered, .. } = *mark;
        let least = before(seen, life, mark.tick);
        // Before the first life there was none.
        let begun = book.begun.get(&life);
        let most = begun.map_or(0, |begun| before(tried, life, mark.until) + under_way(mark.at.saturating_duration_since(begun.at)));
        ensure!(redelivered >= least, "life {life}: {least} had come again, and {redelivered} were counted: {mark:?}");
        ensure!(redelivered <= most, "life {life}: {most} were tried or under way, and {redelivered} were counted: {mark:?}");
        let so_far = last.entry(life).or_default();
        *so_far = [least.max(so_far[0]), redelivered.max(so_far[1]), most.max(so_far[2])];
    }
    for [read, counted, countable] in last.into_values() {
        window.read += read;
        window.counted += counted;
        window.countable += countable;
    }
    Ok(())
}

/// Ticks, in order.
fn by_life(ticks: impl Iterator<Item = (u32, u64)>) -> Ticks {
    let mut lives = Ticks::new();
    ticks.for_each(|(life, tick)| lives.entry(life).or_default().push(tick));
    lives.values_mut().for_each(|ticks| ticks.sort_unstable());
    lives
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::time::Instant;

    use super::super::kinds::Endpoint;
    use super::super::ledger::Beginning;
    use super::*;

    fn plain() -> Vec<Kind> {
        vec![Kind { name: "plain", members: json!({"limits": {"in_flight": 1}}), endpoint: Endpoint::Well, wants: |_| true, made_in: 0 }]
    }

    /// Three events; the first two came in the first life, and in the second one of them again and the third.
    fn book(redelivered: u64) -> Book {
        let of = |event, life, tick| Entry { event, life, arrived: tick, answered: tick + 1, committed: false };
        let mut book = Book::default();
        book.entries.insert("plain", vec![of(0, 0, 1), of(1, 0, 3), of(1, 1, 7), of(2, 1, 12)]);
        book.attempts.insert(("plain", 1), HashMap::from([(1, 7), (2, 12), (3, 8)]));
        let at = Instant::now();
        book.marks.push(Mark { life: 1, tick: 10, until: 11, at, checkpoints: 1, redelivered });
        book.begun.insert(1, Beginning { sent: 3, at });
        book
    }

    #[test]
    fn a_counter_is_between_what_came_again_and_what_was_tried() {
        // The second is on its way; the fourth was not there before.
        for (counted, fits) in [(0, false), (1, true), (2, true), (3, false)] {
            assert_eq!(check(&plain(), &book(counted)).is_ok(), fits, "{counted}");
        }
        let window = check(&plain(), &book(2)).unwrap();
        assert_eq!((window.repeated, window.read, window.counted, window.countable, window.most), (1, 1, 2, 2, 1));
    }

    #[test]
    fn what_comes_after_a_reading_need_not_be_in_it_and_a_first_life_counts_nothing() {
        let mut late = book(0);
        late.marks[0].tick = 7;
        assert_eq!(check(&plain(), &late).unwrap().read, 0);
        late.marks.push(Mark { life: 0, redelivered: 1, ..late.marks[0] });
        assert!(check(&plain(), &late).is_err());
    }

    #[test]
    fn a_kill_repeats_no_more_than_its_window() {
        let with = |count: u64| {
            let of = |event, life| Entry { event, life, arrived: event, answered: event, committed: false };
            let mut book = Book::default();
            book.entries.insert("plain", (0..2).flat_map(|life| (0..count).map(move |event| of(event, life))).collect());
            book
        };
        assert_eq!(check(&plain(), &with(MAX_UNSTORED)).unwrap().most, MAX_UNSTORED);
        assert!(check(&plain(), &with(MAX_UNSTORED + 1)).is_err());
    }
}
