//! A keep-alive HTTP/1.1 client on hyper's connection API, for one address: of the forwarders, and for control doors.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

const LARGEST_ANSWER: usize = 16 << 20;
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// What Posthorn opens to one endpoint at most, too.
const MOST_CONNECTIONS: usize = 64;

/// Idle connections to one address, last used first. As many connections are open as requests are under way; more wait.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
    room: Semaphore,
}

impl Client {
    /// A client without connections yet.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, idle: Mutex::new(Vec::new()), room: Semaphore::new(MOST_CONNECTIONS) }
    }

    /// Sends a request and reads the answer to its end.
    ///
    /// # Errors
    /// When the connection fails or there is no answer within 30 seconds. Nothing is tried again.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>> {
        tokio::time::timeout(ANSWER_WITHIN, self.exchange(request)).await.context("no answer")?
    }

    /// Sends JSON and gives the JSON that comes back.
    ///
    /// # Errors
    /// When there is no answer, it is no success, or no JSON; the error shows it.
    pub async fn json(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let request = Request::builder()
            .method(&method)
            .uri(path)
            .header("host", self.address.to_string())
            .header("content-type", "application/json")
            .body(Full::from(if body.is_null() { String::new() } else { body.to_string() }))?;
        let answer = self.send(request).await.with_context(|| format!("{method} {path}"))?;
        let text = String::from_utf8_lossy(answer.body());
        anyhow::ensure!(answer.status().is_success(), "{method} {path}: {}: {text:.1000}", answer.status());
        if text.is_empty() { Ok(Value::Null) } else { serde_json::from_str(&text).with_context(|| format!("{method} {path}: {text:.300}")) }
    }

    /// The text at a path.
    ///
    /// # Errors
    /// When there is no answer, or it is no success.
    pub async fn text(&self, path: &str) -> Result<String> {
        let request = Request::builder().uri(path).header("host", self.address.to_string()).body(Full::default())?;
        let answer = self.send(request).await.with_context(|| format!("GET {path}"))?;
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        anyhow::ensure!(answer.status().is_success(), "GET {path}: {}: {text:.300}", answer.status());
        Ok(text)
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>> {
        let _room = self.room.acquire().await.context("never closed")?;
        let mut connection = self.connection().await?;
        let (head, body) = connection.send_request(request).await.context("sending")?.into_parts();
        let body = Limited::new(body, LARGEST_ANSWER).collect().await.map_err(|e| anyhow::anyhow!("reading: {e}"))?;
        self.lock().push(connection);
        Ok(Response::from_parts(head, body.to_bytes()))
    }

    async fn connection(&self) -> Result<SendRequest<Full<Bytes>>> {
        while let Some(mut connection) = self.idle() {
            // The other side may have closed it meanwhile.
            if connection.ready().await.is_ok() {
                return Ok(connection);
            }
        }
        let socket = TcpStream::connect(self.address).await.with_context(|| format!("connecting to {}", self.address))?;
        socket.set_nodelay(true)?;
        let (connection, driver) = handshake(TokioIo::new(socket)).await?;
        tokio::spawn(driver);
        Ok(connection)
    }

    fn idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        self.lock().pop()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<SendRequest<Full<Bytes>>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an answer counts as delivered or accepted.
#[must_use]
pub fn accepted(status: StatusCode) -> bool {
    status.is_success()
}
