//! The snapshot changes: partitions and subscriptions come, change and go.

use std::sync::Arc;

use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::names::TopicName;
use posthorn_domain::resource::Start;
use posthorn_domain::time::Time;
use posthorn_storage::state::{Base, Health, LaneState, Loaded, Replay, Start as StartRow};

use super::catchup::{ASK_AGAIN, show_lagging};
use super::health;
use super::lane::{Lane, LaneKey, Mode};
use super::maps::{HashMap, HashSet};
use super::part::Part;
use super::replays::Replays;
use super::service::shard_of;
use super::shard::Shard;
use super::subscriber::{Subscriber, target_of};
use super::tell;
use super::window::Window;
use super::work::Done;
use crate::route::{SubscriptionRoute, Table, TopicRoute};

/// What an earlier process left for this shard; taken up as topics and subscriptions appear.
#[derive(Default)]
pub(super) struct Restored {
    bases: HashMap<(TopicName, u64, u32), u64>,
    lanes: HashMap<SubscriptionId, Vec<LaneState>>,
    /// Subscriptions that were given their start already.
    seen: Ids,
    /// Of these, those that are gone since.
    gone: HashSet<SubscriptionId>,
    replays: HashMap<SubscriptionId, Vec<Replay>>,
    /// Whether it had stored all it had done.
    pub(super) clean: bool,
    /// Subscriptions with waiting deliveries.
    waiting: HashSet<SubscriptionId>,
    health: HashMap<SubscriptionId, Health>,
}

/// Ids in order: there may be a hundred thousand.
#[derive(Default)]
struct Ids(Box<[SubscriptionId]>);

impl Ids {
    fn of(all: impl Iterator<Item = SubscriptionId>) -> Self {
        let mut all: Vec<_> = all.collect();
        all.sort_unstable();
        all.dedup();
        Self(all.into())
    }

    fn has(&self, id: SubscriptionId) -> bool {
        self.0.binary_search(&id).is_ok()
    }
}

/// Under this name a [`StartRow`] says that a subscription was given its start.
const SEEN: &str = "posthorn.seen";
/// So often a start is looked for in a log that cannot be read.
const START_LOOKS: u32 = 60;

impl Restored {
    /// This shard's share of what was stored.
    pub(super) fn of(loaded: &Loaded, waiting: &[SubscriptionId], shard: u16, shards: u16) -> Self {
        let mut restored = Self { bases: bases_of(&loaded.bases, shard, shards), ..Self::default() };
        for lane in loaded.lanes.iter().filter(|lane| shard_of(lane.subscription, shards) == shard) {
            restored.lanes.entry(lane.subscription).or_default().push(lane.clone());
        }
        // Where nothing was stored nothing can have been done.
        restored.clean = loaded.clean || loaded.starts.is_empty();
        for replay in loaded.replays.iter().filter(|replay| shard_of(replay.subscription, shards) == shard) {
            restored.replays.entry(replay.subscription).or_default().push(replay.clone());
        }
        restored.seen = Ids::of(loaded.starts.iter().map(|start| start.subscription).filter(|id| shard_of(*id, shards) == shard));
        restored.waiting.extend(waiting.iter().filter(|id| shard_of(**id, shards) == shard));
        let health = loaded.health.iter().filter(|row| shard_of(row.subscription, shards) == shard);
        restored.health.extend(health.map(|row| (row.subscription, row.clone())));
        restored
    }

    /// Whether the subscription was known, and there is nothing to go on with.
    pub(super) fn left_nothing(&self, id: SubscriptionId) -> bool {
        let nothing = !self.lanes.contains_key(&id) && !self.replays.contains_key(&id) && !self.health.contains_key(&id);
        nothing && !self.waiting.contains(&id) && self.seen.has(id)
    }

    /// Where feeding goes on. Without a row: at the beginning, unless the whole state was lost, when starts decide.
    fn base(&mut self, topic: &TopicRoute, partition: u32) -> u64 {
        let end = topic.log.bounds(partition).end;
        let key = (topic.topic.name.clone(), topic.topic.meta.incarnation, partition);
        let fallback = if self.seen.0.is_empty() { end } else { 0 };
        self.bases.remove(&key).unwrap_or(fallback)
    }
}

