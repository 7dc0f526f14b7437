//! What a shard does with one event that a hundred subscriptions want, but for the sockets: who wants it, planning, the requests with
//! their heads and signatures, settling, records of attempts.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use posthorn_dataplane::config;
use posthorn_dataplane::delivery::{Handle, Setup, Writer};
use posthorn_dataplane::egress::{Head, Pieces, Reply, Resolver, SendError, Target, Transport, client_config};
use posthorn_dataplane::operations::Reporter;
use posthorn_dataplane::route::{Builder, Table};
use posthorn_domain::clock::Clock;
use posthorn_domain::direction::Direction;
use posthorn_domain::guard::Guard;
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::names::TopicName;
use posthorn_domain::qos::{DeadLetter, Durability};
use posthorn_domain::record::{Record, Stored};
use posthorn_domain::signing::generate_hmac;
use posthorn_domain::snapshot::{Delta, Document, Resource, ResourceKey};
use posthorn_storage::attempts::{self, AttemptLog};
use posthorn_storage::log::segments::{Config, SegmentLog};
use posthorn_storage::log::{TailSink, TopicLog};
use posthorn_storage::state::embedded::Embedded;
use serde_json::json;
use tokio::runtime::{Builder as Runtime, Handle as RuntimeHandle};
use tokio::sync::{Notify, mpsc};
use tokio::task::LocalSet;

use crate::{Operation, route};

const SUBSCRIPTIONS: u64 = 100;
/// Longer than any count takes: the store is another operation.
const NEVER: Duration = Duration::from_secs(3_600);

/// One event is appended, and sent to a hundred subscriptions that each have a key of their own.
pub(crate) fn deliver() -> Operation {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = Runtime::new_current_thread().enable_all().build().expect("a runtime");
    let local = LocalSet::new();
    let network = Rc::new(Network::default());
    let topic = runtime.block_on(local.run_until(start(folder.path(), Rc::clone(&network))));
    let event = route::event().with_attr("topic", "orders");
    Box::new(move || {
        let _kept = &folder;
        let record = Record {
            event: event.clone(),
            publisher: "bench".into(),
            idempotency_key: None,
            accepted_at: Clock::system().now(),
            expires_at: None,
            durability: Durability::Log,
            dead_letter: DeadLetter::Allow,
            direction: Direction::Incoming,
        };
        runtime.block_on(local.run_until(async {
            topic.append(0, record, None, Durability::Log).await.expect("the record is kept");
            network.sent(SUBSCRIPTIONS).await;
        }));
    })
}

/// Takes every request at once.
#[derive(Default)]
struct Network {
    sent: Cell<u64>,
    enough: Notify,
}

impl Network {
    /// Waits for so many requests, and begins to count anew.
    async fn sent(&self, count: u64) {
        while self.sent.get() < count {
            self.enough.notified().await;
        }
        self.sent.set(self.sent.get() - count);
    }
}

impl Transport for Network {
    fn send<'a>(&'a self, _: &'a Target, head: Head, body: Pieces, _: Duration) -> LocalBoxFuture<'a, Result<Reply, SendError>> {
        std::hint::black_box((head, body));
        self.sent.set(self.sent.get() + 1);
        if self.sent.get() >= SUBSCRIPTIONS {
            self.enough.notify_one();
        }
        let status = http::StatusCode::NO_CONTENT;
        let began = Clock::system().instant();
        let reply = Reply { status, retry_after: None, allowed_rate: None, began, body_head: Bytes::new(), body_truncated: false };
        std::future::ready(Ok(reply)).boxed_local()
    }
}

#[derive(Default)]
struct Tail(OnceLock<Handle>);

impl TailSink for Tail {
    fn durable(&self, topic: &TopicName, partition: u32, records: Vec<Arc<Stored>>) {
        if let Some(handle) = self.0.get() {
            handle.durable(topic, partition, &records);
        }
    }
}

