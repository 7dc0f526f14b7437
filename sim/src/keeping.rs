//! Readers whose places the node keeps. What was committed is never given again, and nothing is passed over, whatever ends the process;
//! who has read without committing gets it once more.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use posthorn_dataplane::read::Item;
use posthorn_dataplane::readers::{Definition, Page, Session};
use posthorn_domain::problem::Code;
use serde_json::json;

use crate::node::Node;
use crate::oracle::{Oracle, event_of};
use crate::plan::more::KeptReader;
use crate::random::Random;
use crate::world::{World, sleep};

/// What is known of a reader over the lives of the process.
pub(crate) struct Keeping {
    name: String,
    what: KeptReader,
    random: Random,
    /// Whether it was said to be made.
    made: bool,
    /// By partition, where it stands at least: what was committed and answered.
    acked: BTreeMap<u32, u64>,
    /// Where it may stand as well: commits without an answer.
    tried: BTreeMap<u32, BTreeSet<u64>>,
    /// Where the session goes on; empty while it has given nothing.
    next: BTreeMap<u32, u64>,
}

impl Keeping {
    /// Of a reader that is not made yet.
    pub(crate) fn new(number: usize, what: KeptReader, random: Random) -> Self {
        let (acked, tried, next) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { name: format!("reader-{number}"), what, random, made: false, acked, tried, next }
    }

    /// The topic's number.
    pub(crate) fn topic(&self) -> usize {
        self.what.topic
    }

    /// A partition was found to end here, perhaps earlier than where it stood.
    pub(crate) fn clamp(&mut self, partition: u32, end: u64) {
        self.acked.entry(partition).and_modify(|next| *next = (*next).min(end));
        self.tried.entry(partition).and_modify(|tried| *tried = tried.iter().map(|next| *next.min(&end)).collect());
    }

    /// The first event between these offsets that is the reader's and can be read.
    fn missed(&self, oracle: &Oracle, partition: u32, from: u64, to: u64) -> Option<u64> {
        let place = (self.what.topic, partition);
        let log = oracle.log.get(&place)?;
        let mine = |event: usize| self.what.ty.is_none_or(|ty| oracle.events[event].ty == ty);
        let there = |offset: u64| oracle.is_sound(place, offset) && !oracle.is_gone(place, offset);
        let mut between = log.range(from.min(to)..to);
        between.find(|(offset, event)| mine(**event) && there(**offset)).map(|(offset, _)| *offset)
    }

    /// It is given what stands at `at` of a partition, and goes on at `next`.
    fn step(&mut self, oracle: &mut Oracle, partition: u32, at: u64, next: u64) {
        let name = &self.name;
        if let Some(expected) = self.next.get(&partition).copied() {
            let missed = self.missed(oracle, partition, expected, at);
            if at < expected || missed.is_some() {
                oracle.broken("I2", format!("{name} goes on at {partition}/{at}; next was {expected}, between them {missed:?}"));
            }
        } else {
            let acked = self.acked.get(&partition).copied().unwrap_or(0);
            let places = self.tried.get(&partition).into_iter().flatten().copied().chain([acked]);
            let fits = places.filter(|place| *place <= at).any(|place| self.missed(oracle, partition, place, at).is_none());
            if at < acked || !fits {
                let text = format!("{name} begins at {partition}/{at}, and stood at {acked} or {:?}", self.tried.get(&partition));
                oracle.broken("I2", text);
            }
        }
        self.next.insert(partition, next);
    }

