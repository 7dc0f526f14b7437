//! What arrived, in which life of the process, and what the process said of its checkpoints meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;
use posthorn_tests::{Behaviour, Received, Watch};
use serde_json::Value;
use tokio::time::Instant;

use super::kinds::{Kind, number};

/// A delivery that was answered with success, or an event that was committed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) event: u64,
    pub(crate) life: u32,
    /// Its place among all that the ledger noted, at its arrival and at its answer.
    pub(crate) arrived: u64,
    pub(crate) answered: u64,
    /// The commit was answered. One that was not may have been done all the same, or not.
    pub(crate) committed: bool,
}

/// A reading of the counters of checkpoints and of what may have been repeated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    pub(crate) life: u32,
    /// Before it was asked.
    pub(crate) tick: u64,
    /// When it had answered.
    pub(crate) until: u64,
    pub(crate) at: Instant,
    pub(crate) checkpoints: u64,
    pub(crate) redelivered: u64,
}

/// What was there before a life.
#[derive(Debug)]
pub(crate) struct Beginning {
    /// Events that had been sent at all.
    pub(crate) sent: u64,
    /// Those that had been answered.
    pub(crate) kept: BTreeSet<u64>,
    /// Not later than the process started.
    pub(crate) at: Instant,
}

/// The receiver's record. One clock, of ticks, orders everything.
#[derive(Debug)]
pub(crate) struct Ledger {
    kinds: Vec<Kind>,
    clock: AtomicU64,
    life: AtomicU32,
    healed: AtomicBool,
    answers: AtomicU64,
    book: Mutex<Book>,
}

/// When each event arrived first, and as which attempt.
pub(crate) type Arrivals = HashMap<u64, (u64, u64)>;

#[derive(Debug, Default)]
pub(crate) struct Book {
    /// By the name of the kind.
    pub(crate) entries: HashMap<&'static str, Vec<Entry>>,
    /// What arrived, by kind and life, whatever it was answered.
    pub(crate) attempts: HashMap<(&'static str, u32), Arrivals>,
    pub(crate) marks: Vec<Mark>,
    /// Of each life but the first.
    pub(crate) begun: BTreeMap<u32, Beginning>,
    /// What is wrong whatever comes.
    pub(crate) faults: Vec<String>,
    /// Requests that are being treated, by connection.
    open: HashMap<u64, Open>,
    ids: HashMap<u64, String>,
}

#[derive(Debug)]
struct Open {
    kind: &'static str,
    events: Vec<u64>,
    life: u32,
    arrived: u64,
    succeeds: bool,
}

impl Ledger {
    pub(crate) fn new(kinds: Vec<Kind>) -> Self {
        let (clock, life, healed, answers) = Default::default();
        Self { kinds, clock, life, healed, answers, book: Mutex::default() }
    }

    pub(crate) fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    pub(crate) fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    pub(crate) fn life(&self) -> u32 {
        self.life.load(Ordering::SeqCst)
    }

    /// The process was killed, and all that it had sent has arrived; no event from `sent` on was sent to it.
    pub(crate) fn next_life(&self, sent: u64, kept: BTreeSet<u64>) {
        let life = self.life.fetch_add(1, Ordering::SeqCst) + 1;
        self.book.lock().begun.insert(life, Beginning { sent, kept, at: Instant::now() });
    }

    /// From now on every endpoint is well.
    pub(crate) fn heal(&self) {
        self.healed.store(true, Ordering::SeqCst);
    }

    /// Successful answers so far.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Ordering::SeqCst)
    }

    pub(crate) fn mark(&self, mark: Mark) {
        self.book.lock().marks.push(mark);
    }

    /// Events that were read, and whether their commit was answered.
    pub(crate) fn pulled(&self, kind: &'static str, events: &[u64], life: u32, arrived: u64, committed: bool) {
        let open = Open { kind, events: events.to_vec(), life, arrived, succeeds: true };
        self.succeeded(&mut self.book.lock(), &open, committed);
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&self.book.lock())
    }

    fn succeeded(&self, book: &mut Book, open: &Open, committed: bool) {
        let answered = self.tick();
        let &Open { kind, life, arrived, .. } = open;
        let entries = book.entries.entry(kind).or_default();
        entries.extend(open.events.iter().map(|&event| Entry { event, life, arrived, answered, committed }));
        self.answers.fetch_add(1, Ordering::SeqCst);
    }
}

impl Watch for Ledger {
    fn arrived(&self, request: &Received) -> Behaviour {
        let arrived = self.tick();
        let Some(kind) = self.kinds.iter().find(|kind| request.path[1..] == *kind.name) else { return Behaviour::Ok };
        let events = events(request);
        let mut book = self.book.lock();
        let (Some(first), Ok(attempt)) = (events.first().copied(), request.header("posthorn-attempt").parse()) else {
            book.faults.push(format!("{}: not a delivery: {request:?}", kind.name));
            return Behaviour::Ok;
        };
        if let [event] = events[..] {
            let id = book.ids.entry(event).or_insert_with(|| request.id().to_owned());
            if id != request.id() {
                let fault = format!("{}: event {event} has two ids: {id} and {}", kind.name, request.id());
                book.faults.push(fault);
            }
        }
        let attempts = book.attempts.entry((kind.name, self.life())).or_default();
        events.iter().for_each(|event| _ = attempts.entry(*event).or_insert((arrived, attempt)));
        let well = self.healed.load(Ordering::SeqCst);
        let treated = if well { Behaviour::Ok } else { kind.endpoint.treats(first, attempt) };
        let succeeds = match &treated {
            Behaviour::Delay(_, then) => matches!(**then, Behaviour::Ok),
            other => matches!(other, Behaviour::Ok),
        };
        book.open.insert(request.connection, Open { kind: kind.name, events, life: self.life(), arrived, succeeds });
        treated
    }

    fn answered(&self, request: &Received) {
        let mut book = self.book.lock();
        if let Some(open) = book.open.remove(&request.connection).filter(|open| open.succeeds) {
            self.succeeded(&mut book, &open, false);
        }
    }
}

/// The numbers of the events that a request carries, whatever the format.
fn events(request: &Received) -> Vec<u64> {
    let of = |value: &Value| value["id"].as_str().and_then(number);
    if !request.header("ce-id").is_empty() {
        return number(request.header("ce-id")).into_iter().collect();
    }
    match serde_json::from_slice(&request.body) {
        Ok(Value::Array(items)) => items.iter().filter_map(of).collect(),
        Ok(value) => of(&value).into_iter().collect(),
        Err(_) => Vec::new(),
    }
}
