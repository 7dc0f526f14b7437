//! A programmable HTTP/1.1 receiver on loopback: what a partner's endpoint can do to us, and a record of what it got.
//!
//! It speaks HTTP by hand rather than through a library, so that it can also break the protocol.

mod behaviour;
mod received;
mod state;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use behaviour::Behaviour;
pub use received::{Received, new_secret};
pub use state::Tally;

use crate::wait::eventually;
use state::State;

/// Decides about every request and keeps the record of it, for accounts that are larger than [`Receiver::received`].
pub trait Watch: std::fmt::Debug + Send + Sync {
    /// A request is here to its last byte: how it is treated.
    fn arrived(&self, request: &Received) -> Behaviour;

    /// The request was treated: an answer, if there was one, is on its way.
    fn answered(&self, request: &Received);
}

/// A receiver; dropping it closes the door and all connections.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

impl Receiver {
    /// Listens on a free loopback port. Every path answers 200 until told otherwise.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start() -> Result<Self> {
        Self::start_at("127.0.0.1:0".parse().context("an address")?).await
    }

    /// Listens on this address, for an endpoint that comes back.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start_at(address: SocketAddr) -> Result<Self> {
        Self::listen(address, State::default()).await
    }

    /// Listens on a free loopback port for one who decides about every request; then nothing is kept here.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn watched_by(watch: Arc<dyn Watch>) -> Result<Self> {
        Self::listen("127.0.0.1:0".parse().context("an address")?, State::watched_by(watch)).await
    }

    async fn listen(address: SocketAddr, state: State) -> Result<Self> {
        let listener = TcpListener::bind(address).await.context("binding the receiver")?;
        let address = listener.local_addr()?;
        let state = Arc::new(state);
        let accepting = tokio::spawn(wire::accept(listener, Arc::clone(&state)));
        Ok(Self { address, state, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What requests for this path (without its query) get from now on. The count for [`Behaviour::FailFirst`] and
    /// [`Behaviour::Sequence`] starts anew.
    pub fn on(&self, path: &str, behaviour: Behaviour) {
        self.state.set(path, behaviour);
    }

    /// The requests for a path in order of arrival: the first 10,000 of all paths together, within 256 MiB of bodies.
    #[must_use]
    pub fn received(&self, path: &str) -> Vec<Received> {
        self.state.received(path)
    }

    /// How many requests a path got, and how many different `webhook-id`s. Counts go on when recording has stopped.
    #[must_use]
    pub fn tally(&self, path: &str) -> Tally {
        self.state.tally(path)
    }

    /// Connections accepted so far, over all paths.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.state.connections()
    }

    /// Connections that are open now, over all paths.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.state.open()
    }

    /// Bytes of large and endless answers that went out so far, over all paths.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.state.bytes_sent()
    }

    /// Waits until a path has seen at least `count` requests; gives those that were recorded.
    ///
    /// # Errors
    /// When that has not happened at the deadline.
    pub async fn wait_for(&self, path: &str, count: u64, deadline: Duration) -> Result<Vec<Received>> {
        let what = format!("{count} requests at {path}");
        eventually(&what, deadline, || std::future::ready((self.tally(path).total >= count).then(|| self.received(path))))
            .await
            .with_context(|| format!("{path}: {:?}", self.tally(path)))
    }

    /// Waits until a path has seen at least `count` different `webhook-id`s.
    ///
    /// # Errors
    /// When that has not happened at the deadline.
    pub async fn wait_for_unique(&self, path: &str, count: u64, deadline: Duration) -> Result<Tally> {
        let what = format!("{count} different events at {path}");
        let probe = || std::future::ready(Some(self.tally(path)).filter(|t| t.unique >= count));
        eventually(&what, deadline, probe).await.with_context(|| format!("{path}: {:?}", self.tally(path)))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[cfg(test)]
mod tests;
