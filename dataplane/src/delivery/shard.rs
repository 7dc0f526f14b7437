//! The driver of one shard: a loop whose arms each call one method. What the methods do is in `feed` (events come in), `catchup` (lanes lag), `settle`
//! (attempts end), `tables` (the snapshot changes), `checkpoint` (progress is written) and `ask` (questions).

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use posthorn_domain::clock::Clock;
use posthorn_domain::ids::{ReplayId, SubscriptionId};
use posthorn_domain::names::TopicName;
use posthorn_domain::time::Time;
use posthorn_storage::attempts::AttemptLog;
use posthorn_storage::state::{Batch, RetryId, State};
use tokio::sync::{mpsc, oneshot};

use super::ask::Ask;
use super::batch::Picked;
use super::blocking::Blocking;
use super::budget::{self, Budget};
use super::catchup::show_lagging;
use super::decided::Decided;
use super::door::{Doors, Place};
use super::doubts::Doubts;
use super::health;
use super::item::Origin;
use super::lane::LaneKey;
use super::mailbox::Mailbox;
use super::maps::{HashMap, HashSet};
use super::pages::Pages;
use super::part::Part;
use super::purse::Purse;
use super::signatures::Signatures;
use super::spare::Spare;
use super::subscriber::{Hold, Names, Subscriber};
use super::tables::Restored;
use super::work::{self, Done, Outfit};
use super::writer::WriterHandle;
use crate::config;
use crate::egress::Sender;
use crate::operations::Reporter;
use crate::route::Table;
use crate::telemetry::DeliveryMetrics;

/// Bytes of an attempt's state: it is moved and held for each delivery that is under way.
const MAX_ATTEMPT: usize = 5 << 10;

/// Ends of work that are taken up before others have their turn.
const ENDED_AT_ONCE: usize = 64;

