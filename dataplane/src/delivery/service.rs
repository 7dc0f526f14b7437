//! The shards from outside: how they are made, fed, told and asked.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use posthorn_domain::clock::Clock;
use posthorn_domain::guard::Guard;
use posthorn_domain::ids::{ReplayId, SubscriptionId};
use posthorn_domain::names::TopicName;
use posthorn_domain::node::{Attempt, Replay, SubscriptionState};
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::record::Stored;
use posthorn_storage::attempts::AttemptLog;
use posthorn_storage::state::{self, Batch, DeadLetter, State, StateError};
use rustls::ClientConfig;
use tokio::sync::{mpsc, oneshot};

use super::ask::{Ask, Letter, Range};
use super::blocking::Blocking;
use super::mailbox::Mailbox;
use super::pull::{Moves, Pull};
use super::purse::Purse;
use super::retention::{Asked, Needed, Place};
use super::retry_budget::Budget;
use super::set_back::{Ends, set_back};
use super::shard::{Command, Context, Shard};
use super::signatures::Signatures;
use super::spare::{LATE, Seen, Spare};
use super::tables::Restored;
use super::writer::WriterHandle;
use crate::config;
use crate::egress::{Pool, PoolConfig, Resolver, Sender, Transport};
use crate::operations::Reporter;
use crate::route::Table;
use crate::telemetry::DeliveryMetrics;

/// Commands that may wait for a shard.
const COMMANDS: usize = 256;
/// Bytes of warm records that may wait for a shard; beyond that it reads them from the log.
const MAILBOX_BYTES: usize = 16 << 20;

/// What the shards are made of.
pub struct Setup {
    /// Limits.
    pub config: config::Delivery,
    /// How many.
    pub shards: u16,
    /// The time.
    pub clock: Clock,
    /// The delivery state, for reading.
    pub state: Arc<dyn State>,
    /// Where the log ends.
    pub ends: Ends,
    /// Where state is written.
    pub writer: WriterHandle,
    /// Where attempts are recorded.
    pub attempts: Arc<AttemptLog>,
    /// Names to addresses.
    pub resolver: Resolver,
    /// Which addresses may be connected to.
    pub guard: Arc<Guard>,
    /// How TLS is spoken.
    pub tls: Arc<ClientConfig>,
    /// Where blocking reads run.
    pub blocking: tokio::runtime::Handle,
    /// Told of subscriptions that are to be disabled, and why.
    pub gone: mpsc::Sender<(SubscriptionId, &'static str)>,
    /// Told of what operators should know.
    pub operations: Reporter,
}

/// One shard, to be run on the runtime of its thread.
pub struct Service {
    setup: Arc<Setup>,
    shard: u16,
    restored: Restored,
    budget: Arc<Budget>,
    seen: Arc<Seen>,
    mailbox: Arc<Mailbox>,
    commands: mpsc::Receiver<Command>,
}

/// The way to all shards. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    mailboxes: Arc<[Arc<Mailbox>]>,
    commands: Arc<[mpsc::Sender<Command>]>,
}

/// A range of one partition that is to be delivered again.
pub type ReplayRange = (TopicName, u32, std::ops::Range<u64>);

/// Which shard a subscription lives on.
pub(super) fn shard_of(id: SubscriptionId, shards: u16) -> u16 {
    let bytes = id.as_bytes();
    // The last bytes of a UUIDv7 are random.
    let tail = u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]);
    u16::try_from(tail % u32::from(shards.max(1))).unwrap_or(0)
}

impl Setup {
    /// Makes the shards, with what an earlier process left. Blocks.
    pub fn build(self) -> Result<(Vec<Service>, Handle), StateError> {
        let mut loaded = self.state.load()?;
        for id in std::mem::take(&mut loaded.gone) {
            loaded.forget(id);
            match self.state.remove_subscription(id) {
                Ok(rows) => tracing::info!(subscription = %id, rows, "the rest of a deleted subscription was removed"),
                Err(error) => tracing::warn!(%error, subscription = %id, "rows of a deleted subscription remain"),
            }
        }
        // From the first attempt on there may be more than is stored.
        let mut begun = Batch::new();
        begun.mark_clean(false);
        let back = set_back(&mut loaded, &mut self.state.readers()?, &self.ends, &mut begun);
        if back > 0 {
            tracing::warn!(rows = back, "the log is shorter than what was stored; places above its end are set back to it");
        }
        match self.state.commit(begun, true) {
            Err(error) if back > 0 => return Err(error),
            Err(error) => tracing::warn!(%error, "what a crash repeats will not be counted"),
            Ok(()) => {}
        }
        let waiting = self.state.retry_subscriptions()?;
        let setup = Arc::new(self);
        let budget = Arc::new(Budget::new(&setup.config.retry_budget, setup.clock.now()));
        let seen = Arc::new(Seen::default());
        let (mut services, mut mailboxes, mut senders) = (Vec::new(), Vec::new(), Vec::new());
        for shard in 0..setup.shards {
            let mailbox = Arc::new(Mailbox::new(MAILBOX_BYTES, setup.clock.clone()));
            let (sender, commands) = mpsc::channel(COMMANDS);
            let restored = Restored::of(&loaded, &waiting, shard, setup.shards);
            mailboxes.push(Arc::clone(&mailbox));
            senders.push(sender);
            let (setup, budget, seen) = (Arc::clone(&setup), Arc::clone(&budget), Arc::clone(&seen));
            services.push(Service { setup, shard, restored, budget, seen, mailbox, commands });
        }
        Ok((services, Handle { mailboxes: mailboxes.into(), commands: senders.into() }))
    }
}

