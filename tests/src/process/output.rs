//! Reads what a child process prints, within bounds.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::wait::eventually;

const LINES_KEPT: usize = 1_000;
const LONGEST_LINE: u64 = 64 * 1024;
const CLOSED_WITHIN: Duration = Duration::from_secs(2);

/// The tail of a child's stderr.
#[derive(Debug)]
pub(super) struct Output {
    stderr: Arc<Mutex<VecDeque<String>>>,
    closed: Arc<AtomicBool>,
}

impl Output {
    /// Takes the child's pipes over. The receiver gets what follows `ready ` on stdout, or an error when stdout closes.
    pub(super) fn capture(child: &mut Child) -> Result<(Self, oneshot::Receiver<String>)> {
        let stdout = child.stdout.take().context("stdout is piped")?;
        let stderr = child.stderr.take().context("stderr is piped")?;
        let (sender, ready) = oneshot::channel();
        let mut sender = Some(sender);
        thread::spawn(move || {
            // Reading on to the end keeps the child from blocking on a full pipe.
            each_line(stdout, |line| {
                if let (Some(doors), Some(sender)) = (line.strip_prefix("ready "), sender.take_if(|_| line.starts_with("ready "))) {
                    drop(sender.send(doors.to_owned()));
                }
            });
        });
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        let closed = Arc::new(AtomicBool::new(false));
        let (kept, at_end) = (Arc::clone(&lines), Arc::clone(&closed));
        thread::spawn(move || {
            each_line(stderr, |line| {
                let mut kept = kept.lock();
                if kept.len() == LINES_KEPT {
                    kept.pop_front();
                }
                kept.push_back(line.to_owned());
            });
            at_end.store(true, Ordering::Release);
        });
        Ok((Self { stderr: lines, closed }, ready))
    }

    /// Waits until all that an ended child wrote has been read.
    pub(super) async fn drained(&self) {
        let closed = || std::future::ready(self.closed.load(Ordering::Acquire).then_some(()));
        // A child of the child may hold the pipe open; what was read so far has to do then.
        drop(eventually("stderr is closed", CLOSED_WITHIN, closed).await);
    }

    pub(super) fn stderr(&self) -> String {
        self.stderr.lock().iter().map(|line| format!("{line}\n")).collect()
    }
}

fn each_line(pipe: impl Read, mut see: impl FnMut(&str)) {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    while pipe.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        see(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
}
