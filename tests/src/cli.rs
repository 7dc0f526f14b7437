//! Runs a client verb of the command line to its end.

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::binary;

const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// What a verb did.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs `posthorn` with these arguments, environment variables and standard input.
///
/// # Errors
/// When it cannot be started or has not ended after 60 seconds (it is killed then).
pub async fn run(arguments: &[&str], environment: &[(&str, &str)], stdin: &str) -> Result<Finished> {
    run_binary(binary::posthorn()?, arguments, environment, stdin).await
}

async fn run_binary(binary: PathBuf, arguments: &[&str], environment: &[(&str, &str)], stdin: &str) -> Result<Finished> {
    let mut command = binary::command(&binary);
    command.args(arguments).envs(environment.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start posthorn")?;
    let pid = Pid::from_child(&child);
    let (mut pipe, text) = (child.stdin.take().context("stdin is piped")?, stdin.to_owned());
    // On a thread of its own: the verb may print before it has read everything. One that reads nothing closes the pipe.
    std::thread::spawn(move || drop(pipe.write_all(text.as_bytes())));
    let mut ended = tokio::task::spawn_blocking(move || child.wait_with_output());
    let output = match tokio::time::timeout(ENDS_WITHIN, &mut ended).await {
        Ok(output) => output.context("the waiting task")??,
        Err(_) => {
            kill_process(pid, Signal::KILL).context("SIGKILL")?;
            drop(ended.await);
            bail!("posthorn {arguments:?} has not ended within {ENDS_WITHIN:?}");
        }
    };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Finished { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn gives_code_and_output() {
        let script = "cat; echo \"$WHO\" >&2; exit 3";
        let done = run_binary("/bin/sh".into(), &["-c", script], &[("WHO", "me")], "in").await.unwrap();
        assert_eq!((done.code, done.stdout.as_str(), done.stderr.as_str()), (Some(3), "in", "me\n"));
    }
}