impl Service {
    /// Runs until it was drained. Must run within a `LocalSet` on a current-thread runtime.
    pub async fn run(self) {
        let setup = &self.setup;
        let config = &setup.config;
        let pool = PoolConfig {
            max_connections_per_endpoint: config.max_connections_per_endpoint,
            max_waiting_per_endpoint: usize::try_from(config.max_in_flight_per_subscription).unwrap_or(usize::MAX),
            idle_timeout: config.idle_timeout,
            max_age: config.connection_max_age,
            max_response_bytes: config.max_response_bytes,
            ..PoolConfig::default()
        };
        let pool = Pool::new(pool, setup.resolver.clone(), Arc::clone(&setup.guard), &setup.tls, setup.clock.clone());
        let blocking = Blocking::Pool(setup.blocking.clone());
        self.run_on(Sender::Pool(pool), blocking).await;
    }

    /// As [`Service::run`], with `network` for the network, and all on this thread.
    #[doc(hidden)]
    pub async fn simulate(self, network: Rc<dyn Transport>) {
        self.run_on(Sender::Given(network), Blocking::Here).await;
    }

    async fn run_on(self, pool: Sender, blocking: Blocking) {
        let Self { setup, shard, restored, budget, seen, mailbox, commands } = self;
        let context = Context {
            doors: Rc::default(),
            config: setup.config.clone(),
            clock: setup.clock.clone(),
            state: Arc::clone(&setup.state),
            writer: setup.writer.clone(),
            attempts: Arc::clone(&setup.attempts),
            metrics: DeliveryMetrics::default(),
            pool,
            signatures: Signatures::default(),
            blocking,
            gone: setup.gone.clone(),
            operations: setup.operations.clone(),
            shard,
            shards: setup.shards,
        };
        drop(setup);
        Shard::new(context, restored, Purse::new(budget), Spare::new(seen)).run(mailbox, commands).await;
    }
}

impl Handle {
    /// What becomes durable next has waited so long already. Never blocks.
    pub fn waited(&self, time: Duration) {
        if time > LATE {
            self.mailboxes.iter().for_each(|mailbox| mailbox.waited(time));
        }
    }

    /// Tells every shard of records that have become durable. Never blocks.
    pub fn durable(&self, topic: &TopicName, partition: u32, records: &[Arc<Stored>]) {
        for mailbox in self.mailboxes.iter() {
            mailbox.put(topic, partition, records);
        }
    }

    /// Gives every shard the new table; resolves once what it means for progress is stored. Never where a shard has ended: what is not in
    /// force must not be acknowledged, and the next process hears of it again.
    pub async fn apply(&self, table: &Arc<Table>) {
        if self.ask_tables(table).await.is_none() {
            std::future::pending().await
        }
    }

    async fn ask_tables(&self, table: &Arc<Table>) -> Option<()> {
        let mut answers = Vec::new();
        for shard in self.commands.iter() {
            let (answer, applied) = oneshot::channel();
            shard.send(Command::Table(Arc::clone(table), answer)).await.ok()?;
            answers.push(applied);
        }
        for applied in answers {
            applied.await.ok()?;
        }
        Some(())
    }

    /// No new attempts; resolves once those under way have ended and all progress is stored.
    pub async fn drain(&self) {
        let mut answers = Vec::new();
        for shard in self.commands.iter() {
            let (answer, drained) = oneshot::channel();
            if shard.send(Command::Drain(answer)).await.is_ok() {
                answers.push(drained);
            }
        }
        for drained in answers {
            // A shard that has ended already is drained.
            drop(drained.await);
        }
    }

    /// Where the subscription stands; `None` when it is not known here.
    pub async fn state_of(&self, id: SubscriptionId) -> Result<Option<SubscriptionState>, Problem> {
        self.ask(id, |answer| Ask::State(id, answer)).await
    }

    /// Sends a test event to the subscription's endpoint.
    pub async fn test(&self, id: SubscriptionId) -> Result<Option<Attempt>, Problem> {
        self.ask(id, |answer| Ask::Test(id, answer)).await
    }