impl Shard {
    /// Costs what has changed, as long as no table was missed.
    pub(super) fn on_table(&mut self, table: Arc<Table>) {
        let old = std::mem::replace(&mut self.table, Arc::clone(&table));
        let all = table.changes.since != Some(old.generation);
        if all || table.changes.topics {
            self.update_parts(&table);
        }
        if all {
            self.take_up_differing(&old, &table);
        }
        let changed = if all { &[][..] } else { &table.changes.subscriptions };
        for id in changed {
            self.take_up(&old, *id, table.subscriptions.get(id));
        }
        // New partitions concern whoever rests; other changes concern only who changed.
        let looked_at = if all || table.changes.topics { self.subscribers.keys().copied().collect() } else { changed.to_vec() };
        for id in looked_at {
            if self.subscribers.get(&id).is_some_and(|subscriber| !subscriber.route.pushes()) {
                self.hold_place(id);
            }
        }
    }

    /// Subscriptions that are not what they were, or gone. There may be a hundred thousand, so they are not listed first.
    fn take_up_differing(&mut self, old: &Table, table: &Table) {
        let is_new = |route: &&Arc<SubscriptionRoute>| !old.subscriptions.get(&route.id()).is_some_and(|before| Arc::ptr_eq(before, route));
        for route in table.subscriptions.values().filter(is_new) {
            self.take_up(old, route.id(), Some(route));
        }
        for id in old.subscriptions.keys().filter(|id| !table.subscriptions.contains_key(id)) {
            self.take_up(old, *id, None);
        }
    }

    /// A subscription was made, changed or removed.
    fn take_up(&mut self, old: &Table, id: SubscriptionId, now: Option<&Arc<SubscriptionRoute>>) {
        if !self.is_mine(id) {
            return;
        }
        // Changes go on from what it was, so they find it awake.
        self.rouse_in(old, id);
        match now {
            Some(route) => self.place_subscriber(Arc::clone(route)),
            None => {
                if self.restored.seen.has(id) {
                    self.restored.gone.insert(id);
                }
                self.remove_subscriber(id);
            }
        }
    }

    fn update_parts(&mut self, table: &Table) {
        let stale: Vec<u32> = self.parts.iter().filter(|(_, part)| !is_current(table, &part.topic)).map(|(number, _)| *number).collect();
        stale.into_iter().for_each(|number| self.remove_part(number));
        let is_absent = |id: &&SubscriptionId| !table.subscriptions.contains_key(id) && !self.restored.gone.contains(id);
        let absent: Vec<_> = self.restored.seen.0.iter().filter(is_absent).copied().collect();
        for (name, topic) in &table.topics {
            for partition in 0..topic.topic.spec.partitions {
                match self.numbers.get(&(name.clone(), partition)).and_then(|number| self.parts.get_mut(number)) {
                    Some(part) => part.topic = Arc::clone(topic),
                    None => self.add_part(topic, partition, &absent),
                }
            }
        }
    }

    fn add_part(&mut self, topic: &Arc<TopicRoute>, partition: u32, absent: &[SubscriptionId]) {
        let number = self.next_part;
        self.next_part += 1;
        let fed = self.restored.base(topic, partition);
        let last_at = if fed == 0 { Time::ZERO } else { Time::MAX };
        self.numbers.insert((topic.topic.name.clone(), partition), number);
        self.names.insert(number, (topic.topic.name.clone(), partition));
        self.parts.insert(number, Part { topic: Arc::clone(topic), partition, fed, reading: false, passed: 0, last_at });
        self.dirty_parts.insert(number);
        self.doubts.opened(number, topic.log.bounds(partition).end);
        self.hold_for_absent(absent, topic, partition, fed);
        self.read_part(number);
    }

