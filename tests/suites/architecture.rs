//! Fails when an import goes against the arrows, or a file grows past the limit.
//!
//! The rules are the tables below, each with its reason. To change the shape on purpose, change the table.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

mod checker;

use checker::{Source, crate_violations, module_violations, pure_violations, size_violations};

/// A crate, the crates of ours that it may depend on, and why.
struct CrateRule {
    folder: &'static str,
    may_use: &'static [&'static str],
    /// What its tests may use beyond that.
    tests_may_use: &'static [&'static str],
    reason: &'static str,
}

const CRATES: &[CrateRule] = &[
    CrateRule { folder: "proto", may_use: &[], tests_may_use: &[], reason: "the contract depends on nothing" },
    CrateRule { folder: "domain", may_use: &[], tests_may_use: &[], reason: "the words and the pure logic depend on nothing of ours" },
    CrateRule { folder: "storage", may_use: &["domain"], tests_may_use: &[], reason: "stores keep words; they know no plane and no wire" },
    CrateRule {
        folder: "dataplane",
        may_use: &["domain", "storage", "proto"],
        tests_may_use: &[],
        reason: "the planes meet only over the wire, in one process too (there is no second path)",
    },
    CrateRule {
        folder: "controlplane",
        may_use: &["domain", "proto", "storage"],
        tests_may_use: &[],
        reason: "the planes meet only over the wire",
    },
    CrateRule {
        folder: "posthorn",
        may_use: &["domain", "storage", "proto", "dataplane", "controlplane"],
        tests_may_use: &[],
        reason: "the binary puts everything together",
    },
    CrateRule {
        folder: "sim",
        may_use: &["domain", "storage", "dataplane"],
        tests_may_use: &[],
        reason: "the simulation drives the core's parts on one thread; it knows neither the wire nor the doors",
    },
    CrateRule {
        folder: "bench",
        may_use: &["domain", "storage", "proto", "dataplane", "controlplane"],
        tests_may_use: &[],
        reason: "micro-benchmarks call parts directly",
    },
    CrateRule {
        folder: "load-tests",
        may_use: &["proto"],
        tests_may_use: &[],
        reason: "measures what a user can measure: the public doors, whose contract this is",
    },
    CrateRule {
        folder: "tests",
        may_use: &["proto"],
        tests_may_use: &["domain"],
        reason: "the suites see the public doors; the contract is one of them",
    },
];

/// Modules of one crate that may not import others, and why.
struct ModuleRule {
    crate_folder: &'static str,
    module: &'static str,
    never_uses: &'static [&'static str],
    reason: &'static str,
}

const MODULES: &[ModuleRule] = &[
    ModuleRule {
        crate_folder: "dataplane",
        module: "ingest",
        never_uses: &["delivery", "egress"],
        reason: "the doors meet only in the log and in route",
    },
    ModuleRule {
        crate_folder: "dataplane",
        module: "delivery",
        never_uses: &["ingest"],
        reason: "the doors meet only in the log and in route",
    },
    ModuleRule {
        crate_folder: "dataplane",
        module: "egress",
        never_uses: &["ingest", "delivery", "control", "route"],
        reason: "the HTTP client knows addresses and limits, not events or lanes",
    },
    ModuleRule {
        crate_folder: "dataplane",
        module: "control",
        never_uses: &["ingest", "delivery", "egress"],
        reason: "a snapshot reaches the rest through route alone",
    },
    ModuleRule {
        crate_folder: "dataplane",
        module: "route",
        never_uses: &["ingest", "delivery", "egress", "control"],
        reason: "route is the compiled snapshot; everyone reads it, it calls no one",
    },
];

