//! Writes the snapshot to its file after changes: at most every 200 ms, and once more at shutdown; never on an async thread.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Held;
use super::cache::Cache;

const PAUSE: Duration = Duration::from_millis(200);

/// Runs until `changes` closes; by then the last change is on disk.
pub(super) async fn run(cache: Cache, held: Arc<Mutex<Held>>, mut changes: watch::Receiver<u64>, shutdown: CancellationToken) {
    while changes.changed().await.is_ok() {
        changes.mark_unchanged();
        let (cache, held) = (cache.clone(), held.clone());
        let written = tokio::task::spawn_blocking(move || {
            let copy = held.lock().clone();
            cache.store(&copy)
        });
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the snapshot was not kept; it is tried again with the next change"),
            Err(error) => tracing::error!(%error, "the snapshot was not kept"),
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = shutdown.cancelled() => {}
        }
    }
}
