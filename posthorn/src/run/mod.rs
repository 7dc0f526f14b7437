//! Wires the planes together and runs them.

use std::process::ExitCode;

use crate::config::Config;

/// Both planes in one process.
pub fn serve(_config: Config) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not wired yet")
}

/// A data plane on its own.
pub fn dataplane(_config: Config) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not wired yet")
}

/// A control plane on its own.
pub fn controlplane(_config: Config) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not wired yet")
}
