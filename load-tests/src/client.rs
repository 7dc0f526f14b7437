//! A keep-alive HTTP/1.1 client on hyper's connection API, for one server: of the forwarders, and for control doors.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::dial::Server;

const LARGEST_ANSWER: usize = 16 << 20;
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// What Posthorn opens to one endpoint at most, too.
const MOST_CONNECTIONS: usize = 64;

/// Idle connections to one server, last used first. As many connections are open as requests are under way; more wait.
#[derive(Debug)]
pub struct Client {
    door: Door,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
    room: Semaphore,
}

/// Where connections go. A plain one is a socket and nothing around it.
#[derive(Debug)]
enum Door {
    Plain(SocketAddr),
    Server(Server),
}

impl Client {
    /// A client of an address, without connections yet.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self::through(Door::Plain(address))
    }

    /// A client of a server that speaks HTTP/1.1, over TLS where its URL says so; without connections yet.
    #[must_use]
    pub fn of(server: Server) -> Self {
        Self::through(Door::Server(server))
    }

    fn through(door: Door) -> Self {
        Self { door, idle: Mutex::new(Vec::new()), room: Semaphore::new(MOST_CONNECTIONS) }
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
            .header("host", self.host())
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
        let request = Request::builder().uri(path).header("host", self.host()).body(Full::default())?;
        let answer = self.send(request).await.with_context(|| format!("GET {path}"))?;
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        anyhow::ensure!(answer.status().is_success(), "GET {path}: {}: {text:.300}", answer.status());
        Ok(text)
    }

    /// What requests have as `Host`.
    #[must_use]
    pub fn host(&self) -> String {
        match &self.door {
            Door::Plain(address) => address.to_string(),
            Door::Server(server) => server.authority().to_owned(),
        }
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
        match &self.door {
            Door::Plain(address) => {
                let socket = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
                socket.set_nodelay(true)?;
                begin(TokioIo::new(socket)).await
            }
            Door::Server(server) => begin(server.open().await?).await,
        }
    }

    fn idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        self.lock().pop()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<SendRequest<Full<Bytes>>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn begin<T>(stream: T) -> Result<SendRequest<Full<Bytes>>>
where
    T: Read + Write + Unpin + Send + 'static,
{
    let (connection, driver) = handshake(stream).await?;
    tokio::spawn(driver);
    Ok(connection)
}

/// Whether an answer counts as delivered or accepted.
#[must_use]
pub fn accepted(status: StatusCode) -> bool {
    status.is_success()
}
