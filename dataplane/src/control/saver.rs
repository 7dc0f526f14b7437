//! Writes the snapshot to its file after each change, never on an async thread. A push is acknowledged only then, so what a control
//! plane saw acknowledged is still in force after a crash; pushes wait for each other, which bounds how often is written.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::Held;
use super::cache::{Cache, CacheError, Kept};

/// Runs until `changes` closes; by then the last change is on disk. `saved` follows `changes`, after a failed write as well: a node
/// with a full disk must go on following its control plane.
pub(super) async fn run(cache: Cache, held: Arc<Mutex<Held>>, mut changes: watch::Receiver<u64>, saved: watch::Sender<u64>) {
    let mut kept = None;
    while changes.changed().await.is_ok() {
        let change = *changes.borrow_and_update();
        let (cache, held, before) = (cache.clone(), held.clone(), kept.take());
        match tokio::task::spawn_blocking(move || save(&cache, &held, before)).await {
            Ok(Ok(now)) => kept = Some(now),
            Ok(Err(error)) => tracing::error!(%error, "the snapshot was not kept; it is tried again with the next change"),
            Err(error) => tracing::error!(%error, "the snapshot was not kept"),
        }
        saved.send_replace(change);
    }
}

/// Costs what has changed, but for the first time, after a failure, and when the file has grown long.
fn save(cache: &Cache, held: &Mutex<Held>, kept: Option<Kept>) -> Result<Kept, CacheError> {
    match kept.filter(|kept| !kept.is_long()) {
        Some(kept) => {
            let step = held.lock().step();
            cache.append(kept, &step)
        }
        None => {
            let whole = held.lock().whole();
            cache.store(&whole)
        }
    }
}
