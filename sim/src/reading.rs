//! Readers with cursors. Within the life of a process, and over one that was killed, each gets every event once, in the log's order.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use posthorn_dataplane::read::{Item, Query, Slice};
use posthorn_domain::problem::Code;

use crate::node::Node;
use crate::oracle::event_of;
use crate::random::Random;
use crate::world::{World, sleep};

/// What a reader remembers over the lives of the process.
pub(crate) struct Reading {
    topic: usize,
    random: Random,
    cursor: String,
    /// Whether the log has become shorter than the cursor: another try with it, later, could pass over what has come since.
    stale: bool,
    /// The next offset that it is to get, by partition.
    pub(crate) expected: BTreeMap<u32, u64>,
}

impl Reading {
    /// Of a reader that has read nothing.
    pub(crate) fn new(topic: usize, random: Random) -> Self {
        Self { topic, random, cursor: "earliest".into(), stale: false, expected: BTreeMap::new() }
    }

    /// The topic's number.
    pub(crate) fn topic(&self) -> usize {
        self.topic
    }

    /// A partition was found to end here, perhaps earlier than where it stood.
    pub(crate) fn clamp(&mut self, partition: u32, end: u64) {
        self.stale |= self.expected.get(&partition).is_some_and(|next| *next > end);
        self.expected.entry(partition).and_modify(|next| *next = (*next).min(end));
    }

    /// Goes on from its cursor, if that is still good for anything.
    fn open_again(&mut self, node: &Node) {
        if std::mem::take(&mut self.stale) {
            (self.expected, self.cursor) = (node.starts(self.topic), "earliest".into());
        }
    }

    fn take(&mut self, world: &World, slice: &Slice) {
        let topic = self.topic;
        for entry in &slice.entries {
            let mut oracle = world.oracle.lock();
            match &entry.item {
                Item::Event(stored) => {
                    let offset = stored.offset;
                    let Some((partition, event)) =
                        event_of(&stored.record).and_then(|event| Some((oracle.events[event].kept?.place.1, event)))
                    else {
                        oracle.broken("I1", format!("a reader of topic {topic} got at {offset} what is not in the log"));
                        continue;
                    };
                    let known = oracle.log.get(&(topic, partition)).and_then(|log| log.get(&offset)).copied();
                    let expected = self.expected.entry(partition).or_insert(0);
                    // What retention has taken since nobody can be given.
                    if *expected < offset && oracle.is_gone((topic, partition), offset - 1) {
                        *expected = offset;
                    }
                    if *expected != offset || known != Some(event) {
                        let text = format!(
                            "a reader of topic {topic} got event {event} at {partition}/{offset}; next was {expected}, and there is {known:?}"
                        );
                        oracle.broken("I1", text);
                    }
                    *expected = offset + 1;
                }
                Item::Gap { partition, gap } => {
                    let expected = self.expected.entry(*partition).or_insert(0);
                    let lost = (gap.from..gap.to).any(|offset| oracle.is_sound((topic, *partition), offset));
                    if *expected != gap.from || lost {
                        oracle.broken("I1", format!("a reader of topic {topic} got the gap {partition}: {gap:?}"));
                    }
                    self.expected.insert(*partition, gap.to);
                }
            }
        }
    }
}

/// Reads for as long as the process lives.
pub(crate) async fn read(world: Arc<World>, node: Rc<Node>, reading: Rc<RefCell<Reading>>) {
    while read_on(&world, &node, &reading).await {}
}

/// Retention has passed the reader, which begins anew with what there is. True when that is so.
fn begin_anew(world: &World, node: &Node, reading: &RefCell<Reading>) -> bool {
    let mut me = reading.borrow_mut();
    let starts = node.starts(me.topic);
    let passed = starts.iter().any(|(partition, start)| me.expected.get(partition).copied().unwrap_or(0) < *start);
    if !passed {
        let text = format!("a reader hears that retention has passed it at {:?}; the log begins at {starts:?}", me.expected);
        world.oracle.lock().broken("I2", text);
    }
    (me.expected, me.cursor) = (starts, "earliest".into());
    passed
}

/// Reads until retention has passed it, which is told, or the process ends.
async fn read_on(world: &World, node: &Node, reading: &RefCell<Reading>) -> bool {
    let topic = format!("topic-{}", reading.borrow().topic);
    let cursor = reading.borrow().cursor.clone();
    let query = Query { cursor: Some(cursor), ..Query::default() };
    let failed = world.disk.failed_reads();
    let mut session = match node.reader.open(&topic, &query).await {
        Ok(session) => session,
        Err(problem) if problem.code() == Code::CursorExpired => return begin_anew(world, node, reading),
        Err(problem) => {
            world.oracle.lock().broken("I1", format!("a reader of {topic} cannot go on: {}", problem.detail()));
            return false;
        }
    };
    loop {
        let (limit, wait, pause) = {
            let random = &mut reading.borrow_mut().random;
            (random.index(20) + 1, random.within(0, 5_000), random.within(1, 800))
        };
        let next = session.next(limit, Duration::from_millis(wait)).await;
        if world.disk.is_dead() {
            // The process has ended, and nobody hears what it still says.
            return false;
        }
        match next {
            Ok(slice) => {
                let mut me = reading.borrow_mut();
                node.look_at_starts(me.topic);
                me.take(world, &slice);
                me.cursor = slice.cursor.to_string();
                me.stale = false;
                if !slice.entries.is_empty() {
                    world.note(format_args!("a reader of {topic} gets {}", slice.entries.len()));
                }
            }
            Err(problem) if problem.code() == Code::CursorExpired => return begin_anew(world, node, reading),
            // It has to be opened again, and goes on from its cursor.
            Err(problem) if problem.code() == Code::Unavailable && world.disk.failed_reads() > failed => {
                world.note(format_args!("a reader of {topic} hears {}", problem.detail()));
                reading.borrow_mut().open_again(node);
                sleep(pause).await;
                return true;
            }
            Err(problem) => world.oracle.lock().broken("I1", format!("a reader of {topic} hears {}", problem.detail())),
        }
        if session.is_over() {
            return false;
        }
        sleep(pause).await;
    }
}
