//! Resident memory over time, and the most that there was.

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
    pids: Vec<u32>,
    /// The kernel counts the peak from the start of the sampler on.
    counted: bool,
    stop: Arc<Notify>,
    task: JoinHandle<Vec<(f64, f64)>>,
}

/// Resident memory while a sampler ran.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Seconds since the start, and MiB.
    pub(super) series: Vec<(f64, f64)>,
    /// The most, in MiB: each process's own, together. Where the kernel does not count it anew, the most of the samples.
    pub(super) peak: Option<f64>,
}

impl Sampler {
    pub(super) fn start(pids: Vec<u32>) -> Self {
        let counted = pids.iter().all(|pid| usage::reset_peak(*pid));
        let (stop, sampled) = (Arc::new(Notify::new()), pids.clone());
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut samples = Samples::default();
            let (began, mut ticks) = (Instant::now(), interval(EVERY));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                tokio::select! {
                    () = stopped.notified() => break samples.taken,
                    _ = ticks.tick() => samples.take(began.elapsed(), resident(&sampled)),
                }
            }
        });
        Self { pids, counted, stop, task }
    }

    /// What it found.
    pub(super) async fn stop(self) -> Memory {
        let peaks: Option<u64> = self.pids.iter().map(|pid| usage::peak(*pid).filter(|_| self.counted)).sum();
        self.stop.notify_one();
        let series = self.task.await.unwrap_or_default();
        let most = series.iter().map(|(_, value)| *value).reduce(f64::max);
        // Kernels count what is resident now and the peak to a different grain; a peak is no less than what was seen.
        let peak = peaks.map(|bytes| bytes as f64 / MIB).into_iter().chain(most).reduce(f64::max).filter(|peak| *peak > 0.0);
        Memory { series, peak }
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

    #[tokio::test]
    async fn a_peak_between_two_samples_is_not_missed() {
        let pid = std::process::id();
        let sampler = Sampler::start(vec![pid]);
        let counted = sampler.counted;
        drop(std::hint::black_box(vec![1_u8; 48 << 20]));
        let memory = sampler.stop().await;
        // A runtime of one thread has taken no sample meanwhile.
        assert!(!counted || memory.peak.unwrap() > 48.0, "{memory:?}");
        let none = Sampler::start(Vec::new()).stop().await;
        assert_eq!((none.series.len(), none.peak), (0, None));
    }

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
