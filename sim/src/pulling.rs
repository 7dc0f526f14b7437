//! Those who read subscriptions that are pulled, and those who flip them and have events delivered again.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use posthorn_dataplane::read::Item;
use posthorn_domain::ids::ReplayId;
use posthorn_domain::node::ReplayState;
use posthorn_domain::problem::Code;
use posthorn_storage::state::Replay;

use crate::actors::set;
use crate::control::{Control, Status};
use crate::node::Node;
use crate::oracle::event_of;
use crate::oracle::more::Run;
use crate::random::Random;
use crate::world::{World, sleep};

/// Reads all subscriptions that are pulled, for as long as the process lives.
pub(crate) async fn pull(world: Arc<World>, node: Rc<Node>, control: Rc<RefCell<Control>>, mut random: Random) {
    loop {
        sleep(random.within(20, 900)).await;
        let pulled = |number: &usize| control.borrow().statuses[*number] == Status::Pulled;
        let pulled: Vec<usize> = (0..world.plan.subscriptions.len()).filter(pulled).collect();
        for number in pulled {
            if !read(&world, &node, number, &mut random).await {
                return;
            }
        }
    }
}

/// One page, and perhaps its commit. False when the process has ended.
async fn read(world: &World, node: &Node, number: usize, random: &mut Random) -> bool {
    let name = world.plan.subscriptions[number].id.to_string();
    let (limit, commits) = (random.index(12) + 1, random.percent(75));
    // Not in force yet, or no more.
    let Ok(mut session) = node.readers.open(&name, None) else { return true };
    let asked = world.now();
    let page = session.next(limit, Duration::ZERO).await;
    if world.disk.is_dead() {
        return false;
    }
    let Ok(page) = page else { return true };
    let stored = page.entries.iter().filter_map(|entry| match &entry.item {
        Item::Event(stored) => event_of(&stored.record),
        Item::Gap { .. } => None,
    });
    let events: Vec<usize> = stored.collect();
    if page.entries.is_empty() {
        return true;
    }
    world.note(format_args!("readers of subscription {number} are given {events:?}"));
    world.oracle.lock().given(number, &events, asked, world.now());
    if !commits {
        return true;
    }
    world.oracle.lock().commits(number, &events);
    let committed = node.readers.commit(&name, None, &page.cursor).await;
    if world.disk.is_dead() {
        return false;
    }
    let had = match &committed {
        Ok(_) => Some(true),
        Err(problem) if problem.code() == Code::Unavailable => Some(false),
        Err(_) => None,
    };
    world.note(format_args!("readers of subscription {number} have committed them: {had:?}"));
    world.oracle.lock().committed(number, &events, had, world.now());
    true
}

/// Flips subscriptions between push and pull, and has ranges delivered again.
pub(crate) async fn flip(world: Arc<World>, node: Rc<Node>, control: Rc<RefCell<Control>>, mut random: Random) {
    let Some(more) = &world.plan.more else { return };
    loop {
        sleep(random.within(300, 2_500)).await;
        let number = random.index(world.plan.subscriptions.len());
        let (status, chance) = (control.borrow().statuses[number], random.below(100));
        match (status, chance) {
            (Status::Active, 0..50) if more.pulled[number] => set(&world, &node, &control, number, Status::Pulled).await,
            (Status::Pulled, 0..60) => set(&world, &node, &control, number, Status::Active).await,
            (Status::Active, 50..80) if more.replays => replay(&world, &node, number, &mut random).await,
            (Status::Active, 80..90) => cancel(&world, &node, number).await,
            _ => {}
        }
    }
}

/// Has a range of one partition delivered again.
async fn replay(world: &World, node: &Node, number: usize, random: &mut Random) {
    let wanted = &world.plan.subscriptions[number];
    let topic = wanted.topic.unwrap_or_else(|| random.index(world.plan.topics.len()));
    let partition = u32::try_from(random.below(u64::from(world.plan.topics[topic].partitions))).unwrap_or(0);
    let Some((start, end)) = node.bounds(topic, partition).filter(|(start, end)| start < end) else { return };
    if world.oracle.lock().is_going(topic) {
        return;
    }
    let from = random.within(start, end - 1);
    let range = from..random.within(from + 1, end);
    let mut bytes = [9; 16];
    bytes[8..].copy_from_slice(&random.draw().to_be_bytes());
    let id = ReplayId::from_bytes(bytes);
    let row = Replay {
        subscription: wanted.id,
        id,
        state: ReplayState::Running,
        from: String::new(),
        to: None,
        rate: random.percent(40).then(|| random.pick(&[2.0, 10.0])),
        events: range.end - range.start,
        considered: 0,
        delivered: 0,
        failed: 0,
        waiting: 0,
        started_at: world.now(),
        ended_at: None,
    };
    world.note(format_args!("{topic}/{partition} {range:?} is delivered to subscription {number} again"));
    let at = {
        let mut oracle = world.oracle.lock();
        let life = oracle.life;
        let run = Run { subscription: number, id, place: (topic, partition), range: range.clone(), life, stored: false, cancelled: None };
        oracle.more.replays.push(run);
        oracle.more.replays.len() - 1
    };
    let name = format!("topic-{topic}").parse().expect("a name");
    let begun = node.handle.replay(row, vec![(name, partition, range)]).await;
    if !world.disk.is_dead() {
        world.oracle.lock().more.replays[at].stored = matches!(begun, Ok(true));
    }
}

/// Ends the newest replay of the subscription.
async fn cancel(world: &World, node: &Node, number: usize) {
    let newest = world.oracle.lock().more.replays.iter().rposition(|run| run.subscription == number && run.cancelled.is_none());
    let Some(at) = newest else { return };
    let (id, stored) = {
        let run = &mut world.oracle.lock().more.replays[at];
        // Until it is answered, and if it never is, only the process knows whether it is cancelled.
        (run.id, std::mem::take(&mut run.stored))
    };
    let cancelled = node.handle.cancel_replay(world.plan.subscriptions[number].id, id).await;
    if let Ok(Some(_)) = cancelled {
        world.note(format_args!("the replay {at} of subscription {number} is cancelled"));
        let now = world.now();
        let run = &mut world.oracle.lock().more.replays[at];
        run.stored = stored;
        run.cancelled.get_or_insert(now);
    }
}
