//! The smallest HTTP server on hyper: what the forwarder and the receiver have in common.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

const MOST_CONNECTIONS: usize = 16_384;
const MOST_STREAMS: u32 = 1_024;

/// What a listener speaks.
#[derive(Clone)]
pub enum Speaks {
    /// HTTP/1.1.
    Plain,
    /// HTTP/1.1, or HTTP/2 with prior knowledge.
    Either,
    /// HTTP/1.1 over TLS.
    Tls(TlsAcceptor),
    /// HTTP/2 over TLS.
    TlsH2(TlsAcceptor),
}

/// Instead of an answer: the connection is reset.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("reset on purpose")]
pub struct Reset;

/// Connections of a server.
#[derive(Debug, Default)]
pub struct Connections {
    /// So far.
    pub opened: AtomicU64,
    /// Those that have ended.
    pub closed: AtomicU64,
}

/// Answers on a listener until the process ends, and counts connections.
///
/// # Errors
/// When no connection can be accepted any more.
pub async fn serve<B, F, Fut>(listener: TcpListener, speaks: Speaks, connections: Arc<Connections>, answer: F) -> Result<()>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    F: Fn(Request<Incoming>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<Response<B>, Reset>> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let permit = Arc::clone(&room).acquire_owned().await.context("never closed")?;
        let (socket, _) = listener.accept().await.context("accept")?;
        socket.set_nodelay(true)?;
        connections.opened.fetch_add(1, Ordering::SeqCst);
        let (answer, speaks, connections) = (answer.clone(), speaks.clone(), Arc::clone(&connections));
        tokio::spawn(async move {
            // A broken connection is the client's business.
            drop(connection(socket, speaks, answer).await);
            connections.closed.fetch_add(1, Ordering::SeqCst);
            drop(permit);
        });
    }
}

/// An answer without a body.
#[must_use]
pub fn status(code: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = code;
    response
}

async fn connection<B, F, Fut>(socket: TcpStream, speaks: Speaks, answer: F) -> Result<()>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    F: Fn(Request<Incoming>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Response<B>, Reset>> + Send + 'static,
{
    match speaks {
        Speaks::Either if begins_h2(&socket).await? => h2(socket, answer).await,
        Speaks::Plain | Speaks::Either => h1(socket, TcpStream::set_zero_linger, answer).await,
        Speaks::Tls(tls) => h1(tls.accept(socket).await?, |stream| stream.get_ref().0.set_zero_linger(), answer).await,
        Speaks::TlsH2(tls) => h2(tls.accept(socket).await?, answer).await,
    }
}

/// A look at the first bytes costs requests nothing. Of what is taken here only the preface of HTTP/2 begins so, and no client sends less at first.
async fn begins_h2(socket: &TcpStream) -> std::io::Result<bool> {
    let mut first = [0; 2];
    Ok(socket.peek(&mut first).await? == first.len() && &first == b"PR")
}

async fn h2<T, B, F, Fut>(stream: T, answer: F) -> Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    F: Fn(Request<Incoming>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Response<B>, Reset>> + Send + 'static,
{
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.max_concurrent_streams(MOST_STREAMS);
    Ok(builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await?)
}

async fn h1<T, B, F, Fut>(stream: T, no_goodbye: impl Fn(&T) -> std::io::Result<()>, answer: F) -> Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    F: Fn(Request<Incoming>) -> Fut,
    Fut: Future<Output = Result<Response<B>, Reset>>,
{
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
    let Err(error) = (&mut connection).await else { return Ok(()) };
    if error.is_user() {
        // Closed with this set, the other side sees a reset and no orderly end.
        no_goodbye(connection.into_parts().io.inner())?;
    }
    Err(error.into())
}
