//! Routes and connections.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use posthorn_domain::problem::{Code, Problem};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::tasks::Tasks;

const MAX_CONNECTIONS: usize = 64;
const HEAD_BYTES: usize = 16 << 10;
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// No connection lives longer.
const MAX_AGE: Duration = Duration::from_secs(300);
const AFTER_ACCEPT_ERROR: Duration = Duration::from_millis(100);

/// Tells whether the node can do its work.
pub trait Health: Send + Sync {
    /// Why not, one line each; empty when it can. A lost control plane is no reason (I7).
    fn reasons(&self) -> Vec<String>;
}

/// What the door shows.
pub struct Setup {
    /// `/ready`.
    pub health: Arc<dyn Health>,
    /// `/metrics`.
    pub metrics: PrometheusHandle,
    /// Counted for `/metrics`.
    pub tasks: Tasks,
    /// `/config`: the effective configuration, redacted.
    pub config: Value,
}

/// The door, bound.
pub struct Admin {
    listener: TcpListener,
    setup: Arc<Setup>,
}

impl Admin {
    /// Binds the socket.
    pub async fn bind(listen: SocketAddr, setup: Setup) -> std::io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(listen).await?, setup: Arc::new(setup) })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown`; open connections end with it.
    pub async fn run(self, shutdown: CancellationToken) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        while let Some(accepted) = shutdown.run_until_cancelled(self.listener.accept()).await {
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(AFTER_ACCEPT_ERROR).await;
                continue;
            };
            // Beyond the limit a connection is closed at once.
            let Ok(slot) = slots.clone().try_acquire_owned() else { continue };
            let (setup, shutdown) = (self.setup.clone(), shutdown.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = serve(stream, setup) => {}
                    () = tokio::time::sleep(MAX_AGE) => {}
                    () = shutdown.cancelled() => {}
                }
                drop(slot);
            });
        }
    }
}

async fn serve(stream: TcpStream, setup: Arc<Setup>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = answer(&setup, request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(HEAD_BYTES);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "an admin connection ended");
    }
}

fn answer(setup: &Setup, method: &Method, path: &str) -> Response<Full<Bytes>> {
    if !matches!(path, "/live" | "/ready" | "/metrics" | "/config") {
        return problem(&Problem::new(Code::NotFound, "there are /live, /ready, /metrics and /config"));
    }
    if *method != Method::GET && *method != Method::HEAD {
        let mut refused = problem(&Problem::new(Code::MethodNotAllowed, "only GET and HEAD"));
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match path {
        "/ready" => {
            let reasons = setup.health.reasons();
            let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            response(status, "application/json", Value::from(reasons).to_string())
        }
        "/metrics" => {
            setup.tasks.show();
            response(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", setup.metrics.render())
        }
        "/config" => response(StatusCode::OK, "application/json", setup.config.to_string()),
        _ => response(StatusCode::OK, "text/plain; charset=utf-8", "live\n".to_owned()),
    }
}

fn problem(problem: &Problem) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response(status, "application/problem+json", problem.to_value().to_string())
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
