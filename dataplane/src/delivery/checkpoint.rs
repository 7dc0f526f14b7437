//! Progress is written: bases of partitions, the lanes that differ from them, and all that lets a lane move on, in one batch (I2).

use std::sync::Arc;
use std::time::Duration;

use posthorn_domain::time::Time;
use posthorn_storage::state::{Base, Batch, LaneState, StateError};
use tokio::sync::oneshot;

use super::catchup::show_lagging;
use super::lane::LaneKey;
use super::shard::Shard;
use super::work::Done;

/// How long after a refused write the same batch is tried again.
const AGAIN: Duration = Duration::from_millis(500);
/// Bytes of memory that rows of a shard may take while the store refuses them.
const MAX_ROWS: usize = 32 << 20;

impl Shard {
    /// Has a checkpoint written within the configured interval.
    pub(super) fn checkpoint_soon(&mut self) {
        if self.commit.at.is_none() {
            self.commit.at = Some(self.context.clock.now().after(self.context.config.checkpoint_interval));
        }
    }

    /// Has one written at once; resolves when all is stored that there is to store now, or the shard has ended.
    pub(super) fn all_written(&mut self) -> oneshot::Receiver<()> {
        let (written, all_written) = oneshot::channel();
        self.after_commit.push(written);
        self.commit.at = Some(Time::ZERO);
        all_written
    }

    /// Whether anything is not stored yet.
    pub(super) fn has_progress(&self) -> bool {
        !self.outbox.is_empty()
            || !self.dirty_parts.is_empty()
            || !self.dirty_lanes.is_empty()
            || !self.dirty_replays.is_empty()
            || !self.dirty_health.is_empty()
            || !self.after_commit.is_empty()
            || !self.removed.is_empty()
    }

    /// Writes progress, if it is time and the last write has ended.
    pub(super) fn checkpoint(&mut self, now: Time) {
        let due = self.commit.at.is_some_and(|at| at <= now) || self.draining.is_some();
        if !due || self.commit.under_way.is_some() || self.starting > 0 {
            return;
        }
        self.commit.at = None;
        if !self.has_progress() {
            return;
        }
        let mut batch = std::mem::take(&mut self.outbox);
        self.put_bases(&mut batch);
        self.put_lanes(&mut batch);
        self.put_replays(&mut batch);
        self.commit.gone = std::mem::take(&mut self.removed);
        for id in &self.commit.gone {
            batch.put_gone(*id);
        }
        self.put_health(&mut batch);
        self.deleted.swap(0, 1);
        self.commit.waiters = std::mem::take(&mut self.after_commit);
        self.commit.ended = [0, self.commit.ended[0]];
        self.commit.under_way = Some(batch);
        self.write();
    }

    /// One more delivery has ended; a checkpoint is due at once when as many may follow as have ended.
    pub(super) fn count_ended(&mut self) {
        self.commit.ended[0] += 1;
        if self.commit.ended[0] >= self.max_unstored().div_ceil(2) {
            self.commit.at = Some(Time::ZERO);
        }
    }

    /// Whether so much has ended without being stored that no more may be sent: a crash would repeat it, and memory holds what is to be
    /// written of it.
    pub(super) fn is_full_of_unstored(&self) -> bool {
        let rows = self.outbox.bytes() + self.commit.under_way.as_ref().map_or(0, Batch::bytes);
        self.commit.unstored() >= self.max_unstored() || rows >= MAX_ROWS
    }

    /// This shard's part.
    fn max_unstored(&self) -> usize {
        (self.context.config.max_unstored / usize::from(self.context.shards)).max(1)
    }

    /// Has the batch that is under way written; soon, if it was refused before.
    fn write(&mut self) {
        let Some(copy) = self.commit.under_way.clone() else { return };
        let writer = self.context.writer.clone();
        let wait = if self.commit.failing { AGAIN } else { Duration::ZERO };
        self.work.push(Box::pin(async move {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            Done::Committed(writer.commit(copy, false).await)
        }));
    }

