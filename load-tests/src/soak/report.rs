//! What came of a soak, and the page about it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Options;
use super::gauges::{GAUGES, Halves};
use super::node::GROUPS;
use crate::receiver::tally::RunReport;
use crate::report::Machine;

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// What is wrong; empty when nothing was lost and nothing has grown.
    pub wrong: Vec<String>,
    seed: u64,
    seconds: u64,
    rate: f64,
    ceiling: Option<f64>,
    events: u64,
    /// Group, subscriptions, delivered, repeated, attempts that were turned away.
    groups: Vec<(&'static str, u32, u64, u64, u64)>,
    gauges: Vec<Halves>,
    faults: BTreeMap<&'static str, u64>,
}

impl Outcome {
    #[expect(clippy::too_many_arguments, reason = "each is one figure of the page")]
    pub(super) fn new(
        options: &Options,
        rate: f64,
        ceiling: Option<f64>,
        events: u64,
        report: &RunReport,
        dead_letters: u64,
        gauges: Vec<Halves>,
        faults: BTreeMap<&'static str, u64>,
    ) -> Self {
        let mut wrong = Vec::new();
        let mut groups = Vec::new();
        for group in GROUPS {
            let found = report.groups.get(group.name).cloned().unwrap_or_default();
            let due = events * u64::from(group.count);
            if found.unique != due {
                wrong.push(format!("{}: {} of {due} deliveries have arrived", group.name, found.unique));
            }
            groups.push((group.name, group.count, found.unique, found.repeated, found.refused));
        }
        if report.untracked > 0 {
            wrong.push(format!("{} deliveries could not be kept track of", report.untracked));
        }
        if dead_letters > 0 {
            wrong.push(format!("{dead_letters} dead letters"));
        }
        for (gauge, halves) in GAUGES.iter().zip(&gauges) {
            if !gauge.is_flat(*halves) {
                wrong.push(format!("{} grew from {:.1} to {:.1}", gauge.name, halves.first, halves.second));
            }
        }
        Self { wrong, seed: options.seed, seconds: options.length.as_secs(), rate, ceiling, events, groups, gauges, faults }
    }

    /// The page.
    #[must_use]
    pub fn page(&self) -> String {
        let machine = Machine::read();
        let mut page = format!(
            "# Soak\n\nWritten by `posthorn-load soak` on {} at commit {}, on {}.\n\n{} s at {:.0} events a second{}, seed {}: **{}**.\n",
            machine.day,
            machine.commit,
            machine.description,
            self.seconds,
            self.rate,
            self.ceiling.map(|ceiling| format!(" (half of the ceiling of {ceiling:.0} that was found first)")).unwrap_or_default(),
            self.seed,
            if self.wrong.is_empty() { "nothing lost, nothing grew".to_owned() } else { self.wrong.join("; ") },
        );
        page.push_str(
            "\nThe first third has kills and restarts; the rest is one life of the process. Its first quarter is warm-up, the other three are\n\
             compared by halves: a quarter of the samples were at or below the figure (faults make everything swing; what leaks is not given\n\
             back). Allowed is a share of the first half and a number beyond.\n\n\
             | | first half | second half | allowed | most | slope, an hour |\n|---|---|---|---|---|---|\n",
        );
        for (gauge, halves) in GAUGES.iter().zip(&self.gauges) {
            let allowed = halves.first * (1.0 + gauge.allowed.0) + gauge.allowed.1;
            line(
                &mut page,
                format_args!(
                    "| {} | {:.1} | {:.1} | {allowed:.1} | {:.1} | {:+.1} |",
                    gauge.name, halves.first, halves.second, halves.most, halves.slope
                ),
            );
        }
        line(&mut page, format_args!("\n{} events, each due at every subscription; all were answered.\n", self.events));
        page.push_str("| subscriptions | of them | delivered | lost | repeated | attempts that failed |\n|---|---|---|---|---|---|\n");
        for (name, count, delivered, repeated, refused) in &self.groups {
            let lost = (self.events * u64::from(*count)).saturating_sub(*delivered);
            line(&mut page, format_args!("| {name} | {count} | {delivered} | {lost} | {repeated} | {refused} |"));
        }
        page.push_str("\n| fault | times |\n|---|---|\n");
        for (name, times) in &self.faults {
            line(&mut page, format_args!("| {name} | {times} |"));
        }
        page
    }
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a text does not fail.
    writeln!(page, "{text}").ok();
}
