//! One run: the process is started on the same machine again and again, each time ended in another way, and at last left in peace.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use posthorn_domain::node::{self, ReplayState};
use posthorn_domain::time::Time;
use posthorn_storage::log::{Gap, Log as _, TopicSettings};
use posthorn_storage::state::State as _;
use posthorn_storage::state::memory::Memory;
use tokio::task::LocalSet;

use crate::actors::{Publisher, disable, meddle, publish, set};
use crate::changing::{self, change};
use crate::check;
use crate::control::{Control, Life, Status};
use crate::keeping::{Keeping, keep_reading};
use crate::leftovers::leftovers;
use crate::network::Network;
use crate::node::Node;
use crate::oracle::End;
use crate::plan::Plan;
use crate::pulling::{flip, pull};
use crate::random::Random;
use crate::reading::{Reading, read};
use crate::world::{Violation, World, sleep};

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// A number for all that happened, in its order and at its times.
    pub hash: u64,
    /// Lines of what happened.
    pub lines: u64,
    /// Events that were made, requests that endpoints got, and those among them that a restart repeated.
    pub counts: [usize; 3],
    /// The longest wait for an endpoint that is well, and the most bytes of records held.
    pub extremes: (Duration, usize),
    /// What was found wrong, and what happened last before.
    pub violation: Option<(Violation, Vec<String>)>,
}

/// How long everything may take to come to rest once all is well: longer than all schedules, waits and breakers together.
const PATIENCE: u64 = 3 * 3_600_000;

/// Runs a seed. `verbose` prints everything that happens.
pub fn run(seed: u64, verbose: bool) -> Report {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime needs memory only");
    runtime.block_on(async {
        let mut random = Random::new(seed);
        let plan = Plan::draw(&mut random).with_more(seed);
        let world = World::new(plan, &mut random, verbose);
        let ran = Lives::new(&world, &mut random).run().await;
        if let Err(error) = ran {
            world.oracle.lock().broken("panic", error);
        }
        report(seed, &world)
    })
}

/// As [`run`], for runs that may panic.
pub fn run_safely(seed: u64) -> Report {
    catch_unwind(AssertUnwindSafe(|| run(seed, false))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let violation = Violation { invariant: "panic", text: text.unwrap_or_default() };
        Report { seed, hash: 0, lines: 0, counts: [0; 3], extremes: Default::default(), violation: Some((violation, Vec::new())) }
    })
}

fn report(seed: u64, world: &World) -> Report {
    let (hash, lines) = world.hash();
    let oracle = world.oracle.lock();
    let requests = oracle.deliveries.values().map(|delivery| delivery.requests as usize).sum();
    let counts = [oracle.events.len(), requests, oracle.repeats as usize];
    let violation = oracle.violation.clone().map(|violation| (violation, world.lines()));
    let extremes = (oracle.latest, oracle.most_held);
    Report { seed, hash, lines, counts, extremes, violation }
}

/// What outlives the process.
struct Lives {
    world: Arc<World>,
    random: Random,
    network: Rc<Network>,
    control: Rc<RefCell<Control>>,
    publishers: Vec<Rc<RefCell<Publisher>>>,
    readings: Vec<Rc<RefCell<Reading>>>,
    kept: Vec<Rc<RefCell<Keeping>>>,
    /// Of what only later seeds have.
    more: Random,
    /// Of what only the newest seeds have.
    third: Random,
    state: Arc<Memory>,
}

impl Lives {
    fn new(world: &Arc<World>, random: &mut Random) -> Self {
        let plan = &world.plan;
        let over = u64::from(plan.crashes + 1) * 15_000;
        let publishers: Vec<_> = (0..2).map(|_| Publisher::new(random.fork(), plan.events / 2, over)).collect();
        let readings: Vec<_> = plan.readers.iter().map(|topic| Reading::new(*topic, random.fork())).collect();
        let mut more = plan.more.as_ref().map_or(Random::new(0), |more| more.random.clone());
        let kept = plan.more.iter().flat_map(|more| &more.readers).enumerate();
        let kept: Vec<_> = kept.map(|(number, what)| Rc::new(RefCell::new(Keeping::new(number, *what, more.fork())))).collect();
        Self {
            kept,
            more,
            third: plan.third.as_ref().map_or(Random::new(0), |third| third.random.clone()),
            network: Network::new(Arc::clone(world), random),
            control: Rc::new(RefCell::new(Control::new(plan))),
            publishers: publishers.into_iter().map(|publisher| Rc::new(RefCell::new(publisher))).collect(),
            readings: readings.into_iter().map(|reading| Rc::new(RefCell::new(reading))).collect(),
            state: Arc::new(Memory::default()),
            random: random.fork(),
            world: Arc::clone(world),
        }
    }

    async fn run(&mut self) -> Result<(), String> {
        let history = tempfile::tempdir().map_err(|error| error.to_string())?;
        for life in 0..=self.world.plan.crashes {
            let local = LocalSet::new();
            let last = life == self.world.plan.crashes;
            let how = local.run_until(self.live(history.path(), last)).await?;
            self.world.disk.detach();
            drop(local);
            self.end(how);
            if self.world.violation().is_some() || last {
                return Ok(());
            }
            sleep(self.random.within(0, 5_000)).await;
        }
        Ok(())
    }