    /// A subscription that was given its start before a crash may be newer than the snapshot that was found on the disk. Until the
    /// control plane tells of it again, events go by that it is to get: its place is noted before they do.
    fn hold_for_absent(&mut self, absent: &[SubscriptionId], topic: &TopicRoute, partition: u32, next: u64) {
        for subscription in absent.iter().copied() {
            let rows = self.restored.lanes.entry(subscription).or_default();
            let (name, incarnation) = (&topic.topic.name, topic.topic.meta.incarnation);
            let is_here = |row: &LaneState| row.topic == *name && row.incarnation == incarnation && row.partition == partition;
            if !rows.iter().any(|row| is_here(row) && row.replay.is_none()) {
                let settled = Vec::new();
                let row = LaneState { subscription, topic: name.clone(), incarnation, partition, replay: None, next, settled, until: None };
                self.outbox.put_lane(row.clone());
                rows.push(row);
            }
        }
    }

    fn remove_part(&mut self, number: u32) {
        let holders: Vec<_> = self
            .subscribers
            .values()
            .flat_map(|subscriber| subscriber.lanes.keys().filter(|key| key.part == number).map(|key| (subscriber.id(), *key)))
            .collect();
        for (id, key) in holders {
            self.drop_lane(id, key);
            if key.replay.is_some() {
                self.finish_replays(id);
            }
        }
        self.parts.remove(&number);
        self.pages.forget(number);
        self.dirty_parts.remove(&number);
        if let Some(name) = self.names.remove(&number) {
            self.numbers.remove(&name);
        }
    }

    fn place_subscriber(&mut self, route: Arc<SubscriptionRoute>) {
        let id = route.id();
        if !self.subscribers.contains_key(&id) && self.begins_at_rest(&route) {
            return;
        }
        if target_of(&route).is_none() {
            tracing::error!(subscription = %id, "no request can be made to the endpoint's URL; nothing is delivered");
            return;
        }
        match self.subscribers.get_mut(&id) {
            Some(subscriber) => {
                tell::disabled(&self.context, subscriber.route.subscription(), route.subscription());
                subscriber.change(route);
                self.note_health(id);
            }
            None => {
                let left = self.restored.waiting.remove(&id);
                let mut subscriber = Box::new(Subscriber::new(route, self.backlog(left)));
                let most = self.context.config.max_in_flight_per_subscription;
                subscriber.replays = Replays::restored(self.restored.replays.remove(&id).unwrap_or_default(), most);
                if let Some(health) = self.restored.health.remove(&id) {
                    subscriber.restore(&health, self.context.clock.now());
                }
                health::show(&self.context, &mut subscriber);
                self.subscribers.insert(id, subscriber);
                if self.restored.seen.has(id) {
                    self.restore_lanes(id);
                    self.take_up_replays(id);
                } else {
                    self.start_lanes(id);
                    if self.lay_to_rest(id) {
                        return;
                    }
                }
            }
        }
        self.look_at(id);
    }

    fn restore_lanes(&mut self, id: SubscriptionId) {
        self.doubts.restored(id);
        for row in self.restored.lanes.remove(&id).unwrap_or_default() {
            let Some(number) = self.numbers.get(&(row.topic.clone(), row.partition)).copied() else { continue };
            let Some(part) = self.parts.get(&number).filter(|part| part.topic.topic.meta.incarnation == row.incarnation) else { continue };
            #[cfg(feature = "planted")]
            let row = super::planted::restored(row);
            let next = row.next;
            let tailing = row.until.is_none() && next >= part.fed;
            self.doubts.lane(id, LaneKey { part: number, replay: row.replay }, next, part.fed);
            let mode = if tailing { Mode::Tailing { from: next } } else { Mode::Lagging { next, reading: false } };
            let lane = Lane { window: Window::restored(row.settled), until: row.until, stored: true, ..Lane::new(mode) };
            if let Some(subscriber) = self.subscribers.get_mut(&id) {
                subscriber.lanes.insert(LaneKey { part: number, replay: row.replay }, lane);
            }
        }
    }

