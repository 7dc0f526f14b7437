//! Scenarios: what is set up, sent, and measured, as YAML files (`scenarios/*.yaml`). docs/load-tests.md describes the members.

mod check;
mod read;
mod row;
mod send;
mod step;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

pub use row::{Aim, Plot, PlotKind, Row};
pub use send::{Pace, PayloadSpec, Rate, Send};
pub use step::{Step, Subscribe, Via};

/// Which set of numbers is in force where a file gives two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// A few minutes for all.
    Quick,
    /// Up to 40 minutes for all.
    Full,
}

impl Depth {
    /// As scenarios and results name it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Full => "full",
        }
    }
}

/// A scenario.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The name of its file.
    pub name: String,
    /// A line.
    pub title: String,
    /// What it shows and how.
    pub about: String,
    /// Where it stands in the report.
    pub order: u64,
    /// How often each variant is measured; in turn.
    pub rounds: u64,
    /// It is part of a run in this depth that names no scenarios.
    pub included: bool,
    /// A scenario that takes longer has failed.
    pub limit: Duration,
    /// The receiver.
    pub receiver: ReceiverSpec,
    /// What is measured in turn.
    pub variants: Vec<Variant>,
    /// Figures of the report beyond the table of variants.
    pub rows: Vec<Row>,
    /// Drawings of the report.
    pub plots: Vec<Plot>,
}

/// How the receiver is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiverSpec {
    /// Where it listens; port 0 picks one.
    pub listen: SocketAddr,
    /// Loopback addresses on one port.
    pub hosts: u8,
    /// HTTPS too.
    pub tls: bool,
}

/// One of the things that are compared.
#[derive(Debug, Clone)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// What is measured.
    pub system: System,
    /// It is set up once and kept for all rounds.
    pub keep: bool,
    /// The forwarders that its ratios are to; the first of each kind when it says nothing.
    pub yardsticks: Option<Vec<String>>,
    /// Done once it is started.
    pub setup: Vec<Step>,
    /// Done in each round.
    pub steps: Vec<Step>,
}

/// What is between generator and receiver.
#[derive(Debug, Clone)]
pub enum System {
    /// Nothing.
    Raw,
    /// A bare forwarder.
    Forwarder(ForwarderSpec),
    /// Posthorn.
    Posthorn(Box<PosthornSpec>),
    /// Any gateway that runs already and delivers to the receiver.
    External(Box<ExternalSpec>),
}

/// A bare forwarder: a yardstick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwarderSpec {
    /// Whether it signs.
    pub sign: bool,
    /// How often it sends each request on.
    pub fan_out: u32,
    /// Which of the receiver's doors it delivers to.
    pub via: Via,
}

/// How Posthorn is set up.
#[derive(Debug, Clone)]
pub struct PosthornSpec {
    /// Topics; events go to each in turn.
    pub topics: u32,
    /// What each topic has beyond its name and schemas.
    pub topic: Value,
    /// The schemas that topics demand.
    pub schemas: Schemas,
    /// Configuration over that of the harness.
    pub config: Value,
    /// Its data is in memory (`/dev/shm`, where that is there): for setups that would wait for a disk.
    pub in_memory: bool,
}

/// Schemas that are registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schemas {
    /// None.
    None,
    /// The order's.
    Order,
    /// That of a payload of a given size.
    Sized,
    /// All `*.json` of a folder, by their file names; topics demand that events name one.
    Folder(PathBuf),
}

/// A gateway that somebody else runs.
#[derive(Debug, Clone)]
pub struct ExternalSpec {
    /// Where events are posted.
    pub url: url::Url,
    /// Headers of each request.
    pub headers: Vec<(String, String)>,
    /// A file of certificate authorities to trust.
    pub ca: Option<PathBuf>,
    /// Its processes, for the accounting.
    pub pids: Vec<u32>,
    /// Deliveries of each event that the receiver is to get.
    pub deliveries: u64,
}

impl Scenario {
    /// Reads a scenario; its name is that of the file, relative paths in it start at its folder.
    ///
    /// # Errors
    /// When the file cannot be read; all its faults.
    pub fn load(file: &Path, depth: Depth) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let name = file.file_stem().and_then(|stem| stem.to_str()).context("a file name")?;
        let folder = file.parent().unwrap_or(Path::new("."));
        Self::parse(name, &text, depth, folder).with_context(|| file.display().to_string())
    }

    /// Reads a scenario from its text.
    ///
    /// # Errors
    /// When it is no YAML; all its faults.
    pub fn parse(name: &str, text: &str, depth: Depth, folder: &Path) -> Result<Self> {
        let document: Value = serde_saphyr::from_str(text).map_err(|error| anyhow::anyhow!("{}", error.without_snippet()))?;
        read::scenario(name, document, depth, folder)
    }

    /// Whether one of its variants is Posthorn.
    #[must_use]
    pub fn needs_posthorn(&self) -> bool {
        self.variants.iter().any(|variant| matches!(variant.system, System::Posthorn(_)))
    }

    /// The bare or the signing forwarder that ratios of a variant are to; `None` where there is none, or it is the variant itself.
    #[must_use]
    pub fn yardstick(&self, variant: &Variant, signing: bool) -> Option<&Variant> {
        let named = |other: &Variant| variant.yardsticks.as_ref().is_none_or(|names| names.contains(&other.name));
        let fits = |other: &&Variant| matches!(other.system, System::Forwarder(spec) if spec.sign == signing) && named(other);
        self.variants.iter().find(fits).filter(|found| found.name != variant.name)
    }
}

/// All scenarios of a folder, in the order of the report.
///
/// # Errors
/// As [`Scenario::load`].
pub fn load_all(folder: &Path, depth: Depth) -> Result<Vec<Scenario>> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let files = entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "yaml"));
    let mut scenarios = files.map(|file| Scenario::load(&file, depth)).collect::<Result<Vec<_>>>()?;
    scenarios.sort_by(|a, b| (a.order, &a.name).cmp(&(b.order, &b.name)));
    Ok(scenarios)
}

impl Variant {
    /// All steps, setup first.
    pub fn all_steps(&self) -> impl Iterator<Item = &Step> {
        self.setup.iter().chain(&self.steps)
    }

    /// The names under which its steps leave figures.
    pub fn spans(&self) -> impl Iterator<Item = &str> {
        self.all_steps().filter_map(Step::span)
    }
}
