//! Whether a connection is being used.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// What a connection has been doing: the library itself waits for the first bytes, and for an HTTP/2 request, without end.
#[derive(Default)]
pub(super) struct Activity {
    requests: AtomicU64,
    running: AtomicUsize,
}

/// A request whose answer has not been sent to its end.
pub(super) struct Running(Arc<Activity>);

impl Running {
    pub(super) fn new(activity: &Arc<Activity>) -> Self {
        activity.requests.fetch_add(1, Ordering::Relaxed);
        activity.running.fetch_add(1, Ordering::Relaxed);
        Self(activity.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Activity {
    /// Resolves once a whole `span` has passed without a request.
    pub(super) async fn idle(&self, span: Duration) {
        let mut before = self.requests.load(Ordering::Relaxed);
        loop {
            tokio::time::sleep(span).await;
            let now = self.requests.load(Ordering::Relaxed);
            if now == before && self.running.load(Ordering::Relaxed) == 0 {
                return;
            }
            before = now;
        }
    }
}
