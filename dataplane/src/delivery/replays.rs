//! Ranges that are delivered again: their limits, how far they have come, and how they end. What is still to be read of one stands
//! in its lanes; what waits for another attempt stands among the retries.

use std::collections::BTreeMap;
use std::sync::Arc;

use posthorn_domain::ids::{ReplayId, SubscriptionId};
use posthorn_domain::node::{self, ReplayState};
use posthorn_domain::time::Time;
use posthorn_storage::state::{Replay, Retry, RetryId};
use tokio::sync::oneshot;

use super::ask::Range;
use super::batch::offset_of;
use super::item::{Item, Origin};
use super::lane::{Lane, LaneKey, Mode};
use super::rate::Rate;
use super::shard::Shard;
use super::subscriber::Subscriber;
use super::work::Done;

/// Replays that have ended and are still told of, the newest of a subscription.
const ENDED_KEPT: usize = 16;
/// How long after a failed removal of waiting deliveries it is tried again.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// The replays of one subscription.
#[derive(Default)]
pub(super) struct Replays {
    runs: BTreeMap<ReplayId, Run>,
    /// Requests of replays that are under way.
    pub(super) in_flight: u32,
    /// Requests of the subscription that may be under way on this node, whatever it asks for.
    most: u32,
    /// When a lane may go on that its replay's rate holds back.
    due: Option<Time>,
}

struct Run {
    row: Replay,
    rate: Rate,
}

/// How a delivery of a replay went on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Went {
    Delivered,
    Failed,
    Waits,
}

impl Replays {
    /// As an earlier process left them.
    pub(super) fn restored(rows: Vec<Replay>, most: u32) -> Self {
        Self { runs: rows.into_iter().map(|row| (row.id, Run::new(row))).collect(), most, ..Self::default() }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether the lane may send now, where `limit` requests may be under way. Lanes of replays leave a quarter of them to what is
    /// new, at least one where there are more.
    pub(super) fn admit(&mut self, lane: LaneKey, now: Time, limit: u32) -> bool {
        let Some(replay) = lane.replay else { return true };
        let limit = limit.min(self.most);
        if self.in_flight >= limit.saturating_sub((limit / 4).max(1)).max(1) {
            return false;
        }
        match self.runs.get_mut(&replay).map_or(Ok(()), |run| run.rate.fits(now, 1)) {
            Ok(()) => true,
            Err(at) => {
                self.due = Some(self.due.map_or(at, |due| due.min(at)));
                false
            }
        }
    }

    /// A request went out with these deliveries.
    pub(super) fn started(&mut self, items: &[Item], now: Time) {
        let Some(first) = items.first().filter(|item| item.of_replay().is_some()) else { return };
        self.in_flight += 1;
        if let (Origin::Lane(..), Some(run)) = (&first.origin, first.of_replay().and_then(|replay| self.runs.get_mut(&replay))) {
            run.rate.take(now, items.len());
        }
    }

    /// It ended.
    pub(super) fn ended(&mut self, first: Option<&Item>) {
        if first.is_some_and(|item| item.of_replay().is_some()) {
            self.in_flight = self.in_flight.saturating_sub(1);
        }
    }

    /// When a lane that is held back by a rate may go on; asked once a turn.
    pub(super) fn take_due(&mut self) -> Option<Time> {
        self.due.take()
    }

    /// Whether nothing of the replay is to be sent any more.
    pub(super) fn is_cancelled(&self, replay: Option<ReplayId>) -> bool {
        replay.and_then(|replay| self.runs.get(&replay)).is_some_and(|run| run.row.state == ReplayState::Cancelled)
    }

    fn running(&self) -> usize {
        self.runs.values().filter(|run| run.row.state == ReplayState::Running).count()
    }

    /// Takes the oldest out that have ended and are too many.
    fn forget_old(&mut self) -> Vec<Replay> {
        let ended: Vec<_> =
            self.runs.iter().filter(|(_, run)| run.row.state != ReplayState::Running && run.row.waiting == 0).map(|(id, _)| *id).collect();
        let old = &ended[..ended.len().saturating_sub(ENDED_KEPT)];
        old.iter().filter_map(|id| self.runs.remove(id)).map(|run| run.row).collect()
    }
}

impl Run {
    fn new(row: Replay) -> Self {
        let mut rate = Rate::default();
        rate.set(row.rate);
        Self { row, rate }
    }
}

impl Item {
    /// The replay that it belongs to.
    pub(super) fn of_replay(&self) -> Option<ReplayId> {
        match &self.origin {
            Origin::Lane(key, _) => key.replay,
            Origin::Retry(retry) => retry.replay,
        }
    }
}

impl Shard {
    /// Begins a replay of these ranges; false when as many run as may. `stored` is told when the state store has it.
    pub(super) fn begin_replay(&mut self, row: Replay, ranges: Vec<Range>, stored: oneshot::Sender<()>) -> bool {
        let (id, replay) = (row.subscription, row.id);
        let most = self.context.config.max_replays;
        let Some(subscriber) = self.subscribers.get_mut(&id).filter(|subscriber| subscriber.replays.running() < most) else { return false };
        subscriber.replays.runs.insert(replay, Run::new(row));
        for range in ranges {
            let Some(number) = self.numbers.get(&(range.topic, range.partition)).copied() else { continue };
            let key = LaneKey { part: number, replay: Some(replay) };
            let mode = Mode::Lagging { next: range.from, reading: false };
            subscriber.lanes.insert(key, Lane { until: Some(range.until), ..Lane::new(mode) });
            self.dirty_lanes.insert((id, key));
        }
        self.dirty_replays.insert((id, replay));
        self.finish_replay(id, replay);
        self.after_commit.push(stored);
        self.checkpoint_soon();
        self.look_at(id);
        true
    }

