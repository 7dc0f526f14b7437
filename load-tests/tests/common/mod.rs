//! Runs a scenario through the program, as a user does, and reads what it left.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use posthorn_load::report::Results;
use tempfile::TempDir;

pub(crate) const OWN: &str = env!("CARGO_BIN_EXE_posthorn-load");

/// A run that has ended.
pub(crate) struct Ran {
    pub(crate) succeeded: bool,
    /// Both of its outputs.
    pub(crate) said: String,
    /// RESULTS.md; empty when it wrote none.
    pub(crate) page: String,
    name: String,
    results: Results,
    _folder: TempDir,
}

impl Ran {
    /// Runs a scenario of this text under this name; what it leaves is in the folder.
    pub(crate) fn of(name: &str, text: &str, folder: TempDir, posthorn: Option<&Path>) -> Result<Self> {
        let (file, none) = (folder.path().join(format!("{name}.yaml")), folder.path().join("none"));
        std::fs::write(&file, text)?;
        std::fs::create_dir(&none)?;
        let mut command = Command::new(OWN);
        // Posthorn reads every variable of that kind as configuration.
        command.env_remove("POSTHORN_BIN").arg("run").arg(&file).arg("--out").arg(folder.path()).arg("--scenarios").arg(&none);
        if let Some(posthorn) = posthorn {
            command.arg("--posthorn").arg(posthorn);
        }
        let output = command.output()?;
        Ok(Self {
            succeeded: output.status.success(),
            said: format!("{}\n{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout)),
            page: std::fs::read_to_string(folder.path().join("RESULTS.md")).unwrap_or_default(),
            name: name.to_owned(),
            results: Results::load(&folder.path().join("results.json"))?,
            _folder: folder,
        })
    }

    /// `variant/step/measure` of the first round.
    pub(crate) fn figure(&self, name: &str) -> Option<f64> {
        self.results.scenarios.get(&self.name)?.figure(name).first().copied().flatten()
    }
}
