//! Events come in: from the mailbox while they are warm, from the log when they were missed or a lane lags.

use std::rc::Rc;
use std::sync::Arc;

use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::reason::Reason;
use posthorn_domain::record::Stored;
use posthorn_storage::log::{LogError, Page};

use super::decided::route;
use super::lane::{Lane, LaneKey, Mode, weight};
use super::mailbox::Delivered;
use super::shard::Shard;
use super::work::Done;

/// Bytes of one read of the log.
const PAGE_BYTES: usize = 256 * 1024;
/// Records of one read of the log.
const PAGE_RECORDS: usize = 512;

impl Shard {
    pub(super) fn on_mail(&mut self, delivered: Delivered) {
        for mail in delivered.mail {
            let Some(number) = self.numbers.get(&(mail.topic, mail.partition)).copied() else { continue };
            let Some(part) = self.parts.get(&number).filter(|part| !part.reading) else { continue };
            let (Some(first), fed) = (mail.records.first(), part.fed) else { continue };
            if first.offset > fed {
                self.read_part(number);
                continue;
            }
            let new: Vec<_> = mail.records.into_iter().filter(|stored| stored.offset >= fed).collect();
            self.feed(number, &new);
        }
        for name in delivered.behind {
            if let Some(number) = self.numbers.get(&name).copied() {
                self.read_part(number);
            }
        }
    }

    /// Hands consecutive events to the lanes that want them.
    fn feed(&mut self, number: u32, records: &[Arc<Stored>]) {
        let Some(part) = self.parts.get_mut(&number) else { return };
        let (table, topic) = (Arc::clone(&self.table), Arc::clone(&part.topic));
        if let Some(last) = records.last() {
            part.fed = part.fed.max(last.offset + 1);
            part.last_at = part.last_at.max(last.record.accepted_at);
            self.dirty_parts.insert(number);
            self.checkpoint_soon();
        }
        let mut slots = Vec::new();
        for stored in records {
            slots.clear();
            match &stored.hint {
                Some(hint) if hint.generation == table.generation => slots.extend_from_slice(&hint.slots),
                _ => route(&table, &topic, &stored.record, &mut slots),
            }
            for route in slots.iter().filter_map(|slot| table.in_slot(*slot)) {
                self.offer(route.id(), number, stored);
            }
        }
    }

    /// Offers a matching event to the subscription's lane; nothing happens when the subscription is another shard's.
    fn offer(&mut self, id: SubscriptionId, number: u32, stored: &Arc<Stored>) {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        let key = LaneKey { part: number, replay: None };
        let lane = subscriber.lanes.entry(key).or_insert_with(|| Lane::new(Mode::Tailing { from: stored.offset }));
        let Mode::Tailing { from } = lane.mode else { return };
        if stored.offset < from {
            return;
        }
        let config = &self.context.config;
        if lane.queue.len() >= config.max_lane_events || self.tail_bytes + weight(stored) > config.max_tail_bytes {
            lane.mode = Mode::Lagging { next: stored.offset, reading: false };
            self.context.metrics.lagging.increment(1.0);
        } else if lane.enter(stored) {
            self.tail_bytes += weight(stored);
            if lane.queue.len() == 1 {
                subscriber.ready.push_back(key);
            }
        }
        self.dirty_lanes.insert((id, key));
        self.look_at(id);
    }

    /// Reads a partition on from where it was fed to, for all lanes.
    pub(super) fn read_part(&mut self, number: u32) {
        let Some(part) = self.parts.get_mut(&number).filter(|part| !part.reading && part.is_behind()) else { return };
        part.reading = true;
        let (log, partition, from) = (Arc::clone(&part.topic.log), part.partition, part.fed);
        self.work.push(Box::pin(async move {
            let page = log.read(partition, from, PAGE_BYTES, PAGE_RECORDS).await;
            Done::Part { part: number, page }
        }));
    }

    pub(super) fn on_part_page(&mut self, number: u32, page: Result<Page, LogError>) {
        let Some(part) = self.parts.get_mut(&number) else { return };
        part.reading = false;
        let next = match page {
            Ok(page) => {
                for gap in &page.gaps {
                    self.context.metrics.log_gaps.increment(1);
                    self.lose_range(number, gap.from..gap.to, Reason::LogDamaged);
                }
                self.feed(number, &page.records);
                page.next
            }
            // Retention was faster than the reading: what is gone is lost to the lanes that would have had it.
            Err(LogError::BelowStart { start }) => {
                let lost = part.fed..start;
                self.lose_range(number, lost, Reason::RetentionPassed);
                start
            }
            Err(error) => {
                tracing::error!(%error, "the log cannot be read; its deliveries wait");
                return;
            }
        };
        if let Some(part) = self.parts.get_mut(&number) {
            part.fed = part.fed.max(next);
            self.dirty_parts.insert(number);
        }
        self.read_part(number);
    }

