//! Which events were seen before: one table for all cores (DESIGN §6), in stripes so that cores seldom meet.
//!
//! An id is *pending* from its first sight to its outcome, and then *kept* for its topic's window. Kept ids are forgotten in the
//! order in which they came once there are too many: the window shortens, nothing grows (I9). Pending ones are bounded by the
//! bytes that may be in flight.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::HashMap;
use parking_lot::Mutex;
use posthorn_domain::ids::MessageId;
use posthorn_domain::time::Time;
use tokio::sync::oneshot;

use crate::telemetry::IngestMetrics;

const STRIPES: usize = 64;

/// The table.
pub struct Dedup {
    stripes: Box<[Mutex<Stripe>]>,
    kept_per_stripe: usize,
    kept: AtomicUsize,
    metrics: IngestMetrics,
}

/// The first answer for an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct First {
    /// Where it is.
    pub partition: u32,
    /// Where it is in the partition.
    pub offset: u64,
    /// The first event's id, where an idempotency key lets a later one differ from it.
    pub id: Option<Box<str>>,
}

/// What the table says of an id.
pub enum Claimed {
    /// Not seen: whoever asked is now the one to try.
    Fresh(Claim),
    /// Seen, and this came of it.
    Seen(First),
    /// Being tried. Ask again once this resolves, whichever way.
    Pending(oneshot::Receiver<()>),
}

/// The right to try an id. Dropped without [`Claim::keep`] it is free again, and whoever waits is told.
pub struct Claim {
    dedup: Arc<Dedup>,
    id: MessageId,
    open: bool,
}

#[derive(Default)]
struct Stripe {
    entries: HashMap<MessageId, State>,
    /// Kept ids, oldest first, each with its expiry; an entry with another expiry is a later life of the id.
    order: VecDeque<(MessageId, Time)>,
}

enum State {
    Pending(Vec<oneshot::Sender<()>>),
    Kept { first: First, incarnation: u64, expires: Time },
}

impl Dedup {
    /// Keeps at most `max_entries` ids.
    pub fn new(max_entries: usize, metrics: IngestMetrics) -> Arc<Self> {
        Arc::new(Self {
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            kept_per_stripe: (max_entries / STRIPES).max(1),
            kept: AtomicUsize::new(0),
            metrics,
        })
    }

    /// Asks about an id of a topic of this incarnation.
    pub fn claim(self: &Arc<Self>, id: MessageId, incarnation: u64, now: Time) -> Claimed {
        match self.stripe(&id).lock().entries.entry(id) {
            Entry::Vacant(entry) => {
                entry.insert(State::Pending(Vec::new()));
            }
            Entry::Occupied(mut entry) => match entry.get_mut() {
                State::Pending(waiters) => {
                    let (sender, receiver) = oneshot::channel();
                    waiters.push(sender);
                    return Claimed::Pending(receiver);
                }
                State::Kept { first, incarnation: of, expires } if *of == incarnation && *expires > now => {
                    return Claimed::Seen(first.clone());
                }
                outlived @ State::Kept { .. } => *outlived = State::Pending(Vec::new()),
            },
        }
        Claimed::Fresh(Claim { dedup: self.clone(), id, open: true })
    }

    /// Notes an id that was kept before this process started.
    pub(super) fn restore(&self, id: MessageId, incarnation: u64, first: First, expires: Time, now: Time) {
        self.put(id, State::Kept { first, incarnation, expires }, expires, now);
    }

    /// How many ids are kept.
    pub fn len(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many ids it keeps at most.
    pub fn capacity(&self) -> usize {
        self.kept_per_stripe * STRIPES
    }

    fn stripe(&self, id: &MessageId) -> &Mutex<Stripe> {
        &self.stripes[usize::from(id.as_bytes()[0]) % STRIPES]
    }

    fn put(&self, id: MessageId, state: State, expires: Time, now: Time) {
        let mut guard = self.stripe(&id).lock();
        let stripe = &mut *guard;
        let before = stripe.order.len();
        self.make_room(stripe, now);
        let was = stripe.entries.insert(id, state);
        stripe.order.push_back((id, expires));
        let after = stripe.order.len();
        drop(guard);
        // Whoever waited is woken by this, now that the outcome can be seen.
        drop(was);
        self.kept.fetch_add(after, Ordering::Relaxed);
        let kept = self.kept.fetch_sub(before, Ordering::Relaxed) - before;
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        self.metrics.dedup_entries.set(kept as f64);
    }

    fn make_room(&self, stripe: &mut Stripe, now: Time) {
        while let Some((id, expires)) = stripe.order.front().copied() {
            let full = stripe.order.len() >= self.kept_per_stripe;
            if expires > now && !full {
                break;
            }
            stripe.order.pop_front();
            let same_life = |state: &State| matches!(state, State::Kept { expires: of, .. } if *of == expires);
            if stripe.entries.get(&id).is_some_and(same_life) {
                stripe.entries.remove(&id);
                if expires > now {
                    self.metrics.dedup_shortened.increment(1);
                }
            }
        }
    }
}

impl Claim {
    /// It is kept: from now until `expires` the id is a duplicate of `first`.
    pub fn keep(mut self, incarnation: u64, first: First, expires: Time, now: Time) {
        self.open = false;
        self.dedup.put(self.id, State::Kept { first, incarnation, expires }, expires, now);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.open {
            let removed = self.dedup.stripe(&self.id).lock().entries.remove(&self.id);
            drop(removed);
        }
    }
}

#[cfg(test)]
#[path = "dedup_tests.rs"]
mod tests;
