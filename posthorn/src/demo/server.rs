//! The real server as a child process: `posthorn serve` of this very binary, in a directory of its own.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

/// Loopback, free ports, loopback targets allowed: no more is set, the rest are the shipped defaults.
const CONFIG: &str = r#"# Written by `posthorn demo`.
http: {listen: "127.0.0.1:0"}
control: {listen: "127.0.0.1:0"}
broker: {listen: "127.0.0.1:0"}
admin: {listen: "127.0.0.1:0"}
delivery: {allow_cidrs: ["127.0.0.0/8"]}
"#;

/// A server that runs; killed when dropped.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    folder: PathBuf,
    pub(super) doors: Doors,
}

/// The ready line's content.
#[derive(Debug, Deserialize)]
pub(super) struct Doors {
    pub(super) data: SocketAddr,
    pub(super) control: SocketAddr,
    pub(super) broker: SocketAddr,
    pub(super) admin: SocketAddr,
}

/// A directory for this run: `serve.log` stays, the rest goes.
pub(super) fn folder() -> anyhow::Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("posthorn-demo-{}", uuid::Uuid::now_v7().simple()));
    DirBuilder::new().mode(0o700).create(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// Where the server's log lines go.
pub(super) fn log(folder: &Path) -> PathBuf {
    folder.join("serve.log")
}

impl Server {
    /// Starts it and waits for its ready line.
    pub(super) async fn start(folder: PathBuf) -> anyhow::Result<Self> {
        let config = folder.join("posthorn.yaml");
        std::fs::write(&config, CONFIG).with_context(|| config.display().to_string())?;
        let log = OpenOptions::new().create_new(true).write(true).mode(0o600).open(log(&folder))?;
        let mut child = spawn(&config, &folder.join("data"), log)?;
        let stdout = child.stdout.take().context("the child's output is piped")?;
        let mut server = Self { child, folder, doors: Doors::nowhere() };
        server.doors = timeout(PATIENCE, ready(stdout)).await.context("`posthorn serve` was not ready within 30s")??;
        Ok(server)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end (SIGTERM), waits, and says how it ended. Removes what it kept, but not its log.
    pub(super) async fn stop(mut self) -> anyhow::Result<Option<i32>> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a process id")?;
        kill_process(pid, Signal::TERM)?;
        let ended = timeout(PATIENCE, async {
            loop {
                match self.child.try_wait() {
                    Ok(None) => sleep(PAUSE).await,
                    ended => return ended,
                }
            }
        });
        let status = ended.await.context("`posthorn serve` did not end within 30s of SIGTERM")??;
        std::fs::remove_dir_all(self.folder.join("data"))?;
        Ok(status.and_then(|status| status.code()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended, or beyond help: there is nobody left to tell.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Doors {
    fn nowhere() -> Self {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { data: nowhere, control: nowhere, broker: nowhere, admin: nowhere }
    }
}

fn spawn(config: &Path, data_dir: &Path, log: File) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe().context("this program's own path")?);
    command.arg("serve").arg("--config").arg(config).arg("--data-dir").arg(data_dir);
    // What the shell sets for another server is not for this one.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("POSTHORN_")) {
        command.env_remove(name);
    }
    // The log is a file: no colours in it (https://no-color.org).
    command.env("NO_COLOR", "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().context("`posthorn serve` cannot be started")
}

async fn ready(stdout: ChildStdout) -> anyhow::Result<Doors> {
    let read = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).map(|_| line)
    });
    let line = read.await??;
    let Some(doors) = line.strip_prefix("ready ") else { bail!("`posthorn serve` ended before it was ready; its log says why") };
    Ok(serde_json::from_str(doors)?)
}