    /// Gives a new subscription its place on every partition that it may read. Nothing of it is stored, and the snapshot is not
    /// acknowledged, before all places are known.
    fn start_lanes(&mut self, id: SubscriptionId) {
        let Some(subscriber) = self.subscribers.get(&id) else { return };
        let route = Arc::clone(&subscriber.route);
        let created = route.subscription().meta.created_at;
        for number in self.parts_for(&route) {
            let Some(part) = self.parts.get(&number) else { continue };
            let bounds = part.topic.log.bounds(part.partition);
            let since = match route.subscription().spec.start {
                Start::Earliest => {
                    self.start_at(id, number, bounds.start);
                    continue;
                }
                Start::At(time) => time,
                // "The next event" is the next one after the subscription was made, also when this node hears of it later.
                Start::Latest => created,
            };
            if part.fed == bounds.end && (bounds.end == bounds.start || part.last_at < since) {
                self.start_at(id, number, bounds.end);
                continue;
            }
            let placeholder = Lane::new(Mode::Lagging { next: u64::MAX, reading: true });
            let (log, partition) = (Arc::clone(&part.topic.log), part.partition);
            if let Some(subscriber) = self.subscribers.get_mut(&id) {
                subscriber.lanes.insert(LaneKey { part: number, replay: None }, placeholder);
            }
            self.starting += 1;
            self.work.push(Box::pin(async move {
                for _ in 0..START_LOOKS {
                    match log.offset_at(partition, since).await {
                        Ok(offset) => return Done::Start { subscription: id, part: number, offset },
                        Err(error) => tracing::warn!(%error, subscription = %id, "where to start cannot be found; it is looked for again"),
                    }
                    tokio::time::sleep(ASK_AGAIN).await;
                }
                tracing::error!(subscription = %id, "where to start cannot be found; the subscription starts at the beginning");
                Done::Start { subscription: id, part: number, offset: log.bounds(partition).start }
            }));
        }
        let incarnation = route.subscription().meta.incarnation;
        let topic: TopicName = SEEN.parse().expect("a name");
        self.outbox.put_start(StartRow { subscription: id, topic, incarnation, offsets: Vec::new() });
        self.checkpoint_soon();
    }

    pub(super) fn on_start(&mut self, id: SubscriptionId, number: u32, offset: u64) {
        self.starting = self.starting.saturating_sub(1);
        self.start_at(id, number, offset);
        if self.subscribers.get(&id).is_some_and(|subscriber| !subscriber.route.pushes()) {
            self.hold_place(id);
        }
        self.look_at(id);
    }

    fn start_at(&mut self, id: SubscriptionId, number: u32, offset: u64) {
        let key = LaneKey { part: number, replay: None };
        let (Some(part), Some(subscriber)) = (self.parts.get(&number), self.subscribers.get_mut(&id)) else { return };
        let mode = if offset >= part.fed { Mode::Tailing { from: offset } } else { Mode::Lagging { next: offset, reading: false } };
        let lane = Lane::new(mode);
        if lane.is_idle(part.fed) {
            subscriber.lanes.remove(&key);
        } else {
            subscriber.lanes.insert(key, lane);
            self.dirty_lanes.insert((id, key));
        }
    }

    /// The partitions that the subscription may read.
    fn parts_for(&self, route: &SubscriptionRoute) -> Vec<u32> {
        if let Some(topic) = route.only_topic() {
            let Some((name, topic)) = self.table.topics.get_key_value(topic) else { return Vec::new() };
            let number = |partition| self.numbers.get(&(name.clone(), partition)).copied();
            return (0..topic.topic.spec.partitions).filter_map(number).filter(|_| route.admits_topic(name)).collect();
        }
        self.parts.iter().filter(|(_, part)| route.admits_topic(&part.topic.topic.name)).map(|(number, _)| *number).collect()
    }

