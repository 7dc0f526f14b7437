//! Where readers' rows are written. One write is under way at most, and what comes meanwhile goes with the next: however often
//! readers commit, the disk is synced once at a time for all of them.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use posthorn_domain::problem::{Code, Problem};
use posthorn_storage::state::{Batch, Op};
use tokio::sync::{mpsc, oneshot};

/// Writes that may wait.
const QUEUE: usize = 1024;
/// Writes that go together at most.
const TOGETHER: usize = 256;

/// A store of rows.
pub trait Keep: Send + Sync + 'static {
    /// Resolves once all of the batch is on the disk, or nothing of it.
    fn keep(&self, batch: Batch) -> BoxFuture<'static, Result<(), String>>;
}

/// The way to the store. Cheap to clone.
#[derive(Clone)]
pub(super) struct Keeper(mpsc::Sender<(Batch, oneshot::Sender<bool>)>);

impl Keeper {
    /// Must be called within a runtime, which then does the work.
    pub(super) fn start(store: Arc<dyn Keep>) -> Self {
        let (sender, queue) = mpsc::channel(QUEUE);
        tokio::spawn(run(store, queue));
        Self(sender)
    }

    /// Resolves once the batch is on the disk.
    pub(super) async fn keep(&self, batch: Batch) -> Result<(), Problem> {
        let (answer, kept) = oneshot::channel();
        let sent = self.0.send((batch, answer)).await.is_ok();
        if sent && kept.await.unwrap_or(false) {
            return Ok(());
        }
        Err(Problem::new(Code::Unavailable, "the state store takes nothing just now; try again later").with_retry_after(2))
    }
}

async fn run(store: Arc<dyn Keep>, mut queue: mpsc::Receiver<(Batch, oneshot::Sender<bool>)>) {
    while let Some((first, answer)) = queue.recv().await {
        let (mut ops, mut answers): (Vec<Op>, _) = (first.into_ops(), vec![answer]);
        while answers.len() < TOGETHER
            && let Ok((more, answer)) = queue.try_recv()
        {
            ops.extend(more.into_ops());
            answers.push(answer);
        }
        let kept = store.keep(Batch::of(ops)).await;
        if let Err(error) = &kept {
            tracing::error!(error, "places of readers cannot be written");
        }
        // Who asked may have given up.
        for answer in answers {
            answer.send(kept.is_ok()).ok();
        }
    }
}
