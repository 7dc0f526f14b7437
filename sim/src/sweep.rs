//! Many seeds, on all cores.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::run::{Report, run_safely};

/// What came of many runs.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many there were.
    pub runs: u64,
    /// Events, requests and repeats in all.
    pub counts: [usize; 3],
    /// The longest wait for an endpoint that is well, and the most bytes of records held, of all runs.
    pub extremes: (Duration, usize),
    /// Those that broke a promise, by seed.
    pub failures: Vec<Report>,
}

/// Failures after which no further seed is begun.
const ENOUGH: usize = 10;

/// Runs these seeds.
pub fn sweep(seeds: Range<u64>) -> Outcome {
    let (next, outcome) = (AtomicU64::new(seeds.start), Mutex::new(Outcome::default()));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || outcome.lock().failures.len() >= ENOUGH {
                        return;
                    }
                    // Not under the lock, which would let one core run only.
                    let report = run_safely(seed);
                    outcome.lock().add(report);
                }
            });
        }
    });
    let mut outcome = outcome.into_inner();
    outcome.failures.sort_by_key(|report| report.seed);
    outcome
}

impl Outcome {
    fn add(&mut self, report: Report) {
        self.runs += 1;
        self.counts.iter_mut().zip(report.counts).for_each(|(sum, count)| *sum += count);
        self.extremes = (self.extremes.0.max(report.extremes.0), self.extremes.1.max(report.extremes.1));
        if report.violation.is_some() {
            self.failures.push(report);
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for report in &self.failures {
            let Some((violation, lines)) = &report.violation else { continue };
            writeln!(f, "seed {} breaks {}: {}", report.seed, violation.invariant, violation.text)?;
            lines.iter().try_for_each(|line| writeln!(f, "    {line}"))?;
        }
        let [events, requests, repeats] = self.counts;
        let failed = self.failures.len();
        let (wait, held) = self.extremes;
        write!(f, "{} runs, {failed} failed; {events} events, {requests} requests, {repeats} of them repeated by restarts; ", self.runs)?;
        write!(f, "longest wait of a healthy endpoint {wait:?}, most held {held} bytes")
    }
}
