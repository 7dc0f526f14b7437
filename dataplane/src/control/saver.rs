//! Writes the snapshot to its file after each change, never on an async thread. A push is acknowledged only then, so what a control
//! plane saw acknowledged is still in force after a crash; pushes wait for each other, which bounds how often is written.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::Held;
use super::cache::Cache;

/// Runs until `changes` closes; by then the last change is on disk. `saved` follows `changes`, after a failed write as well: a node
/// with a full disk must go on following its control plane.
pub(super) async fn run(cache: Cache, held: Arc<Mutex<Held>>, mut changes: watch::Receiver<u64>, saved: watch::Sender<u64>) {
    while changes.changed().await.is_ok() {
        let change = *changes.borrow_and_update();
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
        saved.send_replace(change);
    }
}
