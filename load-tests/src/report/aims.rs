//! The table of aims: what was wanted, what was measured, met or missed.

use super::stats::{self, Spread, figure};
use super::store::{Kept, Results};
use crate::scenario::{Aim, Row, Scenario};

/// The table, in the order of the aims' numbers.
#[must_use]
pub(super) fn table(scenarios: &[Scenario], results: &Results) -> String {
    let rows = scenarios.iter().flat_map(|scenario| scenario.rows.iter().map(move |row| (scenario, row)));
    let mut aims: Vec<(&Scenario, &Row, &Aim)> = rows.filter_map(|(scenario, row)| Some((scenario, row, row.aim.as_ref()?))).collect();
    aims.sort_by_key(|(_, _, aim)| aim.number);
    let mut text = String::from("\n## Aims\n\n| | aim | wanted | measured | | scenario |\n|---|---|---|---|---|---|\n");
    for (scenario, row, aim) in aims {
        let kept = results.scenarios.get(&scenario.name);
        let measured = kept.and_then(|kept| measured(row, kept));
        let wanted = format!("{} {}", if aim.at_least { "≥" } else { "≤" }, with_unit(&figure(aim.limit), row));
        let shown = measured.map_or_else(|| "not measured".to_owned(), |spread| with_unit(&spread.shown(), row));
        let verdict = measured.map_or("", |spread| verdict(aim, spread, kept));
        let source = kept
            .map_or_else(|| scenario.name.clone(), |kept| format!("{}, {} × {}, {}", scenario.name, kept.rounds, kept.depth, kept.commit));
        text.push_str(&format!("| {} | {} | {wanted} | {shown} | {verdict} | {source} |\n", aim.number, row.label));
    }
    text
}

/// The figure of a row: the ratio where it has one.
pub(super) fn measured(row: &Row, kept: &Kept) -> Option<Spread> {
    let of = value(row, kept);
    match &row.against {
        Some(against) => stats::ratio(&of, &stats::divided(kept.figure(against), row.per)),
        None => Spread::of(of.into_iter().flatten()),
    }
}

/// The figure itself, one a round.
pub(super) fn value(row: &Row, kept: &Kept) -> Vec<Option<f64>> {
    let minus = row.minus.as_ref().map(|name| kept.figure(name));
    let take = |(round, value): (usize, &Option<f64>)| {
        let off = minus.map_or(Some(0.0), |minus| minus.get(round).copied().flatten())?;
        Some((value.as_ref()? - off) / row.per)
    };
    kept.figure(&row.of).iter().enumerate().map(take).collect()
}

fn verdict(aim: &Aim, spread: Spread, kept: Option<&Kept>) -> &'static str {
    match kept {
        Some(kept) if !kept.faults.is_empty() => "**failed**",
        _ if aim.met(spread.median) => "met",
        _ => "**missed**",
    }
}

fn with_unit(figure: &str, row: &Row) -> String {
    if row.against.is_some() || row.unit.is_empty() { figure.to_owned() } else { format!("{figure} {}", row.unit) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::scenario::Depth;

    const TEXT: &str = r#"
title: t
variants: [{name: a, system: raw, steps: [{send: {count: 1}}, {mark: m}]}, {name: b, system: raw, steps: [{send: {count: 1}}]}]
rows:
  - {label: second, of: a/m/memory, minus: a/load/memory, per: 2, unit: KB, aim: {number: 2, at_most: 10}}
  - {label: first, of: a/load/cpu, against: b/load/cpu, aim: {number: 1, at_least: 0.8}}
  - {label: third, of: a/load/nothing, aim: {number: 3, at_most: 1}}
"#;

    #[test]
    fn each_aim_is_met_missed_or_not_measured() {
        let scenario = Scenario::parse("s", TEXT, Depth::Quick, Path::new(".")).unwrap();
        let mut kept = Kept { commit: "abc".into(), rounds: 2, depth: "full".into(), ..Kept::default() };
        let pairs =
            [("a/load/cpu", [8.0, 9.0]), ("b/load/cpu", [10.0, 10.0]), ("a/m/memory", [50.0, 52.0]), ("a/load/memory", [20.0, 22.0])];
        kept.values = pairs.into_iter().map(|(name, values)| (name.to_owned(), values.map(Some).to_vec())).collect();
        let mut results = Results::default();
        results.scenarios.insert("s".to_owned(), kept);
        let lines = table(std::slice::from_ref(&scenario), &results);
        let lines: Vec<&str> = lines.lines().skip(5).collect();
        assert_eq!(lines[0], "| 1 | first | ≥ 0.80 | 0.85 (0.80–0.90) | met | s, 2 × full, abc |");
        assert_eq!(lines[1], "| 2 | second | ≤ 10.0 KB | 15.0 (15.0–15.0) KB | **missed** | s, 2 × full, abc |");
        assert_eq!(lines[2], "| 3 | third | ≤ 1.00 | not measured |  | s, 2 × full, abc |");
        results.scenarios.get_mut("s").unwrap().faults.push("lost".to_owned());
        assert!(table(&[scenario], &results).contains("0.85 (0.80–0.90) | **failed** |"));
    }
}
