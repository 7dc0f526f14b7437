//! The drawings of one scenario.

use super::stats::{Spread, figure};
use super::store::Kept;
use super::svg::{Axis, Chart, Line};
use crate::scenario::{Plot, PlotKind, Scenario};

/// File names and drawings; a plot without data has none.
pub(super) fn draw(scenario: &Scenario, kept: &Kept) -> Vec<(String, String)> {
    let one = |(n, plot): (usize, &Plot)| {
        let lines = if plot.kind == PlotKind::Throughput { throughput(plot, kept) } else { kept_lines(plot, kept) };
        let (x, y, axis) = match plot.kind {
            PlotKind::Latency => ("percentile", "ms, publish to delivered", Axis::Percentile),
            PlotKind::Throughput => ("offered, events a second", "delivered a second", Axis::Linear),
            PlotKind::Memory => ("seconds", "resident MiB", Axis::Linear),
            PlotKind::Arrivals => ("seconds", "deliveries a second", Axis::Linear),
        };
        let chart = Chart { title: &plot.title, x, y, axis, log_y: plot.kind == PlotKind::Latency, lines: &lines };
        (!lines.is_empty()).then(|| (format!("{}-{}-{}.svg", scenario.name, n + 1, plot.kind.line()), chart.draw()))
    };
    scenario.plots.iter().enumerate().filter_map(one).collect()
}

fn kept_lines(plot: &Plot, kept: &Kept) -> Vec<Line> {
    let line = |name: &String| Some(Line { label: name.clone(), points: kept.lines.get(&format!("{name}/{}", plot.kind.line()))?.clone() });
    plot.of.iter().filter_map(line).collect()
}

/// One line a variant; each of its steps is a point. Its label says how many events of these steps were refused, late or not sent.
fn throughput(plot: &Plot, kept: &Kept) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for name in &plot.of {
        let median =
            |measure: &str| Spread::of(kept.figure(&format!("{name}/{measure}")).iter().flatten().copied()).map(|spread| spread.median);
        let (Some(offered), Some(delivered)) = (median("offered_per_second"), median("delivered_per_second")) else { continue };
        let variant = name.split('/').next().unwrap_or_default();
        match lines.iter_mut().find(|line| line.label == variant) {
            Some(line) => line.points.push((offered, delivered)),
            None => lines.push(Line { label: variant.to_owned(), points: vec![(offered, delivered)] }),
        }
    }
    for line in &mut lines {
        line.points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let steps: Vec<&String> = plot.of.iter().filter(|name| name.split('/').next() == Some(&*line.label)).collect();
        for (measure, word) in [("refused", "refused"), ("late", "late"), ("unsent", "not sent")] {
            let figures = steps.iter().flat_map(|name| kept.figure(&format!("{name}/{measure}")));
            let events: f64 = figures.flatten().sum();
            if events > 0.0 {
                line.label.push_str(&format!(", {} {word}", figure(events)));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::scenario::Depth;

    const TEXT: &str = r#"
title: t
steps: [{send: {name: half, rate: 5, for: 1s}}, {send: {name: above, rate: 20, for: 1s, may_refuse: true}}]
variants: [{name: p, system: raw}, {name: pq, system: raw}]
plots: [{kind: throughput, title: T, of: [p/above, p/half, pq/above]}]
"#;

    #[test]
    fn throughput_has_a_line_a_variant_that_says_what_was_turned_away() {
        let scenario = Scenario::parse("x", TEXT, Depth::Quick, Path::new(".")).unwrap();
        let mut kept = Kept::default();
        let mut put = |name: &str, values: &[f64]| drop(kept.values.insert(name.to_owned(), values.iter().copied().map(Some).collect()));
        for (place, offered, delivered) in [("p/half", 5.0, 5.0), ("p/above", 20.0, 9.0), ("pq/above", 20.0, 20.0)] {
            put(&format!("{place}/offered_per_second"), &[offered]);
            put(&format!("{place}/delivered_per_second"), &[delivered]);
        }
        put("p/above/refused", &[7.0, 8.0]);
        put("p/above/late", &[200.0]);
        put("pq/above/late", &[0.0]);
        let lines = throughput(&scenario.plots[0], &kept);
        let found: Vec<(&str, &[(f64, f64)])> = lines.iter().map(|line| (&*line.label, &*line.points)).collect();
        assert_eq!(found, [("p, 15.0 refused, 200 late", &[(5.0, 5.0), (20.0, 9.0)][..]), ("pq", &[(20.0, 20.0)][..])]);
        assert!(draw(&scenario, &kept)[0].1.contains(">p, 15.0 refused, 200 late</text>"));
    }
}
