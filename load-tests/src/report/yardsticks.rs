//! The figures of the yardsticks that a figure is compared with.

use super::stats::{self, Spread};
use super::store::Kept;
use crate::scenario::{Row, Scenario, Variant};

/// The same measure of the same step, of the bare forwarder and of the signing one.
pub(super) struct Yardsticks([Option<String>; 2]);

impl Yardsticks {
    pub(super) fn of(scenario: &Scenario, variant: &Variant, step: &str, measure: &str) -> Self {
        Self([false, true].map(|signing| Some(format!("{}/{step}/{measure}", scenario.yardstick(variant, signing)?.name))))
    }

    /// Those of a row's figure; of a difference there are none.
    pub(super) fn of_row(scenario: &Scenario, row: &Row) -> Self {
        let mut parts = row.of.splitn(3, '/');
        let (name, step, measure) = (parts.next(), parts.next(), parts.next());
        let variant = scenario.variants.iter().find(|variant| name == Some(&*variant.name)).filter(|_| row.minus.is_none());
        match (variant, step, measure) {
            (Some(variant), Some(step), Some(measure)) => Self::of(scenario, variant, step, measure),
            _ => Self([None, None]),
        }
    }

    /// Ratios to both, of figures that were divided by `per`.
    pub(super) fn ratios(&self, kept: &Kept, of: &[Option<f64>], per: f64) -> [Option<Spread>; 2] {
        [0, 1].map(|n| {
            let against = kept.figure(self.0[n].as_ref()?);
            stats::ratio(of, &stats::divided(against, per))
        })
    }
}