    /// What an earlier process left under way goes on: ends that were not reached, deletions that were not finished.
    pub(super) fn take_up_replays(&mut self, id: SubscriptionId) {
        let Some(subscriber) = self.subscribers.get(&id) else { return };
        let runs: Vec<_> = subscriber.replays.runs.values().map(|run| (run.row.id, run.row.state, run.row.waiting)).collect();
        for (replay, state, waiting) in runs {
            if state == ReplayState::Cancelled && waiting > 0 {
                self.clear_replay(id, replay);
            }
        }
        self.finish_replays(id);
    }

    /// The subscription's replays, the newest first; `None` when it is not here.
    pub(super) fn replays_of(&self, id: SubscriptionId) -> Option<Vec<node::Replay>> {
        let subscriber = self.subscribers.get(&id)?;
        Some(subscriber.replays.runs.values().rev().map(|run| self.shown(id, &run.row)).collect())
    }

    /// Ends those of which nothing is left: what waits of a topic that was deleted has gone with it.
    pub(super) fn finish_replays(&mut self, id: SubscriptionId) {
        let Some(subscriber) = self.subscribers.get_mut(&id).filter(|subscriber| subscriber.in_flight == 0) else { return };
        let Subscriber { replays, retries, .. } = &mut **subscriber;
        let mut running = Vec::new();
        for run in replays.runs.values_mut().filter(|run| run.row.state == ReplayState::Running) {
            let waits = |retry: &Retry| retry.replay == Some(run.row.id);
            if retries.has_all() && !retries.in_memory().values().any(waits) {
                run.row.waiting = 0;
            }
            running.push(run.row.id);
        }
        running.into_iter().for_each(|replay| self.finish_replay(id, replay));
    }

