//! Wires the planes together and runs them until they are told to end.

mod signal;

use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::{Either, select};
use posthorn_controlplane::{ControlPlane, Declared, OpenError};
use posthorn_dataplane::admin;
use posthorn_dataplane::app::DataPlane;
use posthorn_domain::clock::Clock;
use posthorn_domain::guard::Guard;
use posthorn_domain::sealing::SealingKey;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// What declared resources are refused with, as any other fault of the configuration.
const BAD_CONFIGURATION: u8 = 64;
/// Threads for what blocks: the stores, files, compiling. More than the machine can use at once only keep memory.
const BLOCKING: usize = 8;
/// How long the control plane may take to end its streams.
const CONTROL_DEADLINE: Duration = Duration::from_secs(5);

/// Both planes in one process.
pub fn serve(config: Config) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(async {
        let key = Arc::new(config.sealing_key()?);
        let listener = Control::bind(&config).await?;
        let address = listener.local_addr()?;
        let data = config.data_plane(format!("http://{address}"))?;
        // Each reads what it keeps while the other does; a node that keeps a snapshot starts without its control plane.
        let control = pin!(Control::start(&config, Arc::clone(&key), listener));
        let plane = pin!(DataPlane::start(data, key, Clock::system()));
        let (control, plane) = match select(control, plane).await {
            Either::Left((control, plane)) => match control? {
                Ok(control) => (control, plane.await?),
                Err(code) => return Ok(code),
            },
            Either::Right((plane, control)) => {
                let plane = plane?;
                match control.await {
                    Ok(Ok(control)) => (control, plane),
                    failed => {
                        plane.drain().await;
                        return failed.map(|outcome| outcome.err().unwrap_or(ExitCode::FAILURE));
                    }
                }
            }
        };
        let doors = plane.addresses;
        let end = signal::asked_to_end();
        ready(&json!({
            "data": doors.data.to_string(), "control": address.to_string(),
            "broker": doors.broker.to_string(), "admin": doors.admin.to_string(),
        }));
        end.await;
        plane.drain().await;
        control.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

/// A data plane on its own.
pub fn dataplane(config: Config) -> anyhow::Result<ExitCode> {
    let url = config.control.url.clone().context("`control.url` is missing: a data plane on its own must know its control plane")?;
    runtime()?.block_on(async {
        let key = Arc::new(config.sealing_key()?);
        let plane = DataPlane::start(config.data_plane(url.to_string())?, key, Clock::system()).await?;
        let doors = plane.addresses;
        let end = signal::asked_to_end();
        ready(&json!({"data": doors.data.to_string(), "broker": doors.broker.to_string(), "admin": doors.admin.to_string()}));
        end.await;
        plane.drain().await;
        Ok(ExitCode::SUCCESS)
    })
}

/// A control plane on its own.
pub fn controlplane(config: Config) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(async {
        let key = Arc::new(config.sealing_key()?);
        let metrics = admin::install()?;
        let tasks = admin::Tasks::of_this_runtime();
        let shown = admin::Setup { health: Arc::new(AlwaysReady), metrics: metrics.clone(), tasks, config: config.shown() };
        let listen = config.admin.listen;
        let door = admin::Admin::bind(listen, shown).await.with_context(|| format!("admin.listen {listen}"))?;
        let address = door.local_addr()?;
        let listener = Control::bind(&config).await?;
        let served = listener.local_addr()?;
        let control = match Control::start(&config, key, listener).await? {
            Ok(control) => control,
            Err(code) => return Ok(code),
        };
        let ended = CancellationToken::new();
        tokio::spawn(door.run(ended.clone()));
        tokio::spawn(admin::upkeep(metrics, ended.clone()));
        let end = signal::asked_to_end();
        ready(&json!({"control": served.to_string(), "admin": address.to_string()}));
        end.await;
        control.stop().await;
        ended.cancel();
        Ok(ExitCode::SUCCESS)
    })
}

/// A control plane that serves is ready.
struct AlwaysReady;

impl admin::Health for AlwaysReady {
    fn reasons(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A control plane that runs.
struct Control {
    serving: JoinHandle<()>,
    shutdown: CancellationToken,
}

impl Control {
    async fn bind(config: &Config) -> anyhow::Result<TcpListener> {
        TcpListener::bind(config.control.listen).await.with_context(|| format!("control.listen {}", config.control.listen))
    }

    /// The inner error is the exit code, after faults of declared resources were printed.
    async fn start(config: &Config, key: Arc<SealingKey>, listener: TcpListener) -> anyhow::Result<Result<Self, ExitCode>> {
        let settings = posthorn_controlplane::Config {
            guard: Guard::new(config.delivery.allow_cidrs.clone(), config.delivery.allow_http),
            debounce: config.control.debounce.std(),
            max_body_bytes: config.control.max_body_bytes.as_usize(),
            defaults: posthorn_controlplane::Defaults { durability: config.ingest.default_durability, max_hops: config.ingest.max_hops },
            declared: Declared {
                topics: config.topics.clone(),
                schemas: config.schemas.clone(),
                subscriptions: config.subscriptions.clone(),
            },
            ..posthorn_controlplane::Config::new(config.data_dir.clone(), key)
        };
        let plane = match ControlPlane::open(settings).await {
            Ok(plane) => plane,
            Err(error @ OpenError::Declared(_)) => {
                eprintln!("posthorn: {error}");
                return Ok(Err(ExitCode::from(BAD_CONFIGURATION)));
            }
            Err(error) => return Err(error.into()),
        };
        let shutdown = CancellationToken::new();
        let ended = shutdown.clone().cancelled_owned();
        let serving = tokio::spawn(async move { plane.serve(listener, ended).await });
        Ok(Ok(Self { serving, shutdown }))
    }

    async fn stop(self) {
        self.shutdown.cancel();
        if tokio::time::timeout(CONTROL_DEADLINE, self.serving).await.is_err() {
            tracing::warn!("the control plane did not end its requests in time");
        }
    }
}

/// The runtime of everything but the shards: the control plane, gRPC, the stores, DNS.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    rustls::crypto::ring::default_provider().install_default().ok().context("a TLS provider was installed twice")?;
    let builder = &mut tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).max_blocking_threads(BLOCKING).enable_all().build().context("the runtime cannot start")
}

#[expect(clippy::print_stdout, reason = "the one line that programs wait for")]
fn ready(doors: &serde_json::Value) {
    println!("ready {doors}");
}
