//! Accepting connections, and giving each to the shard that has the fewest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::telemetry::IngestMetrics;

/// Connections that may wait for one shard to take them.
const WAITING: usize = 256;
/// After an error that is not one connection's, such as no more file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// Where a shard's connections are put; [`shard`] makes it.
pub struct ShardSink {
    sender: mpsc::Sender<Accepted>,
    open: Arc<AtomicUsize>,
}

/// An accepted connection on its way to a shard.
pub struct Accepted {
    stream: std::net::TcpStream,
    open: Open,
}

/// Counts a connection as long as it lives.
pub(super) struct Open {
    shard: Arc<AtomicUsize>,
    all: Arc<AtomicUsize>,
    metrics: IngestMetrics,
}

/// The two ends of one shard: for [`accept_loop`], and for [`super::shard_http`] on the shard's own runtime.
pub fn shard() -> (ShardSink, mpsc::Receiver<Accepted>) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (ShardSink { sender, open: Arc::default() }, receiver)
}

/// Accepts until `shutdown`. Connections beyond `max_connections`, or that no shard has room for, are closed at once.
pub async fn accept_loop(
    listener: TcpListener,
    shards: Vec<ShardSink>,
    max_connections: usize,
    metrics: IngestMetrics,
    shutdown: CancellationToken,
) {
    let all = Arc::new(AtomicUsize::new(0));
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted.and_then(|(stream, _)| stream.into_std()) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let shard = shards.iter().min_by_key(|shard| shard.open.load(Ordering::Relaxed));
        let room = all.load(Ordering::Relaxed) < max_connections;
        let given = shard.filter(|_| room).is_some_and(|shard| {
            let open = Open::new(shard.open.clone(), all.clone(), metrics.clone());
            shard.sender.try_send(Accepted { stream, open }).is_ok()
        });
        if !given {
            metrics.connections_refused.increment(1);
        }
    }
}

impl Accepted {
    /// The connection and what counts it.
    pub(super) fn into_parts(self) -> (std::net::TcpStream, Open) {
        (self.stream, self.open)
    }
}

impl Open {
    fn new(shard: Arc<AtomicUsize>, all: Arc<AtomicUsize>, metrics: IngestMetrics) -> Self {
        shard.fetch_add(1, Ordering::Relaxed);
        all.fetch_add(1, Ordering::Relaxed);
        metrics.connections.increment(1.0);
        Self { shard, all, metrics }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shard.fetch_sub(1, Ordering::Relaxed);
        self.all.fetch_sub(1, Ordering::Relaxed);
        self.metrics.connections.decrement(1.0);
    }
}
