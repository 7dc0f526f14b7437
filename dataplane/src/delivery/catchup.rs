//! Lagging lanes read on from the log, with what tailing ones leave over: they stand back in turns, share pages, pass over segments
//! that have nothing for them, and hold no more memory than their share.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::reason::Reason;
use posthorn_domain::record::Stored;
use posthorn_storage::log::{LogError, Page};
use smallvec::SmallVec;

use super::budget::Room;
use super::lane::{LaneKey, Mode, weight};
use super::pages::{Join, Kept, PAGE_BYTES, PAGE_RECORDS, Waiter};
use super::shard::{Context, Shard};
use super::subscriber::Subscriber;
use super::work::Done;

/// Requests that one that is behind begins in a turn.
const REQUESTS: usize = 16;
/// Events that one that is behind looks at in a turn; a filter may take microseconds for each.
const EVENTS: usize = 64;
/// Turns of the others after which those that are behind get one, however much there is to do.
const PATIENCE: u32 = 64;
/// Those who wait in line that are served by whatever ends.
const SERVED: usize = 2;
/// After this, who waits in line asks again, and what could not be read is read again.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(1);

impl Shard {
    /// Has the subscriber's turn come soon; whoever is behind comes after those that are not.
    pub(super) fn look_at(&mut self, id: SubscriptionId) {
        if self.in_turn.insert(id) {
            let behind = self.subscribers.get(&id).is_some_and(|subscriber| subscriber.is_behind());
            if behind { self.later.push_back(id) } else { self.turn.push_back(id) }
        }
    }

    /// Lets the next of those that are behind act a little: there is time to spare, or they have waited long.
    pub(super) fn go_on(&mut self) {
        self.patience = 0;
        let now = self.context.clock.now();
        if let Some(id) = self.later.pop_front() {
            self.in_turn.remove(&id);
            self.pump(id, now, REQUESTS);
        }
    }

    /// A turn of the others has passed.
    pub(super) fn be_patient(&mut self) {
        if !self.later.is_empty() {
            self.patience += 1;
            if self.patience >= PATIENCE {
                self.go_on();
            }
        }
    }

    /// Starts reads for lagging lanes that have room, if their subscription can send.
    pub(super) fn read_on(&mut self, id: SubscriptionId) {
        let halted = self.is_halted();
        let Some(subscriber) = self.subscribers.get(&id).filter(|subscriber| subscriber.is_live() && !halted) else { return };
        let lagging = subscriber.lanes.iter().filter(|(_, lane)| matches!(lane.mode, Mode::Lagging { reading: false, .. }));
        let lagging: SmallVec<[LaneKey; 4]> = lagging.map(|(key, _)| *key).collect();
        for key in lagging {
            self.catch_up(id, key);
        }
    }

    /// One step of a lagging lane: over what it does not want, then a page that is there, or the reading of one.
    fn catch_up(&mut self, id: SubscriptionId, key: LaneKey) {
        let Some(part) = self.parts.get(&key.part) else { return };
        let (topic, partition) = (Arc::clone(&part.topic), part.partition);
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        let low = subscriber.lane_events(self.context.config.max_lane_events).low;
        let wanted = subscriber.wanted();
        let Some(lane) = subscriber.lanes.get_mut(&key).filter(|lane| lane.queue.len() < low) else { return };
        let Mode::Lagging { next: from, reading: false } = lane.mode else { return };
        let end = lane.until.unwrap_or(u64::MAX).min(topic.log.bounds(partition).end);
        let next = if from < end { topic.log.skip(partition, from, &wanted).min(end) } else { from };
        if next > from {
            self.context.metrics.skipped.increment(next - from);
            self.move_on(id, key, next);
            return self.look_at(id);
        }
        if next >= end {
            if lane.until.is_none() {
                self.move_on(id, key, next);
            } else {
                // A replay whose rest the log has lost was put at its end.
                self.end_replay(id, key);
            }
            return;
        }
        match self.pages.find(key.part, next) {
            Some(page) => {
                let shared = page.is_new_to(id, key, next);
                self.context.metrics.pages_shared.increment(u64::from(shared));
                self.take_page(id, key, &page);
            }
            None => self.read_page(id, key, next),
        }
    }

