//! A small HTTP client for the doors: one connection a request, plain JSON helpers, any headers, HTTP/2 where asked.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::sse::EventStream;
use crate::wait::eventually;

const ANSWER_WITHIN: Duration = Duration::from_secs(70);
const LARGEST_ANSWER: usize = 64 << 20;

/// A client for one door.
#[derive(Debug, Clone)]
pub struct Api {
    address: SocketAddr,
    headers: HeaderMap,
    http2: bool,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Api {
    /// A client over HTTP/1.1.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, headers: HeaderMap::new(), http2: false }
    }

    /// The same door over HTTP/2 without TLS (prior knowledge).
    #[must_use]
    pub fn h2c(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// Sends this header with every request, `authorization` for instance.
    ///
    /// # Panics
    /// When name or value cannot be a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().expect("a header value"));
        self
    }

    /// Where it connects to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The full URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// `GET`.
    ///
    /// # Errors
    /// When there is no answer; every status is an answer.
    pub async fn get(&self, path: &str) -> Result<Reply> {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    /// `DELETE`.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn delete(&self, path: &str) -> Result<Reply> {
        self.send(Method::DELETE, path, &[], Bytes::new()).await
    }

    /// `PUT` with a JSON body.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn put(&self, path: &str, body: &Value) -> Result<Reply> {
        self.send(Method::PUT, path, &[("content-type", "application/json")], body.to_string().into()).await
    }

    /// `POST` with a JSON body.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn post(&self, path: &str, body: &Value) -> Result<Reply> {
        self.send(Method::POST, path, &[("content-type", "application/json")], body.to_string().into()).await
    }

    /// Publishes one structured CloudEvent at `/v1/events`.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn publish(&self, event: &Value) -> Result<Reply> {
        self.publish_bytes("application/cloudevents+json", event.to_string()).await
    }

    /// Publishes a batch at `/v1/events`.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn publish_batch(&self, events: &[Value]) -> Result<Reply> {
        self.publish_bytes("application/cloudevents-batch+json", Value::from(events).to_string()).await
    }

    /// Publishes a body as it is.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn publish_bytes(&self, content_type: &str, body: impl Into<Bytes>) -> Result<Reply> {
        self.send(Method::POST, "/v1/events", &[("content-type", content_type)], body.into()).await
    }

    /// Any request with any headers.
    ///
    /// # Errors
    /// When there is no answer within 70 seconds (a long poll may take 60), or more than 64 MiB.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Reply> {
        let what = format!("{method} {}", self.url(path));
        let answer = async {
            let response = self.open(method, path, headers, body).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, LARGEST_ANSWER).collect().await;
            let body = body.map_err(|e| anyhow::anyhow!("reading the answer: {e}"))?.to_bytes();
            anyhow::Ok(Reply { status: head.status, headers: head.headers, body })
        };
        match tokio::time::timeout(ANSWER_WITHIN, answer).await {
            Ok(answer) => answer.with_context(|| what),
            Err(_) => bail!("{what}: no answer within {ANSWER_WITHIN:?}"),
        }
    }

    /// The answer to a `GET` with its body still to be read.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn stream(&self, path: &str, headers: &[(&str, &str)]) -> Result<Response<Incoming>> {
        self.open(Method::GET, path, headers, Bytes::new()).await
    }

    /// Opens a stream of server-sent events.
    ///
    /// # Errors
    /// When the answer is not a 200 with `text/event-stream`.
    pub async fn events(&self, path: &str, headers: &[(&str, &str)]) -> Result<EventStream> {
        let mut all = vec![("accept", "text/event-stream")];
        all.extend_from_slice(headers);
        let response = self.open(Method::GET, path, &all, Bytes::new()).await?;
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        ensure!(response.status() == StatusCode::OK && kind.starts_with("text/event-stream"), "{} {kind}", response.status());
        Ok(EventStream::new(response.into_body()))
    }

    /// Waits until every data plane that the control plane knows (at least one) has the revision in force.
    ///
    /// # Errors
    /// When that has not happened after 20 seconds.
    pub async fn in_force(&self, revision: u64) -> Result<()> {
        eventually(&format!("revision {revision} in force"), Duration::from_secs(20), || async {
            let nodes = self.get("/v1/nodes").await.ok()?.json().ok()?;
            let nodes = nodes.as_array().or_else(|| nodes["items"].as_array())?;
            let in_force = |node: &Value| node["acked_revision"].as_u64().is_some_and(|r| r >= revision);
            (!nodes.is_empty() && nodes.iter().all(in_force)).then_some(())
        })
        .await
    }

    async fn open(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Response<Incoming>> {
        let target = if self.http2 { self.url(path) } else { path.to_owned() };
        let mut request = Request::builder().method(method).uri(target);
        if !self.http2 {
            request = request.header(header::HOST, self.address.to_string());
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).context("not a request")?;
        let io = TokioIo::new(TcpStream::connect(self.address).await.context("connect")?);
        // The connection task ends with the body or when the caller drops it.
        if self.http2 {
            let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            Ok(sender.send_request(request).await?)
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
            tokio::spawn(connection);
            Ok(sender.send_request(request).await?)
        }
    }
}

impl Reply {
    /// The body as JSON.
    ///
    /// # Errors
    /// When it is not JSON; the error shows the head of the body.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("{}: not JSON: {:.300}", self.status, self.text()))
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON, when the status is this one.
    ///
    /// # Errors
    /// When the status is another, with the body in the error.
    pub fn expect(&self, status: u16) -> Result<Value> {
        ensure!(self.status.as_u16() == status, "expected {status}, got {}: {:.2000}", self.status, self.text());
        if self.body.is_empty() { Ok(Value::Null) } else { self.json() }
    }

    /// The code of a problem: what follows `urn:posthorn:problem:`.
    ///
    /// # Errors
    /// When the answer is not a problem document (RFC 9457) of ours.
    pub fn problem(&self) -> Result<String> {
        let kind = self.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        ensure!(kind.starts_with("application/problem+json"), "{} {kind}: {:.300}", self.status, self.text());
        let body = self.json()?;
        ensure!(body["status"] == self.status.as_u16(), "the status in the problem differs: {body}");
        let code = body["type"].as_str().and_then(|t| t.strip_prefix("urn:posthorn:problem:"));
        Ok(code.with_context(|| format!("no code of ours: {body}"))?.to_owned())
    }
}
