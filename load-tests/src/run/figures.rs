//! What the steps of one variant found in one round.

use std::collections::BTreeMap;

use super::sampler::Memory;
use crate::latency::{POINTS, Summary};

/// Figures by `variant/step/measure`, and what was wrong.
#[derive(Debug, Default)]
pub struct Figures {
    variant: String,
    /// Single figures.
    pub values: BTreeMap<String, f64>,
    /// Lines, as points: `variant/step/latency` (percentile, ms), `…/memory` (s, MiB), `…/arrivals` (s, a second).
    pub lines: BTreeMap<String, Vec<(f64, f64)>>,
    /// Each makes the run fail.
    pub faults: Vec<String>,
}

impl Figures {
    /// None yet, of a variant.
    #[must_use]
    pub fn of(variant: &str) -> Self {
        Self { variant: variant.to_owned(), ..Self::default() }
    }

    /// Notes one.
    pub fn note(&mut self, step: &str, measure: &str, value: f64) {
        self.values.insert(format!("{}/{step}/{measure}", self.variant), value);
    }

    /// Notes that something is wrong.
    pub fn fault(&mut self, what: String) {
        self.faults.push(format!("{}: {what}", self.variant));
    }

    /// Notes `{of}_p50`, `_p90`, `_p99`, `_p99.9` in milliseconds, and the whole curve of `delivery`.
    pub fn percentiles(&mut self, step: &str, of: &str, summary: &Summary) {
        for percentile in [50.0, 90.0, 99.0, 99.9] {
            if let Some(value) = summary.at(percentile) {
                self.note(step, &format!("{of}_p{percentile}"), value);
            }
        }
        if of == "delivery" && summary.count > 0 {
            self.series(step, "latency", POINTS.iter().copied().zip(summary.millis.iter().copied()).collect());
        }
    }

    /// Notes the line of memory, its peak, and its steady value: the median of the second half.
    pub(super) fn memory(&mut self, step: &str, memory: Memory) {
        let mut late: Vec<f64> = memory.series[memory.series.len() / 2..].iter().map(|(_, value)| *value).collect();
        late.sort_by(f64::total_cmp);
        if let Some(steady) = late.get(late.len() / 2) {
            self.note(step, "memory", *steady);
        }
        if let Some(peak) = memory.peak {
            self.note(step, "memory_peak", peak);
        }
        self.series(step, "memory", memory.series);
    }

    /// Notes a line.
    pub fn series(&mut self, step: &str, kind: &str, points: Vec<(f64, f64)>) {
        if points.is_empty() {
            return;
        }
        self.lines.insert(format!("{}/{step}/{kind}", self.variant), points);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Latency;

    #[test]
    fn figures_have_the_names_that_rows_use() {
        let mut figures = Figures::of("v");
        let mut latency = Latency::default();
        (1..=1_000).for_each(|n| latency.record(n * 1_000));
        figures.percentiles("s", "delivery", &latency.summary());
        figures.memory("s", Memory { series: vec![(0.0, 90.0), (0.1, 9.0), (0.2, 10.0), (0.3, 11.0)], peak: Some(95.5) });
        figures.memory("none", Memory::default());
        figures.fault("s: lost".to_owned());
        assert!((figures.values["v/s/delivery_p99"] - 990.0).abs() < 1.0, "{:?}", figures.values);
        assert!(figures.values.contains_key("v/s/delivery_p99.9"));
        assert_eq!((figures.values["v/s/memory"], figures.values["v/s/memory_peak"]), (11.0, 95.5));
        assert_eq!(figures.lines["v/s/memory"].len(), 4);
        assert!(!figures.values.keys().any(|name| name.starts_with("v/none/")), "nothing is no figure");
        assert_eq!(figures.lines["v/s/latency"].len(), POINTS.len());
        assert_eq!(figures.faults, ["v: s: lost"]);
    }
}