    /// It is given a page; tells where it stood before.
    fn take(&mut self, world: &World, node: &Node, page: &Page) -> BTreeMap<u32, u64> {
        let before = self.next.clone();
        node.look_at_starts(self.what.topic);
        let mut oracle = world.oracle.lock();
        for (entry, ((_, partition), next)) in page.entries.iter().zip(&page.places) {
            match &entry.item {
                Item::Event(stored) => {
                    let (place, event) = ((self.what.topic, *partition), event_of(&stored.record));
                    let known = oracle.log.get(&place).and_then(|log| log.get(&stored.offset)).copied();
                    let mine = event.is_some_and(|event| self.what.ty.is_none_or(|ty| oracle.events[event].ty == ty));
                    if known.is_none() || known != event || !mine {
                        let text = format!("{} is given {event:?} at {place:?} {}, where there is {known:?}", self.name, stored.offset);
                        oracle.broken("I1", text);
                    }
                    self.step(&mut oracle, *partition, stored.offset, *next);
                }
                Item::Gap { partition, gap } => {
                    if let Some(offset) = self.missed(&oracle, *partition, gap.from, gap.to) {
                        oracle.broken("I1", format!("{} is given the gap {partition}: {gap:?}, where {offset} can be read", self.name));
                    }
                    self.step(&mut oracle, *partition, gap.from, *next);
                }
            }
        }
        before
    }

    /// What it has not been given, if it has been given less than there is.
    pub(crate) fn behind(&self, oracle: &Oracle) -> Option<String> {
        let logs = oracle.log.iter().filter(|((topic, _), _)| *topic == self.what.topic);
        let mut ends = logs.filter_map(|((_, partition), log)| Some((*partition, log.last_key_value()?.0 + 1)));
        ends.find_map(|(partition, end)| {
            // A commit without an answer may have moved it, and what was given before that is not given again.
            let tried = self.tried.get(&partition).and_then(|tried| tried.last());
            let stands = self.next.get(&partition).or(self.acked.get(&partition).max(tried)).copied().unwrap_or(0);
            self.missed(oracle, partition, stands, end).map(|offset| format!("{} was not given {partition}/{offset}", self.name))
        })
    }
}

/// Reads for as long as the process lives.
pub(crate) async fn keep_reading(world: Arc<World>, node: Rc<Node>, keeping: Rc<RefCell<Keeping>>) {
    keeping.borrow_mut().next.clear();
    if !make(&world, &node, &keeping).await {
        return;
    }
    loop {
        let name = keeping.borrow().name.clone();
        let mut session = match node.readers.open(&name, None) {
            Ok(session) => session,
            Err(problem) => return world.oracle.lock().broken("I2", format!("{name} cannot be opened: {}", problem.detail())),
        };
        keeping.borrow_mut().next.clear();
        let turns = keeping.borrow_mut().random.within(1, 15);
        for _ in 0..turns {
            match turn(&world, &node, &keeping, &mut session).await {
                Turn::Next => {}
                Turn::OpenAgain => break,
                Turn::Over => return,
            }
        }
    }
}

/// Makes the reader, if it was not said to be made. False when the process has ended.
async fn make(world: &World, node: &Node, keeping: &RefCell<Keeping>) -> bool {
    let (name, what, made) = {
        let me = keeping.borrow();
        (me.name.clone(), me.what, me.made)
    };
    if made {
        return true;
    }
    let mut document = json!({"topic": format!("topic-{}", what.topic)});
    if let Some(ty) = what.ty {
        document["filters"] = json!([{"exact": {"type": format!("type.{ty}")}}]);
    }
    let definition = Definition::parse(&document, &name, world.now()).expect("a definition");
    for (partition, start) in node.starts(what.topic) {
        // What a try without an answer made began there already.
        keeping.borrow_mut().acked.entry(partition).or_insert(start);
    }
    loop {
        let put = node.readers.put(&name, definition.clone()).await;
        if world.disk.is_dead() {
            return false;
        }
        match put {
            Ok(_) => break,
            Err(_) => sleep(500).await,
        }
    }
    world.note(format_args!("{name} is made"));
    let mut me = keeping.borrow_mut();
    me.made = true;
    for (partition, start) in node.starts(what.topic) {
        me.tried.entry(partition).or_default().insert(start);
    }
    true
}

/// What comes after a page.
enum Turn {
    /// The next one.
    Next,
    /// The disk could not be read, so the session is over.
    OpenAgain,
    /// The process has ended.
    Over,
}