    /// Starts reads for lagging lanes that have room, if their subscription can send.
    pub(super) fn read_on(&mut self, id: SubscriptionId) {
        let low = (self.context.config.max_lane_events / 4).max(1);
        let halted = self.draining.is_some() || self.commit.failing;
        let Some(subscriber) = self.subscribers.get_mut(&id).filter(|subscriber| subscriber.is_live() && !halted) else { return };
        // A probe needs one event; reading more behind a dead endpoint would only fill memory.
        let low = if subscriber.breaker.is_open() { 1 } else { low };
        for (key, lane) in &mut subscriber.lanes {
            let Mode::Lagging { next, reading: false } = lane.mode else { continue };
            let Some(part) = self.parts.get(&key.part).filter(|_| lane.queue.len() < low) else { continue };
            let end = lane.until.unwrap_or(u64::MAX).min(part.topic.log.bounds(part.partition).end);
            if next >= end {
                if lane.until.is_none() && next >= part.fed {
                    lane.mode = Mode::Tailing { from: next };
                    self.context.metrics.lagging.decrement(1.0);
                    self.dirty_lanes.insert((id, *key));
                }
                continue;
            }
            lane.mode = Mode::Lagging { next, reading: true };
            let (log, partition, key) = (Arc::clone(&part.topic.log), part.partition, *key);
            self.work.push(Box::pin(async move {
                let page = log.read(partition, next, PAGE_BYTES, PAGE_RECORDS).await;
                Done::Lane { subscription: id, lane: key, from: next, page }
            }));
        }
    }

    pub(super) fn on_lane_page(&mut self, id: SubscriptionId, key: LaneKey, from: u64, page: Result<Page, LogError>) {
        let context = Rc::clone(&self.context);
        let Some(part) = self.parts.get(&key.part) else { return };
        let (table, topic, fed) = (Arc::clone(&self.table), Arc::clone(&part.topic), part.fed);
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        let Some(lane) = subscriber.lanes.get_mut(&key) else { return };
        // The lane was placed elsewhere while the read was under way.
        if lane.mode != (Mode::Lagging { next: from, reading: true }) {
            return;
        }
        let mut passed = 0..0;
        let (next, gaps) = match page {
            Ok(page) => {
                let was_empty = lane.queue.is_empty();
                let until = lane.until.unwrap_or(u64::MAX);
                for stored in page.records.iter().filter(|stored| (from..until).contains(&stored.offset)) {
                    if self.decided.wants(&subscriber.route, &table, &topic, key.part, stored) && lane.enter(stored) {
                        self.tail_bytes += weight(stored);
                    }
                }
                if was_empty && !lane.queue.is_empty() {
                    subscriber.ready.push_back(key);
                }
                (page.next.min(until), page.gaps)
            }
            Err(LogError::BelowStart { start }) => {
                passed = from..start.min(lane.until.unwrap_or(u64::MAX));
                (start, Vec::new())
            }
            Err(error) => {
                tracing::error!(%error, subscription = %id, "the log cannot be read; the lane waits");
                lane.mode = Mode::Lagging { next: from, reading: false };
                let later = context.clock.now().after(std::time::Duration::from_secs(1));
                self.wake(id, later);
                return;
            }
        };
        // Whoever rests keeps its place: a tailing lane would move on with what is fed.
        lane.mode = if lane.until.is_none() && next >= fed && subscriber.route.pushes() {
            context.metrics.lagging.decrement(1.0);
            Mode::Tailing { from: next }
        } else {
            Mode::Lagging { next, reading: false }
        };
        self.dirty_lanes.insert((id, key));
        for gap in gaps {
            context.metrics.log_gaps.increment(1);
            self.lose_lane_range(id, key, gap.from.max(from)..gap.to, Reason::LogDamaged);
        }
        self.lose_lane_range(id, key, passed, Reason::RetentionPassed);
        self.end_replay(id, key);
        self.look_at(id);
        self.checkpoint_soon();
    }
}
