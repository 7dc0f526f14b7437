//! The whole retry schedule, 75 hours of it, in moments: the delivery engine over a real log, a real state store and a real receiver,
//! with a clock that the test moves by hand.
//!
//! Paused runtime time would not do: it jumps ahead whenever nothing is ready, so an attempt's deadline would pass while the socket is
//! waited for. The engine asks its clock at every turn, so it is enough to move that one and to ask the shard something.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use posthorn_dataplane::config;
use posthorn_dataplane::delivery::{Handle, Setup, Writer};
use posthorn_dataplane::egress::{Resolver, client_config};
use posthorn_dataplane::operations::Reporter;
use posthorn_dataplane::route::{Builder, Table};
use posthorn_domain::clock::Clock;
use posthorn_domain::event::{DataKind, Event, EventBuilder};
use posthorn_domain::guard::Guard;
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::names::TopicName;
use posthorn_domain::node::SubscriptionState;
use posthorn_domain::qos::{DeadLetter as Rule, Durability};
use posthorn_domain::reason::Reason;
use posthorn_domain::record::{Record, Stored};
use posthorn_domain::snapshot::{Delta, Document, Resource, ResourceKey};
use posthorn_domain::time::Time;
use posthorn_storage::attempts::{self, AttemptLog, Query};
use posthorn_storage::log::TailSink;
use posthorn_storage::log::segments::{Config, SegmentLog};
use posthorn_storage::state::embedded::Embedded;
use posthorn_storage::state::{DeadLetter, DeadLetterFilter, State};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, LocalSet};

#[path = "retry_clock/beyond.rs"]
mod beyond;
#[path = "retry_clock/outage.rs"]
mod outage;

const SUBSCRIPTION: &str = "sub_01a2104c51ad71e9a54c477ec019129a";
const START: u64 = 1_800_000_000_000;
/// Longer than the default schedule takes.
const FIVE_DAYS: Duration = Duration::from_secs(5 * 86_400);
const AMPLE: Duration = Duration::from_secs(30);
/// The delays of the default schedule, in seconds.
const DELAYS: [u64; 9] = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];

#[tokio::test]
async fn ten_attempts_at_their_times_then_the_dead_letter_over_a_restart_in_between() {
    let local = LocalSet::new();
    local
        .run_until(async {
            let (dir, hands, mut receiver) = (tempfile::tempdir().unwrap(), Hands::default(), Receiver::start().await);
            let mut engine = Engine::start(dir.path(), &hands, receiver.address).await;
            engine.append("e", None).await;
            assert_eq!(receiver.next().await.0, "1");
            let mut ids = Vec::new();
            for (index, delay) in DELAYS.into_iter().enumerate() {
                let due = hands.now() + delay * 1000;
                let last = engine.waits(index + 1).await;
                assert_eq!((last.next_attempt_at, last.status), (Some(Time::from_millis(due)), Some(500)), "after attempt {}", index + 1);
                if index == 4 {
                    engine.stop().await;
                    engine = Engine::start(dir.path(), &hands, receiver.address).await;
                    let loaded = async { while engine.state().await.waiting == 0 {} };
                    tokio::time::timeout(AMPLE, loaded).await.expect("the retry is read from the store");
                }
                hands.set(due - 1);
                engine.turn().await;
                let before = engine.state().await;
                assert_eq!((before.in_flight, before.waiting), (0, 1), "attempt {} came early", index + 2);
                assert!(receiver.is_silent(), "attempt {} came early", index + 2);
                hands.set(due);
                engine.turn().await;
                let (number, id) = receiver.next().await;
                assert_eq!(number, (index + 2).to_string());
                ids.push(id);
            }
            assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "one id for all: {ids:?}");
            assert_eq!(hands.now() - START, DELAYS.iter().sum::<u64>() * 1000);
            let letter = engine.letter().await;
            assert_eq!((letter.reason, letter.attempts), (Reason::AttemptsExhausted, 10));
            hands.set(hands.now() + 30 * 86_400_000);
            engine.turn().await;
            assert!(receiver.is_silent() && engine.state().await.waiting == 0);
            engine.stop().await;
        })
        .await;
}

