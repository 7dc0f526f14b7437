//! What outlives a process: the clock, the disk, the endpoints' and publishers' memory, what was seen, and what was found wrong.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use posthorn_domain::clock::Clock;
use posthorn_domain::time::Time;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::disk::SimDisk;
use crate::oracle::Oracle;
use crate::plan::Plan;
use crate::random::Random;

/// The time at which every run begins, in milliseconds.
const EPOCH: u64 = 1_800_000_000_000;
/// Lines that a failure shows.
const SHOWN: usize = 60;

/// The world around the process.
pub struct World {
    /// What the run is made of.
    pub plan: Plan,
    /// The machine's disk.
    pub disk: SimDisk,
    /// Sees everything.
    pub oracle: Mutex<Oracle>,
    /// Notified when the process has ended in the middle of something.
    pub crashed: Notify,
    trace: Mutex<Trace>,
    verbose: bool,
    begin: Instant,
}

/// Which promise was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// `I1` to `I13`, or `panic`.
    pub invariant: &'static str,
    /// What was seen.
    pub text: String,
}

struct Trace {
    hash: u64,
    lines: VecDeque<String>,
    count: u64,
}

impl World {
    /// A world in which nothing has happened. Within the runtime whose time it has.
    pub fn new(plan: Plan, random: &mut Random, verbose: bool) -> Arc<Self> {
        let oracle = Mutex::new(Oracle::new(&plan));
        let trace = Trace { hash: 0xcbf2_9ce4_8422_2325, lines: VecDeque::new(), count: 0 };
        let disk = SimDisk::new(random.fork());
        Arc::new(Self { plan, disk, oracle, crashed: Notify::new(), trace: Mutex::new(trace), verbose, begin: Instant::now() })
    }

    /// The time.
    pub fn now(&self) -> Time {
        since(self.begin)
    }

    /// A clock of it.
    pub fn clock(&self) -> Clock {
        let begin = self.begin;
        Clock::simulated(move || since(begin))
    }

    /// Writes a line of what happened.
    pub fn note(&self, what: fmt::Arguments<'_>) {
        let line = format!("{:>9.3} {what}", self.begin.elapsed().as_secs_f64());
        if self.verbose {
            println!("{line}");
        }
        let mut trace = self.trace.lock();
        trace.count += 1;
        for byte in line.bytes() {
            trace.hash = (trace.hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        trace.lines.push_back(line);
        if trace.lines.len() > SHOWN {
            trace.lines.pop_front();
        }
    }

    /// A number for all that has happened, in its order and at its times; and how many lines it was.
    pub fn hash(&self) -> (u64, u64) {
        let trace = self.trace.lock();
        (trace.hash, trace.count)
    }

    /// The last lines.
    pub fn lines(&self) -> Vec<String> {
        self.trace.lock().lines.iter().cloned().collect()
    }

    /// What was found wrong first.
    pub fn violation(&self) -> Option<Violation> {
        self.oracle.lock().violation.clone()
    }
}

fn since(begin: Instant) -> Time {
    Time::from_millis(EPOCH + u64::try_from(begin.elapsed().as_millis()).unwrap_or(0))
}

/// Sleeps by the world's time.
pub async fn sleep(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}
