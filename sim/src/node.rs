//! One life of the process: the real log, pipeline, shards, writer and readers, wired as `app` wires them, all on this thread.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, LazyLock, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use posthorn_dataplane::app::retention::Keeper;
use posthorn_dataplane::config;
use posthorn_dataplane::delivery::{Blocking, Handle, Setup, Writer, WriterHandle};
use posthorn_dataplane::egress::{Resolver, client_config};
use posthorn_dataplane::ingest::{DeadLetterSink, Dedup, Parts, Pipeline, rebuild};
use posthorn_dataplane::operations::{Note, Reporter};
use posthorn_dataplane::read::{Reader, Shares, TailNotify};
use posthorn_dataplane::readers::{self, Keep, Readers};
use posthorn_dataplane::route::{Applied, Builder, Live, Table};
use posthorn_dataplane::telemetry::IngestMetrics;
use posthorn_domain::guard::Guard;
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::names::TopicName;
use posthorn_domain::record::Stored;
use posthorn_domain::snapshot::{Delta, Nack};
use posthorn_storage::attempts::{self, AttemptLog};
use posthorn_storage::log::segments::{Config, SegmentLog};
use posthorn_storage::log::{Log, TailSink};
use posthorn_storage::state::memory::Memory;
use posthorn_storage::state::{Batch, DeadLetter, State};
use rustls::ClientConfig;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::network::Network;
use crate::random::Random;
use crate::slowlog::SlowLog;
use crate::world::{World, sleep};

/// The process.
pub(crate) struct Node {
    /// The way to the shards.
    pub(crate) handle: Handle,
    /// The log, as the node's parts have it.
    pub(crate) log: Arc<SlowLog>,
    /// Takes events in.
    pub(crate) pipeline: Arc<Pipeline>,
    /// Reads topics.
    pub(crate) reader: Reader,
    /// Readers with places.
    pub(crate) readers: Readers,
    /// The newest table.
    pub(crate) live: Live,
    /// Subscriptions that are to be disabled.
    pub(crate) gone: RefCell<mpsc::Receiver<(SubscriptionId, &'static str)>>,
    /// How long writing waits, in milliseconds at most.
    pub(crate) pace: Rc<RefCell<u64>>,
    segments: Arc<SegmentLog>,
    world: Arc<World>,
    builder: RefCell<Builder>,
    applying: tokio::sync::Mutex<()>,
    dedup: Arc<Dedup>,
    /// Topics whose recent ids are known already.
    remembered: RefCell<BTreeSet<(TopicName, u64)>>,
    shards: RefCell<Vec<JoinHandle<()>>>,
    state: Arc<dyn State>,
    _tail: Arc<Tail>,
    shutdown: CancellationToken,
    _notes: mpsc::Receiver<Note>,
}

/// From the log's tail to the oracle, the shards and the readers.
struct Tail {
    world: Arc<World>,
    notify: Arc<TailNotify>,
    delivery: OnceLock<Handle>,
}

impl TailSink for Tail {
    fn durable(&self, topic: &TopicName, partition: u32, records: Vec<Arc<Stored>>) {
        if let Some(number) = number_of(topic) {
            self.world.note(format_args!(
                "{topic}/{partition} has {} more, to {:?}",
                records.len(),
                records.last().map(|last| last.offset)
            ));
            let now = self.world.now();
            let mut oracle = self.world.oracle.lock();
            oracle.durable((number, partition), &records, now);
            oracle.hold(&records);
        }
        if let Some(delivery) = self.delivery.get() {
            delivery.durable(topic, partition, &records);
        }
        self.notify.grown(topic);
    }
}

/// The number in the name of a topic of the plan.
pub(crate) fn number_of(topic: &str) -> Option<usize> {
    topic.strip_prefix("topic-")?.parse().ok()
}

struct Letters(WriterHandle);

impl DeadLetterSink for Letters {
    fn put(&self, letter: DeadLetter) -> BoxFuture<'static, Result<(), String>> {
        let writer = self.0.clone();
        Box::pin(async move {
            let mut batch = Batch::new();
            batch.put_dead_letter(letter);
            writer.commit(batch, true).await.map_err(|error| error.to_string())
        })
    }
}

