//! A new connection: resolve, check, connect to the checked address, TLS, HTTP handshake. Every one goes this way (I10).

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use smallvec::SmallVec;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::{Fault, Phase, SendError};
use super::h1::H1;
use super::h2::{Driver, H2};
use super::pool::Pool;
use super::stream::Stream;
use super::target::Target;

const H2_PING: Duration = Duration::from_secs(15);
/// What the kernel takes of an answer before it is read, however little or much of it is wanted.
const UNREAD: RangeInclusive<usize> = 16 << 10..=1 << 20;

/// What ALPN chose.
pub(super) enum Opened {
    H1(H1),
    H2(H2),
}

/// Opens a connection to `target`.
pub(super) async fn open(pool: &Pool, target: &Target, phase: &Cell<Phase>) -> Result<Opened, SendError> {
    phase.set(Phase::Resolve);
    let addrs = permitted(pool, target).await?;
    phase.set(Phase::Connect);
    let (stream, peer) = dial(&addrs, pool).await.map_err(SendError::unsent)?;
    let Some(name) = target.server_name.clone() else { return Ok(http1(pool, Stream::Plain(stream), peer)) };
    phase.set(Phase::Tls);
    let config = target.tls.as_ref().map_or_else(|| Arc::clone(&pool.tls), |tls| pool.with_alpn(&tls.config));
    let stream = secure(stream, config, name, pool.config.connect_timeout).await?;
    phase.set(Phase::Connect);
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    if h2 { http2(pool, stream, peer).await } else { Ok(http1(pool, Stream::Tls(Box::new(stream)), peer)) }
}

/// The addresses that may be connected to; the first refusal when there is none.
async fn permitted(pool: &Pool, target: &Target) -> Result<SmallVec<[SocketAddr; 4]>, SendError> {
    let found = match target.literal {
        Some(addr) => SmallVec::from_slice(&[addr]),
        None => pool.resolver.resolve(&target.key.origin.host).await.map_err(SendError::unsent)?,
    };
    let guard = pool.guard();
    let mut refused = None;
    let mut addrs = SmallVec::new();
    for addr in found {
        match guard.check_connect(addr, target.key.origin.scheme) {
            Ok(()) => addrs.push(SocketAddr::new(addr.to_canonical(), target.key.origin.port)),
            Err(forbidden) => refused = refused.or(Some(forbidden)),
        }
    }
    match refused {
        Some(forbidden) if addrs.is_empty() => Err(SendError::unsent(forbidden)),
        _ => Ok(addrs),
    }
}

/// The first address that takes the connection.
async fn dial(addrs: &[SocketAddr], pool: &Pool) -> Result<(TcpStream, IpAddr), Fault> {
    let mut last = Fault::Closed;
    for addr in addrs {
        match tokio::time::timeout(pool.config.connect_timeout, connect(*addr, pool.config.max_response_bytes)).await {
            Ok(Ok(stream)) => return Ok((stream, addr.ip())),
            Ok(Err(error)) => last = Fault::Connect { addr: *addr, kind: error.kind() },
            Err(_) => last = Fault::Connect { addr: *addr, kind: io::ErrorKind::TimedOut },
        }
    }
    Err(last)
}

/// An endpoint that answers with more than is wanted must not fill the kernel's memory, and the machine's time, with it.
async fn connect(addr: SocketAddr, wanted: usize) -> io::Result<TcpStream> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_recv_buffer_size(u32::try_from(wanted.clamp(*UNREAD.start(), *UNREAD.end())).expect("it is far below 4 GiB"))?;
    // Only latency is lost when it fails.
    drop(socket.set_nodelay(true));
    socket.connect(addr).await
}

async fn secure(
    stream: TcpStream,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    limit: Duration,
) -> Result<TlsStream<TcpStream>, SendError> {
    match tokio::time::timeout(limit, TlsConnector::from(config).connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(SendError::unsent(Fault::Tls(error.to_string()))),
        Err(_) => Err(SendError::timeout(Phase::Tls)),
    }
}

fn http1(pool: &Pool, stream: Stream, peer: IpAddr) -> Opened {
    Opened::H1(H1 { stream, peer, since: pool.clock.now() })
}

async fn http2(pool: &Pool, stream: TlsStream<TcpStream>, peer: IpAddr) -> Result<Opened, SendError> {
    let shaken = http2::Builder::new(LocalExec)
        .timer(TokioTimer::new())
        .keep_alive_interval(H2_PING)
        .max_header_list_size(16 << 10)
        .initial_max_send_streams(pool.config.max_h2_streams)
        .handshake(TokioIo::new(stream))
        .await;
    let (sender, driver) = shaken.map_err(|error| SendError::unsent(Fault::of_hyper(&error)))?;
    Ok(Opened::H2(H2 { sender, peer, since: pool.clock.now(), _driver: drive(driver) }))
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
