//! What a kill may repeat, and what the process says of it: the window of each kill and `posthorn_redelivered_total`.
//!
//! The counter is of one life: deliveries that go out in it and may have gone out before it, added before the request is sent. So at
//! every reading it is at least what had come again until then, and what was tried for the first time, for all that the process knew,
//! though it was in the log before. And it is at most what was tried until then of the events that had been sent before the life began,
//! each once, for what fails waits for a time that is no longer in doubt; and what is on its way or never arrived.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::Instant;

use super::kinds::Kind;
use super::ledger::{Book, Entry, Mark};

/// Deliveries that may have ended and not be stored (`delivery.max_unstored`).
pub(crate) const MAX_UNSTORED: u64 = 48;

/// Events that one lane may hold (`delivery.max_lane_events`): when more wait, not all of them are in doubt. More than 50 rounds have.
pub(crate) const IN_MEMORY: u64 = 4096;

/// What came of it, over all kills.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// The most that one kill repeated, and what it might have.
    pub(crate) most: u64,
    pub(crate) allowed: u64,
    /// Repeats, and those of them that a reading of the counter came after.
    pub(crate) repeated: u64,
    pub(crate) read: u64,
    /// The last reading of each life, and what it had to be and might have been.
    pub(crate) counted: u64,
    pub(crate) certain: u64,
    pub(crate) countable: u64,
}

type Ticks = BTreeMap<u32, Vec<u64>>;

/// What the counter is held between, life by life.
struct Limits {
    again: Ticks,
    certain: Ticks,
    tried: Ticks,
}

/// A delivery that came again: in which life the one before it came.
#[derive(Debug, Clone, Copy)]
struct Repeat {
    kind: &'static str,
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
    let limits = Limits {
        again: by_life(repeats.iter().map(|repeat| (repeat.entry.life, repeat.entry.arrived))),
        certain: certain(&sent_to, book, &repeats),
        tried: tried(&sent_to, book),
    };
    let under_way = |within| in_flight + sent_to.iter().map(|kind| kind.most_in_vain(within)).sum::<u64>();
    of_each_reading(book, &limits, under_way, &mut window)?;
    Ok(window)
}

fn repeats(book: &Book, kind: &Kind) -> Vec<Repeat> {
    let mut last: HashMap<u64, u32> = HashMap::new();
    let again = |entry: &Entry| last.insert(entry.event, entry.life).map(|before| Repeat { kind: kind.name, before, entry: *entry });
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

/// When the events that were sent before a life were tried in it.
fn tried(kinds: &[&Kind], book: &Book) -> Ticks {
    let sent = |life: u32| book.begun.get(&life).map_or(0, |beginning| beginning.sent);
    let attempts = kinds.iter().flat_map(|kind| attempts(book, kind));
    by_life(attempts.filter(|(life, event, _)| *event < sent(*life)).map(|(life, _, (arrived, _))| (life, arrived)))
}

/// When those of them were that must be counted: what came again; and what was in the log, had not failed before, and was nevertheless
/// tried, for then it was not stored.
fn certain(kinds: &[&Kind], book: &Book, repeats: &[Repeat]) -> Ticks {
    let is_kept = |life: u32, event| book.begun.get(&life).is_some_and(|it| it.kept.contains(&event) && it.sent <= IN_MEMORY);
    let mut certain: HashMap<(&str, u32, u64), u64> = HashMap::new();
    for kind in kinds {
        // In the life in which it was made, nothing that it gets can have gone out before.
        let Some(made) = attempts(book, kind).map(|(life, ..)| life).min() else { continue };
        let kept = attempts(book, kind).filter(|(life, event, (_, number))| *life > made && *number == 1 && is_kept(*life, *event));
        certain.extend(kept.map(|(life, event, (arrived, _))| ((kind.name, life, event), arrived)));
    }
    for Repeat { kind, entry, .. } in repeats {
        certain.entry((kind, entry.life, entry.event)).or_insert(entry.arrived);
    }
    by_life(certain.into_iter().map(|((_, life, _), arrived)| (life, arrived)))
}

/// Life, event, and when it came first in it, as which attempt.
fn attempts<'a>(book: &'a Book, kind: &Kind) -> impl Iterator<Item = (u32, u64, (u64, u64))> + use<'a> {
    let name = kind.name;
    let of_kind = book.attempts.iter().filter(move |((of, _), _)| *of == name);
    of_kind.flat_map(|((_, life), events)| events.iter().map(|(event, came)| (*life, *event, *came)))
}

/// Holds every reading of the counter between what had certainly been counted before it and what had been tried after it.
fn of_each_reading(book: &Book, limits: &Limits, under_way: impl Fn(Duration) -> u64, window: &mut Window) -> Result<()> {
    let before = |ticks: &Ticks, life, tick| ticks.get(&life).map_or(0, |ticks| ticks.partition_point(|at| *at < tick)) as u64;
    let mut last: BTreeMap<u32, [u64; 4]> = BTreeMap::new();
    for mark in &book.marks {
        let Mark { life, redelivered, .. } = *mark;
        let least = before(&limits.certain, life, mark.tick);
        // Before the first life there was none.
        let begun = book.begun.get(&life);
        let under_way = |begun: Instant| under_way(mark.at.saturating_duration_since(begun));
        let most = begun.map_or(0, |begun| before(&limits.tried, life, mark.until) + under_way(begun.at));
        ensure!(redelivered >= least, "life {life}: {least} had come again or were in doubt, and {redelivered} were counted: {mark:?}");
        ensure!(redelivered <= most, "life {life}: {most} were tried or under way, and {redelivered} were counted: {mark:?}");
        let now = [before(&limits.again, life, mark.tick), redelivered, least, most];
        let so_far = last.entry(life).or_default();
        so_far.iter_mut().zip(now).for_each(|(most, now)| *most = now.max(*most));
    }
    for [read, counted, certain, countable] in last.into_values() {
        window.read += read;
        window.counted += counted;
        window.certain += certain;
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
        book.attempts.insert(("plain", 1), HashMap::from([(1, (7, 2)), (2, (12, 2)), (3, (8, 1))]));
        let at = Instant::now();
        book.marks.push(Mark { life: 1, tick: 10, until: 11, at, checkpoints: 1, redelivered });
        book.begun.insert(1, Beginning { sent: 3, kept: [0, 1, 2].into(), at });
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
    fn what_was_in_the_log_and_had_not_failed_is_in_doubt() {
        let mut book = book(1);
        book.marks[0].tick = 20;
        book.attempts.insert(("plain", 0), HashMap::from([(0, (1, 1)), (1, (3, 1)), (2, (4, 1))]));
        assert_eq!(check(&plain(), &book).unwrap().certain, 1);
        book.attempts.insert(("plain", 1), HashMap::from([(1, (7, 1)), (2, (12, 1))]));
        assert!(check(&plain(), &book).is_err(), "the third was in the log and is tried as if for the first time");
        book.marks[0].redelivered = 2;
        assert_eq!(check(&plain(), &book).unwrap().certain, 2);
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