#[tokio::test]
async fn what_expires_between_two_attempts_is_not_sent_again() {
    let local = LocalSet::new();
    local
        .run_until(async {
            let (dir, hands, mut receiver) = (tempfile::tempdir().unwrap(), Hands::default(), Receiver::start().await);
            let engine = Engine::start(dir.path(), &hands, receiver.address).await;
            engine.append("short", Some(Duration::from_secs(3600))).await;
            for (index, delay) in DELAYS.into_iter().take(4).enumerate() {
                assert_eq!(receiver.next().await.0, (index + 1).to_string());
                engine.waits(index + 1).await;
                hands.set(hands.now() + delay * 1000);
                engine.turn().await;
            }
            // The fifth would have been at 2 h 35 min.
            let letter = engine.letter().await;
            assert_eq!((letter.reason, letter.attempts), (Reason::Expired, 4));
            assert!(receiver.is_silent());
            engine.stop().await;
        })
        .await;
}

#[tokio::test]
async fn what_has_failed_for_five_days_is_disabled_and_not_a_moment_earlier() {
    let local = LocalSet::new();
    local
        .run_until(async {
            let (dir, hands, mut receiver) = (tempfile::tempdir().unwrap(), Hands::default(), Receiver::start().await);
            let mut engine = Engine::start(dir.path(), &hands, receiver.address).await;
            let five_days = u64::try_from(FIVE_DAYS.as_millis()).unwrap();
            engine.append("first", None).await;
            receiver.next().await;
            engine.waits(1).await;
            // An hour too early; too late for `max_age` all the same.
            hands.set(START + five_days - 3_600_000);
            engine.turn().await;
            receiver.next().await;
            assert_eq!(engine.letter().await.reason, Reason::MaxAge);
            assert!(engine.gone.try_recv().is_err(), "it is too early");
            hands.set(START + five_days);
            engine.append("second", None).await;
            receiver.next().await;
            let report = tokio::time::timeout(AMPLE, engine.gone.recv()).await.unwrap();
            assert_eq!(report, Some((SUBSCRIPTION.parse().unwrap(), "disable_after")));
            // The second waits, and neither it nor a third is sent.
            engine.append("third", None).await;
            hands.set(START + 2 * five_days);
            engine.turn().await;
            let state = engine.state().await;
            assert_eq!((state.in_flight, state.waiting), (0, 1));
            assert!(receiver.is_silent());
            engine.stop().await;
        })
        .await;
}

#[tokio::test]
async fn five_days_of_failure_are_counted_over_a_restart() {
    let local = LocalSet::new();
    local
        .run_until(async {
            let (dir, hands, mut receiver) = (tempfile::tempdir().unwrap(), Hands::default(), Receiver::start().await);
            let engine = Engine::start(dir.path(), &hands, receiver.address).await;
            let five_days = u64::try_from(FIVE_DAYS.as_millis()).unwrap();
            engine.append("first", None).await;
            receiver.next().await;
            engine.waits(1).await;
            engine.stop().await;
            hands.set(START + five_days - 3_600_000);
            let mut engine = Engine::start(dir.path(), &hands, receiver.address).await;
            receiver.next().await;
            assert_eq!(engine.letter().await.reason, Reason::MaxAge);
            assert_eq!(engine.state().await.failing_since, Some(Time::from_millis(START)));
            assert!(engine.gone.try_recv().is_err(), "it is too early");
            hands.set(START + five_days);
            engine.append("second", None).await;
            receiver.next().await;
            let report = tokio::time::timeout(AMPLE, engine.gone.recv()).await.unwrap();
            assert_eq!(report, Some((SUBSCRIPTION.parse().unwrap(), "disable_after")));
            engine.stop().await;
        })
        .await;
}

/// The clock's hands.
#[derive(Clone)]
struct Hands(Arc<AtomicU64>);

impl Default for Hands {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(START)))
    }
}

impl Hands {
    fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn set(&self, millis: u64) {
        self.0.store(millis, Ordering::SeqCst);
    }

    fn clock(&self) -> Clock {
        let hands = self.clone();
        Clock::given(move || Time::from_millis(hands.now()))
    }
}

/// One shard with its stores.
struct Engine {
    handle: Handle,
    log: Arc<SegmentLog>,
    table: Arc<Table>,
    store: Arc<Embedded>,
    attempts: Arc<AttemptLog>,
    hands: Hands,
    running: JoinHandle<()>,
    writer: Writer,
    tail: Arc<Tail>,
    /// Subscriptions to be disabled.
    gone: mpsc::Receiver<(SubscriptionId, &'static str)>,
}

/// The log's tail, connected once the shard is there.
#[derive(Default)]
struct Tail(OnceLock<Handle>);

impl TailSink for Tail {
    fn durable(&self, topic: &TopicName, partition: u32, records: Vec<Arc<Stored>>) {
        if let Some(handle) = self.0.get() {
            handle.durable(topic, partition, &records);
        }
    }
}

impl Engine {
    async fn start(dir: &Path, hands: &Hands, receiver: SocketAddr) -> Self {
        Self::with(dir, hands, &resources(receiver)).await
    }

