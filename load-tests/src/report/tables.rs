//! The tables of one scenario.

use super::aims;
use super::stats::{self, Spread};
use super::store::Kept;
use crate::scenario::{Scenario, System};

/// Of the gateway what it costs and does, with ratios to both yardsticks; at the end what the harness itself used.
const COLUMNS: [&str; 18] = [
    "variant/step",
    "CPU µs a delivery",
    "× null",
    "× signing",
    "delivered /s",
    "× null",
    "× signing",
    "publish to delivered p50, p99 ms",
    "p99 × null, × signing",
    "answer p99 ms",
    "memory, peak MiB",
    "written KB an event",
    "switches a delivery",
    "connections opened",
    "events",
    "lost",
    "repeated",
    "generator, receiver CPU µs",
];

/// A line for each variant and step that sent, with ratios to both yardsticks.
pub(super) fn variants(scenario: &Scenario, kept: &Kept) -> String {
    let lines: Vec<String> = scenario
        .variants
        .iter()
        .flat_map(|variant| variant.spans().map(|step| format!("{}/{step}", variant.name)))
        .filter(|place| ["delivered", "accepted"].iter().any(|measure| !kept.figure(&format!("{place}/{measure}")).is_empty()))
        .map(|place| line(scenario, kept, &place))
        .collect();
    if lines.is_empty() {
        String::new()
    } else {
        format!("| {} |\n{}|\n{}\n", COLUMNS.join(" | "), "|---".repeat(COLUMNS.len()), lines.concat())
    }
}

/// The figures that the scenario asks for.
pub(super) fn rows(scenario: &Scenario, kept: &Kept) -> String {
    let mut text = String::new();
    for row in &scenario.rows {
        let Some(value) = Spread::of(aims::value(row, kept).into_iter().flatten()) else { continue };
        let ratio =
            row.against.as_ref().and_then(|_| aims::measured(row, kept)).map_or_else(String::new, |ratio| format!("**{}**", ratio.shown()));
        let against = row.against.as_deref().unwrap_or_default();
        text.push_str(&format!("| {} | {} {} | {ratio} | {against} |\n", row.label, value.shown(), row.unit));
    }
    if text.is_empty() { text } else { format!("| | measured | ratio | to |\n|---|---|---|---|\n{text}") }
}

fn line(scenario: &Scenario, kept: &Kept, place: &str) -> String {
    let step = place.split_once('/').map_or("", |(_, step)| step);
    let yardstick = |signing: bool| {
        scenario
            .variants
            .iter()
            .find(|v| matches!(v.system, System::Forwarder { sign, .. } if sign == signing))
            .map(|v| format!("{}/{step}", v.name))
    };
    let (null, signing) = (yardstick(false), yardstick(true));
    let shown = |measure: &str| {
        Spread::of(kept.figure(&format!("{place}/{measure}")).iter().flatten().copied()).map_or_else(String::new, |spread| spread.shown())
    };
    let sum = |measure: &str| {
        let figures = kept.figure(&format!("{place}/{measure}"));
        if figures.is_empty() { String::new() } else { stats::figure(figures.iter().flatten().sum::<f64>()) }
    };
    let ratio = |measure: &str, to: &Option<String>| {
        let other = to.as_ref().filter(|other| *other != place)?;
        stats::ratio(kept.figure(&format!("{place}/{measure}")), kept.figure(&format!("{other}/{measure}")))
    };
    let times =
        |measure: &str, to: &Option<String>| ratio(measure, to).map_or_else(String::new, |spread| format!("**{}**", spread.shown()));
    let written = Spread::of(kept.figure(&format!("{place}/written")).iter().flatten().map(|bytes| bytes / 1024.0))
        .map_or_else(String::new, |spread| spread.shown());
    let cells = [
        place.to_owned(),
        shown("cpu"),
        times("cpu", &null),
        times("cpu", &signing),
        shown("delivered_per_second"),
        times("delivered_per_second", &null),
        times("delivered_per_second", &signing),
        pair(shown("delivery_p50"), shown("delivery_p99")),
        pair(times("delivery_p99", &null), times("delivery_p99", &signing)),
        shown("answer_p99"),
        pair(shown("memory"), shown("memory_peak")),
        written,
        shown("switches"),
        shown("connections"),
        sum("accepted"),
        sum("missing"),
        sum("repeated"),
        pair(shown("generator_cpu"), shown("receiver_cpu")),
    ];
    format!("| {} |\n", cells.join(" | "))
}

fn pair(one: String, other: String) -> String {
    if one.is_empty() || other.is_empty() { one + &other } else { format!("{one}, {other}") }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::scenario::Depth;

    #[test]
    fn every_variant_has_its_ratio_to_both_yardsticks() {
        let text = r#"
title: t
steps: [{send: {count: 1}}]
variants: [{name: bare, system: "null"}, {name: s, system: signing}, {name: p}]
rows: [{label: it, of: p/load/cpu, unit: µs, against: s/load/cpu}, {label: none, of: p/load/nothing}]
"#;
        let scenario = Scenario::parse("x", text, Depth::Quick, Path::new(".")).unwrap();
        let mut kept = Kept::default();
        for (name, cpu) in [("bare", 10.0), ("s", 20.0), ("p", 30.0)] {
            kept.values.insert(format!("{name}/load/cpu"), vec![Some(cpu)]);
            kept.values.insert(format!("{name}/load/delivered"), vec![Some(5.0)]);
        }
        let table = variants(&scenario, &kept);
        let line = table.trim_end().lines().last().unwrap();
        assert!(line.starts_with("| p/load | 30.0 | **3.00** | **1.50** |"), "{line}");
        assert!(table.contains("| bare/load | 10.0 |  | **0.50** |"), "{table}");
        assert_eq!(table.lines().next().unwrap().matches('|').count(), line.matches('|').count());
        assert!(rows(&scenario, &kept).ends_with("| it | 30.0 µs | **1.50** | s/load/cpu |\n"));
    }
}
