//! The one place that knows every part of the data plane: opens, wires, runs and ends it.
//!
//! Sockets are bound first, so that addresses are known and taken; they are served once a snapshot is in force.

mod operations;
mod plane;
#[doc(hidden)]
pub mod retention;
mod shards;
mod sinks;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use posthorn_domain::clock::Clock;
use posthorn_domain::guard::Guard;
use posthorn_domain::sealing::SealingKey;
use posthorn_storage::attempts::{self, AttemptLog};
use posthorn_storage::log::segments::{OnDamage, SegmentLog};
use posthorn_storage::log::{Health, Log, LogError, segments};
use posthorn_storage::state::embedded::Embedded;
use posthorn_storage::state::{Batch, State, StateError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin, Tasks};
use crate::answers::Answers;
use crate::broker;
use crate::config::Config;
use crate::control::{self, cache::Cache};
use crate::delivery::{Blocking, Handle, Setup, Writer, WriterHandle};
use crate::egress::{Resolver, ResolverConfig, client_config};
use crate::explain::Explainer;
use crate::ingest::http::{Door, accept_loop};
use crate::ingest::{Dedup, Parts, Pipeline};
use crate::operations::Reporter;
use crate::read::{Reader, Shares, TailNotify};
use crate::readers::{self, Readers};
use crate::route::{Builder, Live};
use crate::telemetry::IngestMetrics;
use plane::NodePlane;
use shards::Shards;
use sinks::{Kept, Letters, Reingester, Tail};

