//! Subscriptions that are pulled: their lanes stand still and are moved by their readers, so that pushing can go on from there.
//!
//! What waits for another attempt stays in the retry store, and is given to readers first; it is settled when they say so.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use foldhash::HashSet;
use posthorn_domain::ids::{DeliveryId, MessageId, SubscriptionId};
use posthorn_domain::names::TopicName;
use posthorn_domain::position::Position;
use posthorn_domain::reason::Reason;
use posthorn_domain::record::Stored;
use posthorn_domain::time::Time;
use posthorn_storage::attempts::{Attempt, Outcome, event_hash};
use posthorn_storage::state::{Retry, RetryId, RetrySource};
use tokio::sync::oneshot;

use super::batch::offset_of;
use super::item::Item;
use super::lane::Mode;
use super::shard::Shard;
use super::subscriber::Subscriber;
use super::window::Window;
use super::work::Done;

/// Waiting deliveries that a reader is told of at once; the rest follow when these are settled.
const WAITING: usize = 256;
/// How long after a refused deletion it is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// What a reader may have of a subscription.
#[derive(Clone, Debug)]
pub enum Pull {
    /// Nothing: it is pushed, paused or disabled.
    NotPulled,
    /// Nothing yet: requests that were under way when it was flipped have not ended.
    Busy,
    /// This.
    Ready(Pulled),
}

/// Where a pulled subscription stands.
#[derive(Clone, Debug, Default)]
pub struct Pulled {
    /// On each partition that it may read.
    pub places: Vec<Place>,
    /// The first of the events that were sent in vain and wait. After a loss of power the log may have another event in such a place.
    pub waiting: Vec<(Waiting, MessageId)>,
    /// How many of them there are beside those.
    pub more_waiting: u64,
}

/// Where it stands on one partition.
#[derive(Clone, Debug)]
pub struct Place {
    /// The topic.
    pub topic: TopicName,
    /// Which life of the topic.
    pub incarnation: u64,
    /// The partition.
    pub partition: u32,
    /// The next offset to give.
    pub next: u64,
    /// Offsets above it that are settled, sorted.
    pub settled: Vec<u64>,
}

/// An event that waits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Waiting {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: u32,
    /// The offset.
    pub offset: u64,
}

/// How far a reader has come.
#[derive(Clone, Debug, Default)]
pub struct Moves {
    /// The next offset to give, by topic, its life and partition.
    pub next: Vec<(TopicName, u64, u32, u64)>,
    /// Waiting events that were had.
    pub had: Vec<Waiting>,
    /// Waiting events that nobody can have any more.
    pub lost: Vec<Lost>,
    /// It goes somewhere else rather than on: what waits on these partitions is passed over or in the stream again.
    pub seek: bool,
}

/// A waiting event that cannot be given to a reader.
#[derive(Clone, Debug)]
pub struct Lost {
    /// Where it stood.
    pub place: Waiting,
    /// Why.
    pub reason: Reason,
    /// The same in words.
    pub detail: &'static str,
    /// The event, where it is still there.
    pub stored: Option<Arc<Stored>>,
}

/// From where on something holds: topic, partition, offset.
type From = super::retention::Place;

