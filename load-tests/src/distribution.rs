//! How sizes, delays and keys are spread.

use crate::rng::Rng;

/// The most distinct keys: the table behind them takes 8 bytes for each.
pub const MOST_KEYS: u64 = 1_000_000;
/// The 99th percentile of the standard normal distribution.
const NORMAL_P99: f64 = 2.326_347_874;

/// A distribution of numbers that are not negative.
#[derive(Debug, Clone, PartialEq)]
pub enum Distribution {
    /// Always the same.
    Fixed(f64),
    /// Any number from the first to the second, all as likely.
    Uniform(f64, f64),
    /// One of these, each as often as its weight says.
    Weighted(Vec<(f64, f64)>),
    /// Log-normal, as sizes and delays of real systems are, given by two percentiles.
    LogNormal {
        /// Half of the numbers are below it.
        median: f64,
        /// One in a hundred is above it.
        p99: f64,
    },
}

impl Distribution {
    /// One number of it.
    pub fn sample(&self, rng: &mut Rng) -> f64 {
        match self {
            Self::Fixed(number) => *number,
            Self::Uniform(from, to) => from + (to - from) * rng.unit(),
            Self::Weighted(choices) => weighted(choices, rng),
            Self::LogNormal { median, p99 } => median * ((p99 / median).ln() / NORMAL_P99 * normal(rng)).exp(),
        }
    }
}

fn weighted(choices: &[(f64, f64)], rng: &mut Rng) -> f64 {
    let total: f64 = choices.iter().map(|(_, weight)| weight).sum();
    let mut left = rng.unit() * total;
    for (number, weight) in choices {
        left -= weight;
        if left < 0.0 {
            return *number;
        }
    }
    choices.last().map_or(0.0, |(number, _)| *number)
}

/// Box and Muller's transform.
fn normal(rng: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.unit()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.unit()).cos()
}

/// Keys 0, 1, 2, … of which the n-th comes in proportion to 1 / n^exponent; with exponent 0 all are as likely.
#[derive(Debug, Clone)]
pub struct Zipf {
    cumulative: Vec<f64>,
}

impl Zipf {
    /// A table for `keys` keys, at least one and at most [`MOST_KEYS`].
    #[must_use]
    pub fn new(keys: u64, exponent: f64) -> Self {
        let mut sum = 0.0;
        let mut next = |n: u64| {
            sum += (n as f64).powf(-exponent);
            sum
        };
        Self { cumulative: (1..=keys.clamp(1, MOST_KEYS)).map(&mut next).collect() }
    }

    /// One key.
    pub fn sample(&self, rng: &mut Rng) -> u64 {
        let total = self.cumulative.last().copied().unwrap_or(1.0);
        let at = rng.unit() * total;
        self.cumulative.partition_point(|upto| *upto <= at).min(self.cumulative.len() - 1) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(distribution: &Distribution) -> Vec<f64> {
        let mut rng = Rng::new(1);
        let mut numbers: Vec<f64> = (0..20_000).map(|_| distribution.sample(&mut rng)).collect();
        numbers.sort_by(f64::total_cmp);
        numbers
    }

    #[test]
    fn each_distribution_is_what_its_name_says() {
        assert_eq!(sorted(&Distribution::Fixed(3.0))[0], 3.0);
        let uniform = sorted(&Distribution::Uniform(10.0, 20.0));
        assert!(uniform[0] >= 10.0 && uniform[19_999] < 20.0 && (14.8..15.2).contains(&uniform[10_000]));
        let weighted = sorted(&Distribution::Weighted(vec![(1.0, 9.0), (5.0, 1.0)]));
        let fives = weighted.iter().filter(|n| **n == 5.0).count();
        assert!((1_800..2_200).contains(&fives), "{fives}");
        let log_normal = sorted(&Distribution::LogNormal { median: 8.0, p99: 80.0 });
        assert!((7.7..8.3).contains(&log_normal[10_000]), "{}", log_normal[10_000]);
        assert!((65.0..95.0).contains(&log_normal[19_800]), "{}", log_normal[19_800]);
    }

    #[test]
    fn the_first_key_of_zipf_comes_as_often_as_the_law_says() {
        let (zipf, mut rng) = (Zipf::new(1_000, 1.0), Rng::new(2));
        let mut counts = vec![0_u32; 1_000];
        for _ in 0..100_000 {
            counts[zipf.sample(&mut rng) as usize] += 1;
        }
        // 1 / H(1000) = 0.1336 of all; the second half of that.
        assert!((12_800..13_900).contains(&counts[0]), "{}", counts[0]);
        assert!((6_200..7_200).contains(&counts[1]), "{}", counts[1]);
        let flat = Zipf::new(4, 0.0);
        let mut counts = [0_u32; 4];
        for _ in 0..40_000 {
            counts[flat.sample(&mut rng) as usize] += 1;
        }
        assert!(counts.iter().all(|n| (9_500..10_500).contains(n)), "{counts:?}");
        assert_eq!(Zipf::new(0, 1.0).sample(&mut rng), 0);
    }
}
