//! Posthorn as a child, set up through its REST interface.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::child::Child;
use crate::client::Client;
use crate::generator::{Events, ORDER_SCHEMA};

const IN_FORCE_WITHIN: Duration = Duration::from_secs(60);
const WRITERS: u32 = 16;
/// For one subscription that gets everything; the default suits partners, not a yardstick.
const IN_FLIGHT: u32 = 64;

/// A running Posthorn with an empty data folder.
#[derive(Debug)]
pub struct Posthorn {
    /// The process.
    pub child: Child,
    control: Arc<Client>,
    // Removed after the child: fields drop in this order.
    _folder: TempDir,
}

impl Posthorn {
    /// Starts it and registers the schema `order`.
    ///
    /// # Errors
    /// When it does not start or refuses the schema.
    pub async fn start(binary: &Path) -> Result<Self> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let config = folder.path().join("posthorn.yaml");
        std::fs::write(&config, configuration(folder.path()).to_string())?;
        let arguments = ["serve".as_ref(), "--config".as_ref(), config.as_os_str()];
        let child = Child::start(binary, &arguments, &folder.path().join("stderr")).await?;
        let control = Arc::new(Client::new(child.doors.control.context("no control door")?));
        let posthorn = Self { child, control, _folder: folder };
        let schema: Value = serde_json::from_str(ORDER_SCHEMA)?;
        posthorn.write(Method::POST, "/v1/schemas/order/versions", &json!({ "schema": schema })).await?;
        Ok(posthorn)
    }

    /// Makes a topic that demands the schema `order`.
    ///
    /// # Errors
    /// When that is refused.
    pub async fn topic(&self, name: &str, durability: &str) -> Result<()> {
        let topic = json!({"name": name, "schemas": ["order"], "schema_required": true, "durability": durability});
        self.write(Method::PUT, &format!("/v1/topics/{name}"), &topic).await.map(drop)
    }

    /// Makes `count` signed subscriptions to a topic, all to this URL, and waits until they are in force.
    ///
    /// # Errors
    /// When one is refused, or they are not in force within a minute.
    pub async fn subscribe(&self, topic: &str, url: &str, count: u32) -> Result<()> {
        self.subscribe_all((0..count).map(|n| subscription(&format!("{topic}-{n}"), url, json!([{ "topic": topic }]))).collect()).await
    }

    /// Makes `count` subscriptions to a topic whose filters match no event.
    ///
    /// # Errors
    /// As [`Posthorn::subscribe`].
    pub async fn subscribe_in_vain(&self, topic: &str, url: &str, count: u32) -> Result<()> {
        let filters = |n| json!([{ "topic": topic }, { "exact": { "type": format!("never.{n}") } }]);
        self.subscribe_all((0..count).map(|n| subscription(&format!("vain-{topic}-{n}"), url, filters(n))).collect()).await
    }

    /// Events for a topic of this Posthorn.
    #[must_use]
    pub fn events(&self, topic: &str, run: &str) -> Events {
        let path = format!("/v1/topics/{topic}/events");
        Events { address: self.data(), path, run: run.to_owned(), schemas: Some("order:1".into()), batch: 1 }
    }

    fn data(&self) -> SocketAddr {
        self.child.doors.data
    }

    async fn subscribe_all(&self, subscriptions: Vec<Value>) -> Result<()> {
        let subscriptions = Arc::new(subscriptions);
        let mut writers = JoinSet::new();
        for first in 0..WRITERS {
            let (control, subscriptions) = (Arc::clone(&self.control), Arc::clone(&subscriptions));
            writers.spawn(async move {
                let mut last = 0;
                for subscription in subscriptions.iter().skip(first as usize).step_by(WRITERS as usize) {
                    let made = control.json(Method::POST, "/v1/subscriptions", subscription).await?;
                    last = last.max(made["revision"].as_u64().unwrap_or_default());
                }
                anyhow::Ok(last)
            });
        }
        let mut revision = 0;
        while let Some(last) = writers.join_next().await {
            revision = revision.max(last??);
        }
        self.in_force(revision).await
    }

    async fn in_force(&self, revision: u64) -> Result<()> {
        let end = Instant::now() + IN_FORCE_WITHIN;
        loop {
            let nodes = self.control.json(Method::GET, "/v1/nodes", &Value::Null).await?;
            let list = nodes.as_array().or_else(|| nodes["items"].as_array()).context("a list of nodes")?;
            if list.iter().any(|n| n["acked_revision"].as_u64().is_some_and(|acked| acked >= revision)) {
                return Ok(());
            }
            ensure!(Instant::now() < end, "revision {revision} is not in force: {nodes}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn write(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        self.control.json(method, path, body).await
    }
}

fn configuration(folder: &Path) -> Value {
    json!({
        "data_dir": folder.join("data"),
        "http": {"listen": "127.0.0.1:0"},
        "control": {"listen": "127.0.0.1:0"},
        "broker": {"listen": "127.0.0.1:0"},
        "admin": {"listen": "127.0.0.1:0"},
        "delivery": {"allow_cidrs": ["127.0.0.0/8"]},
    })
}

fn subscription(name: &str, url: &str, filters: Value) -> Value {
    json!({
        "name": name, "owner": "load", "filters": filters,
        "endpoint": {"url": url, "format": "binary", "timeout": "10s"},
        "limits": {"in_flight": IN_FLIGHT},
    })
}
