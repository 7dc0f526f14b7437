//! One measurement: send a number of events, wait until all that should arrive has arrived, say what it cost.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::child::Child;
use crate::client::Client;
use crate::generator::{self, Events};
use crate::receiver;

const CONNECTIONS: usize = 32;
const WARM_UP: u64 = 300;
const LONGEST: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The receiver and the two bare forwarders, each a process.
#[derive(Debug)]
pub struct Rig {
    receiver: Child,
    counter: Client,
    /// The forwarder that only forwards.
    pub null: Child,
    /// The forwarder that signs too.
    pub signing: Child,
    _folder: TempDir,
}

/// What one measurement found.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Requests that reached the receiver, a second.
    pub per_second: f64,
    /// CPU time of the process under test for each delivery, in microseconds.
    pub cpu_micros: f64,
    /// The 99th percentile of the publisher's wait for its answer, in microseconds.
    pub answer_p99: u64,
    /// Deliveries that were due but had not arrived at the deadline, and events that were refused.
    pub missing: u64,
}

impl Rig {
    /// Starts all three.
    ///
    /// # Errors
    /// When one does not start.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let own = std::env::current_exe().context("where am I")?;
        let log = |name: &str| -> PathBuf { folder.path().join(name) };
        let receiver = Child::start(&own, &["receiver"], &log("receiver")).await?;
        let target = receiver.doors.data.to_string();
        let null = Child::start(&own, &["forwarder", "--target", &target], &log("null")).await?;
        let signing = Child::start(&own, &["forwarder", "--target", &target, "--sign"], &log("signing")).await?;
        let counter = Client::new(receiver.doors.data);
        Ok(Self { receiver, counter, null, signing, _folder: folder })
    }

    /// The URL that subscriptions deliver to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.receiver.doors.data)
    }

    /// Events that go straight to the receiver.
    #[must_use]
    pub fn raw_events(&self, run: &str) -> Events {
        plain_events(&self.receiver, run)
    }

    /// Sends `count` events, each to be delivered `fan_out` times, with `under_test` between us and the receiver.
    ///
    /// # Errors
    /// When a process has died.
    pub async fn measure(&self, events: &Events, count: u64, fan_out: u64, under_test: &Child) -> Result<Measured> {
        let warm_up = Events { run: format!("{}-warm", events.run), ..events.clone() };
        self.send(&warm_up, WARM_UP.min(count), fan_out).await?;
        let cpu = under_test.cpu()?;
        let (mut measured, delivered) = self.send(events, count, fan_out).await?;
        let used = under_test.cpu()?.since(cpu);
        measured.cpu_micros = used.as_secs_f64() * 1e6 / delivered.max(1) as f64;
        Ok(measured)
    }

    /// As [`Rig::measure`], with nothing in between.
    ///
    /// # Errors
    /// When the receiver has died.
    pub async fn measure_raw(&self, run: &str, count: u64) -> Result<Measured> {
        self.measure(&self.raw_events(run), count, 1, &self.receiver).await
    }

    async fn send(&self, events: &Events, count: u64, fan_out: u64) -> Result<(Measured, u64)> {
        let before = receiver::count(&self.counter).await?;
        let began = Instant::now();
        let sent = generator::closed(events, CONNECTIONS, count, LONGEST).await?;
        let due = sent.accepted * fan_out;
        let mut delivered = receiver::count(&self.counter).await? - before;
        while delivered < due && began.elapsed() < LONGEST {
            sleep(LOOK_AGAIN).await;
            delivered = receiver::count(&self.counter).await? - before;
        }
        let measured = Measured {
            per_second: delivered as f64 / began.elapsed().as_secs_f64(),
            cpu_micros: 0.0,
            answer_p99: sent.latency.value_at_quantile(0.99),
            missing: due.saturating_sub(delivered) + sent.failed,
        };
        Ok((measured, delivered))
    }
}

/// Events for a forwarder.
#[must_use]
pub fn plain_events(to: &Child, run: &str) -> Events {
    Events { address: to.doors.data, path: "/hook".into(), run: run.to_owned(), schemas: Some("order:1".into()), batch: 1 }
}