    fn read_page(&mut self, id: SubscriptionId, key: LaneKey, next: u64) {
        let Some(part) = self.parts.get(&key.part) else { return };
        let join = self.pages.join(key.part, Waiter { subscription: id, lane: key, next });
        if join == Join::Full {
            return self.stand_in_line(id);
        }
        if let Some(lane) = self.subscribers.get_mut(&id).and_then(|subscriber| subscriber.lanes.get_mut(&key)) {
            lane.mode = Mode::Lagging { next, reading: true };
        }
        if join == Join::Read {
            self.context.metrics.page_reads.increment(1);
            let (log, partition, part) = (Arc::clone(&part.topic.log), part.partition, key.part);
            self.work.push(Box::pin(async move {
                let page = log.read(partition, next, PAGE_BYTES, PAGE_RECORDS).await;
                Done::Page { part, from: next, page }
            }));
        }
    }

    pub(super) fn on_page(&mut self, part: u32, from: u64, page: Result<Page, LogError>) {
        let mut waiters = self.pages.ended(part, from);
        // Those whose lane was placed elsewhere meanwhile wait for nothing here.
        waiters.retain(|waiter| {
            let lane = self.subscribers.get_mut(&waiter.subscription).and_then(|subscriber| subscriber.lanes.get_mut(&waiter.lane));
            let waiting = lane.filter(|lane| lane.mode == Mode::Lagging { next: waiter.next, reading: true });
            waiting.map(|lane| lane.mode = Mode::Lagging { next: waiter.next, reading: false }).is_some()
        });
        match page {
            Ok(page) => {
                let reader = waiters.first().map(|first| (first.subscription, first.lane));
                let page = self.pages.keep(part, from, page, reader);
                // One at once, so that somebody comes on whatever becomes of the page.
                if let Some(first) = waiters.first().filter(|first| first.next == from) {
                    self.take_page(first.subscription, first.lane, &page);
                }
                waiters.iter().for_each(|waiter| self.look_at(waiter.subscription));
            }
            Err(error) => waiters.iter().for_each(|waiter| self.not_read(*waiter, &error)),
        }
    }

    fn not_read(&mut self, waiter: Waiter, error: &LogError) {
        let Waiter { subscription: id, lane: key, next: from } = waiter;
        match error {
            LogError::BelowStart { start } if *start > from => {
                let lane = self.subscribers.get(&id).and_then(|subscriber| subscriber.lanes.get(&key));
                let end = lane.and_then(|lane| lane.until).unwrap_or(u64::MAX).min(*start);
                self.lose_lane_range(id, key, from..end, Reason::RetentionPassed);
                self.move_on(id, key, *start);
                self.look_at(id);
            }
            LogError::BelowStart { .. } => self.look_at(id),
            error => {
                tracing::error!(%error, subscription = %id, "the log cannot be read; the lane waits");
                let later = self.context.clock.now().after(ASK_AGAIN);
                self.wake(id, later);
            }
        }
    }

    /// Takes of the page what the lane wants and has room for; where that ends, it goes on later.
    fn take_page(&mut self, id: SubscriptionId, key: LaneKey, page: &Rc<Kept>) {
        let Some(part) = self.parts.get(&key.part) else { return };
        let (table, topic) = (Arc::clone(&self.table), Arc::clone(&part.topic));
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        let most = subscriber.lane_events(self.context.config.max_lane_events).most;
        let batch = subscriber.is_batch();
        let Some(lane) = subscriber.lanes.get_mut(&key) else { return };
        let Mode::Lagging { next: from, .. } = lane.mode else { return };
        let until = lane.until.unwrap_or(u64::MAX);
        // Batches of what was read in small steps would be small.
        let looked_at = if batch { PAGE_RECORDS } else { EVENTS };
        let mut next = page.page.next.min(until);
        let (mut taken, mut bytes, mut room): (Vec<Arc<Stored>>, usize, Room) = (Vec::new(), 0, Room::Yes);
        let here = page.page.records.iter().filter(|stored| (from..until).contains(&stored.offset));
        for (nth, stored) in here.enumerate() {
            if nth == looked_at {
                next = stored.offset;
                break;
            }
            if !self.decided.wants(&subscriber.route, &table, &topic, key.part, stored) {
                continue;
            }
            room = self.budget.ask(lane.held, bytes + weight(stored));
            if room != Room::Yes || lane.queue.len() + taken.len() >= most {
                next = stored.offset;
                break;
            }
            bytes += weight(stored);
            taken.push(Arc::clone(stored));
        }
        // Few of a page on their own, so that they do not hold all of it in memory.
        let few = bytes < page.bytes / 4;
        let was_empty = lane.queue.is_empty();
        for stored in taken {
            let stored = if few { Arc::new(stored.detached()) } else { stored };
            lane.enter(&stored, &mut self.budget);
        }
        if was_empty && !lane.queue.is_empty() {
            subscriber.ready.push_back(key);
        }
        // Whoever holds something waits until it is sent: two that cut each other in turns would never rest.
        let starves = room == Room::Theirs && lane.held == 0;
        for gap in page.page.gaps.iter().filter(|gap| gap.from < next && gap.to > from) {
            self.context.metrics.log_gaps.increment(1);
            self.lose_lane_range(id, key, gap.from.max(from)..gap.to, Reason::LogDamaged);
        }
        self.move_on(id, key, next);
        let freed = starves && self.cut_others(id, key);
        if next > from || freed {
            self.look_at(id);
        }
        if room != Room::Yes && !freed {
            self.stand_in_line(id);
        }
    }