    /// Tries a dead letter of `id` again, now. Resolves once that is stored.
    pub async fn retry(&self, id: SubscriptionId, letter: &DeadLetter) -> Result<(), Problem> {
        let record = posthorn_domain::record::Record::decode(&letter.record)
            .map_err(|error| Problem::new(Code::Internal, format!("the dead letter cannot be read: {error}")))?;
        let message = record.message_id(&letter.topic);
        let delivery = letter.delivery.unwrap_or_else(|| posthorn_domain::ids::DeliveryId::of(id, message));
        let letter = Letter { id: letter.id, delivery, message, attempts: letter.attempts };
        self.ask(id, |answer| Ask::Retry(id, letter, answer)).await
    }

    /// Delivers ranges of topics again, marked. Resolves once that is stored; `false` when as many replays run as may.
    pub async fn replay(&self, replay: state::Replay, ranges: Vec<ReplayRange>) -> Result<bool, Problem> {
        let ranges =
            ranges.into_iter().map(|(topic, partition, range)| Range { topic, partition, from: range.start, until: range.end }).collect();
        let (answer, stored) = oneshot::channel();
        let begun = self.ask(replay.subscription, |begun| Ask::Replay(Box::new(replay), ranges, begun, answer)).await?;
        if begun {
            stored.await.map_err(|_| stopped())?;
        }
        Ok(begun)
    }

    /// The replays of the subscription, the newest first; `None` when it is not known here.
    pub async fn replays(&self, id: SubscriptionId) -> Result<Option<Vec<Replay>>, Problem> {
        self.ask(id, |answer| Ask::Replays(id, answer)).await
    }

    /// Ends a replay, with what of it waits. Resolves once that is stored; `None` when there is no such replay here.
    pub async fn cancel_replay(&self, id: SubscriptionId, replay: ReplayId) -> Result<Option<Replay>, Problem> {
        let (answer, stored) = oneshot::channel();
        let cancelled = self.ask(id, |found| Ask::CancelReplay(id, replay, found, answer)).await?;
        if cancelled.is_some() {
            stored.await.map_err(|_| stopped())?;
        }
        Ok(cancelled)
    }

    /// For each of these partitions the least offset that is still needed by shards themselves or by subscriptions that allow no
    /// dead letters, with the subscriptions whose waiting deliveries only the store knows. `None` when a shard has ended.
    pub async fn needed(&self, parts: Arc<[Asked]>) -> Option<Vec<Needed>> {
        let mut all = vec![Needed::default(); parts.len()];
        for needed in self.ask_all(|answer| Ask::Needed(Arc::clone(&parts), answer)).await? {
            all.iter_mut().zip(needed).for_each(|(all, needed)| all.join(needed));
        }
        Some(all)
    }

    /// Events below these places are about to be deleted. Resolves once what lanes lose by it is stored, with whether all shards
    /// have done so.
    pub async fn pass(&self, places: Arc<[Place]>) -> bool {
        self.ask_all(|answer| Ask::Pass(Arc::clone(&places), answer)).await.is_some()
    }

    /// Where a reader of the subscription goes on; `None` when it is not known here.
    pub async fn pulled(&self, id: SubscriptionId) -> Result<Option<Pull>, Problem> {
        self.ask(id, |answer| Ask::Pulled(id, answer)).await
    }

    /// A reader of the subscription has come so far. Resolves once that is stored; `false` when it is not to be read just now.
    pub async fn moved(&self, id: SubscriptionId, moves: Moves) -> Result<bool, Problem> {
        let (answer, stored) = oneshot::channel();
        let taken = self.ask(id, |taken| Ask::Moved(id, moves, taken, answer)).await?;
        if taken {
            stored.await.map_err(|_| stopped())?;
        }
        Ok(taken)
    }

    /// The answers of all shards; `None` when one has ended.
    async fn ask_all<T>(&self, make: impl Fn(oneshot::Sender<T>) -> Ask) -> Option<Vec<T>> {
        let mut answers = Vec::new();
        for shard in self.commands.iter() {
            let (answer, answered) = oneshot::channel();
            shard.send(Command::Ask(make(answer))).await.ok()?;
            answers.push(answered);
        }
        let mut all = Vec::new();
        for answered in answers {
            all.push(answered.await.ok()?);
        }
        Some(all)
    }

    async fn ask<T>(&self, id: SubscriptionId, make: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, Problem> {
        let shard = shard_of(id, u16::try_from(self.commands.len()).unwrap_or(1));
        let (answer, answered) = oneshot::channel();
        self.commands[usize::from(shard)].send(Command::Ask(make(answer))).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())
    }
}

fn stopped() -> Problem {
    Problem::new(Code::Draining, "the node is shutting down; ask again later").with_retry_after(1)
}
