//! What the receiver remembers, within bounds.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::{Behaviour, Received, Watch};

const REQUESTS_KEPT: usize = 10_000;
const BYTES_KEPT: usize = 256 << 20;
const IDS_KEPT: usize = 2_000_000;

/// Counts of one path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// All requests.
    pub total: u64,
    /// Different `webhook-id`s (the first two million).
    pub unique: u64,
    /// Requests whose `webhook-id` had been seen before at this path.
    pub duplicate: u64,
    /// Requests being answered right now.
    pub in_flight: u64,
    /// The most that were being answered at one time.
    pub peak_in_flight: u64,
}

#[derive(Debug, Default)]
pub(super) struct State {
    inner: Mutex<Inner>,
    /// Decides in place of what was set for the paths, and keeps the record.
    watch: Option<Arc<dyn Watch>>,
    connections: AtomicU64,
    open: AtomicU64,
    sent: AtomicU64,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Inner {
    paths: HashMap<String, Path>,
    requests: Vec<Received>,
    bytes: usize,
    ids: HashSet<(u64, u64)>,
}

#[derive(Debug, Default)]
struct Path {
    behaviour: Option<Behaviour>,
    calls: u64,
    tally: Tally,
}

impl State {
    pub(super) fn set(&self, path: &str, behaviour: Behaviour) {
        let mut inner = self.inner.lock();
        let path = inner.paths.entry(path.to_owned()).or_default();
        path.behaviour = Some(behaviour);
        path.calls = 0;
    }

    pub(super) fn received(&self, path: &str) -> Vec<Received> {
        self.inner.lock().requests.iter().filter(|r| r.path == path).cloned().collect()
    }

    pub(super) fn tally(&self, path: &str) -> Tally {
        self.inner.lock().paths.get(path).map(|p| p.tally).unwrap_or_default()
    }

    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    pub(super) fn watched_by(watch: Arc<dyn Watch>) -> Self {
        Self { watch: Some(watch), ..Self::default() }
    }

    pub(super) fn connected(&self) -> u64 {
        self.open.fetch_add(1, Ordering::SeqCst);
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn disconnected(&self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }

    pub(super) fn open(&self) -> u64 {
        self.open.load(Ordering::SeqCst)
    }

    /// Bytes of a body without end went out.
    pub(super) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn bytes_sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Counts and keeps the request, and says how to treat it. [`State::answered`] must follow.
    pub(super) fn record(&self, request: &Received) -> Behaviour {
        let told = self.count(request);
        self.watch.as_ref().map_or(told, |watch| watch.arrived(request))
    }

    fn count(&self, request: &Received) -> Behaviour {
        let key = (self.hasher.hash_one(&request.path), self.hasher.hash_one(request.id()));
        let mut inner = self.inner.lock();
        let seen = seen(&mut inner.ids, key, request.id().is_empty());
        let path = inner.paths.entry(request.path.clone()).or_default();
        path.tally.total += 1;
        path.tally.unique += u64::from(seen == Some(false));
        path.tally.duplicate += u64::from(seen == Some(true));
        path.tally.in_flight += 1;
        path.tally.peak_in_flight = path.tally.peak_in_flight.max(path.tally.in_flight);
        let behaviour = path.behaviour.as_ref().map_or(Behaviour::Ok, |b| b.at(path.calls));
        path.calls += 1;
        if self.watch.is_none() && inner.requests.len() < REQUESTS_KEPT && inner.bytes + request.body.len() <= BYTES_KEPT {
            inner.bytes += request.body.len();
            inner.requests.push(request.clone());
        }
        behaviour
    }

    /// It is under way no more.
    pub(super) fn ends(&self, request: &Received) {
        if let Some(path) = self.inner.lock().paths.get_mut(&request.path) {
            path.tally.in_flight = path.tally.in_flight.saturating_sub(1);
        }
    }

    /// Its answer was given.
    pub(super) fn answered(&self, request: &Received) {
        if let Some(watch) = &self.watch {
            watch.answered(request);
        }
    }
}

/// Whether this id was seen before; `None` where there is no id or no room to remember it.
fn seen(ids: &mut HashSet<(u64, u64)>, key: (u64, u64), no_id: bool) -> Option<bool> {
    if no_id {
        return None;
    }
    if ids.contains(&key) {
        return Some(true);
    }
    (ids.len() < IDS_KEPT && ids.insert(key)).then_some(false)
}
