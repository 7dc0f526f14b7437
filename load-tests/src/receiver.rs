//! The counting receiver: answers 200 to every `POST` and counts. `GET /count` says how many.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::Value;

use crate::client::Client;
use crate::server::{self, status};

/// Runs the receiver until the process ends.
///
/// # Errors
/// When the address cannot be bound.
pub async fn run(listen: SocketAddr) -> Result<()> {
    let total = Arc::new(AtomicU64::new(0));
    server::run(listen, move |request| {
        let total = Arc::clone(&total);
        async move { answer(request, &total).await }
    })
    .await
}

/// Asks a receiver how many it has counted.
///
/// # Errors
/// When it does not answer.
pub async fn count(receiver: &Client) -> Result<u64> {
    receiver.json(Method::GET, "/count", &Value::Null).await?["total"].as_u64().context("a count")
}

async fn answer(request: Request<Incoming>, total: &AtomicU64) -> Response<Full<Bytes>> {
    if request.method() == Method::GET {
        return Response::new(Full::from(format!("{{\"total\":{}}}", total.load(Ordering::Relaxed))));
    }
    // Read frame by frame and let go: memory does not grow with the body.
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            return status(StatusCode::BAD_REQUEST);
        }
    }
    total.fetch_add(1, Ordering::Relaxed);
    status(StatusCode::OK)
}