/// What every part of a shard uses.
pub(super) struct Context {
    pub(super) config: config::Delivery,
    pub(super) clock: Clock,
    pub(super) state: Arc<dyn State>,
    pub(super) writer: WriterHandle,
    pub(super) attempts: Arc<AttemptLog>,
    pub(super) metrics: DeliveryMetrics,
    pub(super) pool: Sender,
    pub(super) signatures: Signatures,
    /// Where blocking reads of the state store run.
    pub(super) blocking: Blocking,
    /// Told of subscriptions that are to be disabled, and why.
    pub(super) gone: mpsc::Sender<(SubscriptionId, &'static str)>,
    /// Told of what operators should know; only by [`super::tell`].
    pub(super) operations: Reporter,
    /// Where requests wait for connections.
    pub(super) doors: Rc<Doors>,
    pub(super) shard: u16,
    pub(super) shards: u16,
}

/// What a shard is told.
pub(super) enum Command {
    /// The snapshot changed; answered once what it means for progress is stored.
    Table(Arc<Table>, oneshot::Sender<()>),
    /// A question.
    Ask(Ask),
    /// No new attempts; answered once all that were under way have ended and all progress is stored.
    Drain(oneshot::Sender<()>),
}

/// The shard.
pub(super) struct Shard {
    pub(super) context: Rc<Context>,
    pub(super) table: Arc<Table>,
    pub(super) parts: HashMap<u32, Part>,
    pub(super) numbers: HashMap<(TopicName, u32), u32>,
    pub(super) names: Names,
    pub(super) next_part: u32,
    pub(super) subscribers: HashMap<SubscriptionId, Box<Subscriber>>,
    pub(super) work: FuturesUnordered<LocalBoxFuture<'static, Done>>,
    /// Subscribers to look at, each once.
    pub(super) turn: VecDeque<SubscriptionId>,
    pub(super) in_turn: HashSet<SubscriptionId>,
    pub(super) wakes: BTreeSet<(Time, SubscriptionId)>,
    /// Subscribers that are behind and have reason to act.
    pub(super) later: VecDeque<SubscriptionId>,
    /// Turns for which they have stood back.
    pub(super) patience: u32,
    /// How much they may do.
    pub(super) spare: Spare,
    /// Subscribers that wait for memory, a read or their share of the processors, each once.
    pub(super) line: VecDeque<SubscriptionId>,
    pub(super) budget: Budget,
    pub(super) pages: Pages,
    /// What the metric says that lanes and pages hold.
    pub(super) told_bytes: usize,
    /// Requests that are on their way, and how many the metric says.
    pub(super) sent: [usize; 2],
    pub(super) purse: Purse,
    /// Who gets records that were read back for lagging lanes.
    pub(super) decided: Decided,
    /// What the next checkpoint writes beside cursors.
    pub(super) outbox: Batch,
    pub(super) dirty_parts: HashSet<u32>,
    pub(super) dirty_lanes: HashSet<(SubscriptionId, LaneKey)>,
    pub(super) dirty_replays: HashSet<(SubscriptionId, ReplayId)>,
    pub(super) dirty_health: HashSet<SubscriptionId>,
    /// Retries that were deleted and may still be in the store: by the next commit, and by the one under way.
    pub(super) deleted: [HashSet<RetryId>; 2],
    pub(super) commit: Commit,
    /// Answered with the next commit that covers what was asked.
    pub(super) after_commit: Vec<oneshot::Sender<()>>,
    pub(super) draining: Option<oneshot::Sender<()>>,
    pub(super) restored: Restored,
    /// What an earlier process may have done and not stored.
    pub(super) doubts: Doubts,
    /// Starts of new subscriptions that are being looked up; no checkpoint is written before they are known.
    pub(super) starting: usize,
    /// Subscriptions whose rows are to be deleted once everything about them is written.
    pub(super) removed: Vec<SubscriptionId>,
}

/// Where the writing of progress stands.
#[derive(Default)]
pub(super) struct Commit {
    /// The batch that is being written, kept until it is.
    pub(super) under_way: Option<Batch>,
    /// Subscriptions that are gone as of this batch, whose rows are deleted when it is written.
    pub(super) gone: Vec<SubscriptionId>,
    /// Those to be told when it is written.
    pub(super) waiters: Vec<oneshot::Sender<()>>,
    /// When to write next.
    pub(super) at: Option<Time>,
    /// Set while the store refuses.
    pub(super) failing: bool,
    /// Deliveries that have ended since the batch was put together, and those that it tells of.
    pub(super) ended: [usize; 2],
    /// Those that the gauge knows of.
    pub(super) told: usize,
    /// Set once it was said that nothing is sent while it does.
    pub(super) said_full: bool,
}

impl Commit {
    /// Deliveries that have ended and are not stored.
    pub(super) fn unstored(&self) -> usize {
        self.ended[0] + self.ended[1]
    }
}

impl Shard {
    pub(super) fn new(context: Context, restored: Restored, purse: Purse, spare: Spare) -> Self {
        let (for_pages, budget) = budget::parts(context.config.max_tail_bytes, context.shards);
        let memory = context.config.max_lane_events.max(context.config.max_retries_in_memory);
        let doubts = if restored.clean { Doubts::default() } else { Doubts::after_a_crash(context.clock.now(), memory) };
        Self {
            purse,
            restored,
            doubts,
            starting: 0,
            removed: Vec::new(),
            context: Rc::new(context),
            table: Arc::default(),
            parts: HashMap::default(),
            numbers: HashMap::default(),
            names: Names::default(),
            next_part: 0,
            subscribers: HashMap::default(),
            work: FuturesUnordered::new(),
            turn: VecDeque::new(),
            in_turn: HashSet::default(),
            wakes: BTreeSet::new(),
            later: VecDeque::new(),
            patience: 0,
            spare,
            line: VecDeque::new(),
            budget,
            pages: Pages::new(for_pages),
            told_bytes: 0,
            sent: [0; 2],
            decided: Decided::default(),
            outbox: Batch::new(),
            dirty_parts: HashSet::default(),
            dirty_lanes: HashSet::default(),
            dirty_replays: HashSet::default(),
            dirty_health: HashSet::default(),
            deleted: [HashSet::default(), HashSet::default()],
            commit: Commit::default(),
            after_commit: Vec::new(),
            draining: None,
        }
    }

    /// Runs until it was drained or its commands end.
    pub(super) async fn run(mut self, mailbox: Arc<Mailbox>, mut commands: mpsc::Receiver<Command>) {
        let doors = Rc::clone(&self.context.doors);
        loop {
            let wake = self.next_wake();
            let sleep = self.sleep_until(wake);
            tokio::select! {
                // Ended work first: it frees what the rest needs. Mail before commands, so that a table never overtakes
                // the events that were taken in under the one before it.
                biased;
                Some(done) = self.work.next(), if !self.work.is_empty() => {
                    self.on_done(done);
                    self.take_ended();
                    self.take_arrived(&mailbox, &mut commands);
                }
                () = doors.room() => {}
                () = mailbox.arrived() => self.on_mail(mailbox.take()),
                command = commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => return,
                },
                // Once round the runtime, so that those who are behind act when nothing else is to be done.
                () = tokio::task::yield_now(), if !self.later.is_empty() => self.go_on(),
                () = sleep => {}
            }
            self.on_turn();
            if self.is_drained() {
                return;
            }
        }
    }

