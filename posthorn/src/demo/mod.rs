//! The demonstration.

use std::process::ExitCode;

/// Runs it.
pub fn demo() -> anyhow::Result<ExitCode> {
    anyhow::bail!("not written yet")
}
