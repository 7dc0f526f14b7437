//! Medians and spreads over rounds.

/// The middle, the lowest and the highest of some figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// The lowest.
    pub least: f64,
    /// The highest.
    pub most: f64,
    /// How many there are.
    pub count: usize,
}

impl Spread {
    /// Of these; `None` when there are none.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            *sorted.get(middle)?
        } else {
            f64::midpoint(*sorted.get(middle.checked_sub(1)?)?, *sorted.get(middle)?)
        };
        Some(Self { median, least: sorted[0], most: sorted[sorted.len() - 1], count: sorted.len() })
    }

    /// `median (lowest–highest)`, or the one figure.
    #[must_use]
    pub fn shown(&self) -> String {
        if self.count < 2 {
            figure(self.median)
        } else {
            format!("{} ({}–{})", figure(self.median), figure(self.least), figure(self.most))
        }
    }
}

/// Each value in another unit.
#[must_use]
pub(super) fn divided(values: &[Option<f64>], per: f64) -> Vec<Option<f64>> {
    values.iter().map(|value| value.map(|value| value / per)).collect()
}

/// The values of the same round, divided; rounds that lack one are left out.
#[must_use]
pub(super) fn ratio(of: &[Option<f64>], against: &[Option<f64>]) -> Option<Spread> {
    let pairs = of.iter().zip(against).filter_map(|(a, b)| Some((a.as_ref()?, b.as_ref()?)));
    Spread::of(pairs.filter(|(_, b)| **b != 0.0).map(|(a, b)| a / b))
}

/// Three digits that mean something.
#[must_use]
pub(super) fn figure(value: f64) -> String {
    match value.abs() {
        v if v >= 10_000.0 => {
            let digits = format!("{value:.0}");
            let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |rest| ("-", rest));
            let grouped: Vec<&str> =
                digits.as_bytes().rchunks(3).rev().map(|three| std::str::from_utf8(three).unwrap_or_default()).collect();
            format!("{sign}{}", grouped.join(","))
        }
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_and_ratios_are_of_the_same_round() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([3.0, 1.0]), Some(Spread { median: 2.0, least: 1.0, most: 3.0, count: 2 }));
        let found = ratio(&[Some(50.0), None, Some(90.0), Some(100.0)], &[Some(100.0), Some(1.0), Some(100.0), Some(200.0)]).unwrap();
        assert_eq!((found.median, found.least, found.most, found.count), (0.5, 0.5, 0.9, 3));
        assert_eq!((found.shown(), Spread::of([7.0]).unwrap().shown()), ("0.50 (0.50–0.90)".to_owned(), "7.00".to_owned()));
        assert_eq!(ratio(&[Some(1.0)], &[Some(0.0)]), None);
    }

    #[test]
    fn figures_are_short() {
        assert_eq!(
            [0.0, 0.123, 9.876, 12.34, 123.4, 1234.0, 12_345.6, 1_234_567.0, -20_000.0].map(figure).join(" "),
            "0 0.12 9.88 12.3 123 1234 12,346 1,234,567 -20,000"
        );
    }
}
