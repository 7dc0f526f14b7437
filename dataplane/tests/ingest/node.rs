//! A data plane's doors on a real socket, over a real log and a real state store in a temporary folder.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use posthorn_dataplane::config;
use posthorn_dataplane::explain::Explainer;
use posthorn_dataplane::ingest::http::{Door, accept_loop, shard, shard_http};
use posthorn_dataplane::ingest::{DeadLetterSink, Dedup, Parts, Pipeline};
use posthorn_dataplane::read::{Reader, Shares, TailNotify};
use posthorn_dataplane::readers::{self, Keep, Readers};
use posthorn_dataplane::route::{Builder, Live, Table};
use posthorn_dataplane::telemetry::IngestMetrics;
use posthorn_domain::clock::Clock;
use posthorn_domain::names::TopicName;
use posthorn_domain::qos::Durability;
use posthorn_domain::record::Stored;
use posthorn_domain::snapshot::{Delta, Document, Resource, ResourceKey};
use posthorn_storage::log::TailSink;
use posthorn_storage::log::segments::disk::{Disk, RealDisk};
use posthorn_storage::log::segments::{Config, SegmentLog};
use posthorn_storage::state::embedded::Embedded;
use posthorn_storage::state::{Batch, DeadLetter, DeadLetterFilter, State};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

pub(crate) struct Node {
    pub(crate) addr: SocketAddr,
    pub(crate) live: Live,
    pub(crate) log: Arc<SegmentLog>,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) dedup: Arc<Dedup>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) dir: TempDir,
    state: Arc<Embedded>,
    builder: Builder,
    revision: u64,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {:?}", self.body))
    }

    /// Status and the last part of the problem's type.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let ty = self.json()["type"].as_str().unwrap().strip_prefix("urn:posthorn:problem:").unwrap().to_owned();
        (self.status, ty)
    }
}

struct Tail(Arc<TailNotify>);

impl TailSink for Tail {
    fn durable(&self, topic: &TopicName, _partition: u32, _records: Vec<Arc<Stored>>) {
        self.0.grown(topic);
    }
}

struct Letters(Arc<Embedded>);

impl DeadLetterSink for Letters {
    fn put(&self, letter: DeadLetter) -> BoxFuture<'static, Result<(), String>> {
        let state = self.0.clone();
        Box::pin(async move {
            let commit = move || {
                let mut batch = Batch::new();
                batch.put_dead_letter(letter);
                state.commit(batch, true).map_err(|error| error.to_string())
            };
            tokio::task::spawn_blocking(commit).await.map_err(|error| error.to_string())?
        })
    }
}

pub(crate) fn http_limits() -> config::Http {
    config::Http {
        listen: ([127, 0, 0, 1], 0).into(),
        max_connections: 1000,
        max_header_bytes: 16 << 10,
        header_timeout: Duration::from_secs(20),
        body_timeout: Duration::from_secs(20),
        h2_max_streams: 100,
    }
}

pub(crate) fn ingest_limits() -> config::Ingest {
    config::Ingest {
        max_event_bytes: 64 << 10,
        max_batch_events: 100,
        max_batch_bytes: 1 << 20,
        max_in_flight_bytes: 8 << 20,
        default_durability: Durability::Log,
        max_hops: 8,
        traces: Default::default(),
        default_direction: posthorn_domain::direction::Direction::Incoming,
        dedup_max_entries: 100_000,
    }
}

impl Keep for Letters {
    fn keep(&self, batch: Batch) -> BoxFuture<'static, Result<(), String>> {
        let state = self.0.clone();
        Box::pin(async move {
            let commit = move || state.commit(batch, true).map_err(|error| error.to_string());
            tokio::task::spawn_blocking(commit).await.map_err(|error| error.to_string())?
        })
    }
}

impl Node {
    pub(crate) async fn start() -> Self {
        Self::with(http_limits(), ingest_limits()).await
    }

    pub(crate) async fn with(http: config::Http, ingest: config::Ingest) -> Self {
        Self::on(tempfile::tempdir().unwrap(), http, ingest, Config::default()).await
    }

    pub(crate) async fn on(dir: TempDir, http: config::Http, ingest: config::Ingest, log: Config) -> Self {
        Self::on_disk(Arc::new(RealDisk), dir, http, ingest, log).await
    }

