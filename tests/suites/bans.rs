//! Enforces the bans and sources of `.deny.toml` over `Cargo.lock`, so that `cargo test` alone catches a banned crate.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

#[derive(Deserialize)]
struct Rules {
    bans: Bans,
    sources: Sources,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
    /// Crates that may depend on it all the same.
    #[serde(default)]
    wrappers: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

#[test]
fn the_lock_file_keeps_to_the_bans() -> Result<()> {
    let rules: Rules = read(".deny.toml")?;
    let found = violations(&rules, &read("Cargo.lock")?);
    assert!(found.is_empty(), "{}", found.join("\n"));
    Ok(())
}

/// The other engine stays out of what is shipped.
#[test]
fn cel_meets_tests_only() -> Result<()> {
    let manifest: toml::Table = read("domain/Cargo.toml")?;
    assert!(!manifest["dependencies"].as_table().context("dependencies")?.contains_key("cel"));
    Ok(())
}

#[test]
fn a_banned_crate_is_found_but_not_behind_its_wrapper() -> Result<()> {
    let rules: Rules = toml::from_str(
        r#"
        bans.deny = [{ crate = "bad", reason = "it is" }, { crate = "odd", reason = "it is", wrappers = ["ours"] }]
        sources.allow-registry = ["https://registry"]
        "#,
    )?;
    let lock = toml::from_str(
        r#"
        package = [
            { name = "bad", source = "registry+https://registry" },
            { name = "odd", source = "registry+https://registry" },
            { name = "ours", dependencies = ["bad", "odd 1.0.0"] },
            { name = "far", source = "git+https://elsewhere", dependencies = [] },
        ]
        "#,
    )?;
    let found = violations(&rules, &lock);
    assert_eq!(found, ["bad is banned (it is); needed by ours", "far comes from git+https://elsewhere"]);
    Ok(())
}

fn violations(rules: &Rules, lock: &Lock) -> Vec<String> {
    let banned = rules.bans.deny.iter().filter_map(|ban| {
        lock.package.iter().find(|p| p.name == ban.name)?;
        let users = users(lock, &ban.name);
        let unexcused = users.iter().any(|u| !ban.wrappers.iter().any(|w| w == u)) || users.is_empty();
        unexcused.then(|| format!("{} is banned ({}); needed by {}", ban.name, ban.reason, users.join(", ")))
    });
    let foreign = lock.package.iter().filter_map(|p| {
        let source = p.source.as_deref()?;
        let known = rules.sources.allow_registry.iter().any(|r| source.strip_prefix("registry+") == Some(r));
        (!known).then(|| format!("{} comes from {source}", p.name))
    });
    banned.chain(foreign).collect()
}

fn users<'a>(lock: &'a Lock, name: &str) -> Vec<&'a str> {
    // A dependency is written `name`, or `name version` where there are several versions.
    let uses = |p: &&Package| p.dependencies.iter().any(|d| d.split(' ').next() == Some(name));
    lock.package.iter().filter(uses).map(|p| p.name.as_str()).collect()
}

fn read<T: serde::de::DeserializeOwned>(file: &str) -> Result<T> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    toml::from_str(&text).with_context(|| path.display().to_string())
}