    /// Everything below `next` was considered. A lane that has caught up follows what comes in again; whoever rests keeps its place.
    fn move_on(&mut self, id: SubscriptionId, key: LaneKey, next: u64) {
        let Some(part) = self.parts.get(&key.part) else { return };
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        let pushes = subscriber.route.pushes();
        let Some(lane) = subscriber.lanes.get_mut(&key) else { return };
        let caught_up = lane.until.is_none() && next >= part.fed && pushes;
        lane.mode = if caught_up { Mode::Tailing { from: next } } else { Mode::Lagging { next, reading: false } };
        self.dirty_lanes.insert((id, key));
        self.end_replay(id, key);
        self.checkpoint_soon();
    }

    /// Has all lanes that hold more than their share give back what is above it, for one that has less. Whether any did.
    pub(super) fn cut_others(&mut self, id: SubscriptionId, key: LaneKey) -> bool {
        let held = self.subscribers.get(&id).and_then(|subscriber| subscriber.lanes.get(&key)).map_or(0, |lane| lane.held);
        let (share, mut any) = (self.budget.share(held), false);
        for (owner, subscriber) in &mut self.subscribers {
            let greedy: SmallVec<[LaneKey; 2]> =
                subscriber.lanes.iter().filter(|(_, lane)| lane.held > share).map(|(key, _)| *key).collect();
            for greedy in greedy.into_iter().filter(|other| (*owner, *other) != (id, key)) {
                // Somewhat less than the share, so that the next event does not begin this again.
                if subscriber.cut(greedy, share - share / 4, &mut self.budget) {
                    any = true;
                    self.context.metrics.cuts.increment(1);
                    self.dirty_lanes.insert((*owner, greedy));
                    show_lagging(&self.context, subscriber);
                }
            }
        }
        self.checkpoint_soon();
        any
    }

    /// Waits for memory, a read or processors that others have.
    pub(super) fn stand_in_line(&mut self, id: SubscriptionId) {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        if !std::mem::replace(&mut subscriber.in_line, true) {
            self.line.push_back(id);
            let later = self.context.clock.now().after(ASK_AGAIN);
            self.wake(id, later);
        }
    }

    /// Something has ended, so those who wait longest may ask again.
    pub(super) fn serve_line(&mut self) {
        for _ in 0..SERVED {
            let Some(id) = self.line.pop_front() else { return };
            if let Some(subscriber) = self.subscribers.get_mut(&id) {
                subscriber.in_line = false;
                self.look_at(id);
            }
        }
    }
}

/// Shows how many of the subscriber's lanes are behind in the metrics, once it is another number. Replays are behind by what they are.
pub(super) fn show_lagging(context: &Context, subscriber: &mut Subscriber) {
    let now = subscriber.lanes.iter().filter(|(key, lane)| key.replay.is_none() && lane.is_lagging()).count();
    let before = std::mem::replace(&mut subscriber.shown_lagging, now);
    if before != now {
        context.metrics.lagging.increment(now as f64 - before as f64);
    }
}