impl Shard {
    /// Where a reader goes on. What pushing had taken into memory goes back to the log.
    pub(super) fn pulled(&mut self, id: SubscriptionId) -> Option<Pull> {
        let subscriber = self.subscribers.get_mut(&id)?;
        if !subscriber.route.is_pulled() {
            return Some(Pull::NotPulled);
        }
        if subscriber.in_flight > 0 || subscriber.retries.is_busy() || is_starting(subscriber) {
            return Some(Pull::Busy);
        }
        let mut pulled = Pulled::default();
        for (key, lane) in subscriber.lanes.iter_mut().filter(|(key, _)| key.replay.is_none()) {
            let Some(part) = self.parts.get(&key.part) else { continue };
            let (next, settled) = (lane.cursor(part.fed), lane.window.settled_above());
            lane.clear(&mut self.budget);
            lane.window = Window::restored(settled.clone());
            lane.mode = Mode::Lagging { next, reading: false };
            let (topic, incarnation) = (part.topic.topic.name.clone(), part.topic.topic.meta.incarnation);
            pulled.places.push(Place { topic, incarnation, partition: part.partition, next, settled });
        }
        let Subscriber { ready, lanes, retries, .. } = &mut **subscriber;
        ready.retain(|key| lanes.get(key).is_some_and(|lane| !lane.queue.is_empty()));
        // What waits of a topic that is not read, or of one that was deleted before it was made again, keeps nobody from the rest.
        let read: HashSet<_> = pulled.places.iter().map(|place| (&place.topic, place.incarnation, place.partition)).collect();
        let is_read = |retry: &Retry| match &retry.source {
            RetrySource::Log { topic, incarnation, partition, .. } => read.contains(&(topic, *incarnation, *partition)),
            RetrySource::DeadLetter(_) => false,
        };
        let waiting = |retry: &Retry| waiting(retry).filter(|_| is_read(retry));
        let mut waiting = retries.in_memory().values().filter_map(|retry| Some((waiting(retry)?, retry.message)));
        let first = waiting.by_ref().take(WAITING).collect();
        // What only the store has is counted as one kind: the others in it are few.
        let more = waiting.count() as u64 + retries.beyond();
        (pulled.waiting, pulled.more_waiting) = (first, more);
        Some(Pull::Ready(pulled))
    }

    pub(super) fn on_moved(&mut self, id: SubscriptionId, moves: &Moves, answer: oneshot::Sender<bool>, stored: oneshot::Sender<()>) {
        let taken = matches!(self.pulled(id), Some(Pull::Ready(_)));
        if taken {
            let left = self.move_lanes(id, moves);
            match self.subscribers.get_mut(&id).filter(|subscriber| !left.is_empty() && !subscriber.retries.has_all()) {
                Some(subscriber) => {
                    subscriber.retries.begin_sweep();
                    self.sweep(id, left, stored);
                }
                None => {
                    self.after_commit.push(stored);
                    self.commit.at = Some(Time::ZERO);
                }
            }
            self.look_at(id);
        }
        // Who asked may have given up.
        answer.send(taken).ok();
    }

    /// Rids the store of what waits from these places on, beyond what was in memory. It begins once all that was put there before is
    /// written, and until it has ended nothing is sent or read: of what is put meanwhile some could go with it.
    fn sweep(&mut self, id: SubscriptionId, places: Vec<From>, answer: oneshot::Sender<()>) {
        let (written, context) = (self.all_written(), Rc::clone(&self.context));
        let places: Arc<[From]> = places.into();
        self.work.push(Box::pin(async move {
            // A shard that ends meanwhile has not answered.
            drop(written.await);
            loop {
                let (state, places) = (Arc::clone(&context.state), Arc::clone(&places));
                match context.blocking.run(move || state.remove_waiting(id, &places)).await {
                    Some(Ok(removed)) => return Done::Swept { subscription: id, removed, answer },
                    Some(Err(error)) => tracing::warn!(%error, subscription = %id, "what a reader passed over remains"),
                    // The process ends.
                    None => return Done::Nothing,
                }
                tokio::time::sleep(AGAIN).await;
            }
        }));
    }

    pub(super) fn on_swept(&mut self, id: SubscriptionId, removed: u64, answer: oneshot::Sender<()>) {
        if let Some(subscriber) = self.subscribers.get_mut(&id) {
            subscriber.retries.end_sweep(removed);
            self.look_at(id);
        }
        // Who asked may have given up.
        answer.send(()).ok();
    }

