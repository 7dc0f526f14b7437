//! Those outside the process: publishers who send again what they are not sure of, and operators who meddle while the disk misbehaves.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use posthorn_dataplane::ingest::{Begun, Outcome, Publish};
use posthorn_domain::direction::Direction;
use posthorn_domain::event::{AttrKind, DataKind, EventBuilder};
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::qos::Durability;
use posthorn_domain::reason::Reason;
use posthorn_domain::record::Record;
use posthorn_domain::time::Time;
use posthorn_storage::state::memory::Memory;
use posthorn_storage::state::{DeadLetterFilter, State as _};

use crate::control::{Control, Status};
use crate::node::{Node, number_of};
use crate::oracle::{Event, PUBLISHER, SOURCE, event_of};
use crate::plan::TYPES;
use crate::plan::third::STRICT;
use crate::random::Random;
use crate::world::{World, sleep};

/// What a publisher remembers over the lives of the process.
pub(crate) struct Publisher {
    random: Random,
    /// Events that it is still to make.
    left: u32,
    /// Events that it has no good answer for.
    unsure: Vec<usize>,
    pause: u64,
}

impl Publisher {
    /// Makes so many events, over about so many milliseconds.
    pub(crate) fn new(random: Random, left: u32, over: u64) -> Self {
        Self { random, left, unsure: Vec::new(), pause: 4 * over / u64::from(left.max(1)) }
    }

    fn make(&mut self, world: &World) -> usize {
        let random = &mut self.random;
        self.left -= 1;
        let mut event = Event {
            topic: random.index(world.plan.topics.len()),
            key: random.percent(70).then(|| random.below(4)),
            ty: random.below(TYPES),
            durability: random.pick(&[Durability::Sync, Durability::Sync, Durability::Log, Durability::None]),
            size: random.index(700) + if world.plan.flood { 1_500 } else { 0 },
            ttl: random.percent(10).then(|| random.within(1, 20)),
            strict: false,
            life: 0,
            acked: None,
            kept: None,
        };
        let mut oracle = world.oracle.lock();
        event.strict = world.plan.third.as_ref().is_some_and(|third| third.is_strict(oracle.events.len()));
        oracle.make(event)
    }

    /// What goes out next: now and then something again, else something new.
    fn next(&mut self, world: &World) -> Vec<usize> {
        if !self.unsure.is_empty() && (self.left == 0 || self.random.percent(40)) {
            return vec![self.unsure.remove(0)];
        }
        let count = self.random.within(1, 5).min(u64::from(self.left));
        (0..count).map(|_| self.make(world)).collect()
    }
}

/// Publishes until everything is made and answered for. Whoever publishes gives up on what is refused for good.
pub(crate) async fn publish(world: Arc<World>, node: Rc<Node>, publisher: Rc<RefCell<Publisher>>) {
    loop {
        let (events, pause) = {
            let mut me = publisher.borrow_mut();
            let events = me.next(&world);
            // Until there is an answer; a process that ends gives none.
            me.unsure.extend(&events);
            let most = me.pause;
            (events, me.random.within(0, most))
        };
        if events.is_empty() {
            return;
        }
        let begun: Vec<_> = events.iter().map(|event| begin(&world, &node, *event)).collect();
        let results = join_all(begun.into_iter().map(|begun| node.pipeline.finish(begun))).await;
        for (event, result) in events.into_iter().zip(results) {
            if settled(&world, event, result) {
                publisher.borrow_mut().unsure.retain(|other| *other != event);
            }
        }
        sleep(pause).await;
    }
}

fn begin(world: &World, node: &Node, event: usize) -> Begun {
    let known = {
        let mut oracle = world.oracle.lock();
        oracle.sent_in(event);
        oracle.events[event].clone()
    };
    let mut builder = EventBuilder::new(&format!("e{event}"), SOURCE, &format!("type.{}", known.ty));
    builder.push("datacontenttype", AttrKind::String, "application/json");
    builder.push("durability", AttrKind::String, known.durability.as_str());
    if let Some(ttl) = known.ttl {
        builder.push("expirytime", AttrKind::String, &world.now().after(Duration::from_secs(ttl)).to_string());
    }
    if known.strict {
        builder.push("schemas", AttrKind::String, &format!("{STRICT}:1"));
    }
    if let Some(key) = known.key {
        builder.push("partitionkey", AttrKind::String, &format!("key-{key}"));
    }
    let data = format!("{{\"n\":\"e{event}\",\"pad\":\"{}\"}}", "x".repeat(known.size));
    node.pipeline.begin(Publish {
        topic: Some(&format!("topic-{}", known.topic)),
        event: builder.with_data(DataKind::Json, Bytes::from(data)),
        publisher: PUBLISHER,
        idempotency_key: None,
        direction: Direction::Incoming,
        relayed: None,
    })
}

/// Whether the publisher is done with the event.
fn settled(world: &World, event: usize, result: Result<Outcome, Problem>) -> bool {
    // What a process says that has ended, nobody hears.
    if world.disk.is_dead() {
        return false;
    }
    match result {
        Ok(Outcome::Accepted { topic, partition, offset, .. } | Outcome::Duplicate { topic, partition, offset, .. }) => {
            world.note(format_args!("event {event} is acknowledged at {topic}/{partition} {offset}"));
            let topic = number_of(&topic).unwrap_or(usize::MAX);
            world.oracle.lock().acked(event, (topic, partition), offset);
            true
        }
        Ok(Outcome::DeadLettered { .. }) => true,
        Err(problem) => {
            world.note(format_args!("event {event} is refused: {}", problem.type_uri()));
            // A topic that is gone is made again.
            !matches!(problem.code(), Code::Unavailable | Code::RateLimited | Code::Draining | Code::TopicUnknown)
        }
    }
}