    /// Ends a replay: nothing more of it is sent, and what of it waits is deleted. `None` when there is no such replay here.
    pub(super) fn cancel_replay(&mut self, id: SubscriptionId, replay: ReplayId, stored: oneshot::Sender<()>) -> Option<node::Replay> {
        let now = self.context.clock.now();
        let row = &self.subscribers.get(&id)?.replays.runs.get(&replay)?.row;
        let shown = self.shown(id, row);
        self.after_commit.push(stored);
        self.checkpoint_soon();
        if shown.state != ReplayState::Running {
            return Some(shown);
        }
        let subscriber = self.subscribers.get_mut(&id)?;
        let run = subscriber.replays.runs.get_mut(&replay)?;
        run.row.state = ReplayState::Cancelled;
        run.row.ended_at = Some(now);
        run.row.considered = shown.considered;
        let waiting = run.row.waiting;
        let lanes: Vec<_> = subscriber.lanes.keys().filter(|key| key.replay == Some(replay)).copied().collect();
        let retries: Vec<RetryId> = subscriber
            .retries
            .in_memory()
            .values()
            .filter(|retry| retry.replay == Some(replay))
            .map(posthorn_storage::state::Retry::id)
            .collect();
        for retry in retries {
            if let Some(gone) = subscriber.retries.take(&retry) {
                subscriber.keys.free(gone.key_hash, offset_of(&gone));
            }
            self.outbox.delete_retry(retry);
            self.deleted[0].insert(retry);
        }
        lanes.into_iter().for_each(|key| self.drop_lane(id, key));
        self.dirty_replays.insert((id, replay));
        if waiting > 0 {
            self.clear_replay(id, replay);
        }
        self.look_at(id);
        let row = &self.subscribers.get(&id)?.replays.runs.get(&replay)?.row;
        Some(self.shown(id, row))
    }

    /// Deletes what waits of a cancelled replay in the store, beyond what was in memory. It begins once all that was put there before
    /// is written.
    fn clear_replay(&mut self, id: SubscriptionId, replay: ReplayId) {
        let (written, all_written) = oneshot::channel();
        self.after_commit.push(written);
        self.checkpoint_soon();
        let (state, blocking) = (Arc::clone(&self.context.state), self.context.blocking.clone());
        self.work.push(Box::pin(async move {
            // A shard that ends meanwhile leaves it to the next start.
            drop(all_written.await);
            loop {
                let state = Arc::clone(&state);
                match blocking.run(move || state.remove_replay(id, replay)).await {
                    Some(Ok(removed)) => return Done::ReplayCleared { subscription: id, replay, removed },
                    Some(Err(error)) => tracing::warn!(%error, subscription = %id, %replay, "what waits of a cancelled replay remains"),
                    // The process ends.
                    None => return Done::Nothing,
                }
                tokio::time::sleep(AGAIN).await;
            }
        }));
    }

    pub(super) fn on_replay_cleared(&mut self, id: SubscriptionId, replay: ReplayId, removed: u64) {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        subscriber.retries.swept(removed);
        let Some(run) = subscriber.replays.runs.get_mut(&replay) else { return };
        run.row.waiting = 0;
        self.dirty_replays.insert((id, replay));
        self.checkpoint_soon();
    }

    /// Counts how a delivery went on, if it belongs to a replay.
    pub(super) fn count_replay(&mut self, id: SubscriptionId, item: &Item, went: Went) {
        let Some(replay) = item.of_replay() else { return };
        let Some(run) = self.subscribers.get_mut(&id).and_then(|subscriber| subscriber.replays.runs.get_mut(&replay)) else { return };
        let row = &mut run.row;
        let waited = matches!(item.origin, Origin::Retry(_));
        match went {
            Went::Delivered => row.delivered += 1,
            Went::Failed => row.failed += 1,
            Went::Waits if waited => return,
            Went::Waits => row.waiting += 1,
        }
        if waited {
            row.waiting = row.waiting.saturating_sub(1);
        }
        self.dirty_replays.insert((id, replay));
        self.finish_replay(id, replay);
    }

    /// Counts a delivery that was given up before it was sent.
    pub(super) fn count_lost(&mut self, id: SubscriptionId, replay: Option<ReplayId>) {
        let Some(replay) = replay else { return };
        if let Some(run) = self.subscribers.get_mut(&id).and_then(|subscriber| subscriber.replays.runs.get_mut(&replay)) {
            run.row.failed += 1;
            self.dirty_replays.insert((id, replay));
        }
    }

