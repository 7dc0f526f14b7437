//! The process under test: its subscriptions, how it is killed, restarted and asked.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::disk::Disk;
use super::lives::{self, Lives};
use crate::child::Child;
use crate::client::Client;
use crate::keys;

/// A group of the receiver's paths, and the subscriptions to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) count: u32,
    /// At so many events a second.
    members: fn(f64) -> Value,
}

/// Every group may be struck by a fault; each is different by itself too.
pub(super) const GROUPS: [Group; 8] = [
    Group { name: "plain", count: 3, members: |_| json!({"endpoint": {"timeout": "2s"}}) },
    Group { name: "ordered", count: 1, members: |_| json!({"qos": {"ordering": "key"}}) },
    Group { name: "structured", count: 1, members: |_| json!({"endpoint": {"format": "structured"}}) },
    Group { name: "batch", count: 1, members: |_| json!({"endpoint": {"format": "batch"}}) },
    // More than comes, less than there is to catch up with after a fault.
    Group { name: "rate-limited", count: 1, members: |rate| json!({"limits": {"rate": (rate * 1.5).ceil() as u64}}) },
    Group { name: "filtered", count: 1, members: |_| json!({"filters": [{"topic": "soak"}, {"cel": "data.n >= 0"}]}) },
    Group { name: "never", count: 1, members: |_| json!({"qos": {"dead_letter": "never"}}) },
    Group { name: "paused", count: 1, members: |_| json!({}) },
];

impl Group {
    /// Whether nothing that its endpoint answers is late, so that only a crash can have an event come again.
    pub(super) fn has_time(&self) -> bool {
        self.name != "plain"
    }
}

/// Bytes of an event in the log, roughly.
pub(super) const EVENT_BYTES: f64 = 1_100.0;
const DISK: &str = "disk";
const SEGMENTS: u64 = 16;
/// Bytes that the log keeps at any rate, so that a slow machine is not taken for one that loses.
const LEAST_KEPT: u64 = 16 << 20;
/// What the disk has room for beside twice that.
const ROOM: u64 = 1 << 30;
const IN_FORCE_WITHIN: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The process and its doors, which stay the same over its lives.
#[derive(Debug)]
pub(super) struct Node {
    child: Option<Child>,
    program: PathBuf,
    folder: PathBuf,
    control: Client,
    data: SocketAddr,
    /// The subscription that is paused now and then, and that which is read.
    pausable: String,
    pulled: String,
    receiver: SocketAddr,
    lives: Lives,
    made: u64,
    /// Where its data is; why there is none where it cannot be mounted. Goes when the process has gone.
    disk: Result<Disk, String>,
}

impl Node {
    /// Starts it, with a log that keeps `window` of this rate.
    pub(super) async fn start(program: &Path, folder: &Path, receiver: &Arc<Client>, rate: f64, window: Duration) -> Result<Self> {
        let keep = ((rate * EVENT_BYTES * window.as_secs_f64()) as u64).max(LEAST_KEPT);
        let config = configuration(folder, keep, (rate * 30.0) as u64)?;
        std::fs::write(folder.join("posthorn.yaml"), config.to_string())?;
        std::fs::create_dir(folder.join(DISK))?;
        let disk = Disk::mount(&folder.join(DISK), keep * 2 + ROOM).map_err(|error| format!("{error:#}"));
        let child = launch(program, folder).await?;
        let control = Client::new(child.doors.control.context("no control door")?);
        let data = child.doors.data;
        let (program, folder, lives) = (program.to_owned(), folder.to_owned(), Lives::new(Arc::clone(receiver)));
        let (pausable, pulled, receiver) = (String::new(), String::new(), receiver.host().parse()?);
        let mut node = Self { child: Some(child), program, folder, control, data, pausable, pulled, receiver, lives, made: 0, disk };
        let topic = json!({"name": "soak", "partitions": 4, "durability": "log", "retention": {"bytes": keep}});
        node.control.json(Method::PUT, "/v1/topics/soak", &topic).await?;
        for group in GROUPS {
            for number in 0..group.count {
                let id = node.subscribe(group.name, number, (group.members)(rate)).await?;
                if group.name == "paused" {
                    node.pausable = id;
                }
            }
        }
        node.pulled = node.subscribe("pulled", 0, json!({"mode": "pull"})).await?;
        Ok(node)
    }

    pub(super) fn data(&self) -> SocketAddr {
        self.data
    }

    /// Where its metrics are, in this life.
    pub(super) fn admin(&self) -> Result<SocketAddr> {
        self.child.as_ref().and_then(|child| child.doors.admin).context("no admin door")
    }

    pub(super) fn data_folder(&self) -> PathBuf {
        self.folder.join(DISK).join("data")
    }

    pub(super) fn pid(&self) -> Result<u32> {
        Ok(self.child.as_ref().context("it runs")?.pid())
    }

    pub(super) fn runs(&mut self) -> bool {
        self.child.as_mut().is_some_and(Child::runs)
    }

