//! Those who change resources while deliveries wait: URLs and filters of subscriptions, subscriptions that go and others that come in
//! their place, topics that are deleted and made again. And the disk, which now and then cannot be read.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use posthorn_domain::time::Time;

use crate::actors::set;
use crate::control::{Control, Life, Status};
use crate::disk::Reads;
use crate::node::Node;
use crate::plan::third::Third;
use crate::random::Random;
use crate::world::{World, sleep};

/// Changes things for as long as the process lives.
pub(crate) async fn change(world: Arc<World>, node: Rc<Node>, control: Rc<RefCell<Control>>, mut random: Random) {
    let Some(third) = &world.plan.third else { return };
    // Now and then what a start reads cannot be read.
    if third.unreadable && random.percent(30) {
        fail_reads(&world, &mut random).await;
    }
    loop {
        sleep(random.within(200, 2_500)).await;
        match random.below(12) {
            0..5 => alter(&world, &node, &control, third, &mut random).await,
            5 => replace(&world, &node, &control, &mut random).await,
            6..9 => remake(&world, &node, &control, third, &mut random).await,
            9..11 if third.unreadable => fail_reads(&world, &mut random).await,
            _ => {}
        }
    }
}

/// Another URL, another filter, or both.
async fn alter(world: &World, node: &Node, control: &RefCell<Control>, third: &Third, random: &mut Random) {
    let number = random.index(world.plan.subscriptions.len());
    let (status, before) = (control.borrow().statuses[number], control.borrow().versions[number]);
    let (moves, filters) = (random.percent(60), random.percent(60));
    if !third.changes[number] || matches!(status, Status::Unborn | Status::Deleted) {
        return;
    }
    let mut version = if moves { before.moved() } else { before };
    if filters {
        version = version.filtered(random, world.plan.topics.len());
    }
    world.note(format_args!("subscription {number} changes to {version:?}"));
    let delta = control.borrow_mut().alter(&world.plan, number, version);
    world.oracle.lock().alters(number, version, world.now());
    is_ready(world, control, number);
    node.apply(&delta).await;
    world.oracle.lock().altered(number, world.now());
    is_ready(world, control, number);
    world.note(format_args!("subscription {number} has changed"));
}

/// What it may send now, it could not before.
fn is_ready(world: &World, control: &RefCell<Control>, number: usize) {
    let is_active = control.borrow().statuses[number] == Status::Active;
    world.oracle.lock().ready[number] = if is_active { world.now() } else { Time::MAX };
}

/// A subscription goes, and one that was not made yet comes.
async fn replace(world: &World, node: &Node, control: &RefCell<Control>, random: &mut Random) {
    let number = random.index(world.plan.subscriptions.len());
    let status = control.borrow().statuses[number];
    let heir = control.borrow().statuses.iter().position(|status| *status == Status::Unborn);
    let Some(heir) = heir.filter(|_| !matches!(status, Status::Unborn | Status::Deleted)) else { return };
    set(world, node, control, number, Status::Deleted).await;
    set(world, node, control, heir, Status::Active).await;
}

/// A topic goes, is made again, or both at once, as a node sees it that was told late.
async fn remake(world: &World, node: &Node, control: &RefCell<Control>, third: &Third, random: &mut Random) {
    let topic = random.index(world.plan.topics.len());
    let (life, chance) = (control.borrow().topics[topic], random.below(100));
    if !third.remade[topic] {
        return;
    }
    match life {
        Life::There(_) if chance < 60 => {
            condemn(world, control, topic);
            remove(world, node, control, topic).await;
            sleep(random.within(0, 1_500)).await;
            make(world, node, control, topic).await;
        }
        Life::There(_) => {
            condemn(world, control, topic);
            make(world, node, control, topic).await;
        }
        Life::Going(_) | Life::Gone => settle(world, node, control, topic).await,
    }
}

/// Brings a topic back, and ends before what the last process was in the middle of.
pub(crate) async fn settle(world: &World, node: &Node, control: &RefCell<Control>, topic: usize) {
    let life = control.borrow().topics[topic];
    if matches!(life, Life::Going(_)) {
        remove(world, node, control, topic).await;
    }
    if !matches!(life, Life::There(_)) {
        make(world, node, control, topic).await;
    }
}

/// Ends what the last process was in the middle of.
pub(crate) async fn end_removals(world: &World, node: &Node, control: &RefCell<Control>) {
    for topic in 0..world.plan.topics.len() {
        let life = control.borrow().topics[topic];
        if matches!(life, Life::Going(_)) {
            remove(world, node, control, topic).await;
        }
    }
}

fn condemn(world: &World, control: &RefCell<Control>, topic: usize) {
    world.note(format_args!("topic {topic} is to go"));
    world.oracle.lock().condemn(topic);
    let life = &mut control.borrow_mut().topics[topic];
    if let Life::There(incarnation) = *life {
        *life = Life::Going(incarnation);
    }
}

async fn remove(world: &World, node: &Node, control: &RefCell<Control>, topic: usize) {
    let before = control.borrow().topics[topic];
    let delta = control.borrow_mut().remove_topic(&world.plan, topic);
    // Until the node has said so, it is there for who starts.
    control.borrow_mut().topics[topic] = before;
    node.apply(&delta).await;
    if !world.disk.is_dead() {
        control.borrow_mut().topics[topic] = Life::Gone;
        world.note(format_args!("topic {topic} is gone"));
    }
}

async fn make(world: &World, node: &Node, control: &RefCell<Control>, topic: usize) {
    if world.disk.is_dead() {
        return;
    }
    world.note(format_args!("topic {topic} is made"));
    loop {
        let delta = control.borrow_mut().make_topic(&world.plan, topic);
        let is_made = node.apply(&delta).await;
        if world.disk.is_dead() {
            // Perhaps in the middle of a change of the disk.
            return world.crashed.notify_one();
        }
        if is_made {
            break;
        }
        sleep(500).await;
    }
    world.note(format_args!("topic {topic} is there"));
    for (partition, start) in node.starts(topic) {
        if start > 0 {
            world.oracle.lock().broken("I2", format!("topic {topic} was made, and its partition {partition} begins at {start}"));
        }
    }
}

/// One read fails, or all for a while.
async fn fail_reads(world: &World, random: &mut Random) {
    world.oracle.lock().changes.stumbled = true;
    if random.percent(40) {
        world.note(format_args!("the next read fails"));
        return world.disk.fail_reads(Some(Reads::Next));
    }
    world.note(format_args!("the disk cannot be read"));
    world.disk.fail_reads(Some(Reads::All));
    sleep(random.within(100, 8_000)).await;
    world.disk.fail_reads(None);
    world.note(format_args!("the disk can be read"));
}
