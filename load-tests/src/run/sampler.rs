//! Resident memory over time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::usage;

const EVERY: Duration = Duration::from_millis(100);
/// A longer series keeps every second sample, and from then on every second one is taken.
const MOST: usize = 2_000;
const MIB: f64 = 1024.0 * 1024.0;

/// Takes samples until it is stopped.
pub(super) struct Sampler {
    stop: Arc<Notify>,
    task: JoinHandle<Vec<(f64, f64)>>,
}

impl Sampler {
    pub(super) fn start(pids: Vec<u32>) -> Self {
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut samples = Samples::default();
            let (began, mut ticks) = (Instant::now(), interval(EVERY));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                tokio::select! {
                    () = stopped.notified() => break samples.taken,
                    _ = ticks.tick() => samples.take(began.elapsed(), resident(&pids)),
                }
            }
        });
        Self { stop, task }
    }

    /// Seconds since the start, and MiB.
    pub(super) async fn stop(self) -> Vec<(f64, f64)> {
        self.stop.notify_one();
        self.task.await.unwrap_or_default()
    }
}

/// Resident memory of all these processes, in MiB.
pub(super) fn resident(pids: &[u32]) -> Option<f64> {
    let bytes: Option<u64> = pids.iter().map(|pid| usage::resident(*pid).ok()).sum();
    bytes.filter(|bytes| *bytes > 0).map(|bytes| bytes as f64 / MIB)
}

#[derive(Default)]
struct Samples {
    taken: Vec<(f64, f64)>,
    /// One in 2^thinned is kept.
    thinned: u32,
    seen: u64,
}

impl Samples {
    fn take(&mut self, at: Duration, value: Option<f64>) {
        let Some(value) = value else { return };
        self.seen += 1;
        if !(self.seen - 1).is_multiple_of(1 << self.thinned) {
            return;
        }
        self.taken.push((at.as_secs_f64(), value));
        if self.taken.len() >= MOST {
            let mut keep = false;
            self.taken.retain(|_| {
                keep = !keep;
                keep
            });
            self.thinned += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_series_is_thinned_evenly() {
        let mut samples = Samples::default();
        for n in 0..50_000_u64 {
            samples.take(Duration::from_millis(n), Some(1.0));
        }
        assert!((MOST / 4..MOST).contains(&samples.taken.len()), "{}", samples.taken.len());
        let gaps: Vec<f64> = samples.taken.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert!(gaps.iter().all(|gap| (gap - gaps[0]).abs() < 1e-9), "{:?}", &gaps[..5]);
        assert!(resident(&[std::process::id()]).unwrap() > 1.0);
        assert_eq!(resident(&[]), None);
    }
}
