//! A new connection: resolve, check, connect to the checked address, TLS, HTTP handshake. Every one goes this way (I10).

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use posthorn_domain::time::Time;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use super::body::PiecesBody;
use super::error::{Fault, Phase, SendError};
use super::pool::Pool;
use super::target::Target;

/// The most that is buffered of an answer's head, in bytes.
const MAX_HEAD: usize = 64 << 10;
const H2_PING: Duration = Duration::from_secs(15);

/// An open connection. Dropping the last owner of it closes it.
pub(super) struct Connection<S> {
    pub(super) sender: S,
    pub(super) peer: IpAddr,
    pub(super) since: Time,
    pub(super) _driver: Driver,
}

pub(super) type H1 = Connection<http1::SendRequest<PiecesBody>>;
pub(super) type H2 = Connection<http2::SendRequest<PiecesBody>>;

/// What ALPN chose.
pub(super) enum Opened {
    H1(H1),
    H2(H2),
}

/// Ends the task that drives a connection, so that a peer that reads nothing cannot keep it.
pub(super) struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Opens a connection to `target`.
pub(super) async fn open(pool: &Pool, target: &Target, phase: &Cell<Phase>) -> Result<Opened, SendError> {
    phase.set(Phase::Resolve);
    let addrs = permitted(pool, target).await?;
    phase.set(Phase::Connect);
    let (stream, peer) = dial(&addrs, pool.config.connect_timeout).await.map_err(SendError::unsent)?;
    let Some(name) = target.server_name.clone() else { return http1(pool, stream, peer).await };
    phase.set(Phase::Tls);
    let config = target.tls.as_ref().map_or_else(|| Arc::clone(&pool.tls), |tls| pool.with_alpn(&tls.config));
    let stream = secure(stream, config, name, pool.config.connect_timeout).await?;
    phase.set(Phase::Connect);
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") { http2(pool, stream, peer).await } else { http1(pool, stream, peer).await }
}

/// The addresses that may be connected to; the first refusal when there is none.
async fn permitted(pool: &Pool, target: &Target) -> Result<SmallVec<[SocketAddr; 4]>, SendError> {
    let found = match target.literal {
        Some(addr) => SmallVec::from_slice(&[addr]),
        None => pool.resolver.resolve(&target.key.host).await.map_err(SendError::unsent)?,
    };
    let guard = pool.guard();
    let mut refused = None;
    let mut addrs = SmallVec::new();
    for addr in found {
        match guard.check_connect(addr, target.key.scheme) {
            Ok(()) => addrs.push(SocketAddr::new(addr.to_canonical(), target.key.port)),
            Err(forbidden) => refused = refused.or(Some(forbidden)),
        }
    }
    match refused {
        Some(forbidden) if addrs.is_empty() => Err(SendError::unsent(forbidden)),
        _ => Ok(addrs),
    }
}

/// The first address that takes the connection.
async fn dial(addrs: &[SocketAddr], limit: Duration) -> Result<(TcpStream, IpAddr), Fault> {
    let mut last = Fault::Closed;
    for addr in addrs {
        match tokio::time::timeout(limit, TcpStream::connect(addr)).await {
            Ok(Ok(stream)) => {
                // Only latency is lost when it fails.
                drop(stream.set_nodelay(true));
                return Ok((stream, addr.ip()));
            }
            Ok(Err(error)) => last = Fault::Connect { addr: *addr, kind: error.kind() },
            Err(_) => last = Fault::Connect { addr: *addr, kind: io::ErrorKind::TimedOut },
        }
    }
    Err(last)
}

async fn secure(
    stream: TcpStream,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    limit: Duration,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, SendError> {
    match tokio::time::timeout(limit, TlsConnector::from(config).connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(SendError::unsent(Fault::Tls(error.to_string()))),
        Err(_) => Err(SendError::timeout(Phase::Tls)),
    }
}

async fn http1<T: AsyncRead + AsyncWrite + Unpin + 'static>(pool: &Pool, stream: T, peer: IpAddr) -> Result<Opened, SendError> {
    let shaken = http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream)).await;
    let (sender, driver) = shaken.map_err(|error| SendError::unsent(Fault::of_hyper(&error)))?;
    Ok(Opened::H1(Connection { sender, peer, since: pool.clock.now(), _driver: drive(driver) }))
}

async fn http2<T: AsyncRead + AsyncWrite + Unpin + 'static>(pool: &Pool, stream: T, peer: IpAddr) -> Result<Opened, SendError> {
    let shaken = http2::Builder::new(LocalExec)
        .timer(TokioTimer::new())
        .keep_alive_interval(H2_PING)
        .max_header_list_size(16 << 10)
        .initial_max_send_streams(pool.config.max_h2_streams)
        .handshake(TokioIo::new(stream))
        .await;
    let (sender, driver) = shaken.map_err(|error| SendError::unsent(Fault::of_hyper(&error)))?;
    Ok(Opened::H2(Connection { sender, peer, since: pool.clock.now(), _driver: drive(driver) }))
}

/// A connection's own end is seen by its sender; what it says of it adds nothing.
fn drive(connection: impl Future<Output = Result<(), hyper::Error>> + 'static) -> Driver {
    Driver(tokio::task::spawn_local(async move { drop(connection.await) }).abort_handle())
}

/// Runs HTTP/2's inner tasks on the shard's own thread.
#[derive(Clone, Copy)]
struct LocalExec;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExec
where
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
