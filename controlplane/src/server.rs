//! One port for both doors: gRPC requests go to tonic's routes, all others to REST. HTTP/1.1 and HTTP/2 without TLS.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::{grpc, rest};

/// Most connections; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 4096;
/// HTTP/2: a peer that has been silent for so long is asked for a sign of life…
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// …and is gone when it gives none in this time.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// HTTP/1: request line and headers must have arrived by then.
const HEADERS_WITHIN: Duration = Duration::from_secs(15);
/// A request must have arrived and be answered by then; node streams excepted.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
const MAX_STREAMS: u32 = 256;
const MAX_HEADER_BYTES: u32 = 32 << 10;
/// Requests under way at the end get this long.
const DRAIN: Duration = Duration::from_secs(10);

/// Serves until `shutdown` completes.
pub(crate) async fn serve(api: Arc<Api>, max_body_bytes: usize, listener: TcpListener, shutdown: impl Future<Output = ()>) {
    let closing = CancellationToken::new();
    let doors =
        Doors { rest: rest::router(rest::Shared { api: api.clone(), max_body_bytes }), grpc: grpc::router(&api, max_body_bytes, &closing) };
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            () = &mut shutdown => break,
        };
        if let Some((stream, slot)) = accepted {
            connect(stream, slot, doors.clone(), &graceful);
        }
    }
    drop(listener);
    closing.cancel();
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("connections were still open after {DRAIN:?} of draining");
    }
}

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, slot)),
        Err(error) => {
            // Out of file descriptors, most likely: wait for some to be closed rather than spin.
            tracing::warn!(%error, "a connection was not accepted");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

fn connect(stream: TcpStream, slot: OwnedSemaphorePermit, doors: Doors, graceful: &GracefulShutdown) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY was not set");
    }
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES);
    let service = service_fn(move |request| answer(doors.clone(), request));
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error, "connection ended");
        }
        drop(slot);
    });
}

#[derive(Clone)]
struct Doors {
    rest: Router,
    grpc: Router,
}

async fn answer(doors: Doors, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    use tower_service::Service as _;
    let is_grpc = request.headers().get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    let request = request.map(Body::new);
    if is_grpc {
        let mut door = doors.grpc;
        return door.call(request).await;
    }
    let mut door = doors.rest;
    match tokio::time::timeout(ANSWER_WITHIN, door.call(request)).await {
        Ok(response) => response,
        Err(_) => Ok(rest::too_slow()),
    }
}
