//! One thread a shard: a current-thread runtime for its connections and its deliveries (DESIGN §10 "Threads").

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::LocalOptions;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::admin::Tasks;
use crate::delivery::Service;
use crate::ingest::http::{Accepted, Door, ShardSink, shard, shard_http};

/// Threads on which a shard has the log and the store read. Each keeps memory of the most that it ever read at once, so that hundreds,
/// which the runtime would start, cost more than all that lanes may hold.
const READERS: usize = 4;

/// The threads.
pub(super) struct Shards(Vec<JoinHandle<()>>);

impl Shards {
    /// Starts a thread for each service; the sinks are for the acceptor, in the same order.
    pub(super) fn start(
        services: Vec<Service>,
        door: &Arc<Door>,
        doors: &CancellationToken,
        tasks: &Tasks,
    ) -> std::io::Result<(Self, Vec<ShardSink>)> {
        let (mut threads, mut sinks) = (Vec::new(), Vec::new());
        for (number, service) in services.into_iter().enumerate() {
            let (sink, accepted) = shard();
            let (door, doors, tasks) = (Arc::clone(door), doors.clone(), tasks.clone());
            let name = format!("posthorn-shard-{number}");
            threads.push(std::thread::Builder::new().name(name).spawn(move || run(service, accepted, door, doors, &tasks))?);
            sinks.push(sink);
        }
        Ok((Self(threads), sinks))
    }

    /// Waits for the threads at most so long; false when some go on. Blocks.
    pub(super) fn join(self, patience: Duration) -> bool {
        let (done, ended) = std::sync::mpsc::sync_channel(1);
        let waiter = std::thread::spawn(move || {
            let whole = self.0.into_iter().map(JoinHandle::join).filter(Result::is_err).count() == 0;
            // Nobody listens once the patience has run out.
            done.send(whole).ok();
        });
        drop(waiter);
        ended.recv_timeout(patience).unwrap_or(false)
    }
}

/// Tasks that run before a shard's runtime looks at its sockets again. A task may be a turn of the shard, which takes its time, and tokio's 61
/// such turns would keep publishers waiting.
const LOOK_AFTER: u32 = 4;

fn run(service: Service, accepted: mpsc::Receiver<Accepted>, door: Arc<Door>, doors: CancellationToken, tasks: &Tasks) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .event_interval(LOOK_AFTER)
        .max_blocking_threads(READERS)
        .enable_all()
        .build_local(LocalOptions::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "a shard cannot start its runtime");
            return;
        }
    };
    runtime.block_on(async {
        tasks.count_this_runtime();
        tokio::task::spawn_local(posthorn_storage::log::relay());
        tokio::join!(service.run(), shard_http(accepted, door, doors));
    });
}
