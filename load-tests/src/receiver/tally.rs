//! What has arrived, by run and group: each event once, repeats beside it. Memory is bounded: a bit for each event and path.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::latency::{Latency, Summary};
use crate::mark::Mark;

/// Runs that are kept; the oldest goes first.
const MOST_RUNS: usize = 64;
/// Bits of what was seen, over all runs.
const MOST_BITMAP_BYTES: usize = 256 << 20;
const MOST_GROUPS: usize = 256;
const MOST_PATHS: u32 = 200_000;
const MOST_NUMBER: u64 = 100_000_000;
/// Arrivals are counted in slices of this many microseconds, for at most [`MOST_SLICES`]; what comes later counts in the last.
const SLICE: u64 = 10_000;
const MOST_SLICES: usize = 120_000;

/// Counts deliveries.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Inner>);

/// What became of a delivery here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Answered with success.
    Delivered,
    /// Answered otherwise or not at all, on purpose.
    Refused,
}

/// What is known of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// By group of paths.
    pub groups: BTreeMap<String, GroupReport>,
    /// Deliveries that could not be remembered; unique and repeated ones among them are not told apart.
    pub untracked: u64,
    /// The first delivery, in microseconds since 1970; 0 when there was none.
    pub first: u64,
    /// The last delivery.
    pub last: u64,
    /// Unique deliveries in each tenth of a second since the first.
    pub arrivals: Vec<u64>,
    /// When 5 and 95 % of all had arrived, to 10 ms.
    pub middle: (u64, u64),
}

/// What is known of a group.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupReport {
    /// Events that arrived, each counted once a path.
    pub unique: u64,
    /// Deliveries beyond the first.
    pub repeated: u64,
    /// Deliveries that were refused on purpose.
    pub refused: u64,
    /// From when the event was due to its first delivery.
    pub latency: Summary,
}

#[derive(Debug, Default)]
struct Inner {
    runs: BTreeMap<u32, Run>,
    bitmap_bytes: usize,
}

#[derive(Debug, Default)]
struct Run {
    groups: HashMap<Box<str>, Group>,
    untracked: u64,
    unique: u64,
    first: u64,
    last: u64,
    slices: Vec<u32>,
}

#[derive(Debug, Default)]
struct Group {
    paths: Vec<Seen>,
    unique: u64,
    repeated: u64,
    refused: u64,
    latency: Latency,
}

#[derive(Debug, Default)]
struct Seen(Vec<u64>);

impl Tally {
    /// Notes a delivery to `/{group}/{path}` at `now`, in microseconds since 1970.
    pub fn note(&self, mark: Mark, group: &str, path: u32, outcome: Outcome, now: u64) {
        let mut inner = self.lock();
        let Inner { runs, bitmap_bytes } = &mut *inner;
        let run = runs.entry(mark.run).or_default();
        run.note(mark, group, path, outcome, now, bitmap_bytes);
        if runs.len() > MOST_RUNS {
            inner.forget_oldest();
        }
    }

    /// Unique deliveries of a run in these groups; in all when none is named.
    pub fn unique(&self, run: u32, groups: &[&str]) -> u64 {
        let inner = self.lock();
        let Some(run) = inner.runs.get(&run) else { return 0 };
        if groups.is_empty() {
            run.unique
        } else {
            groups.iter().filter_map(|group| run.groups.get(*group)).map(|group| group.unique).sum()
        }
    }

    /// All that is known of a run.
    pub fn report(&self, run: u32) -> RunReport {
        self.lock().runs.get(&run).map(Run::report).unwrap_or_default()
    }