struct Places(WriterHandle);

impl Keep for Places {
    fn keep(&self, batch: Batch) -> BoxFuture<'static, Result<(), String>> {
        let writer = self.0.clone();
        Box::pin(async move { writer.commit(batch, true).await.map_err(|error| error.to_string()) })
    }
}

static TLS: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| client_config(&[], None).expect("the machine has root certificates"));

impl Node {
    /// Starts on what the disk and the state store have, without a snapshot yet. Within a `LocalSet`.
    pub(crate) fn start(
        world: &Arc<World>,
        network: &Rc<Network>,
        state: &Arc<Memory>,
        history: &Path,
        random: &mut Random,
    ) -> Result<Self, String> {
        let (clock, plan) = (world.clock(), &world.plan);
        let tail = Arc::new(Tail { world: Arc::clone(world), notify: TailNotify::new(), delivery: OnceLock::new() });
        let settings = Config {
            segment_bytes: plan.segment_bytes,
            index_interval: 512,
            max_pending_bytes: plan.pending_bytes,
            flushers: 0,
            max_open_files: 4,
            clock: clock.clone(),
            ..Config::default()
        };
        let disk = Arc::new(world.disk.attach());
        let (segments, recovery) =
            SegmentLog::open_on(disk, Path::new("/log"), settings, Arc::clone(&tail) as _).map_err(|error| error.to_string())?;
        world.note(format_args!("the log starts with {} cuts and {} damages", recovery.cuts.len(), recovery.damage.len()));
        let segments = Arc::new(segments);
        let appended = Arc::new(Notify::new());
        let log = Arc::new(SlowLog::new(Arc::clone(&segments), Arc::clone(world), Arc::clone(&appended), random.fork()));
        let pace = Rc::new(RefCell::new(0));
        supervise(world, pump(Arc::clone(world), Arc::clone(&segments), appended, Rc::clone(&pace), random.fork()));
        tokio::task::spawn_local(posthorn_storage::log::relay());

        let state: Arc<dyn State> = Arc::clone(state) as _;
        let settings = attempts::Config { clock: clock.clone(), ..attempts::Config::default() };
        let attempts = Arc::new(AttemptLog::open(history.to_path_buf(), settings).map_err(|error| error.to_string())?);
        let letters_age = plan.delivery.dead_letter_max_age;
        let (serving, write) = Writer::simulate(Arc::clone(&state), Arc::clone(&attempts), clock.clone(), letters_age);
        supervise(world, Stalling::new(serving, random.fork(), 5, 300));
        let (gone_reports, gone) = mpsc::channel(64);
        let (operations, notes) = Reporter::new();
        let setup = Setup {
            config: plan.delivery.clone(),
            shards: plan.shards,
            clock: clock.clone(),
            state: Arc::clone(&state),
            ends: segments.ends(),
            writer: write.clone(),
            attempts,
            resolver: Resolver::given(|_| Vec::new()),
            guard: Arc::new(Guard::new(Vec::new(), None)),
            tls: Arc::clone(&TLS),
            blocking: tokio::runtime::Handle::current(),
            gone: gone_reports,
            operations,
        };
        let shutdown = CancellationToken::new();
        let (services, handle) = setup.build().map_err(|error| error.to_string())?;
        let started = tail.delivery.set(handle.clone()).is_ok();
        debug_assert!(started, "the tail is new");
        let shards = services.into_iter().map(|service| {
            let network = Rc::clone(network);
            supervise(world, Stalling::new(service.simulate(network), random.fork(), 2, 150))
        });
        let shards = shards.collect();

        let live = Live::new(Arc::default());
        let shares = Shares::new(&config::Readers::default());
        let readers = Readers::new(readers::Setup {
            config: config::Readers::default(),
            live: live.clone(),
            tail: Arc::clone(&tail.notify),
            shares: shares.clone(),
            clock: clock.clone(),
            keep: Arc::new(Places(write.clone())),
            delivery: Some(handle.clone()),
            restored: state.readers().map_err(|error| error.to_string())?,
            shutdown: shutdown.clone(),
        });
        let metrics = IngestMetrics::default();
        let config = crate::plan::ingest();
        let dedup = Dedup::new(config.dedup_max_entries, metrics.clone());
        let letters = Arc::new(Letters(write));
        let parts = Parts { live: live.clone(), dedup: Arc::clone(&dedup), letters, clock, config, metrics };
        Ok(Self {
            handle,
            pipeline: Arc::new(Pipeline::new(parts)),
            reader: Reader::new(live.clone(), Arc::clone(&tail.notify), shares, shutdown.clone()),
            builder: RefCell::new(Builder::new(Arc::clone(&log) as Arc<dyn Log>)),
            applying: tokio::sync::Mutex::default(),
            gone: RefCell::new(gone),
            world: Arc::clone(world),
            _notes: notes,
            readers,
            live,
            log,
            pace,
            segments,
            dedup,
            remembered: RefCell::default(),
            shards: RefCell::new(shards),
            state,
            _tail: tail,
            shutdown,
        })
    }

