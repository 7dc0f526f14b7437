//! The real binary as a child process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;

use crate::api::Api;
use crate::binary;
use crate::config::Config;
use crate::wait::eventually;

mod output;

use output::Output;

const READY_WITHIN: Duration = Duration::from_secs(20);
const EXIT_WITHIN: Duration = Duration::from_secs(30);

/// Which planes the process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Both planes.
    Serve,
    /// The data plane alone; the configuration names the control plane (`control.url`).
    DataPlane,
    /// The control plane alone.
    ControlPlane,
}

impl Mode {
    fn verb(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::DataPlane => "dataplane",
            Self::ControlPlane => "controlplane",
        }
    }
}

/// The doors that the ready line names.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct Doors {
    /// Data plane HTTP.
    pub data: Option<SocketAddr>,
    /// Control plane REST and gRPC.
    pub control: Option<SocketAddr>,
    /// EventBroker gRPC.
    pub broker: Option<SocketAddr>,
    /// Live, ready, metrics.
    pub admin: Option<SocketAddr>,
}

/// A running (or killed) Posthorn with its data folder. Dropping it kills the process and removes the folder.
#[derive(Debug)]
pub struct Posthorn {
    binary: PathBuf,
    mode: Mode,
    config: Config,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    folder: TempDir,
    doors: Doors,
    running: Option<Running>,
    output: Option<Output>,
}

/// Kills only this child, by its handle, when dropped.
#[derive(Debug)]
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Posthorn {
    /// Starts `posthorn serve` and waits until it is ready.
    ///
    /// # Errors
    /// When the process ends or does not say `ready` within 20 seconds; the error has the tail of its stderr.
    pub async fn start(config: Config) -> Result<Self> {
        Self::start_as(Mode::Serve, config).await
    }

    /// Starts the planes that `mode` names. A data plane needs `control.url` in its configuration: [`Posthorn::url_of_control`].
    ///
    /// # Errors
    /// As [`Posthorn::start`].
    pub async fn start_as(mode: Mode, config: Config) -> Result<Self> {
        Self::start_with(mode, config, &[], &[]).await
    }

    /// As [`Posthorn::start_as`], with further arguments and environment variables.
    ///
    /// # Errors
    /// As [`Posthorn::start`].
    pub async fn start_with(mode: Mode, config: Config, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        Self::start_binary(binary::posthorn()?, mode, config, arguments, environment).await
    }

    async fn start_binary(binary: PathBuf, mode: Mode, config: Config, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        let mut posthorn = Self {
            binary,
            mode,
            config,
            arguments: arguments.iter().map(ToString::to_string).collect(),
            environment: environment.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
            folder: tempfile::tempdir().context("no temporary folder")?,
            doors: Doors::default(),
            running: None,
            output: None,
        };
        posthorn.spawn().await?;
        Ok(posthorn)
    }

    /// The folder that holds its data.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The configuration file it was started with.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("posthorn.yaml")
    }

    /// The doors of the last start.
    #[must_use]
    pub fn doors(&self) -> Doors {
        self.doors
    }

    /// The data plane's HTTP door.
    #[must_use]
    pub fn data(&self) -> Api {
        Api::new(self.doors.data.expect("this mode has a data door"))
    }

    /// The control plane's door.
    #[must_use]
    pub fn control(&self) -> Api {
        Api::new(self.doors.control.expect("this mode has a control door"))
    }

    /// The admin door.
    #[must_use]
    pub fn admin(&self) -> Api {
        Api::new(self.doors.admin.expect("this mode has an admin door"))
    }

    /// The URL of the EventBroker door, for a gRPC client.
    #[must_use]
    pub fn broker_url(&self) -> String {
        format!("http://{}", self.doors.broker.expect("this mode has a broker door"))
    }

    /// The URL of the control door, for a data plane on its own.
    #[must_use]
    pub fn url_of_control(&self) -> String {
        format!("http://{}", self.doors.control.expect("this mode has a control door"))
    }

    /// The process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|r| r.0.id())
    }

    /// The last lines of its stderr (at most 1,000), also after it has ended.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.output.as_ref().map(Output::stderr).unwrap_or_default()
    }

    /// Kills it at once (SIGKILL) and waits until it is gone. The data folder stays.
    pub fn kill9(&mut self) {
        self.running = None;
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// When it is not running or has not ended after 30 seconds.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        let running = self.running.as_ref().context("not running")?;
        kill_process(Pid::from_child(&running.0), Signal::TERM).context("SIGTERM")?;
        self.wait_exit().await
    }

    /// Waits until the process ends by itself.
    ///
    /// # Errors
    /// When it is not running or has not ended after 30 seconds.
    pub async fn wait_exit(&mut self) -> Result<ExitStatus> {
        let running = self.running.as_mut().context("not running")?;
        let status = eventually("the process ends", EXIT_WITHIN, || std::future::ready(running.0.try_wait().ok().flatten())).await?;
        self.running = None;
        if let Some(output) = &self.output {
            output.drained().await;
        }
        Ok(status)
    }

    /// Starts it again on the same data folder and the same addresses, after killing it where it still runs.
    ///
    /// # Errors
    /// As [`Posthorn::start`].
    pub async fn restart(&mut self) -> Result<()> {
        self.kill9();
        let keep = [("http", self.doors.data), ("control", self.doors.control), ("broker", self.doors.broker), ("admin", self.doors.admin)];
        for (door, address) in keep {
            // The other plane and the test's clients hold on to the address.
            if let Some(address) = address {
                self.config.put(&format!("{door}.listen"), json!(address.to_string()));
            }
        }
        self.spawn().await
    }

    /// As [`Posthorn::restart`], with a changed configuration.
    ///
    /// # Errors
    /// As [`Posthorn::start`].
    pub async fn restart_with(&mut self, change: impl FnOnce(Config) -> Config) -> Result<()> {
        self.config = change(self.config.clone());
        self.restart().await
    }

    async fn spawn(&mut self) -> Result<()> {
        self.config.put("data_dir", json!(self.data_dir()));
        self.config.write(&self.config_file()).context("writing the configuration")?;
        let mut child = command(&self.binary, self.mode, &self.config_file())
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(k, v)| (k, v)))
            .spawn()
            .context("cannot start posthorn")?;
        let (output, ready) = Output::capture(&mut child)?;
        let running = Running(child);
        let line = match tokio::time::timeout(READY_WITHIN, ready).await {
            Ok(Ok(line)) => line,
            Ok(Err(_)) => return Err(ended_early(running, &output).await),
            Err(_) => bail!("not ready within {READY_WITHIN:?}; stderr:\n{}", output.stderr()),
        };
        self.doors = serde_json::from_str(&line).with_context(|| format!("the ready line is not as agreed: {line}"))?;
        self.running = Some(running);
        self.output = Some(output);
        Ok(())
    }
}

fn command(binary: &Path, mode: Mode, config: &Path) -> Command {
    let mut command = binary::command(binary);
    command.arg(mode.verb()).arg("--config").arg(config);
    // The suites' own variable; to Posthorn it would be an unknown key.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

async fn ended_early(mut running: Running, output: &Output) -> anyhow::Error {
    // stdout is closed, so the end is near; the exit status makes the error useful.
    let status = eventually("exit", EXIT_WITHIN, || std::future::ready(running.0.try_wait().ok().flatten())).await;
    let status = status.map_or_else(|e| e.to_string(), |s| s.to_string());
    output.drained().await;
    anyhow!("posthorn ended before it was ready ({status}); stderr:\n{}", output.stderr())
}

#[cfg(test)]
mod tests;
