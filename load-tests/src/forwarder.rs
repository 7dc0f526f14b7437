//! The yardstick: a hyper server and a hyper client, nothing else. It takes a `POST`, sends body and headers on, and
//! answers 202 once the target has answered. No validation, no log, no retry.
//!
//! With `sign` it adds one HMAC and the three Standard Webhooks headers: the least that a webhook sender can do.
//! Answering after the target has answered keeps the loop closed: what the generator sees is what was delivered, and no
//! queue grows in between.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use ring::hmac::{HMAC_SHA256, Key, sign};

use crate::client::{Client, accepted};
use crate::server::{self, status};

const LARGEST_BODY: usize = 1 << 20;
const SECRET: &[u8] = b"the yardstick needs no secrecy";

struct Forwarder {
    target: Client,
    host: HeaderValue,
    path: String,
    key: Option<Key>,
}

/// Runs the forwarder until the process ends.
///
/// # Errors
/// When the address cannot be bound.
pub async fn run(listen: SocketAddr, target: SocketAddr, path: &str, signing: bool) -> Result<()> {
    let forwarder = Arc::new(Forwarder {
        target: Client::new(target),
        host: target.to_string().parse().context("a host")?,
        path: path.to_owned(),
        key: signing.then(|| Key::new(HMAC_SHA256, SECRET)),
    });
    server::run(listen, move |request| {
        let forwarder = Arc::clone(&forwarder);
        async move { forwarder.forward(request).await }
    })
    .await
}

impl Forwarder {
    async fn forward(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let Ok(request) = self.outgoing(request).await else { return status(StatusCode::BAD_REQUEST) };
        match self.target.send(request).await {
            Ok(answer) if accepted(answer.status()) => status(StatusCode::ACCEPTED),
            _ => status(StatusCode::BAD_GATEWAY),
        }
    }

    async fn outgoing(&self, request: Request<Incoming>) -> Result<Request<Full<Bytes>>> {
        let (mut head, body) = request.into_parts();
        let body = Limited::new(body, LARGEST_BODY).collect().await.map_err(|e| anyhow::anyhow!("{e}"))?.to_bytes();
        head.uri = self.path.parse()?;
        head.headers.remove(header::CONNECTION);
        head.headers.insert(header::HOST, self.host.clone());
        if let Some(key) = &self.key {
            let id = head.headers.get("ce-id").cloned().unwrap_or(HeaderValue::from_static("none"));
            let seconds = now().as_secs();
            let signature = signature(key, id.as_bytes(), seconds, &body);
            head.headers.insert("webhook-id", id);
            head.headers.insert("webhook-timestamp", HeaderValue::from(seconds));
            head.headers.insert("webhook-signature", signature.parse()?);
        }
        Ok(Request::from_parts(head, Full::new(body)))
    }
}

/// `v1,` and the MAC over `{id}.{seconds}.{body}` (Standard Webhooks, "Signature scheme").
fn signature(key: &Key, id: &[u8], seconds: u64, body: &[u8]) -> String {
    let content = [id, b".", seconds.to_string().as_bytes(), b".", body].concat();
    format!("v1,{}", STANDARD.encode(sign(key, &content)))
}

#[expect(clippy::disallowed_methods, reason = "a yardstick on its own: it has no clock to be given")]
fn now() -> Duration {
    std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