    /// Puts a change of the snapshot in force, as `app` does. False when the disk had no place for a topic.
    pub(crate) async fn apply(&self, delta: &Delta) -> bool {
        // As the link to the control plane does: one after the other.
        let _turn = self.applying.lock().await;
        let base: Arc<Table> = self.live.snapshot();
        let lives = self.segments.topics();
        let Applied { table, nacks, removed_topics } = self.builder.borrow_mut().apply(&base, delta);
        let refused = nacks.iter().any(is_of_disk);
        if !refused && !nacks.is_empty() && !self.world.disk.is_dead() {
            self.world.oracle.lock().broken("I8", format!("{nacks:?}"));
        }
        self.note_wiped(&lives);
        let table = Arc::new(table);
        if table.changes.topics {
            self.remember(&table).await;
        }
        self.handle.apply(&table).await;
        self.live.publish(table);
        removed_topics.iter().for_each(|name| self.clean_up(name));
        if !refused {
            self.world.oracle.lock().end_burials(self.world.now());
        }
        !refused
    }

    /// Knows the recent ids of topics that are new to this process, before the first event is taken in.
    async fn remember(&self, table: &Table) {
        for (name, route) in &table.topics {
            let is_new = self.remembered.borrow_mut().insert((name.clone(), route.topic.meta.incarnation));
            if is_new && let Err(error) = rebuild(&self.dedup, route, self.world.now()).await {
                self.world.oracle.lock().broken("I3", format!("duplicates cannot be known again: {error}"));
            }
        }
    }

    /// Topics that were made anew took the logs of earlier ones away.
    fn note_wiped(&self, before: &[(TopicName, u64)]) {
        if self.world.disk.is_dead() {
            return;
        }
        let now = self.segments.topics();
        let wiped = before.iter().filter(|life| !now.contains(life)).filter_map(|(name, _)| number_of(name));
        for topic in wiped {
            let mut oracle = self.world.oracle.lock();
            oracle.bury(topic);
            oracle.changes.unclean.insert(topic);
        }
    }

    /// Forgets a topic that was deleted; the process may end in the middle of that.
    fn clean_up(&self, name: &TopicName) {
        let Some(topic) = number_of(name) else { return };
        let removed = self.segments.remove(name);
        if self.world.disk.is_dead() {
            return self.world.crashed.notify_one();
        }
        let mut oracle = self.world.oracle.lock();
        if let Err(error) = removed {
            oracle.broken("I2", format!("{name} cannot be deleted: {error}"));
        }
        oracle.bury(topic);
        if self.state.remove_topic(name).is_err() {
            oracle.changes.unclean.insert(topic);
        }
    }

    /// What can be read of a partition.
    pub(crate) fn bounds(&self, topic: usize, partition: u32) -> Option<(u64, u64)> {
        let bounds = self.live.load().topics.get(format!("topic-{topic}").as_str())?.log.bounds(partition);
        Some((bounds.start, bounds.end))
    }

    /// The first offsets of the topic's partitions.
    pub(crate) fn starts(&self, topic: usize) -> BTreeMap<u32, u64> {
        let partitions = 0..self.world.plan.topics[topic].partitions;
        partitions.filter_map(|partition| Some((partition, self.bounds(topic, partition)?.0))).collect()
    }

