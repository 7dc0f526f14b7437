//! Collects changes that are written together.

use posthorn_domain::ids::{DeadLetterId, SubscriptionId};

use super::{Base, DeadLetter, Health, LaneState, ReaderCursor, ReaderRow, Replay, Retry, RetryId, Start};

/// Changes that are all written or not at all. For one row the last change counts.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    ops: Vec<Op>,
    bytes: usize,
}

/// One change. Deletions of bases, lanes, starts, replays and cursors look at the key members only.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "named after the methods of `Batch`")]
pub enum Op {
    PutBase(Base),
    DeleteBase(Base),
    PutLane(LaneState),
    DeleteLane(LaneState),
    PutStart(Start),
    DeleteStart(Start),
    PutRetry(Retry),
    DeleteRetry(RetryId),
    PutDeadLetter(Box<DeadLetter>),
    DeleteDeadLetter(DeadLetterId),
    PutReader(ReaderRow),
    DeleteReader(String),
    PutCursor(ReaderCursor),
    DeleteCursor(ReaderCursor),
    PutReplay(Box<Replay>),
    DeleteReplay(Box<Replay>),
    PutGone(SubscriptionId),
    PutClean,
    DeleteClean,
    PutHealth(Health),
    DeleteHealth(SubscriptionId),
}

impl Op {
    /// What it holds, dead letters with the event in them, all else by a rule of thumb.
    fn bytes(&self) -> usize {
        match self {
            Self::PutDeadLetter(letter) => 2 * size_of::<Self>() + letter.record.len(),
            _ => 2 * size_of::<Self>(),
        }
    }
}

impl Batch {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Of these changes, in this order.
    pub fn of(ops: Vec<Op>) -> Self {
        let bytes = ops.iter().map(Op::bytes).sum();
        Self { ops, bytes }
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// About how many bytes of memory the changes hold.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The changes in order, for a store.
    pub fn into_ops(self) -> Vec<Op> {
        self.ops
    }

    /// Writes a base.
    pub fn put_base(&mut self, base: Base) -> &mut Self {
        self.push(Op::PutBase(base))
    }

    /// Deletes the base with the same key.
    pub fn delete_base(&mut self, base: Base) -> &mut Self {
        self.push(Op::DeleteBase(base))
    }

    /// Writes a lane.
    pub fn put_lane(&mut self, lane: LaneState) -> &mut Self {
        self.push(Op::PutLane(lane))
    }

    /// Deletes the lane with the same key.
    pub fn delete_lane(&mut self, lane: LaneState) -> &mut Self {
        self.push(Op::DeleteLane(lane))
    }

    /// Writes a start.
    pub fn put_start(&mut self, start: Start) -> &mut Self {
        self.push(Op::PutStart(start))
    }

    /// Deletes the start with the same key.
    pub fn delete_start(&mut self, start: Start) -> &mut Self {
        self.push(Op::DeleteStart(start))
    }

    /// Writes a retry.
    pub fn put_retry(&mut self, retry: Retry) -> &mut Self {
        self.push(Op::PutRetry(retry))
    }

    /// Deletes a retry.
    pub fn delete_retry(&mut self, id: RetryId) -> &mut Self {
        self.push(Op::DeleteRetry(id))
    }

    /// Writes a dead letter.
    pub fn put_dead_letter(&mut self, letter: DeadLetter) -> &mut Self {
        self.push(Op::PutDeadLetter(Box::new(letter)))
    }

    /// Deletes a dead letter, with its index row.
    pub fn delete_dead_letter(&mut self, id: DeadLetterId) -> &mut Self {
        self.push(Op::DeleteDeadLetter(id))
    }

    /// Writes a reader.
    pub fn put_reader(&mut self, reader: ReaderRow) -> &mut Self {
        self.push(Op::PutReader(reader))
    }

    /// Deletes a reader; its cursors are rows of their own.
    pub fn delete_reader(&mut self, name: &str) -> &mut Self {
        self.push(Op::DeleteReader(name.to_owned()))
    }

    /// Writes a reader's cursor on one partition.
    pub fn put_cursor(&mut self, cursor: ReaderCursor) -> &mut Self {
        self.push(Op::PutCursor(cursor))
    }

    /// Deletes the cursor with the same key.
    pub fn delete_cursor(&mut self, cursor: ReaderCursor) -> &mut Self {
        self.push(Op::DeleteCursor(cursor))
    }

    /// Writes a replay.
    pub fn put_replay(&mut self, replay: Replay) -> &mut Self {
        self.push(Op::PutReplay(Box::new(replay)))
    }

    /// Deletes the replay with the same key.
    pub fn delete_replay(&mut self, replay: Replay) -> &mut Self {
        self.push(Op::DeleteReplay(Box::new(replay)))
    }

    /// Notes that the subscription was deleted and its rows are still to be removed; [`super::State::remove_subscription`] takes the note away.
    pub fn put_gone(&mut self, subscription: SubscriptionId) -> &mut Self {
        self.push(Op::PutGone(subscription))
    }

    /// Notes that everything is written that was done, or that there may be more from now on.
    pub fn mark_clean(&mut self, clean: bool) -> &mut Self {
        self.push(if clean { Op::PutClean } else { Op::DeleteClean })
    }

    /// Writes the health of a subscription's endpoint.
    pub fn put_health(&mut self, health: Health) -> &mut Self {
        self.push(Op::PutHealth(health))
    }

    /// Deletes it.
    pub fn delete_health(&mut self, subscription: SubscriptionId) -> &mut Self {
        self.push(Op::DeleteHealth(subscription))
    }

    fn push(&mut self, op: Op) -> &mut Self {
        self.bytes += op.bytes();
        self.ops.push(op);
        self
    }
}
