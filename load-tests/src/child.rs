//! A process under measurement: started by us, ended by us.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child as Process, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// A start with 100,000 subscriptions has to be measured even where it is slow.
const READY_WITHIN: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(5);
const LONGEST_LINE: u64 = 64 * 1024;

/// A child process that printed its ready line. Dropping it kills it, by its handle.
#[derive(Debug)]
pub struct Child {
    process: Process,
    /// The doors that it has opened.
    pub doors: Doors,
    /// From the start of the process to its ready line.
    pub ready_after: Duration,
}

/// The doors in a ready line.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Doors {
    /// Where data comes in.
    pub data: SocketAddr,
    /// The control plane, where there is one.
    pub control: Option<SocketAddr>,
    /// Metrics, where there are any.
    pub admin: Option<SocketAddr>,
    /// HTTPS with HTTP/1.1, of a receiver.
    pub tls: Option<SocketAddr>,
    /// HTTPS with HTTP/2, of a receiver.
    pub tls_h2: Option<SocketAddr>,
}

impl Child {
    /// Starts a program and waits for its ready line. Its stderr goes to `log`.
    ///
    /// # Errors
    /// When it ends early or is not ready within a minute.
    pub async fn start<S: AsRef<OsStr>>(program: &Path, arguments: &[S], log: &Path) -> Result<Self> {
        let stderr = std::fs::File::create(log).with_context(|| log.display().to_string())?;
        let began = Instant::now();
        let mut process = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let stdout = process.stdout.take().context("stdout is piped")?;
        let mut child = Self {
            process,
            doors: Doors { data: ([127, 0, 0, 1], 0).into(), control: None, admin: None, tls: None, tls_h2: None },
            ready_after: Duration::ZERO,
        };
        let Ok(Ok(line)) = tokio::time::timeout(READY_WITHIN, ready_line(stdout)).await else {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            bail!("{} was not ready within {READY_WITHIN:?}; its stderr: {said:.2000}", program.display());
        };
        child.ready_after = began.elapsed();
        child.doors = serde_json::from_str(&line).with_context(|| format!("not a ready line: {line}"))?;
        Ok(child)
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.process.try_wait().is_ok_and(|status| status.is_none())
    }

    /// Asks it to end and waits until it has, at most as long as a start may take; then it is killed.
    ///
    /// # Errors
    /// When it cannot be asked, or had to be killed.
    pub async fn end(mut self) -> Result<()> {
        let pid = i32::try_from(self.process.id()).ok().and_then(rustix::process::Pid::from_raw).context("a process number")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let asked = Instant::now();
        while self.runs() && asked.elapsed() < READY_WITHIN {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        ensure!(!self.runs(), "it had not ended {READY_WITHIN:?} after it was asked to");
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

async fn ready_line(stdout: ChildStdout) -> Result<String> {
    let (sender, ready) = oneshot::channel();
    let mut sender = Some(sender);
    std::thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        let mut line = Vec::new();
        // Reading on to the end keeps the child from blocking on a full pipe.
        while stdout.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line);
            if let Some(doors) = text.trim_end().strip_prefix("ready ")
                && let Some(sender) = sender.take()
            {
                drop(sender.send(doors.to_owned()));
            }
            line.clear();
        }
    });
    ready.await.context("it ended without a ready line")
}
