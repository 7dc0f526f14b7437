//! How a forwarder sends on: plain HTTP/1.1, or over TLS with HTTP/1.1 or HTTP/2.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::Full;
use tokio::sync::Semaphore;

use crate::client::Client;
use crate::connection::Connection;
use crate::dial::{Protocol, Server};

/// Over HTTP/2 a connection for each of the two cores, as Posthorn has.
const SHARED: usize = 2;
/// Requests under way on one of them, as Posthorn's.
const STREAMS: usize = 100;

/// That deliveries go over TLS.
#[derive(Debug, Clone)]
pub struct Secure {
    /// The protocol within.
    pub protocol: Protocol,
    /// A file of certificate authorities that are trusted beside the system's.
    pub ca: Option<PathBuf>,
}

/// Connections to the target.
#[derive(Debug)]
pub(crate) enum Outlet {
    /// With what requests have as `Host`.
    H1(Client, HeaderValue),
    H2 {
        server: Arc<Server>,
        connections: Vec<Connection>,
        next: AtomicUsize,
        room: Semaphore,
    },
}

impl Outlet {
    /// An outlet without connections yet.
    ///
    /// # Errors
    /// When the file of authorities cannot be read.
    pub(crate) fn new(target: SocketAddr, secure: Option<&Secure>) -> Result<Self> {
        let Some(Secure { protocol, ca }) = secure else { return Self::h1(Client::new(target)) };
        let server = Server::of(&format!("https://{target}").parse()?, *protocol, ca.as_deref())?;
        if *protocol == Protocol::H1 {
            return Self::h1(Client::of(server));
        }
        let server = Arc::new(server);
        let connections = (0..SHARED).map(|_| Connection::new(Arc::clone(&server))).collect();
        Ok(Self::H2 { server, connections, next: AtomicUsize::new(0), room: Semaphore::new(SHARED * STREAMS) })
    }

    fn h1(client: Client) -> Result<Self> {
        let host = client.host().parse().context("a host")?;
        Ok(Self::H1(client, host))
    }

    /// The URI of a request to a path.
    ///
    /// # Errors
    /// When the path is none.
    pub(crate) fn uri(&self, path: &str) -> Result<Uri> {
        match self {
            Self::H1(..) => path.parse().with_context(|| path.to_owned()),
            Self::H2 { server, .. } => server.uri(path),
        }
    }

    /// Makes the headers of a request that came in those of one that goes out.
    pub(crate) fn adapt(&self, headers: &mut HeaderMap) {
        headers.remove(header::CONNECTION);
        match self {
            Self::H1(_, host) => drop(headers.insert(header::HOST, host.clone())),
            // The URI has it.
            Self::H2 { .. } => drop(headers.remove(header::HOST)),
        }
    }

    /// Sends a request and reads the answer to its end.
    ///
    /// # Errors
    /// When the connection fails or there is no answer in time. Nothing is tried again.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<StatusCode> {
        match self {
            Self::H1(client, _) => Ok(client.send(request).await?.status()),
            Self::H2 { connections, next, room, .. } => {
                let _room = room.acquire().await.context("never closed")?;
                connections[next.fetch_add(1, Ordering::Relaxed) % connections.len()].send(request).await
            }
        }
    }
}
