//! What all requests that are being worked on may hold together, over all doors and shards (I9).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use posthorn_domain::problem::{Code, Problem};

use crate::telemetry::IngestMetrics;

/// Bytes of all requests that are being worked on. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct Budget(Arc<Shared>);

struct Shared {
    used: AtomicUsize,
    max: usize,
    metrics: IngestMetrics,
}

/// A part of the budget, given back on drop.
pub(crate) struct Held {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    /// A budget of `max` bytes.
    pub fn new(max: usize, metrics: IngestMetrics) -> Self {
        Self(Arc::new(Shared { used: AtomicUsize::new(0), max, metrics }))
    }

    /// Nothing yet; see [`Held::grow`].
    pub(crate) fn hold(&self) -> Held {
        Held { budget: self.clone(), bytes: 0 }
    }

    /// So many bytes.
    ///
    /// # Errors
    /// As [`Held::grow`].
    pub(crate) fn take(&self, bytes: usize) -> Result<Held, Problem> {
        let mut held = self.hold();
        held.grow(bytes)?;
        Ok(held)
    }
}

impl Held {
    /// So many bytes more.
    ///
    /// # Errors
    /// `rate-limited` when there are not so many left.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let Shared { used, max, metrics } = &*self.budget.0;
        let fits = |now: usize| now.checked_add(bytes).filter(|sum| sum <= max);
        let Ok(before) = used.fetch_update(Ordering::AcqRel, Ordering::Relaxed, fits) else {
            metrics.overloaded.increment(1);
            let detail = "the requests under way hold as many bytes as they may; send again a little later";
            return Err(Problem::new(Code::RateLimited, detail).with_retry_after(1));
        };
        self.bytes += bytes;
        show(metrics, before + bytes);
        Ok(())
    }

    /// What it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Shared { used, metrics, .. } = &*self.budget.0;
        let before = used.fetch_sub(self.bytes, Ordering::AcqRel);
        show(metrics, before - self.bytes);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge")]
fn show(metrics: &IngestMetrics, bytes: usize) {
    metrics.in_flight_bytes.set(bytes as f64);
}