    /// The process is gone; the machine may be too.
    fn end(&mut self, how: End) {
        let world = &self.world;
        world.note(format_args!("the process has ended: {how:?}"));
        self.state.refuse(None);
        world.disk.set_full(false);
        let random = &mut self.random;
        self.state = Arc::new(if how == End::Power {
            world.disk.lose_power();
            // All, none and some: the log and the state lose what they lose without asking each other.
            self.state.after_power_loss(|unsynced| [unsynced, 0, random.index(unsynced + 1)][random.index(3)])
        } else {
            self.state.after_kill()
        });
        world.oracle.lock().died(how, world.now());
    }

    async fn live(&mut self, history: &Path, last: bool) -> Result<End, String> {
        let node = Node::start(&self.world, &self.network, &self.state, history, &mut self.random)?;
        self.look(&node).await?;
        let all = self.control.borrow().all(&self.world.plan);
        node.apply(&all).await;
        self.note_births(&node);
        node.keep_house();
        changing::end_removals(&self.world, &node, &self.control).await;
        let node = Rc::new(node);
        let world = &self.world;
        self.is_ready();
        tokio::task::spawn_local(weigh(Arc::clone(world)));
        tokio::task::spawn_local(disable(Arc::clone(world), Rc::clone(&node), Rc::clone(&self.control)));
        for reading in &self.readings {
            tokio::task::spawn_local(read(Arc::clone(world), Rc::clone(&node), Rc::clone(reading)));
        }
        if world.plan.more.is_some() {
            for keeping in &self.kept {
                tokio::task::spawn_local(keep_reading(Arc::clone(world), Rc::clone(&node), Rc::clone(keeping)));
            }
            let pulling = pull(Arc::clone(world), Rc::clone(&node), Rc::clone(&self.control), self.more.fork());
            tokio::task::spawn_local(pulling);
            if !last {
                let flipping = flip(Arc::clone(world), Rc::clone(&node), Rc::clone(&self.control), self.more.fork());
                tokio::task::spawn_local(flipping);
            }
        }
        if last {
            for topic in 0..world.plan.topics.len() {
                changing::settle(world, &node, &self.control, topic).await;
            }
        } else if world.plan.third.is_some() {
            let changing = change(Arc::clone(world), Rc::clone(&node), Rc::clone(&self.control), self.third.fork());
            tokio::task::spawn_local(changing);
        }
        let publishing: Vec<_> = self
            .publishers
            .iter()
            .map(|publisher| tokio::task::spawn_local(publish(Arc::clone(world), Rc::clone(&node), Rc::clone(publisher))))
            .collect();
        if last {
            for published in publishing {
                published.await.map_err(|error| error.to_string())?;
            }
            return self.rest(&node).await;
        }
        let random = &mut self.random;
        let meddling = meddle(Arc::clone(world), Rc::clone(&node), Rc::clone(&self.control), Arc::clone(&self.state), random.fork());
        tokio::task::spawn_local(meddling);
        let how = random.pick(&[End::Kill, End::Kill, End::Power, End::Power, End::Clean]);
        tokio::select! {
            biased;
            () = world.crashed.notified() => Ok(if how == End::Clean { End::Kill } else { how }),
            () = sleep(random.within(500, 25_000)) => match how {
                // Who still uses it goes on doing so until it is gone.
                End::Clean => stop(&node).await,
                how => Ok(how),
            },
        }
    }

    /// Of subscriptions that the last process was told of, and did not say that it knew them.
    fn note_births(&self, node: &Node) {
        let (plan, control) = (&self.world.plan, self.control.borrow());
        let born = |number: usize| self.world.oracle.lock().more.born.contains_key(&number);
        let made = |number: &usize| plan.subscriptions[*number].late && control.statuses[*number] != Status::Unborn;
        (0..plan.subscriptions.len())
            .filter(made)
            .filter(|number| plan.more.is_some() && !born(*number))
            .for_each(|number| node.note_birth(number));
    }

    fn is_ready(&self) {
        let (now, control) = (self.world.now(), self.control.borrow());
        let ready = control.statuses.iter().map(|status| if *status == Status::Active { now } else { Time::MAX });
        self.world.oracle.lock().ready = ready.collect();
    }

