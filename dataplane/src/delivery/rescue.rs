//! Deliveries that wait for another attempt when retention takes their events: these become dead letters before they go, or are
//! dropped where a rule forbids those. Subscription by subscription, what is in memory first, then what only the store has.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use posthorn_domain::ids::{ReplayId, SubscriptionId};
use posthorn_domain::names::TopicName;
use posthorn_domain::reason::Reason;
use posthorn_domain::record::Stored;
use posthorn_domain::time::Time;
use posthorn_storage::log::LogError;
use posthorn_storage::state::{Retry, RetryId, RetrySource};
use tokio::sync::oneshot;

use super::batch::offset_of;
use super::item::{Item, Origin};
use super::retention::{Place, allows};
use super::shard::{Context, Shard};
use super::subscriber::Subscriber;
use super::tell;
use super::work::Done;
use crate::route::Table;

/// Bytes of the log that are read for the event of one delivery; those of its neighbours are found there too.
const PAGE_BYTES: usize = 64 << 10;
const PAGE_RECORDS: usize = 512;
/// Rows of the store that are looked at together.
const PAGE_ROWS: usize = 1024;
/// Bytes of events that one step holds.
const STEP_BYTES: usize = 1 << 20;

/// The search through all subscriptions that may have such deliveries.
pub(super) struct Rescue {
    places: Arc<[Place]>,
    /// Those still to be looked at; the last is under way.
    owners: Vec<SubscriptionId>,
    stage: Stage,
    /// What was found of it and has not been looked up in the log, in the order of places.
    waiting: Vec<Retry>,
    /// Events of it that are kept one by one.
    letters: usize,
    /// Bytes of events that may still be kept.
    room: usize,
    answer: oneshot::Sender<()>,
}

/// Whose one dead letter tells of many: subscription, topic, partition and replay.
type Owner = (SubscriptionId, TopicName, u32, Option<ReplayId>);

/// Where the search through one subscription stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing was looked at.
    Fresh,
    /// What was in memory is being dealt with.
    Memory,
    /// What the store has is, behind this one.
    Store(Option<RetryId>),
    /// There is no more.
    End,
}

/// What became of the event of a waiting delivery.
pub(super) enum Found {
    /// It is kept.
    Event(Arc<Stored>),
    /// It could not be read.
    Nothing,
    /// There are too many to keep each.
    TooMany,
}

impl Shard {
    /// Begins the search below these places. Answered once what it finds is stored, and all that was to be stored before.
    pub(super) fn rescue(&mut self, places: Arc<[Place]>, room: usize, answer: oneshot::Sender<()>) {
        let may_lose = |subscriber: &Subscriber| {
            !subscriber.retries.has_all() || subscriber.retries.in_memory().values().any(|retry| is_below(retry, &places))
        };
        let owners = self.subscribers.iter().filter(|(_, subscriber)| may_lose(subscriber)).map(|(id, _)| *id).collect();
        let rescue = Rescue { places, owners, stage: Stage::Fresh, waiting: Vec::new(), letters: 0, room, answer };
        self.go_on_rescuing(Box::new(rescue));
    }

    fn go_on_rescuing(&mut self, mut rescue: Box<Rescue>) {
        while rescue.waiting.is_empty() {
            let Some(owner) = rescue.owners.last() else { return self.end_rescue(*rescue) };
            let Some(subscriber) = self.subscribers.get(owner) else {
                rescue.next_owner();
                continue;
            };
            match rescue.stage {
                Stage::Fresh => {
                    let waiting = subscriber.retries.in_memory().values().filter(|retry| is_below(retry, &rescue.places));
                    rescue.waiting = waiting.cloned().collect();
                    rescue.stage = Stage::Memory;
                }
                Stage::Memory if !subscriber.retries.has_all() => rescue.stage = Stage::Store(None),
                Stage::Memory | Stage::End => rescue.next_owner(),
                Stage::Store(_) => break,
            }
        }
        // What was put off lately is in the store once all is written that there is to write now.
        let written = (rescue.waiting.is_empty() && rescue.stage == Stage::Store(None)).then(|| self.all_written());
        let (context, table) = (Rc::clone(&self.context), Arc::clone(&self.table));
        self.work.push(Box::pin(async move {
            if let Some(written) = written {
                // A shard that ends meanwhile asks nothing more.
                drop(written.await);
            }
            rescue.load(&context).await;
            let found = rescue.look_up(&context, &table).await;
            Done::Rescued { rescue, found }
        }));
    }

