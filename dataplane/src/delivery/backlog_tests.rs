use std::collections::{BTreeMap, BTreeSet, VecDeque};

use posthorn_domain::ids::{MessageId, SubscriptionId};
use posthorn_storage::state::RetrySource;
use proptest::prelude::*;

use super::*;

fn retry(number: u16, due: u64, keyed: bool) -> Retry {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    Retry {
        subscription: SubscriptionId::from_bytes([1; 16]),
        delivery: DeliveryId::from_bytes(bytes),
        message: MessageId::of_event("t", "p", "/s", &number.to_string()),
        due: Time::from_millis(due),
        attempts: 1,
        first_attempt_at: Time::from_millis(1),
        source: RetrySource::Log { topic: "orders".parse().unwrap(), incarnation: 1, partition: 0, offset: u64::from(number) },
        key_hash: keyed.then_some(u64::from(number)),
        last_error: String::new(),
        replay: None,
        manual: false,
    }
}

/// A backlog with a store that has what was written, and what is on its way there.
struct Model {
    backlog: Backlog,
    limit: usize,
    store: BTreeMap<RetryId, Retry>,
    unwritten: Vec<(RetryId, Option<Retry>)>,
    flying: BTreeMap<RetryId, Retry>,
    /// What was read and is not taken up.
    read: Option<Found>,
    asked: VecDeque<Span>,
    /// All that waits or is under way.
    all: BTreeSet<RetryId>,
}

impl Model {
    fn new(limit: usize, left: Vec<Retry>) -> Self {
        let all = left.iter().map(Retry::id).collect();
        let backlog = Backlog::new(limit, !left.is_empty());
        let store = left.into_iter().map(|retry| (retry.id(), retry)).collect();
        Self { backlog, limit, store, unwritten: Vec::new(), flying: BTreeMap::new(), read: None, asked: VecDeque::new(), all }
    }

    fn put(&mut self, retry: Retry) {
        self.all.insert(retry.id());
        self.unwritten.push((retry.id(), Some(retry.clone())));
        self.backlog.put(retry);
    }

    fn write(&mut self) {
        for (id, row) in self.unwritten.drain(..) {
            match row {
                Some(row) => self.store.insert(id, row),
                None => self.store.remove(&id),
            };
        }
    }

    fn begin(&mut self) -> bool {
        let Some(id) = self.backlog.in_memory().keys().next().copied() else { return false };
        let taken = self.backlog.take(&id).unwrap();
        self.flying.insert(id, taken);
        true
    }

    /// What is under way ends: well, or it waits anew, or it was not sent.
    fn end(&mut self, how: u8, later: u64) {
        let Some((id, retry)) = self.flying.pop_first() else { return };
        if how == 2 {
            self.backlog.put(retry);
            return;
        }
        self.all.remove(&id);
        self.unwritten.push((id, None));
        self.backlog.ended(id);
        if how == 1 {
            self.put(Retry { due: id.due.after(std::time::Duration::from_millis(later)), ..retry });
        }
    }

    /// The reading begins, and all that was put before is written.
    fn ask(&mut self) {
        if let Some(span) = self.backlog.begin_load() {
            self.write();
            self.asked.push_back(span);
        }
    }

    fn read(&mut self) {
        let Some(span) = self.asked.pop_front() else { return };
        let behind = |after: RetryId| self.store.range(after..).filter(move |(id, _)| **id > after).map(|(_, row)| row.clone());
        self.read = Some(match span {
            Span::Behind(after) => {
                let retries: Vec<Retry> = behind(after).take(self.limit).collect();
                let upto = retries.last().filter(|_| retries.len() == self.limit).map(Retry::id);
                Found { retries, upto, counted: 0 }
            }
            Span::Left => {
                let mut without = 0;
                let retries: Vec<Retry> = self
                    .store
                    .values()
                    .filter(|row| {
                        row.key_hash.is_some() || {
                            without += 1;
                            without <= self.limit
                        }
                    })
                    .cloned()
                    .collect();
                let last = retries.iter().rev().find(|row| row.key_hash.is_none()).filter(|_| without > self.limit).map(Retry::id);
                Found { retries, upto: last, counted: self.store.len() as u64 }
            }
        });
    }

