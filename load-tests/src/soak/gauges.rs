//! What must not grow: memory, descriptors, threads, tasks and disk of one life of the process.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::usage;

const EVERY: Duration = Duration::from_millis(500);
/// The part of the time that is left to reach a steady state, and so many seconds, but never more than half of it: what faults leave in
/// lanes and buffers fills for three minutes or so.
const WARM_UP: f64 = 0.25;
const WARM: f64 = 200.0;
const MIB: f64 = 1024.0 * 1024.0;
const KINDS: usize = 5;

/// One of the things that are looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Gauge {
    /// Its name.
    pub name: &'static str,
    /// How much more the second half may have than the first: a share, and beyond that a number.
    pub allowed: (f64, f64),
}

/// A quarter of the samples were at or below these: faults make everything swing, what leaks is never given back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Halves {
    /// In the first half, after the warm-up.
    pub first: f64,
    /// In the second.
    pub second: f64,
    /// The most of all samples.
    pub most: f64,
    /// The line through all samples, an hour.
    pub slope: f64,
}

/// In the order of the samples.
pub(super) const GAUGES: [Gauge; KINDS] = [
    Gauge { name: "resident memory, MiB", allowed: (0.10, 8.0) },
    // Connections to endpoints that just hang, or just did, are most of them: between 230 and 364 in runs of half a minute.
    Gauge { name: "descriptors", allowed: (0.25, 48.0) },
    Gauge { name: "threads", allowed: (0.25, 8.0) },
    Gauge { name: "tasks", allowed: (0.25, 48.0) },
    Gauge { name: "disk, MiB", allowed: (0.15, 8.0) },
];

impl Gauge {
    /// Whether it has not grown.
    #[must_use]
    pub(super) fn is_flat(&self, halves: Halves) -> bool {
        halves.second <= halves.first * (1.0 + self.allowed.0) + self.allowed.1
    }
}

type Sample = (f64, [f64; KINDS]);

/// Takes samples until it is stopped.
#[derive(Debug)]
pub(super) struct Gauges {
    stop: Arc<AtomicBool>,
    task: Option<JoinHandle<Result<Vec<Sample>>>>,
}

impl Gauges {
    /// Of the process, whose metrics are at `admin`.
    pub(super) fn start(pid: u32, admin: SocketAddr, folder: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let (began, mut samples, admin) = (Instant::now(), Vec::new(), Client::new(admin));
            while !stopped.load(Ordering::SeqCst) {
                let tasks = metric(&admin, "posthorn_tasks").await?;
                samples.push((began.elapsed().as_secs_f64(), sample(pid, tasks, &folder)?));
                sleep(EVERY).await;
            }
            Ok(samples)
        });
        Self { stop, task: Some(task) }
    }

    pub(super) async fn stop(&mut self) -> Result<Vec<Halves>> {
        self.stop.store(true, Ordering::SeqCst);
        let samples = self.task.take().context("stopped once")?.await??;
        (0..GAUGES.len()).map(|number| halves(&samples, number).context("too few samples")).collect()
    }
}

fn sample(pid: u32, tasks: f64, folder: &Path) -> Result<[f64; KINDS]> {
    let list = |name: &str| fs::read_dir(format!("/proc/{pid}/{name}")).map_or(0, Iterator::count) as f64;
    Ok([usage::resident(pid)? as f64 / MIB, list("fd"), list("task"), tasks, disk(folder) as f64 / MIB])
}

/// A metric as the process says it, named with its labels.
pub(super) async fn metric(admin: &Client, name: &str) -> Result<f64> {
    let text = admin.text("/metrics").await?;
    let shown = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let shown = shown.with_context(|| format!("no {name} among the metrics"))?;
    shown.trim().parse().with_context(|| format!("`{shown}` is no number"))
}

/// Bytes on the disk below a folder. Files may go while they are counted.
fn disk(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => disk(&entry.path()),
        Ok(data) => std::os::unix::fs::MetadataExt::blocks(&data) * 512,
        Err(_) => 0,
    };
    entries.map(of).sum()
}

/// How many of the samples are warm-up.
fn warm(samples: &[Sample]) -> usize {
    let share = (samples.len() as f64 * WARM_UP) as usize;
    let cold = samples.partition_point(|(at, _)| *at < WARM);
    cold.clamp(share, samples.len() / 2)
}

fn halves(samples: &[Sample], number: usize) -> Option<Halves> {
    let steady = &samples[warm(samples)..];
    let (first, second) = steady.split_at(steady.len() / 2);
    let low = |half: &[Sample]| {
        let mut values: Vec<f64> = half.iter().map(|(_, values)| values[number]).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 4).copied()
    };
    let slope = slope(steady.iter().map(|(at, values)| (*at, values[number])));
    let most = steady.iter().map(|(_, values)| values[number]).fold(0.0, f64::max);
    Some(Halves { first: low(first)?, second: low(second)?, most, slope: slope * 3600.0 })
}

/// Of the line with the least squares.
fn slope(points: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let count = points.clone().count().max(1) as f64;
    let (x, y) = points.clone().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let (above, below) =
        points.fold((0.0, 0.0), |(above, below), point| (above + (point.0 - x) * (point.1 - y), below + (point.0 - x) * (point.0 - x)));
    if below > 0.0 { above / below } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_is_told_from_what_swings() {
        let grows: Vec<Sample> = (0..400).map(|n| (f64::from(n) * 0.5, [100.0 + f64::from(n); KINDS])).collect();
        let found = halves(&grows, 0).unwrap();
        assert!((found.slope - 7200.0).abs() < 1.0 && !GAUGES[0].is_flat(found), "{found:?}");
        let swings: Vec<Sample> = (0..400).map(|n| (f64::from(n) * 0.5, [100.0 + f64::from(n % 7) * 5.0; KINDS])).collect();
        let found = halves(&swings, 4).unwrap();
        assert!(found.slope.abs() < 100.0 && GAUGES[4].is_flat(found), "{found:?}");
        assert!(halves(&[], 0).is_none());
        let [memory, descriptors, threads, _, disk] = sample(std::process::id(), 0.0, Path::new("src")).unwrap();
        assert!(memory > 1.0 && descriptors >= 3.0 && threads >= 1.0 && disk > 0.1);
    }
}
