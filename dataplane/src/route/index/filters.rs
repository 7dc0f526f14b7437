//! Filters, each kept once however many subscriptions have it.

use std::hash::BuildHasher as _;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hashbrown::HashTable;
use posthorn_domain::filter::{Filter, View};
use smallvec::SmallVec;

/// One filter and the number under which its answer for an event is remembered.
#[derive(Debug)]
pub struct Known {
    filter: Filter,
    pub(super) number: u32,
    users: Users,
}

/// What a subscription demands: all must hold. Equal lists are the same list.
#[derive(Debug)]
pub struct Filters {
    list: List,
    pub(super) group: u32,
    users: Users,
}

/// Two take no more room than one.
type List = SmallVec<[Arc<Known>; 2]>;

/// How many have it. Counted by the one writer of the index only.
#[derive(Debug)]
struct Users(AtomicU32);

/// Hands the same filter out for equal ones.
#[derive(Default)]
pub(super) struct Interner {
    filters: HashTable<Arc<Known>>,
    lists: HashTable<Arc<Filters>>,
    numbers: Numbers,
    groups: Numbers,
    hasher: foldhash::fast::RandomState,
}

/// Small numbers; those that were given back come first.
#[derive(Default)]
pub(super) struct Numbers {
    next: u32,
    free: Vec<u32>,
}

impl Deref for Known {
    type Target = Filter;

    fn deref(&self) -> &Filter {
        &self.filter
    }
}

impl Deref for Filters {
    type Target = [Arc<Known>];

    fn deref(&self) -> &[Arc<Known>] {
        &self.list
    }
}

impl Filters {
    /// Whether all hold.
    pub fn matches(&self, view: &View<'_>) -> bool {
        self.iter().all(|filter| filter.matches(view))
    }

    /// Whether any of them may look at the data.
    pub fn reads_data(&self) -> bool {
        self.iter().any(|filter| filter.reads_data())
    }
}

impl Users {
    fn one() -> Self {
        Self(AtomicU32::new(1))
    }

    fn one_more(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether there are any left.
    fn one_less(&self) -> bool {
        self.0.fetch_sub(1, Ordering::Relaxed) > 1
    }
}

impl Interner {
    /// The list of these filters, with one user more.
    pub(super) fn intern(&mut self, filters: Vec<Filter>) -> Arc<Filters> {
        let list: List = filters.into_iter().map(|filter| self.filter(filter)).collect();
        let hash = self.hasher.hash_one(numbers(&list));
        if let Some(known) = self.lists.find(hash, |known| numbers(known) == numbers(&list)) {
            known.users.one_more();
            let known = Arc::clone(known);
            self.forget_filters(&list);
            return known;
        }
        let filters = Arc::new(Filters { list, group: self.groups.take(), users: Users::one() });
        let hasher = &self.hasher;
        self.lists.insert_unique(hash, Arc::clone(&filters), |list| hasher.hash_one(numbers(list)));
        filters
    }

    /// One user less; true when it was the last.
    pub(super) fn forget(&mut self, filters: &Filters) -> bool {
        let hash = self.hasher.hash_one(numbers(filters));
        let Ok(entry) = self.lists.find_entry(hash, |known| known.group == filters.group) else { return false };
        if entry.get().users.one_less() {
            return false;
        }
        entry.remove();
        self.groups.give_back(filters.group);
        self.forget_filters(filters);
        true
    }

    /// Filters have numbers below this.
    pub(super) fn bound(&self) -> u32 {
        self.numbers.next
    }

    fn filter(&mut self, filter: Filter) -> Arc<Known> {
        let hash = self.hasher.hash_one(&filter);
        if let Some(known) = self.filters.find(hash, |known| known.filter == filter) {
            known.users.one_more();
            return Arc::clone(known);
        }
        let known = Arc::new(Known { filter, number: self.numbers.take(), users: Users::one() });
        let hasher = &self.hasher;
        self.filters.insert_unique(hash, Arc::clone(&known), |known| hasher.hash_one(&known.filter));
        known
    }

    fn forget_filters(&mut self, list: &[Arc<Known>]) {
        for known in list {
            let hash = self.hasher.hash_one(&known.filter);
            let Ok(entry) = self.filters.find_entry(hash, |other| Arc::ptr_eq(other, known)) else { continue };
            if !entry.get().users.one_less() {
                entry.remove();
                self.numbers.give_back(known.number);
            }
        }
    }
}

fn numbers(list: &[Arc<Known>]) -> SmallVec<[u32; 8]> {
    list.iter().map(|known| known.number).collect()
}

impl Numbers {
    pub(super) fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        })
    }

    pub(super) fn give_back(&mut self, number: u32) {
        self.free.push(number);
    }
}