/// A shard that runs on this thread from now on; gives its topic.
async fn start(folder: &std::path::Path, network: Rc<Network>) -> Arc<dyn TopicLog> {
    let tail = Arc::new(Tail::default());
    let log = Arc::new(SegmentLog::open(&folder.join("log"), Config::default(), Arc::clone(&tail) as _).expect("the log opens").0);
    // Who drops it closes it; it lives as long as the process, which ends with the operation.
    std::mem::forget(Arc::clone(&log));
    let state = Arc::new(Embedded::open(&folder.join("state")).expect("the store opens"));
    let attempts = Arc::new(AttemptLog::open(folder.join("attempts"), attempts::Config::default()).expect("the attempts open"));
    let clock = Clock::system();
    let (writer, write) = Writer::start(Arc::clone(&state) as _, Arc::clone(&attempts), clock.clone(), NEVER).expect("a thread");
    std::mem::forget(writer);
    let (gone, reports) = mpsc::channel(1);
    std::mem::forget(reports);
    let setup = Setup {
        config: limits(),
        shards: 1,
        clock,
        state,
        ends: log.ends(),
        writer: write,
        attempts,
        resolver: Resolver::given(|_| vec![[127, 0, 0, 1].into()]),
        guard: Arc::new(Guard::new(Vec::new(), Some(true))),
        tls: client_config(&[], None).expect("TLS"),
        blocking: RuntimeHandle::current(),
        gone,
        operations: Reporter::new().0,
    };
    let (mut services, handle) = setup.build().expect("the store can be read");
    assert!(tail.0.set(handle.clone()).is_ok(), "it is set once");
    tokio::task::spawn_local(services.remove(0).simulate(network));
    let applied = Builder::new(Arc::clone(&log) as _).apply(&Table::default(), &resources());
    assert!(applied.nacks.is_empty(), "{:?}", applied.nacks);
    let table = Arc::new(applied.table);
    handle.apply(&table).await;
    Arc::clone(&table.topics["orders"].log)
}

fn resources() -> Delta {
    let made = |document| Resource { revision: 1, incarnation: 1, document: Document::of(&document), secrets: Default::default() };
    let mut changed = vec![(ResourceKey::topic("orders"), made(json!({"name": "orders", "partitions": 1})))];
    for number in 0..SUBSCRIPTIONS {
        let id = SubscriptionId::make().to_string();
        let key = ResourceKey::subscription(&id);
        changed.push((
            key,
            made(json!({
                "id": id, "filters": [{"topic": "orders"}], "endpoint": {"url": format!("http://hook.example/{number}")},
                "signing": [{"scheme": "standard-webhooks", "secret": generate_hmac()}], "start": "earliest",
                "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
            })),
        ));
    }
    Delta { revision: 1, changed: changed.into_iter().collect(), removed: Vec::new() }
}

fn limits() -> config::Delivery {
    config::Delivery {
        allow_cidrs: Vec::new(),
        allow_http: Some(true),
        max_response_bytes: 64 << 10,
        timeout: NEVER,
        max_connections_per_endpoint: 64,
        max_in_flight_per_subscription: 64,
        idle_timeout: NEVER,
        connection_max_age: NEVER,
        max_tail_bytes: 64 << 20,
        max_lane_events: 1024,
        max_retries_in_memory: 1024,
        max_unstored: 100_000,
        max_batch_events: 100,
        max_batch_bytes: 1 << 20,
        checkpoint_interval: NEVER,
        max_replays: 4,
        max_retention_letters: 10,
        dns_servers: Vec::new(),
        extra_ca_file: None,
        attempts_max_bytes: 16 << 20,
        attempts_max_age: NEVER,
        dead_letter_max_age: NEVER,
        disable_after: NEVER,
        breaker: config::Breaker::default(),
        retry_budget: config::RetryBudget::default(),
        adaptive_concurrency: true,
        max_endpoint_hold: NEVER,
        operations_interval: NEVER,
        traces: Default::default(),
    }
}
