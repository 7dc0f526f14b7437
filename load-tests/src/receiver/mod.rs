//! The programmable receiver. Deliveries come to `/{group}/{path number}`; a group answers as it was told, 200 at once until then.
//!
//! ```text
//! POST   /{group}/{n}             a delivery: counted by the mark in its ce-id, else by the marks in its body
//! PUT    /_/behaviours/{group}    how a group answers from now on (behaviour.rs)
//! GET    /_/runs/{run}            what arrived of a run;  /_/runs/{run}/count?groups=a,b  only how many
//! DELETE /_/runs/{run}            forgets it
//! GET    /_/status                connections, signatures
//! ```

pub mod behaviour;
pub mod control;
pub mod tally;
pub mod tls;
pub mod verify;

mod reply;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpSocket};

use crate::mark::{Mark, Marks};
use crate::rng::Rng;
use crate::server::{self, Connections, Reset, Speaks};
use crate::wall;
use behaviour::{Act, Behaviour};
use reply::Reply;
use tally::{Outcome, Tally};
use tls::Tls;
use verify::Verifier;

const LARGEST_BODY: usize = 16 << 20;
/// Bytes of answers that the kernel takes before somebody reads them, of each connection.
const SEND_BUFFER: u32 = 64 << 10;
const BACKLOG: u32 = 1_024;

/// What to listen on.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address; with more hosts the first of them, which then has to be 127.0.0.x.
    pub listen: SocketAddr,
    /// So many loopback addresses in a row, on one port: to a gateway, as many hosts.
    pub hosts: u8,
    /// Listen for HTTPS too, on other ports; the certificate of the authority is written to this folder.
    pub tls_folder: Option<PathBuf>,
}

/// The state behind all listeners.
#[derive(Debug, Default)]
pub struct Receiver {
    tally: Tally,
    verifier: Verifier,
    behaviours: RwLock<HashMap<String, Behaviour>>,
    connections: Arc<Connections>,
    dice: AtomicU64,
    marks: Marks,
}

/// Runs the receiver until the process ends. It prints `ready {"data": …, "tls": …, "tls_h2": …}`.
///
/// # Errors
/// When an address cannot be bound.
pub async fn run(options: &Options) -> Result<()> {
    let receiver = Arc::new(Receiver::default());
    let mut listeners = bind(options.listen, options.hosts)?;
    let data = listeners[0].local_addr()?;
    let mut doors = serde_json::json!({ "data": data });
    let mut serving: Vec<(TcpListener, Speaks)> = listeners.drain(..).map(|listener| (listener, Speaks::Plain)).collect();
    if let Some(folder) = &options.tls_folder {
        let tls = Tls::make(folder, hosts(options).map(|host| host.to_string()).collect())?;
        for (name, speaks) in [("tls", Speaks::Tls(tls.h1)), ("tls_h2", Speaks::TlsH2(tls.h2))] {
            let listeners = bind(SocketAddr::new(options.listen.ip(), 0), options.hosts)?;
            doors[name] = listeners[0].local_addr()?.to_string().into();
            serving.extend(listeners.into_iter().map(|listener| (listener, speaks.clone())));
        }
    }
    println!("ready {doors}");
    let serving = serving.into_iter().map(|(listener, speaks)| receiver.serve(listener, speaks));
    futures_util::future::try_join_all(serving).await.map(drop)
}

fn hosts(options: &Options) -> impl Iterator<Item = IpAddr> + use<> {
    let first = options.listen.ip();
    (0..options.hosts.max(1)).map(move |n| match first {
        IpAddr::V4(address) => Ipv4Addr::from(u32::from(address) + u32::from(n)).into(),
        IpAddr::V6(_) => first,
    })
}