    /// Gives back the places from which on nothing waits any more.
    fn move_lanes(&mut self, id: SubscriptionId, moves: &Moves) -> Vec<From> {
        let (mut done, mut left): (Vec<RetryId>, Vec<From>) = Default::default();
        for (topic, incarnation, partition, next) in &moves.next {
            let Some(number) = self.numbers.get(&(topic.clone(), *partition)).copied() else { continue };
            if self.parts.get(&number).is_none_or(|part| part.topic.topic.meta.incarnation != *incarnation) {
                continue;
            }
            let Some(subscriber) = self.subscribers.get_mut(&id) else { return left };
            let key = super::lane::LaneKey { part: number, replay: None };
            let Some(lane) = subscriber.lanes.get_mut(&key) else { continue };
            let Mode::Lagging { next: before, .. } = lane.mode else { continue };
            let back = *next < before;
            let settled = if back || moves.seek { Vec::new() } else { lane.window.settled_above() };
            lane.window = Window::restored(settled.into_iter().filter(|offset| offset >= next).collect());
            lane.mode = Mode::Lagging { next: *next, reading: false };
            self.dirty_lanes.insert((id, key));
            // Those that are in the stream again, or that a seek leaves behind.
            if !back && !moves.seek {
                continue;
            }
            let from = if moves.seek { 0 } else { *next };
            let again = |place: &Waiting| place.topic == *topic && place.partition == *partition && place.offset >= from;
            let waits = subscriber.retries.in_memory().values().filter(|retry| waiting(retry).is_some_and(|place| again(&place)));
            done.extend(waits.map(Retry::id));
            left.push((topic.clone(), *partition, from));
        }
        for id in done {
            self.end_waiting(id, false);
        }
        let Some(subscriber) = self.subscribers.get(&id) else { return left };
        let had = |retry: &&Retry| waiting(retry).is_some_and(|place| moves.had.contains(&place));
        let had: Vec<_> = subscriber.retries.in_memory().values().filter(had).map(Retry::id).collect();
        for id in had {
            self.end_waiting(id, true);
        }
        moves.lost.iter().for_each(|lost| self.lose_waiting(id, lost));
        left
    }

    /// Gives up what waits in vain.
    fn lose_waiting(&mut self, id: SubscriptionId, lost: &Lost) {
        let now = self.context.clock.now();
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        let is_it = |retry: &&Retry| waiting(retry).is_some_and(|place| place == lost.place);
        let found = subscriber.retries.in_memory().values().find(is_it).map(Retry::id);
        let Some(retry) = found.and_then(|found| subscriber.retries.take(&found)) else { return };
        let item = Item { stored: lost.stored.clone(), ..Item::again(retry) };
        self.give_up(id, item, lost.reason, lost.detail, None, now);
    }

    /// The waiting delivery is over: its event was had by a reader, or is in the stream again.
    fn end_waiting(&mut self, id: RetryId, had: bool) {
        let Some(subscriber) = self.subscribers.get_mut(&id.subscription) else { return };
        let Some(retry) = subscriber.retries.take(&id) else { return };
        subscriber.keys.free(retry.key_hash, offset_of(&retry));
        self.outbox.delete_retry(id);
        self.deleted[0].insert(id);
        let Some(place) = waiting(&retry).filter(|_| had) else { return };
        self.context.attempts.record(Attempt {
            subscription: retry.subscription,
            topic: place.topic,
            position: Position { partition: place.partition, offset: place.offset },
            message: retry.message,
            delivery: retry.delivery,
            derived: retry.delivery == DeliveryId::of(retry.subscription, retry.message),
            event_hash: event_hash(""),
            number: retry.attempts + 1,
            at: self.context.clock.now(),
            duration_ms: 0,
            status: None,
            outcome: Outcome::Delivered,
            error: String::new(),
            response_head: Vec::new(),
            next_attempt_at: None,
        });
    }
}

/// The place of a delivery that a reader can take over; those of replays and of dead letters wait for pushing.
fn waiting(retry: &Retry) -> Option<Waiting> {
    match &retry.source {
        RetrySource::Log { topic, partition, offset, .. } if retry.replay.is_none() => {
            Some(Waiting { topic: topic.clone(), partition: *partition, offset: *offset })
        }
        _ => None,
    }
}

/// Whether the start of some lane is still being looked up.
fn is_starting(subscriber: &Subscriber) -> bool {
    subscriber.lanes.values().any(|lane| matches!(lane.mode, Mode::Lagging { next: u64::MAX, .. }))
}
