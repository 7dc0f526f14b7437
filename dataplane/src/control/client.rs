//! Connects, and connects again.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use posthorn_domain::clock::Clock;
use posthorn_domain::ids::SubscriptionId;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use super::backoff::Backoff;
use super::cache::{Cache, Known};
use super::held::Held;
use super::session::{End, Link};
use super::{Plane, answers, saver};
use crate::telemetry::ControlMetrics;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_WITHIN: Duration = Duration::from_secs(5);

/// What a client needs.
pub struct Setup {
    /// This node's name.
    pub node_id: String,
    /// `http://host:port`.
    pub control_url: String,
    /// Posthorn's version.
    pub version: String,
    /// Where snapshots go.
    pub plane: Arc<dyn Plane>,
    /// Where the last good snapshot is kept.
    pub cache: Cache,
    /// Subscriptions to be disabled, with the reason as it will be shown. The channel's bound is how many wait while there is no
    /// control plane.
    pub gone: mpsc::Receiver<(SubscriptionId, &'static str)>,
    /// The time.
    pub clock: Clock,
}

/// Where the link stands.
#[derive(Clone, Debug)]
pub struct Status {
    /// Whether a snapshot is in force, from disk or from the control plane. Never false again.
    pub ready: watch::Receiver<bool>,
    /// Whether the stream is up.
    pub connected: watch::Receiver<bool>,
    /// The revision in force.
    pub revision: watch::Receiver<u64>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The control plane's address.
    #[error("`{0}` is not an address of the form http://host:port")]
    Url(String),
}

/// The link to the control plane. [`Client::run`] keeps it up.
pub struct Client {
    endpoint: Endpoint,
    cache: Cache,
    link: Link,
}

impl Client {
    /// A client that has done nothing yet.
    pub fn new(setup: Setup) -> Result<(Self, Status), ControlError> {
        let endpoint = Endpoint::from_shared(setup.control_url.clone()).ok();
        let endpoint = endpoint.filter(|endpoint| endpoint.uri().scheme_str() == Some("http"));
        let endpoint = endpoint.ok_or(ControlError::Url(setup.control_url))?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_WITHIN)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_WITHIN)
            .keep_alive_while_idle(true);
        let link = Link {
            node_id: setup.node_id,
            version: setup.version,
            plane: setup.plane,
            held: Arc::new(Mutex::new(Held::default())),
            gone: setup.gone,
            reported: Vec::new(),
            metrics: ControlMetrics::default(),
            heard_at: setup.clock.now(),
            clock: setup.clock,
            ready: watch::Sender::new(false),
            connected: watch::Sender::new(false),
            revision: watch::Sender::new(0),
            changes: watch::Sender::new(0),
            saved: watch::Sender::new(0),
            doubtful: false,
        };
        let status = Status { ready: link.ready.subscribe(), connected: link.connected.subscribe(), revision: link.revision.subscribe() };
        Ok((Self { endpoint, cache: setup.cache, link }, status))
    }

    /// Applies the kept snapshot, then follows the control plane until `shutdown`; by the end the last snapshot is on disk.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { endpoint, cache, mut link } = self;
        // A table that comes when the shards have ended is never in force, and nothing may wait for it.
        let known = tokio::select! {
            known = restore(&cache, &mut link) => known,
            () = shutdown.cancelled() => return,
        };
        let saver = tokio::spawn(saver::run(cache, known, link.held.clone(), link.changes.subscribe(), link.saved.clone()));
        tokio::select! {
            () = follow(&endpoint, &mut link) => {}
            () = shutdown.cancelled() => {}
        }
        link.disconnected();
        // The saver ends when the changes do.
        drop(link);
        if let Err(error) = saver.await {
            tracing::error!(%error, "the snapshot was not kept");
        }
    }
}

/// What is known of the snapshot's file.
async fn restore(cache: &Cache, link: &mut Link) -> Known {
    let cache = cache.clone();
    match tokio::task::spawn_blocking(move || cache.load()).await {
        Ok(Ok(Some(loaded))) => {
            link.restore(loaded.kept).await;
            return loaded.known;
        }
        Ok(Ok(None)) => tracing::info!("no snapshot is kept here; waiting for the control plane"),
        Ok(Err(error)) => tracing::warn!(%error, "the kept snapshot cannot be used; waiting for the control plane"),
        Err(error) => tracing::error!(%error, "the kept snapshot cannot be used; waiting for the control plane"),
    }
    Known::Nothing
}

async fn follow(endpoint: &Endpoint, link: &mut Link) {
    let slots = Arc::new(Semaphore::new(answers::AT_ONCE));
    let mut backoff = Backoff::default();
    loop {
        match endpoint.connect().await {
            Ok(channel) => {
                let end = converse(channel, link, &slots).await;
                link.disconnected();
                tracing::info!(reason = %end.reason, "the link to the control plane ended");
                if end.acked && !link.doubtful {
                    backoff.reset();
                }
            }
            Err(error) => tracing::debug!(%error, "the control plane cannot be reached"),
        }
        tokio::time::sleep(backoff.next()).await;
        link.aged();
    }
}

async fn converse(channel: Channel, link: &mut Link, slots: &Arc<Semaphore>) -> End {
    let answers = answers::run(channel.clone(), link.hello(), link.plane.clone(), slots.clone());
    tokio::select! {
        end = link.converse(channel) => end,
        () = answers => End { acked: false, reason: "questions ended".into() },
    }
}