    /// Notes the end of a replay of which nothing is left to read and nothing waits.
    pub(super) fn finish_replay(&mut self, id: SubscriptionId, replay: ReplayId) {
        let now = self.context.clock.now();
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        let has_lanes = subscriber.lanes.keys().any(|key| key.replay == Some(replay));
        let Some(run) = subscriber.replays.runs.get_mut(&replay) else { return };
        if has_lanes || run.row.waiting > 0 || run.row.state != ReplayState::Running {
            return;
        }
        run.row.state = ReplayState::Done;
        run.row.ended_at = Some(now);
        run.row.considered = run.row.events;
        self.dirty_replays.insert((id, replay));
        for old in subscriber.replays.forget_old() {
            self.dirty_replays.remove(&(id, old.id));
            self.outbox.delete_replay(old);
        }
        self.checkpoint_soon();
    }

    /// The rows that have changed, for the next checkpoint.
    pub(super) fn put_replays(&mut self, batch: &mut posthorn_storage::state::Batch) {
        for (id, replay) in self.dirty_replays.drain() {
            if let Some(run) = self.subscribers.get(&id).and_then(|subscriber| subscriber.replays.runs.get(&replay)) {
                batch.put_replay(run.row.clone());
            }
        }
    }

    fn shown(&self, id: SubscriptionId, row: &Replay) -> node::Replay {
        let considered = if row.state == ReplayState::Running {
            let lanes = self.subscribers.get(&id).into_iter().flat_map(|subscriber| &subscriber.lanes);
            let left = lanes.filter(|(key, _)| key.replay == Some(row.id)).map(|(key, lane)| {
                let fed = self.parts.get(&key.part).map_or(0, |part| part.fed);
                lane.until.unwrap_or(0).saturating_sub(lane.seen(fed))
            });
            row.events.saturating_sub(left.sum())
        } else {
            row.considered
        };
        node::Replay {
            id: row.id.to_string(),
            subscription: id.to_string(),
            state: row.state,
            from: row.from.clone(),
            to: row.to.clone(),
            rate: row.rate,
            events: row.events,
            considered,
            delivered: row.delivered,
            failed: row.failed,
            waiting: row.waiting,
            started_at: row.started_at,
            ended_at: row.ended_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(number: u8, rate: Option<f64>) -> Replay {
        Replay {
            subscription: SubscriptionId::from_bytes([1; 16]),
            id: ReplayId::from_bytes([number; 16]),
            state: ReplayState::Running,
            from: "earliest".into(),
            to: None,
            rate,
            events: 10,
            considered: 0,
            delivered: 0,
            failed: 0,
            waiting: 0,
            started_at: Time::from_millis(1),
            ended_at: None,
        }
    }

    #[test]
    fn replays_leave_room_for_what_is_new_and_keep_to_their_rate() {
        let now = Time::from_millis(1_000_000);
        let mut replays = Replays::restored(vec![replay(1, Some(0.5)), replay(2, None)], 64);
        let lane = |replay: Option<u8>| LaneKey { part: 0, replay: replay.map(|number| ReplayId::from_bytes([number; 16])) };
        for (limit, most) in [(1, 1), (2, 1), (4, 3), (16, 12)] {
            replays.in_flight = most - 1;
            assert!(replays.admit(lane(Some(2)), now, limit), "{limit}");
            replays.in_flight = most;
            assert!(!replays.admit(lane(Some(2)), now, limit), "{limit}");
            assert!(replays.admit(lane(None), now, limit), "what is new is not held back");
        }
        replays.in_flight = 0;
        assert!(replays.admit(lane(Some(1)), now, 16));
        let run = replays.runs.get_mut(&ReplayId::from_bytes([1; 16])).unwrap();
        run.rate.take(now, 1);
        assert!(!replays.admit(lane(Some(1)), now, 16));
        assert_eq!((replays.take_due(), replays.take_due()), (Some(Time::from_millis(1_002_000)), None));
    }

    #[test]
    fn what_has_ended_is_forgotten_in_its_order() {
        let ended = |number| Replay { state: ReplayState::Done, ..replay(number, None) };
        let mut replays = Replays::restored((1..=20).map(ended).chain([replay(21, None)]).collect(), 64);
        assert_eq!(replays.forget_old(), (1..=4).map(ended).collect::<Vec<_>>());
        assert_eq!((replays.runs.len(), replays.running()), (17, 1));
    }
}
