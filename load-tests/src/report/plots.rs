//! The drawings of one scenario.

use super::stats::Spread;
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

/// One line a variant; each of its steps is a point.
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
    }
    lines
}
