//! When events are due in the open loop. Pure arithmetic: whoever sends looks at the clock.

use std::time::Duration;

use crate::rng::Rng;

/// The most arrivals in one schedule.
pub const MOST_ARRIVALS: u64 = 10_000_000;

/// How arrivals follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    /// At equal distances.
    Even,
    /// As independent publishers make them: exponential distances.
    Poisson,
}

/// The moments at which events are due, counted from the start.
#[derive(Debug)]
pub struct Schedule {
    count: u64,
    rate: f64,
    /// Microseconds from the start; empty when even.
    offsets: Vec<u64>,
}

impl Schedule {
    /// Arrivals at `rate` a second for `length`, at most [`MOST_ARRIVALS`] and at most `count`.
    #[must_use]
    pub fn new(arrivals: Arrivals, rate: f64, length: Duration, count: Option<u64>, seed: u64) -> Self {
        let most = count.unwrap_or(MOST_ARRIVALS).min(MOST_ARRIVALS);
        let wanted = ((rate * length.as_secs_f64()).round() as u64).min(most);
        match arrivals {
            Arrivals::Even => Self { count: wanted, rate, offsets: Vec::new() },
            Arrivals::Poisson => {
                let offsets = poisson(rate, length, most, seed);
                Self { count: offsets.len() as u64, rate, offsets }
            }
        }
    }

    /// How many arrivals there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// When the arrival with this number (from 0) is due.
    #[must_use]
    pub fn due(&self, number: u64) -> Duration {
        match self.offsets.get(number as usize) {
            Some(micros) => Duration::from_micros(*micros),
            None => Duration::from_secs_f64(number as f64 / self.rate),
        }
    }

    /// How many are due by then.
    #[must_use]
    pub fn due_by(&self, elapsed: Duration) -> u64 {
        if self.offsets.is_empty() {
            return ((elapsed.as_secs_f64() * self.rate) as u64 + 1).min(self.count);
        }
        let micros = elapsed.as_micros() as u64;
        self.offsets.partition_point(|due| *due <= micros) as u64
    }
}

fn poisson(rate: f64, length: Duration, most: u64, seed: u64) -> Vec<u64> {
    let mut rng = Rng::new(seed);
    let mut at = 0.0;
    let mut offsets = Vec::new();
    while (offsets.len() as u64) < most {
        at += -(1.0 - rng.unit()).ln() / rate;
        if at >= length.as_secs_f64() {
            break;
        }
        offsets.push((at * 1e6) as u64);
    }
    offsets
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn even_arrivals_are_due_at_equal_distances() {
        let schedule = Schedule::new(Arrivals::Even, 200.0, 3 * SECOND, None, 0);
        assert_eq!((schedule.count(), schedule.due(0), schedule.due(200)), (600, Duration::ZERO, SECOND));
        assert_eq!(schedule.due_by(Duration::ZERO), 1, "the first is due at once");
        assert_eq!(schedule.due_by(Duration::from_millis(12)), 3);
        assert_eq!(schedule.due_by(60 * SECOND), 600);
        assert_eq!(Schedule::new(Arrivals::Even, 200.0, 3 * SECOND, Some(10), 0).count(), 10);
    }

    #[test]
    fn poisson_arrivals_keep_the_rate_and_vary() {
        let schedule = Schedule::new(Arrivals::Poisson, 1_000.0, 10 * SECOND, None, 3);
        assert!((9_600..10_400).contains(&schedule.count()), "{}", schedule.count());
        let gaps: Vec<u128> = (1..schedule.count()).map(|n| (schedule.due(n) - schedule.due(n - 1)).as_micros()).collect();
        // Of an exponential distribution, 1/e is above the mean.
        let above = gaps.iter().filter(|gap| **gap > 1_000).count() as f64 / gaps.len() as f64;
        assert!((0.34..0.40).contains(&above), "{above}");
        let middle = schedule.due(5_000);
        assert_eq!(schedule.due_by(middle), 5_001);
    }

    #[test]
    fn a_schedule_ends_at_the_limit() {
        let schedule = Schedule::new(Arrivals::Even, 1e9, 1_000 * SECOND, None, 0);
        assert_eq!(schedule.count(), MOST_ARRIVALS);
        assert_eq!(Schedule::new(Arrivals::Poisson, 1e6, 1_000 * SECOND, Some(5), 0).count(), 5);
    }
}
