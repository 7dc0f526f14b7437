//! What came of a soak, and the page about it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Options;
use super::gauges::{GAUGES, Halves};
use super::lives::Sums;
use super::node::{GROUPS, Group};
use super::pull::Had;
use crate::receiver::tally::{GroupReport, RunReport};
use crate::report::Machine;

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// What is wrong; empty when nothing was lost and nothing has grown.
    pub wrong: Vec<String>,
    seed: u64,
    seconds: u64,
    found: Found,
}

/// What was counted and measured.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) rate: f64,
    pub(super) ceiling: Option<f64>,
    pub(super) events: u64,
    /// Of the receiver.
    pub(super) report: RunReport,
    /// Of the reader.
    pub(super) pulled: Had,
    pub(super) lives: Sums,
    pub(super) dead_letters: u64,
    pub(super) gauges: Vec<Halves>,
    pub(super) faults: BTreeMap<&'static str, u64>,
    /// Why the disk was never full, if it cannot be.
    pub(super) disk: Option<String>,
}

impl Outcome {
    pub(super) fn new(options: &Options, found: Found) -> Self {
        let mut wrong = Vec::new();
        for group in GROUPS {
            let (unique, due) = (found.of(group).unique, found.events * u64::from(group.count));
            if unique != due {
                wrong.push(format!("{}: {unique} of {due} deliveries have arrived", group.name));
            }
        }
        wrong.extend(found.pulled.wrong.iter().chain(&found.lives.wrong).cloned());
        if found.report.untracked > 0 {
            wrong.push(format!("{} deliveries could not be kept track of", found.report.untracked));
        }
        if found.dead_letters > 0 {
            wrong.push(format!("{} dead letters", found.dead_letters));
        }
        for (gauge, halves) in GAUGES.iter().zip(&found.gauges) {
            if !gauge.is_flat(*halves) {
                wrong.push(format!("{} grew from {:.1} to {:.1}", gauge.name, halves.first, halves.second));
            }
        }
        Self { wrong, seed: options.seed, seconds: options.length.as_secs(), found }
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
            self.found.rate,
            self.found.ceiling.map(|ceiling| format!(" (half of the ceiling of {ceiling:.0} that was found first)")).unwrap_or_default(),
            self.seed,
            if self.wrong.is_empty() { "nothing lost, nothing grew".to_owned() } else { self.wrong.join("; ") },
        );
        page.push_str(
            "\nThe first third has kills and restarts; the rest is one life of the process. Its first quarter is warm-up (200 s if that\n\
             is more, and half if that is less); what is left is compared by halves: a quarter of the samples were at or below the figure\n\
             (faults make everything swing; what leaks is not given back). Allowed is a share of the first half and a number beyond.\n\n\
             | | first half | second half | allowed | most | slope, an hour |\n|---|---|---|---|---|---|\n",
        );
        for (gauge, halves) in GAUGES.iter().zip(&self.found.gauges) {
            let allowed = halves.first * (1.0 + gauge.allowed.0) + gauge.allowed.1;
            line(
                &mut page,
                format_args!(
                    "| {} | {:.1} | {:.1} | {allowed:.1} | {:.1} | {:+.1} |",
                    gauge.name, halves.first, halves.second, halves.most, halves.slope
                ),
            );
        }
        self.events(&mut page);
        page.push_str("\n| fault | times |\n|---|---|\n");
        for (name, times) in &self.found.faults {
            line(&mut page, format_args!("| {name} | {times} |"));
        }
        if let Some(why) = &self.found.disk {
            line(&mut page, format_args!("\nThe disk was never full, for none can be mounted here: {why}"));
        }
        page
    }

    fn events(&self, page: &mut String) {
        let Found { events, pulled, lives, .. } = &self.found;
        line(page, format_args!("\n{events} events, each due at every subscription; all were answered.\n"));
        page.push_str("| subscriptions | of them | delivered | lost | repeated | attempts that failed |\n|---|---|---|---|---|---|\n");
        for group in GROUPS {
            let GroupReport { unique, repeated, refused, .. } = self.found.of(group);
            let lost = (events * u64::from(group.count)).saturating_sub(unique);
            line(page, format_args!("| {} | {} | {unique} | {lost} | {repeated} | {refused} |", group.name, group.count));
        }
        let lost = events.saturating_sub(pulled.events);
        line(page, format_args!("| pulled | 1 | {} | {lost} | {} | {} commits |", pulled.events, pulled.repeated, pulled.unanswered));
        line(
            page,
            format_args!(
                "\nThe process began {} times after a kill and {} times after an end in good order. In those lives {} deliveries came again \
                 (but for `plain`, where an answer may come too late), and the process had counted {} that may; in no life more than it had \
                 counted, and none after an end in good order. What was pulled came in the order of each partition, and again only where the \
                 commit was not answered.",
                lives.after_kill, lives.after_end, lives.repeated, lives.counted
            ),
        );
    }
}

impl Found {
    fn of(&self, group: Group) -> GroupReport {
        self.report.groups.get(group.name).cloned().unwrap_or_default()
    }
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a text does not fail.
    writeln!(page, "{text}").ok();
}