    /// The end of what it said on stderr.
    pub(super) fn said(&self) -> String {
        let text = std::fs::read_to_string(self.folder.join("stderr")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// The subscription that a reader reads.
    pub(super) fn pulled(&self) -> &str {
        &self.pulled
    }

    /// Its disk, or why it has none of its own.
    pub(super) fn disk(&self) -> &Result<Disk, String> {
        &self.disk
    }

    /// Why it is not ready, if it is not.
    pub(super) async fn not_ready(&self) -> Result<Option<String>> {
        let request = Request::get("/ready").header("host", "soak").body(Full::default())?;
        let answer = Client::new(self.admin()?).send(request).await?;
        Ok((!answer.status().is_success()).then(|| String::from_utf8_lossy(answer.body()).into_owned()))
    }

    /// What came again in its lives, this one until now included.
    pub(super) async fn again(&mut self) -> Result<lives::Sums> {
        self.lives.look(self.admin()?).await?;
        Ok(self.lives.sums.clone())
    }

    /// SIGKILL, and the next start.
    pub(super) async fn kill(&mut self) -> Result<()> {
        self.lives.look(self.admin()?).await?;
        drop(self.child.take());
        self.lives.next(true).await?;
        self.child = Some(launch(&self.program, &self.folder).await?);
        Ok(())
    }

    /// An end in good order, and the next start.
    pub(super) async fn restart(&mut self) -> Result<()> {
        self.lives.look(self.admin()?).await?;
        self.child.take().context("it runs")?.end().await?;
        self.lives.next(false).await?;
        self.child = Some(launch(&self.program, &self.folder).await?);
        Ok(())
    }

    pub(super) async fn pause(&self, verb: &str) -> Result<()> {
        let path = format!("/v1/subscriptions/{}/{verb}", self.pausable);
        self.in_force(&self.control.json(Method::POST, &path, &json!({})).await?).await
    }

    /// A subscription that gets nothing comes and goes: nodes get two new snapshots.
    pub(super) async fn change(&mut self) -> Result<()> {
        self.made += 1;
        let never = json!({"filters": [{"topic": "soak"}, {"exact": {"type": format!("never.{}", self.made)}}]});
        let id = self.subscribe("nobody", 0, never).await?;
        self.control.json(Method::DELETE, &format!("/v1/subscriptions/{id}"), &Value::Null).await.map(drop)
    }

    pub(super) async fn dead_letters(&self) -> Result<u64> {
        let list = self.control.json(Method::GET, "/v1/dead-letters?limit=1000", &Value::Null).await?;
        Ok(list["items"].as_array().context("items")?.len() as u64)
    }

    async fn subscribe(&self, group: &str, number: u32, members: Value) -> Result<String> {
        let path = format!("/{group}/{number}");
        let mut document = json!({
            "name": format!("{group}-{number}"), "owner": "soak", "filters": [{"topic": "soak"}],
            "endpoint": {"url": format!("http://{}{path}", self.receiver), "timeout": "60s"},
            "signing": [{"scheme": "standard-webhooks", "secret": keys::hmac_text(&path)}],
            "retry": {"schedule": vec!["1s"; 100], "jitter": 0.5}, "limits": {"in_flight": 64},
        });
        lay(&mut document, members);
        let made = self.control.json(Method::POST, "/v1/subscriptions", &document).await?;
        self.in_force(&made).await?;
        Ok(made["id"].as_str().context("an id")?.to_owned())
    }

    async fn in_force(&self, written: &Value) -> Result<()> {
        let revision = written["revision"].as_u64().context("a revision")?;
        let began = Instant::now();
        loop {
            let nodes = self.control.json(Method::GET, "/v1/nodes", &Value::Null).await?;
            let list = nodes.as_array().or_else(|| nodes["items"].as_array()).context("a list of nodes")?;
            if list.iter().any(|node| node["acked_revision"].as_u64().is_some_and(|acked| acked >= revision)) {
                return Ok(());
            }
            ensure!(began.elapsed() < IN_FORCE_WITHIN, "revision {revision} is not in force: {nodes}");
            sleep(LOOK_AGAIN).await;
        }
    }
}

async fn launch(program: &Path, folder: &Path) -> Result<Child> {
    let config = folder.join("posthorn.yaml");
    Child::start(program, &["serve".as_ref(), "--config".as_ref(), config.as_os_str()], &folder.join("stderr")).await
}

fn configuration(folder: &Path, keep: u64, ids: u64) -> Result<Value> {
    Ok(json!({
        "data_dir": folder.join(DISK).join("data"),
        // Fixed, for clients and generators outlive the process.
        "http": {"listen": free()?}, "control": {"listen": free()?}, "broker": {"listen": free()?}, "admin": {"listen": free()?},
        "log": {"segment_bytes": (keep / SEGMENTS).max(256 << 10), "retention_check": "500ms"},
        "ingest": {"dedup_max_entries": ids.max(20_000)},
        "delivery": {"allow_cidrs": ["127.0.0.0/8"], "attempts": {"max_bytes": "16MiB"}},
    }))
}

/// A port that was free a moment ago.
fn free() -> Result<String> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn lay(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            over.into_iter().for_each(|(name, value)| lay(under.entry(name).or_insert(Value::Null), value))
        }
        (under, over) => *under = over,
    }
}
