//! The receiving side: an HTTP server with one path a subscription. It trusts nothing that Posthorn says of itself: signatures
//! are verified with the `standardwebhooks` crate, and the bytes are compared with what was recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use standardwebhooks::Webhook;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

const MAX_BODY: usize = 1 << 20;
const MAX_CONNECTIONS: usize = 256;

/// How an endpoint behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// Takes everything.
    Well,
    /// Answers 503 so many times more, then is well.
    FailsFirst(usize),
    /// Answers 500 to everything.
    Dead,
}

/// What one endpoint has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) requests: usize,
    /// The events of requests that were answered with a failure on purpose.
    pub(super) failed: Vec<Key>,
    pub(super) verified: usize,
    pub(super) bad_signatures: usize,
    pub(super) other_bytes: usize,
    /// Taken more than once.
    pub(super) twice: usize,
    /// What was taken.
    pub(super) taken: BTreeSet<Key>,
}

/// `source` and `id`.
pub(super) type Key = (String, String);

impl Seen {
    /// How many events were taken after they had been failed.
    pub(super) fn retried(&self) -> usize {
        self.failed.iter().collect::<BTreeSet<_>>().into_iter().filter(|key| self.taken.contains(*key)).count()
    }
}

/// The server.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    /// Data by event id, as recorded.
    recorded: BTreeMap<String, Bytes>,
    endpoints: Mutex<BTreeMap<String, Endpoint>>,
}

struct Endpoint {
    mood: Mood,
    webhook: Option<Webhook>,
    seen: Seen,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shared({} events)", self.recorded.len())
    }
}

impl Receiver {
    /// Listens on a free loopback port until the runtime ends.
    pub(super) async fn start(recorded: BTreeMap<String, Bytes>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { recorded, endpoints: Mutex::default() });
        tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared })
    }

    /// Opens `/{name}` and gives its URL. Nothing is taken there before [`Receiver::trust`].
    pub(super) fn open(&self, name: &str, mood: Mood) -> String {
        self.shared.endpoints().insert(name.to_owned(), Endpoint { mood, webhook: None, seen: Seen::default() });
        format!("http://{}/{name}", self.address)
    }

    /// The secret with which `/{name}` verifies.
    pub(super) fn trust(&self, name: &str, secret: &str) -> anyhow::Result<()> {
        let webhook = Webhook::new(secret)?;
        if let Some(endpoint) = self.shared.endpoints().get_mut(name) {
            endpoint.webhook = Some(webhook);
        }
        Ok(())
    }

    /// The endpoint behaves otherwise from now on.
    pub(super) fn mood(&self, name: &str, mood: Mood) {
        if let Some(endpoint) = self.shared.endpoints().get_mut(name) {
            endpoint.mood = mood;
        }
    }

    /// What it has seen so far.
    pub(super) fn seen(&self, name: &str) -> Seen {
        self.shared.endpoints().get(name).map(|endpoint| endpoint.seen.clone()).unwrap_or_default()
    }

    /// How many distinct events it has taken so far.
    pub(super) fn taken(&self, name: &str) -> usize {
        self.shared.endpoints().get(name).map_or(0, |endpoint| endpoint.seen.taken.len())
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            serve(stream, shared).await;
            drop(place);
        });
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    stream.set_nodelay(true).ok();
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move {
            let (head, body) = request.into_parts();
            let status = match Limited::new(body, MAX_BODY).collect().await {
                Ok(body) => shared.receive(head.uri.path().trim_start_matches('/'), &head.headers, &body.to_bytes()),
                Err(_) => StatusCode::PAYLOAD_TOO_LARGE,
            };
            let mut response = Response::new(Full::<Bytes>::default());
            *response.status_mut() = status;
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    // A connection that breaks is the server's to notice: it tries again, or the counts say so.
    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
}

impl Shared {
    fn endpoints(&self) -> MutexGuard<'_, BTreeMap<String, Endpoint>> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn receive(&self, name: &str, headers: &HeaderMap, body: &Bytes) -> StatusCode {
        let mut endpoints = self.endpoints();
        let Some(endpoint) = endpoints.get_mut(name) else { return StatusCode::NOT_FOUND };
        let seen = &mut endpoint.seen;
        seen.requests += 1;
        let verified = endpoint.webhook.as_ref().is_some_and(|webhook| webhook.verify(body, headers).is_ok());
        if !verified {
            seen.bad_signatures += 1;
            return StatusCode::UNAUTHORIZED;
        }
        seen.verified += 1;
        let (id, source) = (text(headers, "ce-id"), text(headers, "ce-source"));
        if self.recorded.get(id) != Some(body) {
            seen.other_bytes += 1;
            return StatusCode::BAD_REQUEST;
        }
        if let Some(failure) = endpoint.mood.failure() {
            seen.failed.push((source.to_owned(), id.to_owned()));
            return failure;
        }
        seen.twice += usize::from(!seen.taken.insert((source.to_owned(), id.to_owned())));
        StatusCode::NO_CONTENT
    }
}

impl Mood {
    /// The failure to answer with now, if any.
    fn failure(&mut self) -> Option<StatusCode> {
        match self {
            Self::Well | Self::FailsFirst(0) => None,
            Self::FailsFirst(left) => {
                *left -= 1;
                Some(StatusCode::SERVICE_UNAVAILABLE)
            }
            Self::Dead => Some(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