/// Files (by the end of their path) that decide and do no I/O: they import no tokio, hyper or tonic.
const PURE: &[(&str, &str)] = &[
    ("domain/src/", "the domain is pure logic"),
    ("delivery/attempt.rs", "the attempt's state machine decides; the driver does I/O"),
    ("delivery/outcome.rs", "what an answer means is a function of the answer"),
    ("delivery/breaker.rs", "the breaker is a function of outcomes and time"),
    ("delivery/share.rs", "shares are counts in two spans of time"),
    ("delivery/concurrency.rs", "how much an endpoint can take is a function of its answers"),
    ("delivery/flow.rs", "what an endpoint asked for is a function of its answers and time"),
    ("delivery/retry_budget.rs", "a budget is a few numbers that time and attempts move"),
    ("delivery/purse.rs", "who gets the next token is a queue"),
    ("egress/allowed_rate.rs", "a header in, a rate out"),
    ("delivery/lane.rs", "a lane is a state: what it has seen and what it may send"),
    ("delivery/backlog.rs", "what waits is an ordered map and the place up to which it is whole"),
    ("delivery/rate.rs", "a rate is arithmetic on times"),
    ("delivery/window.rs", "settled positions are arithmetic"),
    ("readers/group.rs", "who has which partition is a function of polls, commits and time"),
    ("egress/retry_after.rs", "a header and a time in, a time out"),
    ("route/", "the compiled snapshot is data"),
    ("controlplane/src/registry", "what a change means does not depend on where it is kept"),
];

const IO_CRATES: &[&str] = &["tokio", "tokio_util", "tokio_stream", "hyper", "hyper_util", "tonic", "fjall"];
const LONGEST_FILE: usize = 500;
const MEDIAN_FILE: usize = 150;

#[test]
fn crates_import_along_the_arrows() -> Result<()> {
    let mut found = Vec::new();
    for rule in CRATES {
        let manifest = read(&root().join(rule.folder).join("Cargo.toml"))?;
        found.extend(crate_violations(rule, &manifest)?);
    }
    report(&found)
}

#[test]
fn the_control_plane_touches_no_log_and_no_delivery_state() -> Result<()> {
    let mine = |source: &&Source| source.name.starts_with("controlplane/");
    let count = |source: &Source, name| source.text.matches(name).count();
    let uses = |source: &&Source| count(source, "posthorn_storage") > count(source, "posthorn_storage::database");
    let found: Vec<String> = sources()?.iter().filter(mine).filter(uses).map(|source| source.name.clone()).collect();
    report(&found)
}

#[test]
fn every_crate_has_a_rule() -> Result<()> {
    let workspace: toml::Value = toml::from_str(&read(&root().join("Cargo.toml"))?)?;
    let members = workspace["workspace"]["members"].as_array().context("members")?;
    for member in members.iter().filter_map(|m| m.as_str()) {
        assert!(CRATES.iter().any(|r| r.folder == member), "{member} has no rule in tests/suites/architecture.rs");
    }
    Ok(())
}

#[test]
fn modules_import_along_the_arrows() -> Result<()> {
    let sources = sources()?;
    report(&MODULES.iter().flat_map(|rule| module_violations(rule, &sources)).collect::<Vec<_>>())
}

#[test]
fn pure_files_do_no_io() -> Result<()> {
    report(&pure_violations(PURE, IO_CRATES, &sources()?))
}

#[test]
fn the_tables_name_what_is_there() -> Result<()> {
    let sources = sources()?;
    let gone = PURE.iter().filter(|(place, _)| !sources.iter().any(|s| s.name.contains(place)));
    report(&gone.map(|(place, _)| format!("{place} is in the table of pure files and nowhere else")).collect::<Vec<_>>())
}

#[test]
fn files_stay_short() -> Result<()> {
    report(&size_violations(&sources()?, LONGEST_FILE, MEDIAN_FILE))
}

fn report(found: &[String]) -> Result<()> {
    anyhow::ensure!(found.is_empty(), "against the arrows:\n{}", found.join("\n"));
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// All Rust files of the workspace's crates, with paths relative to the root.
fn sources() -> Result<Vec<Source>> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = CRATES.iter().map(|r| root().join(r.folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(root())?.to_string_lossy().into_owned();
                found.push(Source { name, text: read(&path)? });
            }
        }
    }
    Ok(found)
}