    async fn with(dir: &Path, hands: &Hands, resources: &Delta) -> Self {
        Self::within(dir, hands, resources, limits()).await
    }

    async fn within(dir: &Path, hands: &Hands, resources: &Delta, config: config::Delivery) -> Self {
        let clock = hands.clock();
        let tail = Arc::new(Tail::default());
        let settings = Config { clock: clock.clone(), ..Config::default() };
        let log = Arc::new(SegmentLog::open(&dir.join("log"), settings, Arc::clone(&tail) as _).unwrap().0);
        let store = Arc::new(Embedded::open(&dir.join("state")).unwrap());
        let settings = attempts::Config { clock: clock.clone(), ..attempts::Config::default() };
        let attempts = Arc::new(AttemptLog::open(dir.join("attempts"), settings).unwrap());
        let max_age = Duration::from_secs(365 * 86_400);
        let (writer, write) = Writer::start(Arc::clone(&store) as _, Arc::clone(&attempts), clock.clone(), max_age).unwrap();
        let (gone, reports) = mpsc::channel(1);
        let setup = Setup {
            config,
            shards: 1,
            clock,
            state: Arc::clone(&store) as _,
            ends: log.ends(),
            writer: write,
            attempts: Arc::clone(&attempts),
            resolver: Resolver::given(|_| vec![[127, 0, 0, 1].into()]),
            guard: Arc::new(Guard::new(vec!["127.0.0.0/8".parse().unwrap()], None)),
            tls: client_config(&[], None).unwrap(),
            blocking: tokio::runtime::Handle::current(),
            gone,
            operations: Reporter::new().0,
        };
        let (mut services, handle) = setup.build().unwrap();
        assert!(tail.0.set(handle.clone()).is_ok());
        let running = tokio::task::spawn_local(services.remove(0).run());
        let applied = Builder::new(Arc::clone(&log) as _).apply(&Table::default(), resources);
        assert_eq!(applied.nacks, []);
        let engine = Self {
            handle,
            log,
            table: Arc::new(applied.table),
            store,
            attempts,
            hands: hands.clone(),
            running,
            writer,
            tail,
            gone: reports,
        };
        engine.handle.apply(&engine.table).await;
        engine
    }

    async fn append(&self, id: &str, ttl: Option<Duration>) {
        self.append_keyed(id, None, ttl).await;
    }

    async fn append_keyed(&self, id: &str, key: Option<&str>, ttl: Option<Duration>) {
        self.append_event(EventBuilder::new(id, "/source", "type").build(), key, ttl).await;
    }

    async fn append_event(&self, event: Event, key: Option<&str>, ttl: Option<Duration>) {
        let now = Time::from_millis(self.hands.now());
        let event = event.with_attr("topic", "orders");
        let record = Record {
            event: if let Some(key) = key { event.with_attr("partitionkey", key) } else { event },
            publisher: "test".into(),
            idempotency_key: None,
            accepted_at: now,
            expires_at: ttl.map(|ttl| now.after(ttl)),
            durability: Durability::Log,
            dead_letter: Rule::Allow,
            direction: posthorn_domain::direction::Direction::Incoming,
        };
        self.table.topics["orders"].log.append(0, record, None, Durability::Log).await.unwrap();
    }

    /// Has the shard look at its clock: the second answer comes after a whole turn that followed the first.
    async fn turn(&self) {
        self.state().await;
        self.state().await;
    }

    async fn state(&self) -> SubscriptionState {
        self.state_of(SUBSCRIPTION).await
    }

    async fn state_of(&self, id: &str) -> SubscriptionState {
        self.handle.state_of(id.parse().unwrap()).await.unwrap().unwrap()
    }

    /// Waits until the attempt with this number is recorded and the delivery waits for its next.
    async fn waits(&self, number: usize) -> attempts::Attempt {
        self.until("the attempt is settled", || {
            let query = Query::default();
            let newest = self.attempts.find(&query, None, 1, 1000).unwrap().attempts.pop();
            newest.filter(|newest| newest.number as usize == number && newest.next_attempt_at.is_some())
        })
        .await
    }

