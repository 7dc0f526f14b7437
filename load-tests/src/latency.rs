//! Histograms of latencies in microseconds, and what of them is kept.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Above it a latency counts as this.
const HIGHEST: u64 = 600_000_000;
/// The percentiles that are kept: where curves have their points.
pub const POINTS: [f64; 12] = [0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99, 100.0];

/// Latencies, in 3 significant digits.
#[derive(Debug, Clone)]
pub struct Latency(Histogram<u64>);

/// What is kept of a histogram.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many were recorded.
    pub count: u64,
    /// The value in milliseconds at each of [`POINTS`]; empty when nothing was recorded.
    pub millis: Vec<f64>,
}

impl Default for Latency {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, HIGHEST, 3).expect("bounds that fit"))
    }
}

impl Latency {
    /// Adds one, in microseconds.
    pub fn record(&mut self, micros: u64) {
        self.0.saturating_record(micros);
    }

    /// Adds one.
    pub fn record_time(&mut self, time: Duration) {
        self.record(u64::try_from(time.as_micros()).unwrap_or(HIGHEST));
    }

    /// Adds all of another.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("the same bounds");
    }

    /// The percentiles.
    #[must_use]
    pub fn summary(&self) -> Summary {
        if self.0.is_empty() {
            return Summary::default();
        }
        let millis = POINTS.iter().map(|point| self.0.value_at_percentile(*point) as f64 / 1e3).collect();
        Summary { count: self.0.len(), millis }
    }
}

impl Summary {
    /// The value at one of [`POINTS`], in milliseconds.
    #[must_use]
    pub fn at(&self, percentile: f64) -> Option<f64> {
        let place = POINTS.iter().position(|point| (point - percentile).abs() < 1e-9)?;
        self.millis.get(place).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_thousandth_and_nothing_is_no_figure() {
        let mut latency = Latency::default();
        (1..=10_000).for_each(|n| latency.record(n * 10));
        let mut twice = latency.clone();
        twice.add(&latency);
        let summary = twice.summary();
        assert_eq!(summary.count, 20_000);
        assert!((summary.at(50.0).unwrap() - 50.0).abs() < 0.1, "{summary:?}");
        assert!((summary.at(99.0).unwrap() - 99.0).abs() < 0.1);
        assert_eq!((summary.at(42.0), Latency::default().summary().at(50.0)), (None, None));
        latency.record_time(Duration::from_secs(86_400));
        assert!(latency.summary().at(100.0).unwrap() <= 600_500.0, "what is higher counts as the highest");
    }
}
