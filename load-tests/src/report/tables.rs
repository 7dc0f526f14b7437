//! The tables of one scenario: what a delivery costs, how many there are, how long they take, and memory and disk.

use super::grid::Grid;
use super::stats::{self, Spread};
use super::store::Kept;
use super::{aims, yardsticks::Yardsticks};
use crate::run::CPU_OF;
use crate::scenario::{Scenario, Variant};

struct Table {
    /// Heads the column of places.
    name: &'static str,
    columns: &'static [Column],
}

struct Column {
    heading: &'static str,
    show: Show,
}

/// What the cells of a column have.
enum Show {
    /// A measure divided by this, and beside it the ratios to both yardsticks.
    Ratios(&'static str, f64),
    /// A measure.
    Alone(&'static str),
    /// A measure over all rounds.
    Sum(&'static str),
    /// The same; left out where it is 0 throughout.
    SumIfAny(&'static str),
    /// CPU of each process of a gateway that has several.
    Split,
}

const fn column(heading: &'static str, show: Show) -> Column {
    Column { heading, show }
}

const TABLES: [Table; 4] = [
    Table {
        name: "cost",
        columns: &[
            column("CPU µs a delivery", Show::Ratios("cpu", 1.0)),
            column("by process", Show::Split),
            column("context switches a delivery", Show::Ratios("switches", 1.0)),
            column("generator CPU µs", Show::Alone("generator_cpu")),
            column("receiver CPU µs", Show::Alone("receiver_cpu")),
        ],
    },
    Table {
        name: "rate",
        columns: &[
            column("offered /s", Show::Alone("offered_per_second")),
            column("delivered /s", Show::Ratios("delivered_per_second", 1.0)),
            column("events", Show::Sum("accepted")),
            column("refused", Show::SumIfAny("refused")),
            column("of these 429", Show::SumIfAny("throttled")),
            column("late", Show::SumIfAny("late")),
            column("not sent", Show::SumIfAny("unsent")),
            column("lost", Show::Sum("missing")),
            column("repeated", Show::Sum("repeated")),
        ],
    },
    Table {
        name: "latency, ms",
        columns: &[
            column("publish to delivered p50", Show::Ratios("delivery_p50", 1.0)),
            column("p99", Show::Ratios("delivery_p99", 1.0)),
            column("answer p99", Show::Ratios("answer_p99", 1.0)),
        ],
    },
    Table {
        name: "memory and disk",
        columns: &[
            column("memory MiB", Show::Ratios("memory", 1.0)),
            column("peak MiB", Show::Ratios("memory_peak", 1.0)),
            column("written KB an event", Show::Ratios("written", 1024.0)),
            column("connections opened", Show::Alone("connections")),
        ],
    },
];

/// A line for each variant and step that sent, in each table that has something of it.
pub(super) fn variants(scenario: &Scenario, kept: &Kept) -> String {
    let places: Vec<Place<'_>> = scenario
        .variants
        .iter()
        .flat_map(|variant| variant.spans().map(move |step| Place { scenario, kept, variant, step }))
        .filter(Place::has_sent)
        .collect();
    let one = |table: &Table| {
        let mut grid = Grid::new(headings(table));
        for place in &places {
            grid.line(format!("{}/{}", place.variant.name, place.step), table.columns.iter().flat_map(|column| place.cells(column)));
        }
        grid.shown()
    };
    TABLES.iter().map(one).filter(|table| !table.is_empty()).collect::<Vec<_>>().join("\n")
}

/// The figures that the scenario asks for.
pub(super) fn rows(scenario: &Scenario, kept: &Kept) -> String {
    let mut grid = Grid::new(["", "measured", "ratio", "to", "× null", "× signing"].map(str::to_owned).to_vec());
    for row in &scenario.rows {
        let value = aims::value(row, kept);
        let Some(spread) = Spread::of(value.iter().flatten().copied()) else { continue };
        let ratio = row.against.as_ref().and_then(|_| aims::measured(row, kept));
        let against = row.against.clone().unwrap_or_default();
        let [null, signing] = Yardsticks::of_row(scenario, row).ratios(kept, &value, row.per);
        let measured = format!("{} {}", spread.shown(), row.unit).trim_end().to_owned();
        grid.line(row.label.clone(), [measured, bold(ratio), against, bold(null), bold(signing)]);
    }
    grid.shown()
}

fn headings(table: &Table) -> Vec<String> {
    let of = |column: &Column| match column.show {
        Show::Ratios(..) => vec![column.heading, "× null", "× signing"],
        _ => vec![column.heading],
    };
    std::iter::once(table.name).chain(table.columns.iter().flat_map(of)).map(str::to_owned).collect()
}

/// A step of a variant, and what is known of it.
struct Place<'a> {
    scenario: &'a Scenario,
    kept: &'a Kept,
    variant: &'a Variant,
    step: &'a str,
}

impl Place<'_> {
    fn has_sent(&self) -> bool {
        ["delivered", "accepted"].iter().any(|measure| !self.figure(measure).is_empty())
    }

    fn cells(&self, column: &Column) -> Vec<String> {
        match column.show {
            Show::Ratios(measure, per) => {
                let of = stats::divided(self.figure(measure), per);
                let yardsticks = Yardsticks::of(self.scenario, self.variant, self.step, measure);
                let [null, signing] = yardsticks.ratios(self.kept, &of, per);
                vec![shown(&of), bold(null), bold(signing)]
            }
            Show::Alone(measure) => vec![shown(self.figure(measure))],
            Show::Sum(measure) => vec![self.sum(measure).map_or_else(String::new, stats::figure)],
            Show::SumIfAny(measure) => vec![self.sum(measure).filter(|sum| *sum > 0.0).map_or_else(String::new, stats::figure)],
            Show::Split => vec![self.split()],
        }
    }

    fn figure(&self, measure: &str) -> &[Option<f64>] {
        self.kept.figure(&self.name(measure))
    }

    fn name(&self, measure: &str) -> String {
        format!("{}/{}/{measure}", self.variant.name, self.step)
    }

    fn sum(&self, measure: &str) -> Option<f64> {
        let figures = self.figure(measure);
        (!figures.is_empty()).then(|| figures.iter().flatten().sum())
    }

    fn split(&self) -> String {
        let first = self.name(CPU_OF);
        let ours = self.kept.values.range(first.clone()..).map_while(|(name, values)| Some((name.strip_prefix(&first)?, values)));
        ours.map(|(process, values)| format!("{process} {}", shown(values))).collect::<Vec<_>>().join(", ")
    }
}

fn shown(values: &[Option<f64>]) -> String {
    Spread::of(values.iter().flatten().copied()).map_or_else(String::new, |spread| spread.shown())
}

fn bold(ratio: Option<Spread>) -> String {
    ratio.map_or_else(String::new, |ratio| format!("**{}**", ratio.shown()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::scenario::Depth;

    const TEXT: &str = r#"
title: t
steps: [{send: {count: 1}}]
variants:
  - {name: bare, system: "null"}
  - {name: s, system: signing}
  - {name: s2, system: signing, yardsticks: [bare]}
  - {name: p}
  - {name: q, yardsticks: [s2]}
rows:
  - {label: it, of: p/load/cpu, unit: µs, per: 2, against: s/load/cpu}
  - {label: less, of: p/load/cpu, minus: s/load/cpu}
  - {label: none, of: p/load/nothing}
"#;

    fn found() -> (Scenario, Kept) {
        let scenario = Scenario::parse("x", TEXT, Depth::Quick, Path::new(".")).unwrap();
        let mut kept = Kept::default();
        for (name, cpu) in [("bare", 10.0), ("s", 20.0), ("s2", 60.0), ("p", 30.0), ("q", 30.0)] {
            let figures =
                [("cpu", cpu), ("delivered", 5.0), ("accepted", 5.0), ("delivery_p50", cpu / 10.0), ("written", 0.0), ("refused", 0.0)];
            for (measure, value) in figures {
                kept.values.insert(format!("{name}/load/{measure}"), vec![Some(value)]);
            }
        }
        (scenario, kept)
    }

    #[test]
    fn every_figure_has_its_ratio_to_both_yardsticks() {
        let (scenario, kept) = found();
        let tables = variants(&scenario, &kept);
        let line = |start: &str| tables.lines().filter(|line| line.starts_with(start)).collect::<Vec<_>>();
        assert!(tables.starts_with("| cost | CPU µs a delivery | × null | × signing |\n|---|---|---|---|\n"), "{tables}");
        assert_eq!(line("| p/load |")[0], "| p/load | 30.0 | **3.00** | **1.50** |");
        assert_eq!(line("| bare/load |")[0], "| bare/load | 10.0 |  | **0.50** |");
        assert!(tables.contains("| latency, ms | publish to delivered p50 | × null | × signing |"), "{tables}");
        assert_eq!(line("| p/load |")[2], "| p/load | 3.00 | **3.00** | **1.50** |");
        assert!(tables.contains("| rate | events |\n|---|---|\n"), "what is 0 throughout has no column: {tables}");
        assert!(tables.contains("| memory and disk | written KB an event |"), "nothing is a ratio to 0: {tables}");
    }

    #[test]
    fn a_variant_takes_the_yardsticks_that_it_names() {
        let (scenario, kept) = found();
        let tables = variants(&scenario, &kept);
        assert!(tables.contains("\n| q/load | 30.0 |  | **0.50** |\n"), "{tables}");
        assert!(tables.contains("\n| s2/load | 60.0 | **6.00** |  |\n"), "{tables}");
    }

    #[test]
    fn rows_have_ratios_to_the_yardsticks_beside_their_own() {
        let (scenario, kept) = found();
        let table = rows(&scenario, &kept);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "|  | measured | ratio | to | × null | × signing |");
        assert_eq!(lines[2], "| it | 15.0 µs | **1.50** | s/load/cpu | **3.00** | **1.50** |");
        assert_eq!(lines[3], "| less | 10.0 |  |  |  |  |", "a difference is not the yardstick's figure");
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn what_was_refused_or_late_and_each_process_is_shown_where_there_is_some() {
        let (scenario, mut kept) = found();
        for (measure, value) in [("refused", 7.0), ("throttled", 4.0), ("unsent", 9.0), ("cpu_of_db", 25.0), ("cpu_of_api", 5.0)] {
            kept.values.insert(format!("p/load/{measure}"), vec![Some(value)]);
        }
        let tables = variants(&scenario, &kept);
        assert!(tables.contains("| rate | events | refused | of these 429 | not sent |"), "{tables}");
        assert!(tables.contains("| p/load | 5.00 | 7.00 | 4.00 | 9.00 |"), "{tables}");
        assert!(tables.contains("| cost | CPU µs a delivery | × null | × signing | by process |"), "{tables}");
        assert!(tables.contains("**1.50** | api 5.00, db 25.0 |"), "{tables}");
    }
}