/// Reports of endpoints that are gone, waiting for the control plane.
const GONE: usize = 1024;
/// The longest that a start waits for its first snapshot before it says so in the log; it goes on waiting.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a data plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A door's address cannot be had.
    #[error("{door} cannot listen on {address}: {error}")]
    Listen {
        /// Which door, by its key in the configuration.
        door: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
    /// The log.
    #[error("the log cannot be opened: {0}")]
    Log(#[from] LogError),
    /// The delivery state.
    #[error("the delivery state cannot be opened: {0}")]
    State(#[from] StateError),
    /// Files, threads.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        error: std::io::Error,
    },
    /// The control plane's address.
    #[error(transparent)]
    Control(#[from] control::ControlError),
    /// DNS, TLS or metrics cannot be set up.
    #[error("{0}")]
    Setup(String),
}

/// The addresses that were bound.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Events over HTTP.
    pub data: SocketAddr,
    /// Events over gRPC.
    pub broker: SocketAddr,
    /// Health and metrics.
    pub admin: SocketAddr,
}

/// A data plane that runs.
pub struct DataPlane {
    /// Where its doors are.
    pub addresses: Addresses,
    pipeline: Arc<Pipeline>,
    delivery: Handle,
    shards: Shards,
    writer: Writer,
    write: WriterHandle,
    control: JoinHandle<()>,
    /// Writes operational events; ends when told to.
    teller: (CancellationToken, JoinHandle<()>),
    draining: Arc<std::sync::atomic::AtomicBool>,
    /// Ends the doors.
    doors: CancellationToken,
    /// Ends everything else.
    rest: CancellationToken,
    drain_deadline: Duration,
}

impl DataPlane {
    /// Opens and wires everything and waits for the first snapshot, from the disk or from the control plane. Must be called on a
    /// multi-thread runtime, which then serves the control plane's stream, gRPC, the stores and DNS.
    ///
    /// # Errors
    /// [`StartError`], with everything that was opened closed again.
    pub async fn start(config: Config, key: Arc<SealingKey>, clock: Clock) -> Result<Self, StartError> {
        // Sockets.
        let http = bind("http.listen", config.http.listen).await?;
        let broker = bind("broker.listen", config.broker_listen).await?;
        let metrics = admin::install().map_err(|error| StartError::Setup(error.to_string()))?;

        // Stores.
        let (operations, notes) = Reporter::new();
        let tail = Arc::new(Tail::new(TailNotify::new(), operations.clone()));
        let log = open_log(&config, &clock, Arc::clone(&tail), &operations).await?;
        let state = open_state(&config).await?;
        let attempts = open_attempts(&config, &clock)?;
        let blocking = tokio::runtime::Handle::current();
        let io = |what: &str| {
            let what = what.to_owned();
            move |error| StartError::Io { what, error }
        };
        let (writer, write) = Writer::start(Arc::clone(&state), Arc::clone(&attempts), clock.clone(), config.delivery.dead_letter_max_age)
            .map_err(io("the state writer cannot start"))?;

        // Delivery.
        let (gone, gone_reports) = mpsc::channel(GONE);
        let setup = Setup {
            config: config.delivery.clone(),
            shards: config.shards,
            clock: clock.clone(),
            state: Arc::clone(&state),
            ends: log.ends(),
            writer: write.clone(),
            attempts: Arc::clone(&attempts),
            resolver: resolver(&config)?,
            guard: Arc::new(Guard::new(config.delivery.allow_cidrs.clone(), config.delivery.allow_http)),
            tls: client_config(&extra_roots(&config)?, None).map_err(|error| StartError::Setup(error.to_string()))?,
            blocking: blocking.clone(),
            gone,
            operations: operations.clone(),
        };
        let (services, delivery) = tokio::task::spawn_blocking(move || setup.build()).await.map_err(panicked)??;
        tail.connect(delivery.clone());

        // Ingest and reading.
        let live = Live::new(Arc::default());
        let ingest_metrics = IngestMetrics::default();
        let dedup = Dedup::new(config.ingest.dedup_max_entries, ingest_metrics.clone());
        let pipeline = Arc::new(Pipeline::new(Parts {
            live: live.clone(),
            dedup: Arc::clone(&dedup),
            letters: Arc::new(Letters(write.clone(), operations)),
            clock: clock.clone(),
            config: config.ingest.clone(),
            metrics: ingest_metrics.clone(),
        }));
        let doors = CancellationToken::new();
        let shares = Shares::new(&config.readers);
        let reader = Reader::new(live.clone(), Arc::clone(tail.notify()), shares.clone(), doors.clone());
        let restored = {
            let state = Arc::clone(&state);
            tokio::task::spawn_blocking(move || state.readers()).await.map_err(panicked)??
        };
        let readers = Readers::new(readers::Setup {
            config: config.readers.clone(),
            live: live.clone(),
            tail: Arc::clone(tail.notify()),
            shares,
            clock: clock.clone(),
            keep: Arc::new(Kept(write.clone())),
            delivery: Some(delivery.clone()),
            restored,
            shutdown: doors.clone(),
        });
        let explainer = Explainer {
            live: live.clone(),
            config: config.ingest.clone(),
            attempts: Some(Arc::clone(&attempts)),
            blocking: blocking.clone(),
            clock: clock.clone(),
        };
        let door = Door::new(Arc::clone(&pipeline), reader, readers, explainer.clone(), config.http.clone());
        let tasks = Tasks::of_this_runtime();
        let (shards, sinks) = Shards::start(services, &door, &doors, &tasks).map_err(io("a shard's thread cannot start"))?;

        // The control plane.
        let answers = Answers {
            live: live.clone(),
            state: Arc::clone(&state),
            writer: write.clone(),
            attempts,
            delivery: delivery.clone(),
            blocking,
            clock: clock.clone(),
            reingest: Arc::new(Reingester(Arc::clone(&pipeline))),
            explainer,
        };
        let as_log: Arc<dyn Log> = Arc::clone(&log) as _;
        let plane = NodePlane::new(
            Builder::new(as_log),
            live,
            delivery.clone(),
            dedup,
            Arc::clone(&log),
            Arc::clone(&state),
            answers,
            clock.clone(),
        );
        let rest = CancellationToken::new();
        let (client, status) = control::Client::new(control::Setup {
            node_id: config.node_id.clone(),
            control_url: config.control_url.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            plane: Arc::new(plane),
            cache: Cache::new(&config.data_dir, key),
            gone: gone_reports,
            clock: clock.clone(),
        })?;
        let control = tokio::spawn(client.run(rest.clone()));

        let keeper = retention::Keeper {
            log: Arc::clone(&log),
            delivery: delivery.clone(),
            state: Arc::clone(&state),
            clock: clock.clone(),
            max_held_bytes: config.log.max_held_bytes,
            blocking: Blocking::Pool(tokio::runtime::Handle::current()),
        };

        // Doors.
        let draining = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let health = NodeHealth { log: Arc::clone(&log), state, ready: status.ready.clone(), draining: Arc::clone(&draining) };
        let shown = admin::Setup { health: Arc::new(health), metrics: metrics.clone(), tasks, config: config.shown.clone() };
        let listen = |error| StartError::Listen { door: "admin.listen", address: config.admin_listen, error };
        let admin = Admin::bind(config.admin_listen, shown).await.map_err(listen)?;
        let addresses = Addresses { data: http.1, broker: broker.1, admin: admin.local_addr().map_err(listen)? };
        tokio::spawn(admin.run(rest.clone()));
        tokio::spawn(admin::upkeep(metrics, rest.clone()));
        wait_for_snapshot(status.ready).await;
        let teller = operations::Writer {
            pipeline: Arc::clone(&pipeline),
            node: config.node_id.clone(),
            interval: config.delivery.operations_interval,
            clock: clock.clone(),
        };
        let told = CancellationToken::new();
        let teller = (told.clone(), tokio::spawn(teller.run(notes, told)));
        tokio::spawn(accept_loop(http.0, sinks, config.http.max_connections, ingest_metrics, doors.clone()));
        tokio::spawn(serve_broker(broker.0, Arc::clone(&pipeline), clock.clone(), doors.clone()));
        tokio::spawn(keeper.run(config.log.retention_check, rest.clone()));
        Ok(Self {
            addresses,
            pipeline,
            delivery,
            shards,
            writer,
            write,
            control,
            teller,
            draining,
            doors,
            rest,
            drain_deadline: config.drain_deadline,
        })
    }

    /// Ends in order: no new events, what is under way ends (within the deadline), progress is stored, everything is closed.
    pub async fn drain(self) {
        self.draining.store(true, std::sync::atomic::Ordering::Relaxed);
        self.pipeline.drain();
        self.doors.cancel();
        let in_order = tokio::time::timeout(self.drain_deadline, self.delivery.drain()).await;
        if in_order.is_err() {
            tracing::warn!("the drain deadline has passed; attempts that were under way will be made again");
        }
        let Self { pipeline, delivery, shards, writer, write, control, teller: (told, teller), rest, .. } = self;
        // While the log is still open: it closes with the last who holds it.
        told.cancel();
        if tokio::time::timeout(Duration::from_secs(5), teller).await.is_err() {
            tracing::warn!("operational events were not all written");
        }
        rest.cancel();
        if let Err(error) = control.await {
            tracing::error!(%error, "the link to the control plane ended early");
        }
        if in_order.is_ok() {
            let mut done = Batch::new();
            done.mark_clean(true);
            if let Err(error) = write.commit(done, true).await {
                tracing::warn!(%error, "the next start will not know that this end was in good order");
            }
        }
        drop((pipeline, delivery, write));
        let joined = tokio::task::spawn_blocking(move || shards.join(Duration::from_secs(2)));
        if joined.await.is_ok_and(|all| all) {
            // Only then are all handles of the writer gone.
            let written = tokio::task::spawn_blocking(move || writer.join());
            drop(tokio::time::timeout(Duration::from_secs(5), written).await);
        }
    }
}

async fn bind(door: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |error| StartError::Listen { door, address, error };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

async fn open_log(config: &Config, clock: &Clock, tail: Arc<Tail>, operations: &Reporter) -> Result<Arc<SegmentLog>, StartError> {
    let settings = segments::Config {
        segment_bytes: config.log.segment_bytes,
        on_damage: if config.log.stop_on_damage { OnDamage::Stop } else { OnDamage::Continue },
        clock: clock.clone(),
        ..segments::Config::default()
    };
    let dir = config.data_dir.join("log");
    let opened = tokio::task::spawn_blocking(move || SegmentLog::open(&dir, settings, tail)).await.map_err(panicked)?;
    let (log, recovery) = opened?;
    for cut in &recovery.cuts {
        tracing::warn!(file = %cut.file, bytes = cut.bytes, "a torn tail of the log was cut");
    }
    for damage in &recovery.damage {
        tracing::error!(%damage, "the log is damaged");
        operations.tell(sinks::damaged(damage));
    }
    Ok(Arc::new(log))
}

async fn open_state(config: &Config) -> Result<Arc<dyn State>, StartError> {
    let dir = config.data_dir.join("state");
    let state = tokio::task::spawn_blocking(move || Embedded::open(&dir)).await.map_err(panicked)??;
    Ok(Arc::new(state))
}

fn open_attempts(config: &Config, clock: &Clock) -> Result<Arc<AttemptLog>, StartError> {
    let settings = attempts::Config {
        max_bytes: config.delivery.attempts_max_bytes,
        max_age: config.delivery.attempts_max_age,
        clock: clock.clone(),
        ..attempts::Config::default()
    };
    let log = AttemptLog::open(config.data_dir.join("attempts"), settings);
    log.map(Arc::new).map_err(|error| StartError::Io { what: "the attempt records cannot be opened".into(), error })
}

fn resolver(config: &Config) -> Result<Resolver, StartError> {
    let settings = ResolverConfig { servers: config.delivery.dns_servers.clone(), ..ResolverConfig::default() };
    Resolver::system(settings).map_err(|error| StartError::Setup(error.to_string()))
}

fn extra_roots(config: &Config) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let Some(file) = &config.delivery.extra_ca_file else { return Ok(Vec::new()) };
    let certificates = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    certificates.map_err(|error| StartError::Setup(format!("delivery.extra_ca_file {}: {error}", file.display())))
}

async fn wait_for_snapshot(mut ready: watch::Receiver<bool>) {
    if tokio::time::timeout(PATIENCE, ready.wait_for(|ready| *ready)).await.is_err() {
        tracing::warn!("there is no snapshot yet, neither on the disk nor from the control plane; waiting for one");
        // The sender lives as long as the client.
        drop(ready.wait_for(|ready| *ready).await);
    }
}

async fn serve_broker(listener: TcpListener, pipeline: Arc<Pipeline>, clock: Clock, shutdown: CancellationToken) {
    if let Err(error) = broker::serve(listener, pipeline, broker::Limits::default(), clock, shutdown.cancelled_owned()).await {
        tracing::error!(%error, "the gRPC door has ended");
    }
}

fn panicked(error: tokio::task::JoinError) -> StartError {
    StartError::Io { what: "a start-up step ended early".into(), error: std::io::Error::other(error) }
}

/// Why the node is not ready.
struct NodeHealth {
    log: Arc<SegmentLog>,
    state: Arc<dyn State>,
    ready: watch::Receiver<bool>,
    draining: Arc<std::sync::atomic::AtomicBool>,
}

impl admin::Health for NodeHealth {
    fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.draining.load(std::sync::atomic::Ordering::Relaxed) {
            reasons.push("the node is shutting down".to_owned());
        }
        if !*self.ready.borrow() {
            reasons.push("no snapshot has been applied yet".to_owned());
        }
        match self.log.health() {
            Health::Ok => {}
            Health::Full { file } => reasons.push(format!("the disk is full: {file}")),
            Health::Poisoned { file, error } => reasons.push(format!("the log takes no more writes, restart to recover: {file}: {error}")),
        }
        if let Err(error) = self.state.health() {
            reasons.push(error.to_string());
        }
        reasons
    }
}