/// Lets the disk, the state store and the operators do as they like.
pub(crate) async fn meddle(world: Arc<World>, node: Rc<Node>, control: Rc<RefCell<Control>>, state: Arc<Memory>, mut random: Random) {
    loop {
        sleep(random.within(300, 6_000)).await;
        match random.below(15) {
            0 => {
                world.note(format_args!("the disk is full"));
                world.disk.set_full(true);
                sleep(random.within(100, 5_000)).await;
                world.disk.set_full(false);
            }
            1 => {
                let sync = random.percent(50);
                world.note(format_args!("the next {} fails", if sync { "sync" } else { "write" }));
                world.disk.fail_next(sync);
            }
            2 => {
                *node.pace.borrow_mut() = random.within(50, 2_000);
                sleep(random.within(1_000, 5_000)).await;
                *node.pace.borrow_mut() = 0;
            }
            3 => {
                world.note(format_args!("the state store refuses"));
                world.oracle.lock().refused = true;
                state.refuse(Some("the simulation wants it"));
                sleep(random.within(100, 5_000)).await;
                state.refuse(None);
            }
            4 => {
                if let Some(place) = world.disk.corrupt().and_then(|folder| place_of(&folder)) {
                    world.note(format_args!("a byte of {place:?} is spoilt"));
                    world.oracle.lock().spoilt.push(place);
                }
            }
            5 => {
                world.note(format_args!("the process will end in the middle of a change of the disk"));
                world.disk.die_after(random.below(12));
            }
            6 | 7 => retry_letter(&world, &node, &control, &state, &mut random).await,
            _ => {
                let number = random.index(world.plan.subscriptions.len());
                let status = control.borrow().statuses[number];
                match (status, random.below(100)) {
                    (Status::Active, 0..30) => set(&world, &node, &control, number, Status::Paused).await,
                    (Status::Active, 30..35) => set(&world, &node, &control, number, Status::Deleted).await,
                    (Status::Unborn | Status::Paused | Status::Disabled, 0..60) => {
                        set(&world, &node, &control, number, Status::Active).await
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Has a dead letter tried again, as a person may.
async fn retry_letter(world: &World, node: &Node, control: &RefCell<Control>, state: &Memory, random: &mut Random) {
    let letters = state.dead_letters(&DeadLetterFilter::default(), None, 100).map(|page| page.items).unwrap_or_default();
    let Some(letter) = letters.get(random.index(letters.len())) else { return };
    let number = world.plan.subscriptions.iter().position(|wanted| Some(wanted.id) == letter.subscription);
    let event = Record::decode(&letter.record).ok().and_then(|record| event_of(&record));
    let (Some(number), Some(event), Some(id)) = (number, event, letter.subscription) else { return };
    if control.borrow().statuses[number] == Status::Active {
        world.note(format_args!("the dead letter of event {event} to subscription {number} is tried again"));
        world.oracle.lock().by_hand.insert((number, event));
        // A process that ends meanwhile gives no answer.
        node.handle.retry(id, letter).await.ok();
    }
}

fn place_of(folder: &std::path::Path) -> Option<(usize, u32)> {
    let partition = folder.file_name()?.to_str()?.parse().ok()?;
    Some((number_of(folder.parent()?.file_name()?.to_str()?)?, partition))
}

/// Changes a subscription's status and waits until it is in force.
pub(crate) async fn set(world: &World, node: &Node, control: &RefCell<Control>, number: usize, status: Status) {
    world.note(format_args!("subscription {number} becomes {status:?}"));
    let is_new = control.borrow().statuses[number] == Status::Unborn;
    let delta = control.borrow_mut().change(&world.plan, number, status);
    {
        let mut oracle = world.oracle.lock();
        oracle.silent[number] = None;
        if status == Status::Pulled {
            oracle.more.pulled.insert(number);
        }
    }
    node.apply(&delta).await;
    if is_new && world.plan.more.is_some() {
        node.note_birth(number);
    }
    {
        let mut oracle = world.oracle.lock();
        oracle.silent[number] = (status != Status::Active).then(|| world.now());
        oracle.ready[number] = if status == Status::Active { world.now() } else { Time::MAX };
        if status == Status::Deleted && !world.disk.is_dead() {
            let life = oracle.life;
            oracle.changes.deleted.insert(number, life);
        }
    }
    world.note(format_args!("subscription {number} is {status:?}"));
}

/// Does what the control plane does about endpoints that are gone.
pub(crate) async fn disable(world: Arc<World>, node: Rc<Node>, control: Rc<RefCell<Control>>) {
    loop {
        let report = std::future::poll_fn(|context| node.gone.borrow_mut().poll_recv(context)).await;
        let Some((id, reason)) = report else { return };
        sleep(40).await;
        let number = world.plan.subscriptions.iter().position(|wanted| wanted.id == id);
        let active = number.filter(|number| control.borrow().statuses[*number] == Status::Active);
        if let Some(number) = active {
            world.note(format_args!("subscription {number} is disabled: {reason}"));
            if reason == Reason::EndpointGone.as_str() {
                world.oracle.lock().check_gone(number, world.now());
            }
            set(&world, &node, &control, number, Status::Disabled).await;
        }
    }
}
