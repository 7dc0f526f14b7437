//! The results of the current tree, by scenario: a run of some scenarios replaces only theirs.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::machine::Machine;
use crate::run::Outcome;
use crate::scenario::{Depth, PlotKind, Scenario};

/// The most points of a line that are kept.
const MOST_POINTS: usize = 240;

/// All that is kept.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Results {
    /// By the name of the scenario.
    pub scenarios: BTreeMap<String, Kept>,
}

/// The results of a scenario.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Kept {
    /// The commit that was measured.
    pub commit: String,
    /// The day.
    pub when: String,
    /// Where.
    pub machine: String,
    /// `quick` or `full`.
    pub depth: String,
    /// How many rounds.
    pub rounds: usize,
    /// How long all of it took.
    pub seconds: f64,
    /// What was wrong.
    pub faults: Vec<String>,
    /// By `variant/step/measure`, one a round.
    pub values: BTreeMap<String, Vec<Option<f64>>>,
    /// By `variant/step/kind`, those that are drawn.
    pub lines: BTreeMap<String, Vec<(f64, f64)>>,
}

impl Results {
    /// Reads what is kept; nothing when there is no file.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn load(file: &Path) -> Result<Self> {
        if !file.exists() {
            return Ok(Self::default());
        }
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        serde_json::from_str(&text).with_context(|| file.display().to_string())
    }

    /// Writes all, through a file beside it so that an interrupted run leaves the old one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, file: &Path) -> Result<()> {
        let beside = file.with_extension("json.new");
        std::fs::write(&beside, serde_json::to_vec(self)?).with_context(|| beside.display().to_string())?;
        std::fs::rename(&beside, file).with_context(|| file.display().to_string())
    }

    /// Seconds that a scenario took the last time, in the same depth; 0 when that is not known.
    #[must_use]
    pub fn took_last(&self, scenario: &str, depth: Depth, rounds: u64) -> u64 {
        let last = self.scenarios.get(scenario).filter(|kept| kept.depth == depth.word() && kept.rounds > 0);
        last.map_or(0, |kept| (kept.seconds * rounds as f64 / kept.rounds as f64) as u64)
    }

    /// Puts the outcome of a scenario in the place of the one before.
    pub fn put(&mut self, scenario: &Scenario, depth: Depth, outcome: &Outcome, machine: &Machine) {
        self.scenarios.insert(scenario.name.clone(), Kept::of(scenario, depth, outcome, machine));
    }
}

impl Kept {
    fn of(scenario: &Scenario, depth: Depth, outcome: &Outcome, machine: &Machine) -> Self {
        let mut values: BTreeMap<String, Vec<Option<f64>>> = BTreeMap::new();
        for (round, found) in outcome.rounds.iter().enumerate() {
            for (name, value) in &found.values {
                values.entry(name.clone()).or_insert_with(|| vec![None; outcome.rounds.len()])[round] = Some(rounded(*value));
            }
        }
        let drawn = scenario.plots.iter().flat_map(|plot| plot.of.iter().map(|name| format!("{name}/{}", plot.kind.line())));
        let lines = drawn.filter_map(|name| Some((name.clone(), line(outcome, &name)?))).collect();
        Self {
            commit: machine.commit.clone(),
            when: machine.day.clone(),
            machine: machine.description.clone(),
            depth: depth.word().to_owned(),
            rounds: outcome.rounds.len(),
            seconds: outcome.took.as_secs_f64().round(),
            faults: outcome.faults.clone(),
            values,
            lines,
        }
    }

    /// A figure, one a round; empty when it was not measured.
    #[must_use]
    pub fn figure(&self, name: &str) -> &[Option<f64>] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }
}

impl PlotKind {
    /// The kind of line that is drawn.
    #[must_use]
    pub fn line(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Throughput => "throughput",
            Self::Memory => "memory",
            Self::Arrivals => "arrivals",
        }
    }
}

/// Of lines with the same points in all rounds (percentiles), the medians; of others the last round's.
fn line(outcome: &Outcome, name: &str) -> Option<Vec<(f64, f64)>> {
    let lines: Vec<&Vec<(f64, f64)>> = outcome.rounds.iter().filter_map(|round| round.lines.get(name)).collect();
    let last = *lines.last()?;
    if !name.ends_with("/latency") {
        let every = last.len().div_ceil(MOST_POINTS);
        return Some(last.iter().step_by(every).map(|(x, y)| (rounded(*x), rounded(*y))).collect());
    }
    let median =
        |n: usize| super::stats::Spread::of(lines.iter().filter_map(|line| Some(line.get(n)?.1))).map_or(0.0, |spread| spread.median);
    Some(last.iter().enumerate().map(|(n, (x, _))| (*x, rounded(median(n)))).collect())
}

/// Five digits are enough, and keep the file small.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let scale = 10_f64.powi(4 - value.abs().log10().floor() as i32);
    if value.abs() >= 10_000.0 { value.round() } else { (value * scale).round() / scale }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Rounds;

    #[test]
    fn a_run_of_one_scenario_leaves_the_others() {
        let text =
            "title: t\nvariants: [{name: a, system: raw, steps: [{send: {count: 1}}]}]\nplots: [{kind: latency, title: l, of: [a/load]}]";
        let scenario = |name| Scenario::parse(name, text, Depth::Quick, Path::new(".")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("results.json");
        let mut results = Results::load(&file).unwrap();
        let machine = Machine { description: "m".into(), commit: "c1".into(), day: "d".into() };
        let mut outcome = Outcome { took: std::time::Duration::from_secs(5), ..Outcome::default() };
        for value in [1.0, 3.0] {
            let mut round = Rounds::default();
            round.values.insert("a/load/cpu".into(), value);
            round.lines.insert("a/load/latency".into(), vec![(50.0, value), (99.0, value * 2.0)]);
            outcome.rounds.push(round);
        }
        outcome.rounds[1].values.insert("a/load/late".into(), 123_456.789);
        results.put(&scenario("one"), Depth::Full, &outcome, &machine);
        results.save(&file).unwrap();
        let mut again = Results::load(&file).unwrap();
        again.put(&scenario("two"), Depth::Quick, &Outcome::default(), &Machine { commit: "c2".into(), ..machine });
        again.save(&file).unwrap();
        let kept = Results::load(&file).unwrap();
        assert_eq!((&*kept.scenarios["one"].commit, &*kept.scenarios["two"].commit), ("c1", "c2"));
        assert_eq!(kept.scenarios["one"].figure("a/load/cpu"), [Some(1.0), Some(3.0)]);
        assert_eq!(kept.scenarios["one"].figure("a/load/late"), [None, Some(123_457.0)]);
        assert_eq!(kept.scenarios["one"].lines["a/load/latency"], [(50.0, 2.0), (99.0, 4.0)]);
        assert!(kept.scenarios["one"].figure("nothing").is_empty());
        let seconds = |depth| Results::took_last(&kept, "one", depth, 4);
        assert_eq!((seconds(Depth::Full), seconds(Depth::Quick)), (10, 0), "5 s for two rounds");
    }
}