    /// Takes what else has ended, so that one turn serves all of it.
    fn take_ended(&mut self) {
        for _ in 0..ENDED_AT_ONCE {
            // What ends from now on is met by the next poll, which comes before anything is waited for.
            let Some(Some(done)) = self.work.next().now_or_never() else { return };
            self.on_done(done);
        }
    }

    /// Where work ends all the time nothing else would have its turn.
    fn take_arrived(&mut self, mailbox: &Mailbox, commands: &mut mpsc::Receiver<Command>) {
        if mailbox.arrived().now_or_never().is_some() {
            self.on_mail(mailbox.take());
        }
        if let Ok(command) = commands.try_recv() {
            self.on_command(command);
        }
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Attempt(attempted) => self.on_attempt(*attempted),
            Done::Page { part, from, page } => self.on_page(part, from, page),
            Done::Part { part, page } => self.on_part_page(part, page),
            Done::Retries { subscription, found } => self.on_retries(subscription, found),
            Done::Swept { subscription, removed, answer } => self.on_swept(subscription, removed, answer),
            Done::Passing { passing, page } => self.on_passing(*passing, page),
            Done::Rescued { rescue, found } => self.on_rescued(rescue, found),
            Done::ReplayCleared { subscription, replay, removed } => self.on_replay_cleared(subscription, replay, removed),
            Done::Committed(result) => self.on_committed(result),
            Done::Nothing => {}
            Done::Start { subscription, part, offset } => self.on_start(subscription, part, offset),
        }
        self.serve_line();
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Table(table, answer) => {
                self.on_table(table);
                self.after_commit.push(answer);
                self.commit.at = Some(Time::ZERO);
            }
            Command::Ask(ask) => self.on_ask(ask),
            Command::Drain(answer) => {
                self.flush();
                self.draining = Some(answer);
            }
        }
    }

    /// Lets everyone act who has reason to, then writes progress if it is time.
    fn on_turn(&mut self) {
        let now = self.context.clock.now();
        while let Some(first) = self.wakes.first().copied().filter(|(at, _)| *at <= now) {
            self.wakes.remove(&first);
            if let Some(subscriber) = self.subscribers.get_mut(&first.1) {
                subscriber.wake = None;
            }
            self.look_at(first.1);
        }
        self.context.doors.take_free().into_iter().for_each(|id| self.look_at(id));
        while let Some(id) = self.turn.pop_front() {
            self.in_turn.remove(&id);
            self.pump(id, now, usize::MAX);
        }
        self.spare.adjust(now);
        self.be_patient();
        if !self.is_halted() {
            self.spend(now);
        }
        self.checkpoint(now);
        self.tell_metrics();
    }

    /// Once a turn, because all shards count in the same place.
    fn tell_metrics(&mut self) {
        let metrics = &self.context.metrics;
        let held = self.budget.used() + self.pages.held();
        let [sent, told] = self.sent;
        for (gauge, now, told) in [(&metrics.tail_bytes, held, self.told_bytes), (&metrics.in_flight, sent, told)] {
            if now != told {
                gauge.increment(now as f64 - told as f64);
            }
        }
        (self.told_bytes, self.sent[1]) = (held, sent);
    }

    /// Batches that are still gathered go out.
    fn flush(&mut self) {
        let now = self.context.clock.now();
        let mut gathering = Vec::new();
        for subscriber in self.subscribers.values_mut().filter(|subscriber| subscriber.is_batch() && !subscriber.ready.is_empty()) {
            subscriber.flush = true;
            gathering.push(subscriber.id());
        }
        gathering.into_iter().for_each(|id| self.pump(id, now, usize::MAX));
    }

    /// Sends what the subscriber may send now, in at most so many requests, and reads on where its lanes have room.
    pub(super) fn pump(&mut self, id: SubscriptionId, now: Time, mut requests: usize) {
        let max_in_flight = self.context.config.max_in_flight_per_subscription;
        let halted = self.is_halted();
        let behind = self.subscribers.get(&id).is_some_and(|subscriber| subscriber.is_behind());
        while let Some(subscriber) = self.subscribers.get_mut(&id).filter(|_| !halted) {
            match subscriber.gate(now, max_in_flight) {
                Ok(()) if !subscriber.door.has_room() => break,
                // The rest has its turn behind the others.
                Ok(()) if requests == 0 => {
                    self.look_at(id);
                    break;
                }
                Ok(()) if behind && self.spare.is_full() => {
                    self.stand_in_line(id);
                    break;
                }
                Ok(()) => requests -= 1,
                Err(Hold::Open) => break,
                Err(Hold::Until(at)) => {
                    self.wake(id, at);
                    break;
                }
            }
            // Probes are few already: the breaker paces them.
            let is_due = !subscriber.breaker.is_open() && subscriber.is_due(now);
            let has_token = is_due && self.purse.ask(id, now);
            let picked = subscriber.pick(now, &self.names, &self.context.config, has_token || !is_due);
            if has_token && !picked.is_retry() {
                self.purse.keep(id);
            }
            match picked {
                Picked::Items(items) => self.launch(id, items, behind, now),
                Picked::At(at) => {
                    self.wake(id, at);
                    break;
                }
                Picked::Nothing => break,
            }
        }
        if let Some(due) =
            self.subscribers.get(&id).filter(|subscriber| subscriber.is_live() && !halted).and_then(|subscriber| subscriber.next_due(now))
        {
            self.wake(id, due);
        }
        if let Some(at) = self.subscribers.get_mut(&id).and_then(|subscriber| subscriber.replays.take_due()) {
            self.wake(id, at);
        }
        self.ask_to_disable(id, now);
        self.read_on(id);
        self.refill_retries(id);
        if let Some(subscriber) = self.subscribers.get_mut(&id) {
            health::show_waiting(&self.context, subscriber);
            show_lagging(&self.context, subscriber);
        }
    }

    fn launch(&mut self, id: SubscriptionId, items: super::subscriber::Items, behind: bool, now: Time) {
        let Some(items) = self.drop_expired(id, items, now) else { return };
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        subscriber.rate.take(now, items.len());
        subscriber.flow.started(now);
        subscriber.in_flight += 1;
        subscriber.replays.started(&items, now);
        self.sent[0] += 1;
        if behind {
            self.spare.began();
        }
        let repeated = self.doubts.count(id, &items);
        if repeated > 0 {
            self.context.metrics.redelivered.increment(repeated);
        }
        #[cfg(feature = "planted")]
        super::planted::settle_early(subscriber, &items);
        let (target, template) = subscriber.fittings(&self.context.signatures);
        let max_bytes = subscriber.fill(now, &self.context.config).bytes;
        let was_probe = subscriber.breaker.started();
        let is_retry = items.iter().any(|item| matches!(item.origin, Origin::Retry(_)));
        if !is_retry {
            self.purse.first_attempt();
        }
        if was_probe {
            health::show(&self.context, subscriber);
        }
        let outfit = Outfit {
            route: Arc::clone(&subscriber.route),
            target,
            template,
            table: Arc::clone(&self.table),
            was_probe,
            had_token: is_retry && !was_probe,
            behind,
            max_bytes,
            place: Place::take(id, &subscriber.door, &self.context.doors),
        };
        let attempt = work::attempt(Rc::clone(&self.context), outfit, items);
        debug_assert!(size_of_val(&attempt) <= MAX_ATTEMPT, "what is rare in it is boxed");
        self.work.push(Box::pin(attempt));
    }

    /// Whether nothing may be sent.
    pub(super) fn is_halted(&self) -> bool {
        self.draining.is_some() || self.is_full_of_unstored()
    }

    /// Asks for a turn of the subscriber at `at`; only the earliest counts.
    pub(super) fn wake(&mut self, id: SubscriptionId, at: Time) {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        match subscriber.wake {
            Some(earlier) if earlier <= at => return,
            Some(later) => {
                self.wakes.remove(&(later, id));
            }
            None => {}
        }
        subscriber.wake = Some(at);
        self.wakes.insert((at, id));
    }

    fn next_wake(&self) -> Option<Time> {
        let first = self.wakes.first().map(|(at, _)| *at);
        let commit = self.commit.at.filter(|_| self.commit.under_way.is_none() && self.starting == 0);
        let tokens = self.purse.wake().filter(|_| !self.is_halted());
        [first, commit, tokens].into_iter().flatten().min()
    }

    fn sleep_until(&self, wake: Option<Time>) -> impl Future<Output = ()> + use<> {
        let wait = wake.map(|at| at.since(self.context.clock.now()));
        async move {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        }
    }

    fn is_drained(&mut self) -> bool {
        if self.draining.is_none() || self.commit.under_way.is_some() || self.has_progress() {
            return false;
        }
        if self.subscribers.values().any(|subscriber| subscriber.in_flight > 0) {
            return false;
        }
        if let Some(answer) = self.draining.take() {
            // Whoever drains may have given up waiting.
            answer.send(()).ok();
        }
        true
    }
}