    /// Lets go of a run.
    pub fn forget(&self, run: u32) {
        let mut inner = self.lock();
        if let Some(run) = inner.runs.remove(&run) {
            inner.bitmap_bytes = inner.bitmap_bytes.saturating_sub(run.bytes());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn forget_oldest(&mut self) {
        if let Some((_, run)) = self.runs.pop_first() {
            self.bitmap_bytes = self.bitmap_bytes.saturating_sub(run.bytes());
        }
    }
}

impl Run {
    fn note(&mut self, mark: Mark, group: &str, path: u32, outcome: Outcome, now: u64, budget: &mut usize) {
        if !self.groups.contains_key(group) {
            if self.groups.len() >= MOST_GROUPS {
                self.untracked += 1;
                return;
            }
            self.groups.insert(group.into(), Group::default());
        }
        let group = self.groups.get_mut(group).expect("it was just put there");
        if outcome == Outcome::Refused {
            group.refused += 1;
            return;
        }
        match group.see(path, mark.number, budget) {
            None => self.untracked += 1,
            Some(false) => group.repeated += 1,
            Some(true) => {
                group.unique += 1;
                group.latency.record(now.saturating_sub(mark.due));
                self.arrived(now);
            }
        }
    }

    fn arrived(&mut self, now: u64) {
        if self.first == 0 {
            self.first = now;
        }
        self.last = self.last.max(now);
        self.unique += 1;
        let slice = ((now.saturating_sub(self.first) / SLICE) as usize).min(MOST_SLICES - 1);
        if slice >= self.slices.len() {
            self.slices.resize(slice + 1, 0);
        }
        self.slices[slice] += 1;
    }

    fn report(&self) -> RunReport {
        let at = |share: f64| {
            let wanted = (self.unique as f64 * share) as u64;
            let mut sum = 0;
            let slice = self.slices.iter().position(|n| {
                sum += u64::from(*n);
                sum > wanted
            });
            self.first + slice.unwrap_or_default() as u64 * SLICE
        };
        RunReport {
            groups: self.groups.iter().map(|(name, group)| (name.to_string(), group.report())).collect(),
            untracked: self.untracked,
            first: self.first,
            last: self.last,
            arrivals: self.slices.chunks(10).map(|tenth| tenth.iter().map(|n| u64::from(*n)).sum()).collect(),
            middle: (at(0.05), at(0.95)),
        }
    }

    fn bytes(&self) -> usize {
        self.groups.values().flat_map(|group| &group.paths).map(|seen| seen.0.len() * 8).sum()
    }
}

impl Group {
    /// Whether it is the first time; `None` when there is no room to remember.
    fn see(&mut self, path: u32, number: u64, budget: &mut usize) -> Option<bool> {
        if path >= MOST_PATHS || number >= MOST_NUMBER {
            return None;
        }
        if self.paths.len() <= path as usize {
            self.paths.resize_with(path as usize + 1, Seen::default);
        }
        let bits = &mut self.paths[path as usize].0;
        let word = (number / 64) as usize;
        if word >= bits.len() {
            let more = (word + 1 - bits.len()) * 8;
            if *budget + more > MOST_BITMAP_BYTES {
                return None;
            }
            *budget += more;
            bits.resize(word + 1, 0);
        }
        let bit = 1 << (number % 64);
        let first = bits[word] & bit == 0;
        bits[word] |= bit;
        Some(first)
    }

    fn report(&self) -> GroupReport {
        let Self { unique, repeated, refused, latency, .. } = self;
        GroupReport { unique: *unique, repeated: *repeated, refused: *refused, latency: latency.summary() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(run: u32, number: u64) -> Mark {
        Mark { run, number, due: 1_000_000 }
    }

    #[test]
    fn repeats_are_told_from_firsts_by_path() {
        let tally = Tally::default();
        for (path, number) in [(0, 0), (0, 1), (0, 1), (7, 1), (0, 70)] {
            tally.note(mark(1, number), "ok", path, Outcome::Delivered, 1_002_000);
        }
        tally.note(mark(1, 5), "bad", 0, Outcome::Refused, 1_003_000);
        assert_eq!((tally.unique(1, &[]), tally.unique(1, &["bad"]), tally.unique(2, &[])), (4, 0, 0));
        let report = tally.report(1);
        assert_eq!((report.groups["ok"].unique, report.groups["ok"].repeated, report.groups["bad"].refused), (4, 1, 1));
        assert!((report.groups["ok"].latency.at(50.0).unwrap() - 2.0).abs() < 0.01);
        tally.forget(1);
        assert_eq!(tally.report(1), RunReport::default());
    }

    #[test]
    fn arrivals_are_placed_in_time() {
        let tally = Tally::default();
        for number in 0..100 {
            tally.note(mark(1, number), "ok", 0, Outcome::Delivered, 2_000_000 + number * 10_000);
        }
        let report = tally.report(1);
        assert_eq!((report.first, report.last), (2_000_000, 2_990_000));
        assert_eq!(report.arrivals, [10; 10]);
        assert_eq!(report.middle, (2_050_000, 2_950_000));
    }

    #[test]
    fn memory_has_a_limit() {
        let tally = Tally::default();
        let most = MOST_BITMAP_BYTES as u64 * 8 / MOST_NUMBER + 1;
        for path in 0..most as u32 + 1 {
            tally.note(mark(1, MOST_NUMBER - 1), "ok", path, Outcome::Delivered, 1);
        }
        tally.note(mark(1, MOST_NUMBER), "ok", 0, Outcome::Delivered, 1);
        tally.note(mark(1, 0), "ok", MOST_PATHS, Outcome::Delivered, 1);
        assert!(tally.lock().bitmap_bytes <= MOST_BITMAP_BYTES);
        assert!(tally.report(1).untracked >= 3, "{}", tally.report(1).untracked);
        for run in 2..200 {
            tally.note(mark(run, 0), "ok", 0, Outcome::Delivered, 1);
        }
        assert_eq!(tally.lock().runs.len(), MOST_RUNS);
        assert_eq!(tally.lock().bitmap_bytes, MOST_RUNS * 8, "what was forgotten is free again");
    }
}