    /// Compares what the log has now with what it must have.
    async fn look(&self, node: &Node) -> Result<(), String> {
        for (number, topic) in self.world.plan.topics.iter().enumerate() {
            let keeps = self.world.plan.more.as_ref().map(|more| more.keeps[number]);
            let age = posthorn_domain::units::Dur::from_secs(keeps.and_then(|keeps| keeps.age).unwrap_or(90 * 86_400));
            // Of one that is to go nothing is promised, and the node opens it by itself.
            let Life::There(incarnation) = self.control.borrow().topics[number] else { continue };
            let settings = TopicSettings { incarnation, partitions: topic.partitions, retention_age: Some(age), retention_bytes: None };
            let log = node.log.open(&topic.name.parse().map_err(|_| "a name")?, settings).map_err(|error| error.to_string())?;
            if self.world.oracle.lock().is_going(number) {
                self.world.oracle.lock().wiped(number, self.world.now());
            }
            for partition in 0..topic.partitions {
                let (start, end) = (log.bounds(partition).start, log.bounds(partition).end);
                if keeps.is_some() {
                    self.world.oracle.lock().starts_at((number, partition), start, self.world.now());
                }
                let (mut records, mut gaps, mut next) = (Vec::new(), Vec::<Gap>::new(), start);
                while next < end {
                    let page = log.read(partition, next, 1 << 20, 1000).await.map_err(|error| error.to_string())?;
                    if page.next <= next {
                        return Err(format!("reading {}/{partition} does not get past {next}", topic.name));
                    }
                    next = page.next;
                    records.extend(page.records);
                    gaps.extend(page.gaps);
                }
                self.world.note(format_args!("{}/{partition} has {} to {end}, gaps {gaps:?}", topic.name, records.len()));
                self.world.oracle.lock().found((number, partition), &records, &gaps, end, self.world.now());
                for reading in self.readings.iter().filter(|reading| reading.borrow().topic() == number) {
                    reading.borrow_mut().clamp(partition, end);
                }
                for keeping in self.kept.iter().filter(|keeping| keeping.borrow().topic() == number) {
                    keeping.borrow_mut().clamp(partition, end);
                }
            }
        }
        Ok(())
    }

    /// All is well from now on: whatever waits must come to an end.
    async fn rest(&mut self, node: &Rc<Node>) -> Result<End, String> {
        let world = Arc::clone(&self.world);
        world.note(format_args!("all is well"));
        self.network.heal();
        // Where endpoints take their time to say that they are gone, until the last has.
        sleep(if world.plan.third.is_some() { 1_500 } else { 100 }).await;
        for number in 0..world.plan.subscriptions.len() {
            let status = self.control.borrow().statuses[number];
            if matches!(status, Status::Unborn | Status::Paused | Status::Disabled | Status::Pulled) {
                set(&world, node, &self.control, number, Status::Active).await;
            }
        }
        let until = world.now().after(Duration::from_millis(PATIENCE));
        let mut calm = 0;
        while calm < 3 && world.violation().is_none() {
            sleep(1_000).await;
            calm = if self.waits(node).await?.is_none() { calm + 1 } else { 0 };
            if world.now() > until {
                let what = self.waits(node).await?.unwrap_or_default();
                world.oracle.lock().broken("I2", format!("it does not come to rest: {what}"));
            }
        }
        if world.plan.more.is_some() {
            (0..world.plan.topics.len()).for_each(|topic| node.look_at_starts(topic));
        }
        let how = stop(node).await?;
        check::accounts(&world, &self.control.borrow(), &self.state);
        leftovers(&world, &self.control.borrow(), &self.state);
        Ok(how)
    }

    /// What is not at rest.
    async fn waits(&self, node: &Node) -> Result<Option<String>, String> {
        for (number, wanted) in self.world.plan.subscriptions.iter().enumerate() {
            let state = node.handle.state_of(wanted.id).await.map_err(|problem| problem.detail().to_owned())?;
            if let Some(state) = state.filter(|state| state.in_flight + state.waiting + state.lag > 0) {
                return Ok(Some(format!("subscription {number}: {state:?}")));
            }
        }
        let retries = self.state.retry_subscriptions().map_err(|error| error.to_string())?;
        let known = |id| self.world.plan.subscriptions.iter().position(|wanted| wanted.id == id);
        let owner = retries.into_iter().filter_map(known).find(|number| self.control.borrow().statuses[*number] != Status::Deleted);
        if let Some(number) = owner {
            return Ok(Some(format!("subscription {number} has retries in the store")));
        }
        let running = self.world.oracle.lock().more.replays.clone();
        for run in running.iter().filter(|run| self.control.borrow().statuses[run.subscription] != Status::Deleted) {
            let replays = node.handle.replays(self.world.plan.subscriptions[run.subscription].id).await;
            let goes_on = |replay: &node::Replay| replay.id == run.id.to_string() && replay.state == ReplayState::Running;
            if replays.ok().flatten().is_some_and(|replays| replays.iter().any(goes_on)) {
                return Ok(Some(format!("a replay goes on: {run:?}")));
            }
        }
        let oracle = self.world.oracle.lock();
        let behind = self.kept.iter().find_map(|keeping| keeping.borrow().behind(&oracle));
        Ok(behind.or_else(|| check::readers(&oracle, &self.readings)))
    }
}

/// Weighs what the process holds, again and again.
async fn weigh(world: Arc<World>) {
    loop {
        sleep(250).await;
        world.oracle.lock().weigh();
    }
}

async fn stop(node: &Rc<Node>) -> Result<End, String> {
    if node.stop().await { Ok(End::Clean) } else { Ok(End::Kill) }
}