/// One page, and perhaps a commit of some of it.
async fn turn(world: &World, node: &Node, keeping: &RefCell<Keeping>, session: &mut Session) -> Turn {
    let (limit, pause, commits) = {
        let random = &mut keeping.borrow_mut().random;
        (random.index(20) + 1, random.within(20, 900), random.percent(60))
    };
    // No wait: of those who wait for a topic, tokio would choose the order.
    let failed = world.disk.failed_reads();
    let next = session.next(limit, Duration::ZERO).await;
    if world.disk.is_dead() {
        return Turn::Over;
    }
    match next {
        Ok(page) => {
            let before = keeping.borrow_mut().take(world, node, &page);
            if !page.entries.is_empty() {
                let places: Vec<_> = page.places.iter().map(|((_, partition), next)| (partition, next)).collect();
                world.note(format_args!("{} is given what comes before {places:?}", keeping.borrow().name));
                if commits && !commit(world, node, keeping, &page, before).await {
                    return Turn::Over;
                }
            }
        }
        Err(problem) if problem.code() == Code::CursorExpired => {
            if !begin_anew(world, node, keeping).await {
                return Turn::Over;
            }
        }
        Err(problem) if problem.code() == Code::Unavailable && world.disk.failed_reads() > failed => {
            world.note(format_args!("{} hears {}", keeping.borrow().name, problem.detail()));
            sleep(pause).await;
            return Turn::OpenAgain;
        }
        Err(problem) => {
            let text = format!("{} hears {}", keeping.borrow().name, problem.detail());
            world.oracle.lock().broken("I2", text);
        }
    }
    sleep(pause).await;
    if session.is_over() { Turn::Over } else { Turn::Next }
}

async fn commit(world: &World, node: &Node, keeping: &RefCell<Keeping>, page: &Page, mut places: BTreeMap<u32, u64>) -> bool {
    let (name, cursor) = {
        let mut me = keeping.borrow_mut();
        let count = if me.random.percent(60) { page.entries.len() } else { me.random.index(page.entries.len()) + 1 };
        let cursor = if count == page.entries.len() { page.cursor.clone() } else { page.entries[count - 1].cursor.clone() };
        // A cursor names a place on every partition: what was given there before goes with it.
        let given = page.places.iter().take(count).map(|((_, partition), next)| (*partition, *next));
        places.extend(given);
        for (partition, next) in &places {
            me.tried.entry(*partition).or_default().insert(*next);
        }
        (me.name.clone(), cursor)
    };
    let committed = node.readers.commit(&name, None, &cursor).await;
    if world.disk.is_dead() {
        return false;
    }
    if committed.is_ok() {
        world.note(format_args!("{name} has committed {places:?}"));
        let mut me = keeping.borrow_mut();
        for (partition, next) in places {
            me.acked.insert(partition, next);
            me.tried.remove(&partition);
        }
    }
    true
}

/// Retention has passed the reader, which begins anew with what there is.
async fn begin_anew(world: &World, node: &Node, keeping: &RefCell<Keeping>) -> bool {
    let starts = node.starts(keeping.borrow().what.topic);
    node.look_at_starts(keeping.borrow().what.topic);
    let name = keeping.borrow().name.clone();
    {
        let mut me = keeping.borrow_mut();
        let stands = |partition: &u32| {
            let tried = me.tried.get(partition).and_then(|tried| tried.first()).copied();
            [me.next.get(partition).copied(), me.acked.get(partition).copied(), tried].into_iter().flatten().min().unwrap_or(0)
        };
        if !starts.iter().any(|(partition, start)| stands(partition) < *start) {
            let text = format!("{name} hears that retention has passed it at {:?}; the log begins at {starts:?}", me.next);
            world.oracle.lock().broken("I2", text);
        }
        for (partition, start) in &starts {
            let stood = me.acked.get(partition).copied().unwrap_or(0);
            me.tried.entry(*partition).or_default().extend([stood, *start]);
            me.acked.insert(*partition, stood.min(*start));
        }
    }
    let committed = node.readers.commit(&name, None, "earliest").await;
    if world.disk.is_dead() {
        return false;
    }
    let mut me = keeping.borrow_mut();
    me.next.clear();
    if committed.is_ok() {
        world.note(format_args!("{name} begins anew at {starts:?}"));
        me.acked.extend(starts);
        me.tried.clear();
    }
    true
}
