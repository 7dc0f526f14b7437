//! Finds the binary under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, ensure};

static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();

/// The path of the `posthorn` binary: `POSTHORN_BIN`, else the one beside the running test; built when it is missing.
///
/// # Errors
/// When it is neither there nor can be built.
pub fn posthorn() -> Result<PathBuf> {
    FOUND.get_or_init(|| find().map_err(|e| format!("{e:#}"))).clone().map_err(|e| anyhow!(e))
}

/// The binary as a command without what the environment of the tests says about Posthorn: its configuration reads every
/// `POSTHORN_…` variable, `POSTHORN_BIN` too.
pub(crate) fn command(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"POSTHORN_") {
            command.env_remove(name);
        }
    }
    command
}

fn find() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("POSTHORN_BIN") {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "POSTHORN_BIN names {}, which is not a file", path.display());
        return Ok(path);
    }
    let test = std::env::current_exe().context("where am I")?;
    // target/{profile}/deps/{test}
    let profile = test.parent().and_then(Path::parent).context("the test is not in a target folder")?;
    let binary = profile.join("posthorn");
    if !binary.is_file() {
        build(profile)?;
    }
    ensure!(binary.is_file(), "{} is not there after building it", binary.display());
    Ok(binary)
}

fn build(profile: &Path) -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--package", "posthorn"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if let Some(target) = profile.parent() {
        cargo.env("CARGO_TARGET_DIR", target);
    }
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().context("cannot run cargo")?;
    ensure!(status.success(), "building posthorn failed: {status}");
    Ok(())
}
