//! Connections of the generator: each worker of an HTTP/1.1 load has one, workers of an HTTP/2 load share some.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::dial::{Protocol, Server};

const ANSWER_WITHIN: Duration = Duration::from_secs(30);

type Body = Full<Bytes>;

/// A place to send requests through; opened when needed, again after a failure.
#[derive(Debug, Clone)]
pub struct Connection {
    server: Arc<Server>,
    way: Way,
}

#[derive(Debug, Clone)]
enum Way {
    H1(Arc<Mutex<Option<http1::SendRequest<Body>>>>),
    H2(Arc<Mutex<Option<http2::SendRequest<Body>>>>),
}

impl Connection {
    /// One that is not open yet. Clones share it.
    #[must_use]
    pub fn new(server: Arc<Server>) -> Self {
        let way = match server.protocol {
            Protocol::H1 => Way::H1(Arc::default()),
            Protocol::H2 => Way::H2(Arc::default()),
        };
        Self { server, way }
    }

    /// Sends a request and reads its answer to the end. On HTTP/1.1, requests of clones wait for each other.
    ///
    /// # Errors
    /// When the connection fails or there is no answer within 30 seconds; nothing is tried again.
    pub async fn send(&self, request: Request<Body>) -> Result<StatusCode> {
        timeout(ANSWER_WITHIN, self.exchange(request)).await.context("no answer")?
    }

    async fn exchange(&self, request: Request<Body>) -> Result<StatusCode> {
        match &self.way {
            Way::H1(slot) => {
                let mut slot = slot.lock().await;
                let mut sender = match slot.take() {
                    Some(sender) if !sender.is_closed() => sender,
                    _ => self.open_h1().await?,
                };
                sender.ready().await?;
                let status = drain(sender.send_request(request).await.context("sending")?).await?;
                *slot = Some(sender);
                Ok(status)
            }
            Way::H2(slot) => {
                let mut sender = {
                    let mut slot = slot.lock().await;
                    match &*slot {
                        Some(sender) if !sender.is_closed() => sender.clone(),
                        _ => slot.insert(self.open_h2().await?).clone(),
                    }
                };
                sender.ready().await?;
                drain(sender.send_request(request).await.context("sending")?).await
            }
        }
    }

    async fn open_h1(&self) -> Result<http1::SendRequest<Body>> {
        let (sender, driver) = http1::handshake(self.server.open().await?).await?;
        tokio::spawn(driver);
        Ok(sender)
    }

    async fn open_h2(&self) -> Result<http2::SendRequest<Body>> {
        let stream = self.server.open().await?;
        let (sender, driver) = http2::Builder::new(TokioExecutor::new()).timer(TokioTimer::new()).handshake(stream).await?;
        tokio::spawn(driver);
        Ok(sender)
    }
}

async fn drain(answer: Response<Incoming>) -> Result<StatusCode> {
    let (head, mut body) = answer.into_parts();
    while let Some(frame) = body.frame().await {
        if let Err(error) = frame {
            bail!("reading: {error}");
        }
    }
    Ok(head.status)
}
