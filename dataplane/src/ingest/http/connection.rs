//! One connection: HTTP/1.1 or HTTP/2 by its first bytes, within limits, with an orderly end.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::Accepted;
use super::activity::{Activity, Running};
use super::door::Door;
use crate::config;

/// The least that the HTTP library's buffer may have.
const MIN_BUFFER: usize = 8192;
/// HTTP/2 streams that a client may reset before they are looked at (CVE-2023-44487).
const MAX_RESETS: usize = 64;
const H2_PING: Duration = Duration::from_secs(20);
const H2_STREAM_WINDOW: u32 = 256 << 10;
const H2_CONNECTION_WINDOW: u32 = 1 << 20;

/// Serves what `accepted` brings until `shutdown`, then ends every connection after the request that it is at. Resolves when all have ended;
/// a deadline is the caller's.
pub async fn shard_http(mut accepted: mpsc::Receiver<Accepted>, door: Arc<Door>, shutdown: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let next = tokio::select! {
            () = shutdown.cancelled() => None,
            next = accepted.recv() => next,
        };
        let Some(next) = next else { break };
        let (door, shutdown) = (door.clone(), shutdown.clone());
        connections.spawn(async move {
            let (stream, _open) = next.into_parts();
            match TcpStream::from_std(stream) {
                Ok(stream) => serve_connection(stream, door, shutdown).await,
                Err(error) => tracing::debug!(%error, "a connection could not be taken over"),
            }
        });
    }
    connections.close();
    connections.wait().await;
}

/// Serves one connection to its end. Its requests run on the calling runtime.
pub async fn serve_connection(stream: TcpStream, door: Arc<Door>, shutdown: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection is slower than it could be");
    }
    let activity = Arc::new(Activity::default());
    let header_timeout = door.config.header_timeout;
    let builder = builder(&door.config);
    let seen = activity.clone();
    let service = service_fn(move |request| {
        let (door, running) = (door.clone(), Running::new(&seen));
        async move {
            let response = door.answer(request).await;
            Ok::<_, Infallible>(response.map(|body| body.holding(running)))
        }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut idle = pin!(activity.idle(header_timeout));
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = shutdown.cancelled() => None,
        () = idle.as_mut() => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            // A client that has not begun a request has nothing to lose.
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = activity.idle(header_timeout) => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

fn builder(config: &config::Http) -> Builder<TokioExecutor> {
    // Twice the limit, so that the door can answer the smaller excess with a problem document.
    let head = config.max_header_bytes.saturating_mul(2).max(MIN_BUFFER);
    let mut builder = Builder::new(TokioExecutor::new());
    // `pipeline_flush` would take from bodies however slowly the client reads: a stream that nobody reads would fill the memory (I9).
    builder.http1().timer(TokioTimer::new()).header_read_timeout(config.header_timeout).max_buf_size(head).writev(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.h2_max_streams)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_RESETS)
        .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX))
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .keep_alive_interval(H2_PING)
        .keep_alive_timeout(H2_PING);
    builder
}
