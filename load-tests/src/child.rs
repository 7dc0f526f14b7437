//! A process under measurement: started by us, measured through `/proc`, ended by us.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child as Process, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::time::Instant;

const READY_WITHIN: Duration = Duration::from_secs(20);
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
}

/// CPU time that a process has used, user and system.
#[derive(Debug, Clone, Copy)]
pub struct Cpu(Duration);

impl Child {
    /// Starts a program and waits for its ready line. Its stderr goes to `log`.
    ///
    /// # Errors
    /// When it ends early or is not ready within 20 seconds.
    pub async fn start<S: AsRef<OsStr>>(program: &Path, arguments: &[S], log: &Path) -> Result<Self> {
        let stderr = std::fs::File::create(log).with_context(|| log.display().to_string())?;
        let began = Instant::now();
        let mut process = command(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let stdout = process.stdout.take().context("stdout is piped")?;
        let mut child = Self { process, doors: Doors { data: ([127, 0, 0, 1], 0).into(), control: None }, ready_after: Duration::ZERO };
        let Ok(Ok(line)) = tokio::time::timeout(READY_WITHIN, ready_line(stdout)).await else {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            bail!("{} was not ready within {READY_WITHIN:?}; its stderr: {said:.2000}", program.display());
        };
        child.ready_after = began.elapsed();
        child.doors = serde_json::from_str(&line).with_context(|| format!("not a ready line: {line}"))?;
        Ok(child)
    }

    /// CPU time so far.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn cpu(&self) -> Result<Cpu> {
        let stat = self.proc("stat")?;
        // The name in brackets may hold blanks; what follows does not (proc(5)): state is field 3, utime 14, stime 15.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks = |n: usize| fields.get(n - 3).and_then(|f| f.parse::<u64>().ok()).context("/proc/PID/stat");
        let per_second = rustix::param::clock_ticks_per_second();
        Ok(Cpu(Duration::from_millis((ticks(14)? + ticks(15)?) * 1_000 / per_second)))
    }

    /// Resident memory now, in bytes.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn resident(&self) -> Result<u64> {
        self.status_field("VmRSS:")
    }

    /// The most resident memory so far, in bytes.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn peak_resident(&self) -> Result<u64> {
        self.status_field("VmHWM:")
    }

    fn status_field(&self, name: &str) -> Result<u64> {
        let status = self.proc("status")?;
        let line = status.lines().find_map(|l| l.strip_prefix(name)).with_context(|| name.to_owned())?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.process.id());
        std::fs::read_to_string(&path).context(path)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Cpu {
    /// CPU time since an earlier reading.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// All processes share the same two cores, also on a larger machine, so that results can be compared.
fn command(program: &Path) -> Command {
    let more_than_two = std::thread::available_parallelism().is_ok_and(|n| n.get() > 2);
    if more_than_two && Path::new("/usr/bin/taskset").exists() {
        let mut command = Command::new("/usr/bin/taskset");
        command.args(["-c", "0,1"]).arg(program);
        return command;
    }
    Command::new(program)
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
