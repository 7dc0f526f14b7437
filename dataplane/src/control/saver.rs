//! Writes the snapshot to its file after each change, never on an async thread. A push is acknowledged only then, so what a control
//! plane saw acknowledged is still in force after a crash; pushes wait for each other, which bounds how often is written.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::cache::{Cache, CacheError, Extent, Known};
use super::held::Held;

/// Runs until `changes` closes; by then the last change is on disk. `known` is what was found at the start.
/// `saved` follows `changes`, after a failed write as well: a node with a full disk must go on following its control plane.
pub(super) async fn run(
    cache: Cache,
    mut known: Known,
    held: Arc<Mutex<Held>>,
    mut changes: watch::Receiver<u64>,
    saved: watch::Sender<u64>,
) {
    while changes.changed().await.is_ok() {
        let change = *changes.borrow_and_update();
        // After a failure the file still says what it said.
        let then = if matches!(known, Known::Nothing) { Known::Nothing } else { Known::Content };
        let (cache, held, before) = (cache.clone(), held.clone(), std::mem::replace(&mut known, then));
        match tokio::task::spawn_blocking(move || save(&cache, &held, before)).await {
            Ok(Ok(extent)) => known = Known::Extent(extent),
            Ok(Err(error @ CacheError::Lost)) => {
                known = Known::Nothing;
                tracing::warn!(%error, "the snapshot was not kept");
            }
            Ok(Err(error)) => tracing::error!(%error, "the snapshot was not kept; it is tried again with the next change"),
            Err(error) => tracing::error!(%error, "the snapshot was not kept"),
        }
        saved.send_replace(change);
    }
}

/// Costs what has changed, but for the first time, after a failure, and when the file has grown long.
fn save(cache: &Cache, held: &Mutex<Held>, known: Known) -> Result<Extent, CacheError> {
    let step = held.lock().step();
    let saved = cache.save(known, &step);
    if let Err(error) = &saved {
        let mut held = held.lock();
        held.keep(step);
        held.lost |= matches!(error, CacheError::Lost);
    }
    saved
}
