//! The yardstick: a hyper server and a hyper client, nothing else. It takes a `POST`, sends body and headers on, and answers 202
//! once the target has answered. No validation, no log, no retry. Publishers may speak HTTP/1.1 or HTTP/2; deliveries are plain
//! HTTP/1.1 unless they are to be secure.
//!
//! With `sign` it adds one fresh HMAC and the three Standard Webhooks headers a delivery: the least that a webhook sender can do.
//! With a fan-out it sends each request on so many times, to `/{group}/0`, `/{group}/1`, …, each with a secret of its own.
//! Answering after the target has answered keeps the loop closed: what the generator sees is what was delivered, and no queue
//! grows in between.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use ring::hmac::{HMAC_SHA256, Key, sign};
use tokio::net::TcpListener;

use crate::client::accepted;
use crate::keys;
use crate::outlet::{Outlet, Secure};
use crate::server::{self, Speaks, status};
use crate::wall;

const LARGEST_BODY: usize = 1 << 20;
/// Of one request's fan-out, so many are under way at once.
const TOGETHER: usize = 32;

/// What a forwarder does.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where it sends to.
    pub target: SocketAddr,
    /// Whether over TLS, and how.
    pub secure: Option<Secure>,
    /// The group of paths that it sends to.
    pub group: String,
    /// How often each request is sent on.
    pub fan_out: u32,
    /// Whether it signs.
    pub sign: bool,
}

struct Forwarder {
    outlet: Outlet,
    ways: Vec<Way>,
}

/// One target of the fan-out.
struct Way {
    uri: Uri,
    key: Option<Key>,
}

/// Runs the forwarder until the process ends. It prints `ready {"data": …}`.
///
/// # Errors
/// When the address cannot be bound, or the file of authorities cannot be read.
pub async fn run(options: &Options) -> Result<()> {
    let forwarder = Arc::new(Forwarder::new(options)?);
    let listener = TcpListener::bind(options.listen).await.with_context(|| format!("binding {}", options.listen))?;
    println!("ready {{\"data\":\"{}\"}}", listener.local_addr()?);
    server::serve(listener, Speaks::Either, Arc::default(), move |request| {
        let forwarder = Arc::clone(&forwarder);
        async move { Ok(forwarder.forward(request).await) }
    })
    .await
}

impl Forwarder {
    fn new(options: &Options) -> Result<Self> {
        let outlet = Outlet::new(options.target, options.secure.as_ref())?;
        let way = |n| {
            let path = format!("/{}/{n}", options.group);
            let key = options.sign.then(|| Key::new(HMAC_SHA256, &keys::hmac(&path)));
            anyhow::Ok(Way { uri: outlet.uri(&path)?, key })
        };
        let ways = (0..options.fan_out.max(1)).map(way).collect::<Result<_>>()?;
        Ok(Self { outlet, ways })
    }

    async fn forward(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let Ok((headers, body)) = self.incoming(request).await else { return status(StatusCode::BAD_REQUEST) };
        let delivered = match self.ways.as_slice() {
            [way] => self.deliver(way, &headers, &body).await,
            ways => {
                let deliveries = stream::iter(0..ways.len()).map(|n| self.deliver(&ways[n], &headers, &body));
                deliveries.buffer_unordered(TOGETHER).fold(true, async |all, one| all && one).await
            }
        };
        status(if delivered { StatusCode::ACCEPTED } else { StatusCode::BAD_GATEWAY })
    }

    async fn incoming(&self, request: Request<Incoming>) -> Result<(HeaderMap, Bytes)> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, LARGEST_BODY).collect().await.map_err(|e| anyhow::anyhow!("{e}"))?.to_bytes();
        let mut headers = head.headers;
        self.outlet.adapt(&mut headers);
        Ok((headers, body))
    }

    async fn deliver(&self, way: &Way, headers: &HeaderMap, body: &Bytes) -> bool {
        let Ok(request) = way.request(headers.clone(), body.clone()) else { return false };
        self.outlet.send(request).await.is_ok_and(accepted)
    }
}

impl Way {
    fn request(&self, mut headers: HeaderMap, body: Bytes) -> Result<Request<Full<Bytes>>> {
        if let Some(key) = &self.key {
            let id = headers.get("ce-id").cloned().unwrap_or(HeaderValue::from_static("none"));
            let seconds = Duration::from_micros(wall::micros()).as_secs();
            let signature = signature(key, id.as_bytes(), seconds, &body);
            headers.insert("webhook-id", id);
            headers.insert("webhook-timestamp", HeaderValue::from(seconds));
            headers.insert("webhook-signature", signature.parse()?);
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// `v1,` and the MAC over `{id}.{seconds}.{body}` (Standard Webhooks, "Signature scheme").
fn signature(key: &Key, id: &[u8], seconds: u64, body: &[u8]) -> String {
    let content = [id, b".", seconds.to_string().as_bytes(), b".", body].concat();
    format!("v1,{}", STANDARD.encode(sign(key, &content)))
}