    /// Tells the oracle where the log began when a subscription was made.
    pub(crate) fn note_birth(&self, subscription: usize) {
        for topic in 0..self.world.plan.topics.len() {
            let starts = self.starts(topic).into_iter().map(|(partition, start)| ((topic, partition), start));
            self.world.oracle.lock().more.born.entry(subscription).or_default().extend(starts);
        }
    }

    /// Tells the oracle of them, in runs in which they change.
    pub(crate) fn look_at_starts(&self, topic: usize) {
        if self.world.plan.more.is_none() {
            return;
        }
        for (partition, start) in self.starts(topic) {
            self.world.oracle.lock().starts_at((topic, partition), start, self.world.now());
        }
    }

    /// Looks after retention from now on, in runs in which there is any, as `app` does once a snapshot is there.
    pub(crate) fn keep_house(&self) {
        let Some(more) = &self.world.plan.more else { return };
        let keeper = Keeper {
            log: Arc::clone(&self.segments),
            delivery: self.handle.clone(),
            state: Arc::clone(&self.state),
            clock: self.world.clock(),
            max_held_bytes: more.max_held,
            blocking: Blocking::Here,
        };
        supervise(&self.world, keeper.run(more.check_every, self.shutdown.clone()));
    }

    /// Ends in order, as `app` does. False when that took too long.
    pub(crate) async fn stop(&self) -> bool {
        self.pipeline.drain();
        self.shutdown.cancel();
        let in_order = tokio::time::timeout(Duration::from_secs(30), self.handle.drain()).await.is_ok();
        let shards = self.shards.take();
        if in_order {
            for shard in shards {
                shard.await.ok();
            }
        }
        // As the last owner of the log does when it lets go; and the last thing that the writer does.
        while self.segments.step() {}
        in_order && self.state.commit(Batch::new(), true).is_ok()
    }
}

/// A topic cannot be made on a disk that is full or fails: it is tried again.
fn is_of_disk(nack: &Nack) -> bool {
    nack.resource.starts_with("topics/") && (nack.reason.contains("no storage space") || nack.reason.contains("as the simulation wants it"))
}

/// Does what the flushers' threads do, at the disk's pace.
async fn pump(world: Arc<World>, log: Arc<SegmentLog>, appended: Arc<Notify>, pace: Rc<RefCell<u64>>, mut random: Random) {
    loop {
        appended.notified().await;
        loop {
            let most = *pace.borrow();
            sleep(if random.percent(60) { 0 } else { random.within(0, 5 + most) }).await;
            if !log.step() {
                break;
            }
            if world.disk.is_dead() {
                world.crashed.notify_one();
            }
        }
    }
}

/// Runs a task whose panic is a fault of the process.
fn supervise(world: &Arc<World>, task: impl Future<Output = ()> + 'static) -> JoinHandle<()> {
    let world = Arc::clone(world);
    let running = tokio::task::spawn_local(task);
    tokio::task::spawn_local(async move {
        if let Err(error) = running.await
            && error.is_panic()
        {
            world.oracle.lock().broken("panic", error.to_string());
        }
    })
}

/// A task that is now and then not run for a while, as a busy machine does.
struct Stalling<F> {
    task: Pin<Box<F>>,
    stall: Option<Pin<Box<tokio::time::Sleep>>>,
    random: Random,
    percent: u64,
    most: u64,
}

impl<F> Stalling<F> {
    fn new(task: F, random: Random, percent: u64, most: u64) -> Self {
        Self { task: Box::pin(task), stall: None, random, percent, most }
    }
}

impl<F: Future<Output = ()>> Future for Stalling<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let (percent, most) = (self.percent, self.most);
        if self.stall.is_none() && self.random.percent(percent) {
            let millis = self.random.within(1, most);
            self.stall = Some(Box::pin(tokio::time::sleep(Duration::from_millis(millis))));
        }
        if let Some(stall) = &mut self.stall {
            if stall.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.stall = None;
        }
        self.task.as_mut().poll(context)
    }
}