    fn take_up(&mut self) {
        if let Some(found) = self.read.take() {
            let flying = &self.flying;
            self.backlog.take_up(found, |retry| flying.contains_key(&retry.id()), |_| {});
        }
    }

    fn check(&self) {
        let memory = self.backlog.in_memory();
        assert!(memory.len() - self.backlog.keyed <= self.limit, "memory is bounded");
        assert_eq!(self.backlog.keyed, memory.values().filter(|retry| retry.key_hash.is_some()).count());
        for id in &self.all {
            let has = memory.contains_key(id) || self.flying.contains_key(id);
            assert!(has || Reach::To(*id) > self.backlog.reach, "{id:?} is forgotten behind {:?}", self.backlog.reach);
        }
        for (id, retry) in memory {
            assert!(self.all.contains(id), "{id:?} ended and waits");
            assert!(retry.key_hash.is_some() || Reach::To(*id) <= self.backlog.reach, "what is due earlier goes first");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever happens while the store is read and written, nothing is forgotten, nothing comes twice, and memory has what is due first.
    #[test]
    fn nothing_is_forgotten_and_memory_has_what_is_due_first(
        limit in 1usize..6,
        left in prop::collection::vec((1u64..9, any::<bool>()), 0..12),
        steps in prop::collection::vec((0u8..9, 0u8..3, 0u64..9, prop::bool::weighted(0.2)), 0..120),
    ) {
        let left: Vec<Retry> = left.into_iter().zip(1000..).map(|((due, keyed), number)| retry(number, due, keyed)).collect();
        let mut model = Model::new(limit, left);
        for (number, (step, how, time, keyed)) in (0u16..).zip(steps) {
            match step {
                0 | 1 => model.put(retry(number, time + 1, keyed)),
                2 | 3 => drop(model.begin()),
                4 | 5 => model.end(how, time),
                6 => model.ask(),
                7 => model.read(),
                _ => { model.take_up(); model.write(); }
            }
            model.check();
        }
        // Whatever was read and not taken up yet, a few rounds have all of it.
        for _ in 0..model.all.len() + 4 {
            model.ask();
            model.read();
            model.take_up();
            model.check();
            while model.begin() {}
            while !model.flying.is_empty() { model.end(0, 0); }
        }
        prop_assert_eq!(&model.all, &BTreeSet::new());
        model.ask();
        model.read();
        model.take_up();
        prop_assert_eq!((model.backlog.len(), model.backlog.has_all()), (0, true));
    }
}

#[test]
fn what_is_due_first_is_in_memory_and_the_rest_is_counted() {
    let mut model = Model::new(4, Vec::new());
    (0..10).for_each(|number| model.put(retry(number, 100 - u64::from(number), false)));
    model.put(retry(20, 1000, true));
    let due: Vec<u64> = model.backlog.in_memory().keys().map(|id| id.due.millis()).collect();
    assert_eq!((due, model.backlog.len()), (vec![91, 92, 93, 94, 1000], 11));
    assert_eq!(model.backlog.begin_load(), None, "memory has enough");
    // Those that fail wait longer than those that only the store has, and come after them.
    for _ in 0..4 {
        model.begin();
        model.end(1, 3_600_000);
    }
    model.ask();
    // Two more fail meanwhile, and the store is read before they are written.
    model.read();
    model.put(retry(30, 97, false));
    model.take_up();
    let due: Vec<u64> = model.backlog.in_memory().keys().map(|id| id.due.millis()).collect();
    assert_eq!((due, model.backlog.len()), (vec![95, 96, 97, 1000], 12));
    assert!(!model.backlog.has_all());
}
