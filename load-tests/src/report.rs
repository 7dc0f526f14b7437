//! Turns measurements into a Markdown table of ratios.

/// All values of one row, one a round, and what they are compared with.
#[derive(Debug, Clone)]
pub struct Row {
    /// What was measured.
    pub what: &'static str,
    /// The unit of the values.
    pub unit: &'static str,
    /// One value a round.
    pub values: Vec<f64>,
    /// What the ratio is to, and its value in the same round.
    pub against: Option<(&'static str, Vec<f64>)>,
    /// Deliveries that did not arrive; a ratio with any is worth little.
    pub missing: u64,
}

/// The table, one line a row: the median, the median ratio within a round, and the ratio's lowest and highest.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from("| measured | median | ratio | lowest to highest | against | missing |\n|---|---|---|---|---|---|\n");
    for row in rows {
        let ratios = row.ratios();
        let ratio = if ratios.is_empty() { "".to_owned() } else { format!("**{:.2}**", median(&ratios)) };
        let spread = if ratios.len() < 2 { "".to_owned() } else { format!("{:.2} to {:.2}", least(&ratios), most(&ratios)) };
        let against = row.against.as_ref().map_or("", |(name, _)| name);
        text.push_str(&format!(
            "| {} | {} {} | {ratio} | {spread} | {against} | {} |\n",
            row.what,
            figure(median(&row.values)),
            row.unit,
            row.missing
        ));
    }
    text
}

/// The middle value; 0 where there is none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

impl Row {
    fn ratios(&self) -> Vec<f64> {
        let against = self.against.as_ref().map(|(_, values)| values.as_slice()).unwrap_or_default();
        self.values.iter().zip(against).filter(|(_, base)| **base > 0.0).map(|(value, base)| value / base).collect()
    }
}

fn figure(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let row =
            Row { what: "it", unit: "/s", values: vec![50.0, 100.0, 90.0], against: Some(("that", vec![100.0, 200.0, 100.0])), missing: 0 };
        let table = table(&[row]);
        assert!(table.ends_with("| it | 90.0 /s | **0.50** | 0.50 to 0.90 | that | 0 |\n"), "{table}");
        assert_eq!((median(&[]), median(&[3.0, 1.0])), (0.0, 2.0));
    }
}