    async fn letter(&self) -> DeadLetter {
        self.until("the dead letter is stored", || {
            // A checkpoint is due by the clock that the test moves.
            self.hands.set(self.hands.now() + 1);
            self.store.dead_letters(&DeadLetterFilter::default(), None, 10).unwrap().items.pop()
        })
        .await
    }

    async fn until<T>(&self, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
        let found = async {
            loop {
                self.turn().await;
                self.attempts.flush().unwrap();
                if let Some(found) = probe() {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(AMPLE, found).await.unwrap_or_else(|_| panic!("not within {AMPLE:?}: {what}"))
    }

    async fn stop(self) {
        let Self { handle, log, table, store, attempts, running, writer, tail, .. } = self;
        handle.drain().await;
        running.await.unwrap();
        drop((handle, table, tail));
        // The last owner of the log writes what waits, and gives its folder free.
        tokio::task::spawn_blocking(move || drop(log)).await.unwrap();
        tokio::task::spawn_blocking(move || writer.join()).await.unwrap();
        drop((store, attempts));
    }
}

fn resources(receiver: SocketAddr) -> Delta {
    resources_of(&[subscription(SUBSCRIPTION, &format!("http://hook.example:{}/", receiver.port()))])
}

fn resources_of(subscriptions: &[Value]) -> Delta {
    let made = |document: &Value| Resource { revision: 1, incarnation: 1, document: Document::of(document), secrets: Default::default() };
    let topic = json!({"name": "orders", "partitions": 1, "retention": {"age": "90d"}});
    let key = |subscription: &Value| ResourceKey::subscription(subscription["id"].as_str().unwrap());
    let mut changed = vec![(ResourceKey::topic("orders"), made(&topic))];
    changed.extend(subscriptions.iter().map(|subscription| (key(subscription), made(subscription))));
    Delta { revision: 1, changed: changed.into_iter().collect(), removed: Vec::new() }
}

fn subscription(id: &str, url: &str) -> Value {
    json!({
        "id": id, "filters": [{"topic": "orders"}], "endpoint": {"url": url},
        "signing": [{"scheme": "standard-webhooks", "secret": "whsec_UMpqVxBV/1kJNTiPzVAxd26Cr5+tpMr6a2/p4hPCuGk="}],
        "retry": {"jitter": 0}, "start": "earliest", "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
    })
}

fn limits() -> config::Delivery {
    config::Delivery {
        allow_cidrs: Vec::new(),
        allow_http: None,
        max_response_bytes: 64 << 10,
        timeout: AMPLE,
        max_connections_per_endpoint: 4,
        max_in_flight_per_subscription: 4,
        idle_timeout: Duration::from_secs(60),
        connection_max_age: Duration::from_secs(600),
        max_tail_bytes: 1 << 20,
        max_replays: 4,
        max_retention_letters: 10,
        max_lane_events: 100,
        max_retries_in_memory: 1024,
        max_unstored: 100_000,
        max_batch_events: 100,
        max_batch_bytes: 1 << 20,
        checkpoint_interval: Duration::from_millis(1),
        dns_servers: Vec::new(),
        extra_ca_file: None,
        attempts_max_bytes: 16 << 20,
        attempts_max_age: Duration::from_secs(365 * 86_400),
        dead_letter_max_age: Duration::from_secs(365 * 86_400),
        disable_after: FIVE_DAYS,
        operations_interval: Duration::from_secs(10),
        breaker: config::Breaker::default(),
        retry_budget: config::RetryBudget::default(),
        adaptive_concurrency: true,
        max_endpoint_hold: Duration::from_secs(3600),
        traces: Default::default(),
    }
}

/// Answers everything with 500 and tells number and id of each attempt.
struct Receiver {
    address: SocketAddr,
    seen: mpsc::Receiver<(String, String)>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, seen) = mpsc::channel(100);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sender = sender.clone();
                let service = service_fn(move |request| answer(request, sender.clone()));
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, seen }
    }

    async fn next(&mut self) -> (String, String) {
        tokio::time::timeout(AMPLE, self.seen.recv()).await.expect("an attempt").unwrap()
    }

    fn is_silent(&mut self) -> bool {
        self.seen.try_recv().is_err()
    }
}

async fn answer(request: Request<Incoming>, seen: mpsc::Sender<(String, String)>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
    let attempt = (header("posthorn-attempt"), header("webhook-id"));
    request.into_body().collect().await.unwrap();
    seen.send(attempt).await.unwrap();
    Ok(Response::builder().status(500).body(Empty::new()).unwrap())
}
