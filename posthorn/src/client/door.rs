//! One door of a server, and the exchange with it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use url::Url;

use super::Error;

const CONNECT: Duration = Duration::from_secs(5);
const EXCHANGE: Duration = Duration::from_secs(60);
const MAX_ANSWER: usize = 64 << 20;

/// A server's door, by its base URL.
#[derive(Debug)]
pub struct Door {
    base: Url,
    kept: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

/// What the server answered with success.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// The document; null when there is none.
    pub body: Value,
}

impl Answer {
    /// The revision that a write made: the body's, else the `ETag`'s.
    pub fn revision(&self) -> Option<u64> {
        let tag = || self.headers.get(header::ETAG)?.to_str().ok()?.trim_start_matches("W/").trim_matches('"').parse().ok();
        self.body.get("revision").and_then(Value::as_u64).or_else(tag)
    }
}

impl Door {
    /// The door at `base`. Only plain http is spoken.
    pub fn new(base: &str) -> Result<Self, Error> {
        let url = Url::parse(base).map_err(|error| Error::Usage(format!("`{base}` is not a URL: {error}")))?;
        match url.scheme() {
            "http" if url.has_host() => Ok(Self { base: url, kept: Mutex::new(None) }),
            "https" => Err(Error::Usage(format!("{base}: https is not spoken by the command line yet; use http on a trusted network"))),
            _ => Err(Error::Usage(format!("`{base}` is not an http URL"))),
        }
    }

    /// The path below the base: `segments` are escaped, `query` pairs too.
    pub fn path(&self, segments: &[&str], query: &[(&str, &str)]) -> String {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url[url::Position::BeforePath..url::Position::AfterQuery].to_owned()
    }

    /// Sends JSON (or nothing) and reads the answer whole; a status of 400 and above is [`Error::Refused`].
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, Error> {
        let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let headers: &[_] = if body.is_some() { &[("content-type", "application/json")] } else { &[] };
        let answer = self.send(method, path, headers, bytes).await?;
        if answer.status < 400 { Ok(answer) } else { Err(Error::Refused { status: answer.status, problem: answer.body }) }
    }

    /// Sends bytes and reads the answer whole, whatever its status.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Answer, Error> {
        let exchange = async {
            let (parts, incoming) = self.open(method, path, headers, body).await?.into_parts();
            let limited = Limited::new(incoming, MAX_ANSWER).collect().await;
            let bytes = limited.map_err(|error| self.unreachable(error))?.to_bytes();
            let text = || Value::from(String::from_utf8_lossy(&bytes).into_owned());
            let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap_or_else(|_| text()) };
            Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
        };
        timeout(EXCHANGE, exchange).await.map_err(|_| self.unreachable("no answer within 60s"))?
    }

    /// Sends bytes and gives the answer as it starts, for streams. The connection is kept once the answer has been read.
    pub async fn open(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Result<http::Response<Incoming>, Error> {
        let mut request = Request::builder().method(method).uri(path).header("host", self.base.authority());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).map_err(|error| Error::Usage(error.to_string()))?;
        let mut kept = self.kept.lock().await;
        let mut sender = self.ready(kept.take()).await?;
        let response = match sender.try_send_request(request).await {
            Ok(response) => response,
            Err(mut error) => {
                // The server may have closed the kept connection just now; what was not sent at all may be sent again.
                let Some(request) = error.take_message() else { return Err(self.unreachable(error.into_error())) };
                sender = self.ready(None).await?;
                sender.send_request(request).await.map_err(|error| self.unreachable(error))?
            }
        };
        *kept = Some(sender);
        Ok(response)
    }

    async fn ready(&self, kept: Option<SendRequest<Full<Bytes>>>) -> Result<SendRequest<Full<Bytes>>, Error> {
        if let Some(mut sender) = kept
            && timeout(CONNECT, sender.ready()).await.is_ok_and(|ready| ready.is_ok())
        {
            return Ok(sender);
        }
        let addresses = self.base.socket_addrs(|| None)?;
        let stream = timeout(CONNECT, TcpStream::connect(&addresses[..])).await.map_err(|_| self.unreachable("no connection within 5s"))?;
        let stream = stream.map_err(|error| self.unreachable(error))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.unreachable(error))?;
        tokio::spawn(connection);
        Ok(sender)
    }

    pub(super) fn unreachable(&self, detail: impl ToString) -> Error {
        Error::Unreachable { url: self.base.to_string(), detail: detail.to_string() }
    }
}