fn bind(first: SocketAddr, hosts: u8) -> Result<Vec<TcpListener>> {
    let options = Options { listen: first, hosts, tls_folder: None };
    let mut port = first.port();
    let mut listeners = Vec::new();
    for host in self::hosts(&options) {
        let address = SocketAddr::new(host, port);
        let listener = listen(address).with_context(|| format!("binding {address}"))?;
        port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Over loopback the kernel would take 2.6 MB of a large answer at once, and this machine's time for it: an endpoint elsewhere spends its own.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl Receiver {
    async fn serve(self: &Arc<Self>, listener: TcpListener, speaks: Speaks) -> Result<()> {
        let receiver = Arc::clone(self);
        server::serve(listener, speaks, Arc::clone(&self.connections), move |request| {
            let receiver = Arc::clone(&receiver);
            async move { receiver.answer(request).await }
        })
        .await
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Reply>, Reset> {
        if request.uri().path().starts_with(control::PREFIX) {
            return Ok(control::answer(self, request).await);
        }
        self.delivery(request).await
    }

    async fn delivery(&self, request: Request<Incoming>) -> Result<Response<Reply>, Reset> {
        let (head, body) = request.into_parts();
        let (group, path) = place(head.uri.path());
        let act = self.act(group);
        let delivered = matches!(act, Act::Answer { status: 200..=299, .. });
        let mark = head.headers.get("ce-id").and_then(|id| Mark::parse(id.as_bytes()));
        let sampled = delivered && self.verifier.wanted();
        let Ok(body) = read(body, sampled || mark.is_none()).await else { return Ok(reply::status(StatusCode::BAD_REQUEST)) };
        if sampled {
            self.verifier.check(&head.headers, &body, group, path);
        }
        let outcome = if delivered { Outcome::Delivered } else { Outcome::Refused };
        let note = |mark| self.tally.note(mark, group, path, outcome, wall::micros());
        match mark {
            Some(mark) => note(mark),
            None => self.marks.all(&body).for_each(note),
        }
        perform(act).await
    }

    fn act(&self, group: &str) -> Act {
        let behaviours = self.behaviours.read().unwrap_or_else(PoisonError::into_inner);
        let Some(behaviour) = behaviours.get(group) else { return Behaviour::default().act(&mut Rng::new(0)) };
        behaviour.act(&mut Rng::new(self.dice.fetch_add(1, Ordering::Relaxed)))
    }
}

/// The group and the number of a path; a path without a number has 0.
fn place(path: &str) -> (&str, u32) {
    let path = path.trim_start_matches('/');
    let (group, rest) = path.split_once('/').unwrap_or((path, ""));
    (group, rest.parse().unwrap_or(0))
}

/// Reads to the end; frame by frame and let go where the bytes are not wanted, so that memory does not grow with the body.
async fn read(mut body: Incoming, wanted: bool) -> Result<Bytes> {
    if wanted {
        return Ok(Limited::new(body, LARGEST_BODY).collect().await.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes());
    }
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(Bytes::new())
}

async fn perform(act: Act) -> Result<Response<Reply>, Reset> {
    match act {
        Act::Reset => Err(Reset),
        Act::Hang(length) => {
            tokio::time::sleep(length).await;
            Ok(reply::status(StatusCode::SERVICE_UNAVAILABLE))
        }
        Act::Answer { status, delay, body, over } => {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            Ok(reply::answer(StatusCode::from_u16(status).unwrap_or(StatusCode::OK), body, over))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_group_and_a_number() {
        assert_eq!(place("/ok/17"), ("ok", 17));
        assert_eq!((place("/hook"), place("/a/b/c"), place("/")), (("hook", 0), ("a", 0), ("", 0)));
    }

    #[tokio::test]
    async fn hosts_share_a_port() {
        let listeners = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let addresses: Vec<_> = listeners.iter().map(|l| l.local_addr().unwrap()).collect();
        assert_eq!(addresses.iter().map(|a| a.ip().to_string()).collect::<Vec<_>>(), ["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
        assert!(addresses.iter().all(|a| a.port() == addresses[0].port()));
    }
}