    pub(super) fn on_rescued(&mut self, mut rescue: Box<Rescue>, found: Vec<(Retry, Found)>) {
        let now = self.context.clock.now();
        let (from_store, mut rest) = (rescue.stage != Stage::Memory, Vec::new());
        for (retry, found) in found {
            if !self.take_waiting(&retry, from_store) {
                continue;
            }
            let id = retry.subscription;
            let mut item = Item::again(retry);
            match found {
                Found::Event(stored) => {
                    rescue.room = rescue.room.saturating_sub(stored.record.event.size());
                    item.stored = Some(stored);
                    self.give_up_passed(id, item, now);
                }
                Found::Nothing => self.give_up_passed(id, item, now),
                Found::TooMany => rest.push((id, item)),
            }
        }
        self.give_up_together(rest, now);
        if let Some(owner) = rescue.owners.last() {
            self.look_at(*owner);
        }
        self.go_on_rescuing(rescue);
    }

    /// Gives up what is too much to be kept one by one: a dead letter for all of one subscription, partition and replay.
    fn give_up_together(&mut self, items: Vec<(SubscriptionId, Item)>, now: Time) {
        let mut together: BTreeMap<Owner, (Range<u64>, u64)> = BTreeMap::new();
        for (id, item) in items {
            let Some(subscriber) = self.subscribers.get(&id) else { continue };
            if !allows(subscriber) {
                self.give_up_passed(id, item, now);
                continue;
            }
            let place = item.place();
            let of = (id, item.topic.clone(), place.partition, item.of_replay());
            let (range, count) = together.entry(of).or_insert((place.offset..place.offset + 1, 0));
            *range = range.start.min(place.offset)..range.end.max(place.offset + 1);
            *count += 1;
            self.give_up_passed_with_others(id, &item, now);
        }
        for ((id, topic, partition, replay), (range, count)) in together {
            let (first, last) = (range.start, range.end - 1);
            let detail = format!(
                "retention deleted the events of {count} deliveries that waited for another attempt, at offsets {first} to {last} of partition {partition}"
            );
            tell::retention_passed(&self.context, id, &topic, partition, (range, count), true);
            tell::given_up(&self.context, id, &topic, Reason::RetentionPassed, true);
            self.range_letter(id, (topic, partition, first), Reason::RetentionPassed, detail, replay);
        }
    }

    fn end_rescue(&mut self, rescue: Rescue) {
        self.after_commit.push(rescue.answer);
        self.commit.at = Some(Time::ZERO);
    }

    /// Whether the delivery still waits; then it does no more. One that is being attempted is dealt with when that ends.
    fn take_waiting(&mut self, retry: &Retry, from_store: bool) -> bool {
        let key = retry.id();
        let Some(subscriber) = self.subscribers.get_mut(&retry.subscription) else { return false };
        if subscriber.replays.is_cancelled(retry.replay) {
            return false;
        }
        if subscriber.retries.take(&key).is_some() {
            return true;
        }
        let known = subscriber.flying.contains(&key) || self.deleted.iter().any(|deleted| deleted.contains(&key));
        if known || !from_store || !subscriber.retries.is_beyond(retry) {
            return false;
        }
        subscriber.retries.take_beyond();
        // As if it had been in memory: settling frees it.
        subscriber.keys.block(retry.key_hash, offset_of(retry));
        true
    }

    /// Whether retention has taken the event that this delivery needs for another attempt.
    pub(super) fn has_passed(&self, item: &Item) -> bool {
        let Some(position) = item.position else { return false };
        let part = match &item.origin {
            Origin::Lane(key, _) => self.parts.get(&key.part),
            Origin::Retry(retry) => match &retry.source {
                RetrySource::DeadLetter(_) => return false,
                RetrySource::Log { incarnation, .. } => {
                    let number = self.numbers.get(&(item.topic.clone(), position.partition));
                    let part = number.and_then(|number| self.parts.get(number));
                    part.filter(|part| part.topic.topic.meta.incarnation == *incarnation)
                }
            },
        };
        part.is_some_and(|part| position.offset < part.passed.max(part.topic.log.bounds(position.partition).start))
    }
}