    /// A subscription that does not deliver keeps its place: its lanes stop where they are, on every partition it may read.
    fn hold_place(&mut self, id: SubscriptionId) {
        let Some(route) = self.subscribers.get(&id).map(|subscriber| Arc::clone(&subscriber.route)) else { return };
        let numbers = self.parts_for(&route);
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        for number in numbers {
            let Some(part) = self.parts.get(&number) else { continue };
            let key = LaneKey { part: number, replay: None };
            let lane = subscriber.lanes.entry(key).or_insert_with(|| Lane::new(Mode::Tailing { from: part.fed }));
            if matches!(lane.mode, Mode::Tailing { .. }) {
                lane.mode = Mode::Lagging { next: lane.seen(part.fed), reading: false };
                self.dirty_lanes.insert((id, key));
            }
            // It may rest for long: what it had in memory is in the log.
            if subscriber.cut(key, 0, &mut self.budget) {
                self.dirty_lanes.insert((id, key));
            }
        }
        show_lagging(&self.context, subscriber);
        self.checkpoint_soon();
    }

    fn remove_subscriber(&mut self, id: SubscriptionId) {
        let Some(mut subscriber) = self.subscribers.remove(&id) else { return };
        self.context.metrics.waiting.decrement(subscriber.shown_waiting as f64);
        self.context.metrics.lagging.decrement(subscriber.shown_lagging as f64);
        subscriber.lanes.values_mut().for_each(|lane| lane.clear(&mut self.budget));
        self.dirty_lanes.retain(|(owner, _)| *owner != id);
        self.dirty_replays.retain(|(owner, _)| *owner != id);
        self.dirty_health.remove(&id);
        health::hide(&self.context, &subscriber);
        if let Some(at) = subscriber.wake {
            self.wakes.remove(&(at, id));
        }
        self.removed.push(id);
        self.checkpoint_soon();
    }
}

/// Where this shard goes on, for each partition. Rows stay when the number of shards changes, and every row is true for ever of the
/// lanes that it spoke for: they have passed its offset or have a row of their own. So this shard's own row counts, and of another
/// number of shards the least, once all of them have one (together they speak for every lane); the greatest of these is the newest.
fn bases_of(rows: &[Base], shard: u16, shards: u16) -> HashMap<(TopicName, u64, u32), u64> {
    let mut found = HashMap::default();
    let mut others: HashMap<(&TopicName, u64, u32, u16), (u16, u64)> = HashMap::default();
    let mut count = |name: &TopicName, incarnation, partition, offset: u64| {
        let known = found.entry((name.clone(), incarnation, partition)).or_insert(offset);
        *known = offset.max(*known);
    };
    for row in rows {
        if row.shards != shards {
            let (rows, least) = others.entry((&row.topic, row.incarnation, row.partition, row.shards)).or_insert((0, u64::MAX));
            (*rows, *least) = (*rows + 1, row.offset.min(*least));
        } else if row.shard == shard {
            count(&row.topic, row.incarnation, row.partition, row.offset);
        }
    }
    for ((name, incarnation, partition, of), (rows, least)) in others {
        if rows == of {
            count(name, incarnation, partition, least);
        }
    }
    found
}

/// Whether the topic is still the one that the table has.
fn is_current(table: &Table, topic: &TopicRoute) -> bool {
    let now = table.topics.get(&topic.topic.name);
    now.is_some_and(|now| now.topic.meta.incarnation == topic.topic.meta.incarnation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_life_decides_where_a_shard_goes_on() {
        let topic: TopicName = "orders".parse().unwrap();
        let row = |shard, shards, offset| Base { topic: topic.clone(), incarnation: 1, partition: 0, shard, shards, offset };
        let base = |rows: &[Base], shard, shards| bases_of(rows, shard, shards).get(&(topic.clone(), 1, 0)).copied();
        // One shard, then three, of which one was slower.
        let rows = [row(0, 1, 10), row(0, 3, 30), row(1, 3, 25), row(2, 3, 30)];
        assert_eq!((base(&rows, 0, 3), base(&rows, 1, 3)), (Some(30), Some(25)));
        assert_eq!((base(&rows, 0, 1), base(&rows, 1, 2)), (Some(25), Some(25)));
        // Of three, one never wrote: what the other two passed says nothing of its lanes.
        let rows = [row(0, 1, 10), row(0, 3, 30), row(1, 3, 25)];
        assert_eq!((base(&rows, 2, 3), base(&rows, 0, 1)), (Some(10), Some(10)));
        assert_eq!(base(&rows[1..], 0, 2), None);
    }
}
