//! The control plane: topics, schemas and subscriptions, pushed to the data planes as snapshots.
//!
//! One pure registry decides (`registry`), a store keeps what was decided (`store`), a publisher tells the data planes
//! (`publish`), and two thin doors let people at it (`rest`, `grpc`). The binary opens it and gives it a listener.

mod api;
mod compat;
mod declared;
mod grpc;
mod openapi;
mod publish;
mod registry;
mod rest;
mod server;
mod store;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use posthorn_domain::clock::Clock;
use posthorn_domain::guard::Guard;
use posthorn_domain::qos::Durability;
use posthorn_domain::sealing::SealingKey;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use api::Api;
pub use declared::{Declared, DeclaredFault};
use publish::Publisher;
use store::Store;
pub use store::{RecordError, StoreError};

/// Reports of nodes that may wait to be acted on.
const REPORTS: usize = 1024;

/// What a control plane needs.
#[derive(Debug)]
pub struct Config {
    /// Its data folder; it keeps to the sub-folder `control`.
    pub data_dir: PathBuf,
    /// Seals secrets at rest.
    pub sealing_key: Arc<SealingKey>,
    /// Which targets subscriptions may have.
    pub guard: Guard,
    /// After an answered push, changes gather for so long before the next one. The first change goes out at once.
    pub debounce: Duration,
    /// Most bytes in the body of a request.
    pub max_body_bytes: usize,
    /// Resources of the configuration file, applied at the start.
    pub declared: Declared,
    /// What the data planes do where nobody says.
    pub defaults: Defaults,
    /// The time.
    pub clock: Clock,
}

/// What the data planes do where neither topic nor schema nor event says, so that what is in force can be told. Data planes on their
/// own are configured by themselves; give both the same.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    /// `ingest.default_durability`.
    pub durability: Durability,
    /// `ingest.max_hops`.
    pub max_hops: u32,
}

impl Config {
    /// The usual values: 5 ms, 1 MiB.
    pub fn new(data_dir: PathBuf, sealing_key: Arc<SealingKey>) -> Self {
        Self {
            data_dir,
            sealing_key,
            guard: Guard::default(),
            debounce: Duration::from_millis(5),
            max_body_bytes: 1 << 20,
            declared: Declared::default(),
            defaults: Defaults { durability: Durability::Sync, max_hops: 8 },
            clock: Clock::system(),
        }
    }
}

/// Why a control plane did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its store did.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Declared resources are faulty: the operator's to mend (exit 64).
    #[error("{} faults in the declared resources:\n{}", .0.len(), declared::list(.0))]
    Declared(Vec<DeclaredFault>),
    /// The thread that opened the store stopped.
    #[error("the configuration store did not open: {0}")]
    Stopped(#[from] tokio::task::JoinError),
}

/// An open control plane.
pub struct ControlPlane {
    api: Arc<Api>,
    max_body_bytes: usize,
}

impl ControlPlane {
    /// Opens the store, reads it, and applies the declared resources.
    ///
    /// # Errors
    ///
    /// The store cannot be opened or read, or declared resources are faulty; then all faults are told.
    pub async fn open(config: Config) -> Result<Self, OpenError> {
        let (data_dir, sealing) = (config.data_dir, config.sealing_key);
        let (store, registry) = tokio::task::spawn_blocking(move || Store::open(&data_dir, sealing)).await??;
        let identity = store.identity().to_owned();
        let (gone, mut reports) = mpsc::channel(REPORTS);
        let publisher = Publisher::new(identity, registry, config.debounce, config.clock.clone(), gone, store.deleted_topics()?);
        let api = Arc::new(Api::new(Arc::new(publisher), store, config.guard, config.clock, config.defaults));
        declared::apply(&api, config.declared).await.map_err(OpenError::Declared)?;
        let disabling = Arc::downgrade(&api);
        tokio::spawn(async move {
            while let (Some((id, reason)), Some(api)) = (reports.recv().await, disabling.upgrade()) {
                api.disable(id, reason).await;
            }
        });
        Ok(Self { api, max_body_bytes: config.max_body_bytes })
    }

    /// Serves REST and gRPC on the listener until `shutdown` completes; then ends the nodes' streams and lets requests
    /// that are under way finish.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        server::serve(self.api.clone(), self.max_body_bytes, listener, shutdown).await;
        self.api.close().await;
    }

    /// The revision of the last change.
    pub fn revision(&self) -> u64 {
        self.api.publisher.registry.read().revision()
    }
}
