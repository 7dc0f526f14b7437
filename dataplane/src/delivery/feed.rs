//! Events come in: from the mailbox while they are warm, from the log when they were missed. What lags is in `catchup`.

use std::sync::Arc;
use std::time::Duration;

use posthorn_domain::reason::Reason;
use posthorn_domain::record::Stored;
use posthorn_storage::log::{LogError, Page};

use super::budget::Room;
use super::catchup::ASK_AGAIN;
use super::decided::route;
use super::lane::{Lane, LaneKey, Mode, weight};
use super::mailbox::Delivered;
use super::pages::{PAGE_BYTES, PAGE_RECORDS};
use super::shard::Shard;
use super::work::Done;
use crate::route::SubscriptionRoute;

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
        // Who is not behind has a turn by what came.
        if !self.turn.is_empty() {
            self.spare.heard(delivered.waited);
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
                self.offer(route, number, stored, false);
            }
        }
    }

    /// Offers a matching event to the subscription's lane; nothing happens when the subscription is another shard's. `asked` once others
    /// were made to give back what is above their share.
    fn offer(&mut self, route: &Arc<SubscriptionRoute>, number: u32, stored: &Arc<Stored>, asked: bool) {
        let id = route.id();
        let Some(subscriber) = self.subscribers.get_mut(&id) else {
            if self.rouse(route) {
                self.offer(route, number, stored, asked);
            }
            return;
        };
        let key = LaneKey { part: number, replay: None };
        let lane = subscriber.lanes.entry(key).or_insert_with(|| Lane::new(Mode::Tailing { from: stored.offset }));
        let Mode::Tailing { from } = lane.mode else { return };
        if stored.offset < from {
            return;
        }
        let full = lane.queue.len() >= self.context.config.max_lane_events;
        let room = if full { Room::No } else { self.budget.ask(lane.held, weight(stored)) };
        match room {
            Room::Yes => {
                if lane.enter(stored, &mut self.budget) && lane.queue.len() == 1 {
                    subscriber.ready.push_back(key);
                }
            }
            Room::Theirs if !asked => {
                self.cut_others(id, key);
                return self.offer(route, number, stored, true);
            }
            Room::No | Room::Theirs => lane.mode = Mode::Lagging { next: stored.offset, reading: false },
        }
        self.dirty_lanes.insert((id, key));
        self.look_at(id);
    }

    /// Reads a partition on from where it was fed to, for all lanes.
    pub(super) fn read_part(&mut self, number: u32) {
        self.read_part_after(number, Duration::ZERO);
    }

    fn read_part_after(&mut self, number: u32, pause: Duration) {
        let Some(part) = self.parts.get_mut(&number).filter(|part| !part.reading && part.is_behind()) else { return };
        part.reading = true;
        let (log, partition, from) = (Arc::clone(&part.topic.log), part.partition, part.fed);
        self.work.push(Box::pin(async move {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
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
                return self.read_part_after(number, ASK_AGAIN);
            }
        };
        if let Some(part) = self.parts.get_mut(&number) {
            part.fed = part.fed.max(next);
            self.dirty_parts.insert(number);
        }
        self.read_part(number);
    }
}
