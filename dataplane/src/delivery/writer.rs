//! The one thread that writes delivery state, so that no shard ever waits for a disk: checkpoints of all shards, dead letters of
//! refused events, attempt records, sweeps.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use posthorn_domain::clock::Clock;
use posthorn_storage::attempts::AttemptLog;
use posthorn_storage::state::{Batch, State, StateError};
use tokio::sync::{mpsc, oneshot};

/// Requests that may wait; a shard has one commit under way at most.
const QUEUE: usize = 1024;
/// How often attempt records are written out.
const FLUSH: Duration = Duration::from_millis(250);
/// How often old dead letters are looked for.
const SWEEP: Duration = Duration::from_secs(60);

/// The thread.
pub struct Writer {
    thread: JoinHandle<()>,
}

/// Where to send what is to be written. Cheap to clone; the thread ends when all are gone.
#[derive(Clone)]
pub struct WriterHandle(mpsc::Sender<Request>);

struct Request {
    batch: Batch,
    sync: bool,
    answer: oneshot::Sender<Result<(), StateError>>,
}

impl Writer {
    /// Starts the thread.
    pub fn start(
        state: Arc<dyn State>,
        attempts: Arc<AttemptLog>,
        clock: Clock,
        dead_letter_max_age: Duration,
    ) -> std::io::Result<(Self, WriterHandle)> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let upkeep = Upkeep { state, attempts, clock, dead_letter_max_age };
        let thread = std::thread::Builder::new().name("posthorn-state".into()).spawn(move || run(&upkeep, receiver))?;
        Ok((Self { thread }, WriterHandle(sender)))
    }

    /// What the thread does, to be run on this one: for simulation.
    #[doc(hidden)]
    pub fn simulate(
        state: Arc<dyn State>,
        attempts: Arc<AttemptLog>,
        clock: Clock,
        dead_letter_max_age: Duration,
    ) -> (impl Future<Output = ()>, WriterHandle) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let upkeep = Upkeep { state, attempts, clock, dead_letter_max_age };
        (async move { upkeep.serve(receiver).await }, WriterHandle(sender))
    }

    /// Waits for the end, after all handles are gone.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the state writer panicked");
        }
    }
}

impl WriterHandle {
    /// Writes the batch; with `sync` it is on the disk when this resolves.
    pub async fn commit(&self, batch: Batch, sync: bool) -> Result<(), StateError> {
        let (answer, done) = oneshot::channel();
        let closed = || StateError::Stopped("its writer has ended".into());
        self.0.send(Request { batch, sync, answer }).await.map_err(|_| closed())?;
        done.await.map_err(|_| closed())?
    }
}

struct Upkeep {
    state: Arc<dyn State>,
    attempts: Arc<AttemptLog>,
    clock: Clock,
    dead_letter_max_age: Duration,
}

fn run(upkeep: &Upkeep, requests: mpsc::Receiver<Request>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let Ok(runtime) = runtime else {
        tracing::error!("the state writer cannot start its timer");
        return;
    };
    runtime.block_on(upkeep.serve(requests));
}

impl Upkeep {
    async fn serve(&self, mut requests: mpsc::Receiver<Request>) {
        let mut flush = tokio::time::interval(FLUSH);
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            tokio::select! {
                biased;
                _ = flush.tick() => self.flush(),
                _ = sweep.tick() => self.sweep(),
                request = requests.recv() => match request {
                    Some(request) => {
                        let result = self.state.commit(request.batch, request.sync);
                        // A shard that has ended no longer asks.
                        drop(request.answer.send(result));
                    }
                    None => break,
                },
            }
        }
        self.flush();
        if let Err(error) = self.state.commit(Batch::new(), true) {
            tracing::error!(%error, "the last checkpoint may not be on the disk");
        }
        self.state.close();
    }

    fn flush(&self) {
        // A store that a full disk had stopped goes on by the next write; nobody else may have one.
        if self.state.health().is_err() {
            drop(self.state.commit(Batch::new(), false));
        }
        if let Err(error) = self.attempts.flush() {
            tracing::warn!(%error, "attempt records cannot be written");
        }
    }

    fn sweep(&self) {
        let before = self.clock.now().before(self.dead_letter_max_age);
        match self.state.sweep_dead_letters(before, 10_000) {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "old dead letters were deleted"),
            Err(error) => tracing::warn!(%error, "old dead letters cannot be deleted"),
        }
    }
}
