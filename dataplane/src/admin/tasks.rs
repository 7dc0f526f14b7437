//! How many tasks are alive in the process: what leaks one shows here first.

use std::sync::Arc;

use metrics::gauge;
use parking_lot::Mutex;
use tokio::runtime::Handle;

/// The runtimes whose tasks are counted. Cheap to clone.
#[derive(Clone)]
pub struct Tasks(Arc<Mutex<Vec<Handle>>>);

impl Tasks {
    /// Those of the runtime in which this is called, for a start.
    pub fn of_this_runtime() -> Self {
        Self(Arc::new(Mutex::new(vec![Handle::current()])))
    }

    /// Counts those of the runtime in which this is called, too.
    pub fn count_this_runtime(&self) {
        self.0.lock().push(Handle::current());
    }

    /// Shows how many there are now in the metrics.
    pub(super) fn show(&self) {
        let alive: usize = self.0.lock().iter().map(|runtime| runtime.metrics().num_alive_tasks()).sum();
        gauge!("posthorn_tasks").set(alive as f64);
    }
}