    pub(crate) async fn on_disk(disk: Arc<dyn Disk>, dir: TempDir, http: config::Http, ingest: config::Ingest, log: Config) -> Self {
        let tail = TailNotify::new();
        let (log, _) = SegmentLog::open_on(disk, &dir.path().join("log"), log, Arc::new(Tail(tail.clone()))).unwrap();
        let log = Arc::new(log);
        let state = Arc::new(Embedded::open(&dir.path().join("state")).unwrap());
        let live = Live::new(Arc::new(Table::default()));
        let (metrics, clock, shutdown) = (IngestMetrics::default(), Clock::system(), CancellationToken::new());
        let dedup = Dedup::new(ingest.dedup_max_entries, metrics.clone());
        let letters = Arc::new(Letters(state.clone()));
        let parts =
            Parts { live: live.clone(), dedup: dedup.clone(), letters, clock: clock.clone(), config: ingest, metrics: metrics.clone() };
        let pipeline = Arc::new(Pipeline::new(parts));
        let shares = Shares::new(&config::Readers::default());
        let readers = Readers::new(readers::Setup {
            config: config::Readers::default(),
            live: live.clone(),
            tail: tail.clone(),
            shares: shares.clone(),
            clock: clock.clone(),
            keep: Arc::new(Letters(state.clone())),
            delivery: None,
            restored: state.readers().unwrap(),
            shutdown: shutdown.clone(),
        });
        let reader = Reader::new(live.clone(), tail, shares, shutdown.clone());
        let max_connections = http.max_connections;
        let (config, blocking) = (pipeline.config().clone(), tokio::runtime::Handle::current());
        let explainer = Explainer { live: live.clone(), config, attempts: None, blocking, clock };
        let door = Door::new(pipeline.clone(), reader, readers, explainer, http);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (sinks, receivers): (Vec<_>, Vec<_>) = (0..2).map(|_| shard()).unzip();
        for receiver in receivers {
            tokio::spawn(shard_http(receiver, door.clone(), shutdown.clone()));
        }
        tokio::spawn(accept_loop(listener, sinks, max_connections, metrics, shutdown.clone()));
        let builder = Builder::new(log.clone());
        Self { addr, live, log, pipeline, dedup, shutdown, dir, state, builder, revision: 0 }
    }

    /// Puts resources in force, as a control plane would.
    pub(crate) fn put(&mut self, resources: &[(ResourceKey, Value)]) {
        self.revision += 1;
        let make = |document: &Value| Resource {
            revision: self.revision,
            incarnation: 1,
            document: Document::of(document),
            secrets: Default::default(),
        };
        let changed = resources.iter().map(|(key, document)| (key.clone(), make(document))).collect();
        let delta = Delta { revision: self.revision, changed, removed: Vec::new() };
        let applied = self.builder.apply(&self.live.snapshot(), &delta);
        assert_eq!(applied.nacks, []);
        self.live.publish(Arc::new(applied.table));
    }

    pub(crate) fn topic(&mut self, name: &str, mut spec: Value) {
        spec["name"] = name.into();
        self.put(&[(ResourceKey::topic(name), spec)]);
    }

    pub(crate) fn schema(&mut self, name: &str, version: u32, mut spec: Value) {
        spec["name"] = name.into();
        spec["version"] = version.into();
        self.put(&[(ResourceKey::schema(name, version), spec)]);
    }

    pub(crate) fn letters(&self) -> Vec<DeadLetter> {
        self.state.dead_letters(&DeadLetterFilter::default(), None, 100).unwrap().items
    }

    pub(crate) async fn request(&self, request: Request<Full<Bytes>>) -> Answer {
        send(self.addr, request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request(Request::get(path).body(Full::default()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.request(request.body(Full::new(body.into())).unwrap()).await
    }

    /// One event in structured mode, with these further members.
    pub(crate) async fn publish(&self, id: &str, members: Value) -> Answer {
        self.post("/v1/events", &[("content-type", "application/cloudevents+json")], event(id, members).to_string()).await
    }

    pub(crate) async fn read(&self, topic: &str, query: &str) -> Value {
        let answer = self.get(&format!("/v1/topics/{topic}/events?{query}")).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        answer.json()
    }
}

pub(crate) fn event(id: &str, members: Value) -> Value {
    let mut event = json!({"specversion": "1.0", "id": id, "source": "/s", "type": "t", "topic": "orders"});
    for (name, value) in members.as_object().unwrap() {
        event[name] = value.clone();
    }
    event
}

/// On a connection of its own.
pub(crate) async fn send(addr: SocketAddr, mut request: Request<Full<Bytes>>) -> Answer {
    let stream = TcpStream::connect(addr).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(async move { connection.await.ok() });
    request.headers_mut().insert("host", "posthorn".parse().unwrap());
    let response = sender.send_request(request).await.unwrap();
    let (parts, body) = response.into_parts();
    Answer { status: parts.status.as_u16(), headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
}