impl Rescue {
    fn next_owner(&mut self) {
        self.owners.pop();
        self.stage = Stage::Fresh;
        self.letters = 0;
    }

    /// Has something waiting, if the store has something: page after page.
    async fn load(&mut self, context: &Context) {
        while let (true, Stage::Store(after), Some(owner)) = (self.waiting.is_empty(), self.stage, self.owners.last().copied()) {
            let state = Arc::clone(&context.state);
            match context.blocking.run(move || state.retries(owner, after, PAGE_ROWS)).await {
                Some(Ok(mut page)) => {
                    let more = page.len() >= PAGE_ROWS;
                    self.stage = page.last().filter(|_| more).map_or(Stage::End, |last| Stage::Store(Some(last.id())));
                    page.retain(|retry| is_below(retry, &self.places));
                    self.waiting = page;
                }
                Some(Err(error)) => {
                    tracing::error!(%error, subscription = %owner, "waiting deliveries whose events go cannot be read");
                    self.stage = Stage::End;
                }
                None => self.stage = Stage::End,
            }
        }
        // Taken from the end, the least place first.
        self.waiting.sort_by_key(|retry| std::cmp::Reverse(place_of(retry)));
    }

    /// Reads the events of the next that wait, of so many as one step may hold.
    async fn look_up(&mut self, context: &Context, table: &Table) -> Vec<(Retry, Found)> {
        let most = context.config.max_retention_letters;
        let (mut found, mut bytes) = (Vec::new(), 0);
        let mut page: Option<(Place, Vec<Arc<Stored>>)> = None;
        while let Some(retry) = self.waiting.pop_if(|_| bytes < STEP_BYTES) {
            if self.letters >= most || bytes >= self.room {
                found.push((retry, Found::TooMany));
                continue;
            }
            let Some(place) = place_of(&retry) else { continue };
            let is_there = |(of, records): &(Place, Vec<Arc<Stored>>)| {
                (&of.0, of.1) == (&place.0, place.1) && of.2 <= place.2 && records.last().is_some_and(|last| last.offset >= place.2)
            };
            if !page.as_ref().is_some_and(is_there) {
                page = read(table, &retry).await.map(|records| (place.clone(), records));
            }
            let records = page.iter().flat_map(|(_, records)| records);
            let stored = records.filter(|stored| stored.offset == place.2).find(|stored| stored.message_id(&place.0) == retry.message);
            let event = stored.map_or(Found::Nothing, |stored| Found::Event(Arc::new(stored.detached())));
            if let Found::Event(stored) = &event {
                bytes += stored.record.event.size();
                self.letters += 1;
            }
            found.push((retry, event));
        }
        found
    }
}

/// The events from the retry's on, as many as one read gives; none when they cannot be read.
async fn read(table: &Table, retry: &Retry) -> Option<Vec<Arc<Stored>>> {
    let RetrySource::Log { topic, incarnation, partition, offset } = &retry.source else { return None };
    let route = table.topics.get(topic).filter(|route| route.topic.meta.incarnation == *incarnation)?;
    match route.log.read(*partition, *offset, PAGE_BYTES, PAGE_RECORDS).await {
        Ok(page) => Some(page.records),
        Err(LogError::BelowStart { .. }) => None,
        Err(error) => {
            tracing::error!(%error, %topic, partition, offset, "an event that is about to go cannot be read");
            None
        }
    }
}

/// Where the event of a delivery is in the log, if it is there.
fn place_of(retry: &Retry) -> Option<Place> {
    match &retry.source {
        RetrySource::Log { topic, partition, offset, .. } => Some((topic.clone(), *partition, *offset)),
        RetrySource::DeadLetter(_) => None,
    }
}

fn is_below(retry: &Retry, places: &[Place]) -> bool {
    let RetrySource::Log { topic, partition, offset, .. } = &retry.source else { return false };
    places.iter().any(|(of, at, end)| of == topic && at == partition && offset < end)
}