    pub(super) fn on_committed(&mut self, result: Result<(), StateError>) {
        match result {
            Ok(()) => {
                self.context.metrics.checkpoints.increment(1);
                let was_full = self.is_full_of_unstored();
                self.commit.under_way = None;
                self.commit.ended[1] = 0;
                if std::mem::take(&mut self.commit.failing) {
                    tracing::info!("the state store takes checkpoints again");
                    self.commit.said_full = false;
                }
                if was_full {
                    let all: Vec<_> = self.subscribers.keys().copied().collect();
                    all.into_iter().for_each(|id| self.look_at(id));
                }
                self.deleted[1].clear();
                self.forget_removed();
                for waiter in self.commit.waiters.drain(..) {
                    // Whoever asked may have given up waiting.
                    waiter.send(()).ok();
                }
                if self.has_progress() {
                    self.checkpoint_soon();
                }
            }
            Err(error) => {
                self.context.metrics.checkpoints_failed.increment(1);
                if !std::mem::replace(&mut self.commit.failing, true) {
                    tracing::error!(%error, "a checkpoint cannot be written; deliveries go on until delivery.max_unstored of them have ended");
                }
                if self.is_full_of_unstored() && !std::mem::replace(&mut self.commit.said_full, true) {
                    tracing::error!(%error, "delivery.max_unstored is reached: nothing is sent until a checkpoint can be written");
                }
                self.write();
            }
        }
        let unstored = self.commit.unstored();
        self.context.metrics.unstored.increment(unstored as f64 - self.commit.told as f64);
        self.commit.told = unstored;
    }

    /// Deletes the rows of subscriptions that are gone. A crash before this leaves it to the next start, which finds them noted.
    fn forget_removed(&mut self) {
        for id in self.commit.gone.drain(..) {
            let state = Arc::clone(&self.context.state);
            // Nothing waits for it; a failure is said and tried again at the next start.
            self.context.blocking.start(move || {
                if let Err(error) = state.remove_subscription(id) {
                    tracing::warn!(%error, subscription = %id, "rows of a deleted subscription remain");
                }
            });
        }
    }

    fn put_bases(&mut self, batch: &mut Batch) {
        let (shard, shards) = (self.context.shard, self.context.shards);
        for number in self.dirty_parts.drain() {
            let Some(part) = self.parts.get_mut(&number) else { continue };
            batch.put_base(Base {
                topic: part.topic.topic.name.clone(),
                incarnation: part.topic.topic.meta.incarnation,
                partition: part.partition,
                shard,
                shards,
                offset: part.fed,
            });
        }
    }

    fn put_lanes(&mut self, batch: &mut Batch) {
        let dirty: Vec<_> = self.dirty_lanes.drain().collect();
        for (id, key) in dirty {
            let Some(row) = self.lane_row(id, key) else { continue };
            let (Some(subscriber), Some(part)) = (self.subscribers.get_mut(&id), self.parts.get(&key.part)) else { continue };
            let Some(lane) = subscriber.lanes.get_mut(&key) else { continue };
            if lane.is_idle(part.fed) {
                if lane.stored {
                    batch.delete_lane(row);
                }
                subscriber.lanes.remove(&key);
            } else {
                lane.stored = true;
                batch.put_lane(row);
            }
        }
    }

    fn lane_row(&self, id: posthorn_domain::ids::SubscriptionId, key: LaneKey) -> Option<LaneState> {
        let part = self.parts.get(&key.part)?;
        let lane = self.subscribers.get(&id)?.lanes.get(&key)?;
        Some(LaneState {
            subscription: id,
            topic: part.topic.topic.name.clone(),
            incarnation: part.topic.topic.meta.incarnation,
            partition: part.partition,
            replay: key.replay,
            next: lane.cursor(part.fed),
            settled: lane.window.settled_above(),
            until: lane.until,
        })
    }

    /// Forgets a lane, in memory and with the next checkpoint in the store.
    pub(super) fn drop_lane(&mut self, id: posthorn_domain::ids::SubscriptionId, key: LaneKey) {
        if let Some(row) = self.lane_row(id, key) {
            self.outbox.delete_lane(row);
        }
        if let Some(subscriber) = self.subscribers.get_mut(&id)
            && let Some(mut lane) = subscriber.lanes.remove(&key)
        {
            lane.clear(&mut self.budget);
            show_lagging(&self.context, subscriber);
        }
        self.dirty_lanes.remove(&(id, key));
        self.checkpoint_soon();
    }
}
