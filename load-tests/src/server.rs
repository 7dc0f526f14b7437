//! The smallest HTTP server on hyper: what the forwarder and the receiver have in common.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

const MOST_CONNECTIONS: usize = 4_096;

/// Listens on `address`, prints `ready {"data": …}` as Posthorn does, and answers until the process ends.
///
/// # Errors
/// When the address cannot be bound.
pub async fn run<F, Fut>(address: SocketAddr, answer: F) -> Result<()>
where
    F: Fn(Request<Incoming>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let listener = TcpListener::bind(address).await.with_context(|| format!("binding {address}"))?;
    println!("ready {{\"data\":\"{}\"}}", listener.local_addr()?);
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let permit = Arc::clone(&room).acquire_owned().await.context("never closed")?;
        let (socket, _) = listener.accept().await.context("accept")?;
        socket.set_nodelay(true)?;
        let answer = answer.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            // A broken connection is the client's business.
            drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await);
            drop(permit);
        });
    }
}

/// An answer without a body.
#[must_use]
pub fn status(code: http::StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = code;
    response
}
