//! How operations become rows, and which rows go with a subscription, a replay or a topic: the same for every store that keeps rows by
//! key. Only the implementations of [`super::State`] use it.

use posthorn_domain::ids::{DeadLetterId, ReplayId, SubscriptionId};
use posthorn_domain::names::TopicName;

use super::{Op, RetrySource, StateError, keys, values};

/// Where a row is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    Positions,
    Retries,
    Letters,
    Readers,
}

/// What to do with one row: write it (`Some`) or delete it.
pub(super) type Row = ((Table, Vec<u8>), Option<Vec<u8>>);

/// The row of an operation, and the row of the index that goes with a dead letter. `owner` tells whose dead letter it is.
pub(super) fn rows_of(
    op: Op,
    owner: impl FnOnce(DeadLetterId) -> Result<Option<SubscriptionId>, StateError>,
) -> Result<(Row, Option<Row>), StateError> {
    use Table::{Letters, Positions, Readers, Retries};
    let indexed = |subscription, id, value| ((Letters, keys::letter_of(subscription, id)), value);
    let mut index = None;
    let (table, key, value) = match op {
        Op::PutBase(base) => (Positions, keys::base(&base), Some(values::integers(&[base.offset]))),
        Op::DeleteBase(base) => (Positions, keys::base(&base), None),
        Op::PutLane(lane) => (Positions, keys::lane(&lane), Some(values::lane(&lane))),
        Op::DeleteLane(lane) => (Positions, keys::lane(&lane), None),
        Op::PutStart(start) => (Positions, keys::start(&start), Some(values::integers(&start.offsets))),
        Op::DeleteStart(start) => (Positions, keys::start(&start), None),
        Op::PutHealth(health) => (Positions, keys::health(health.subscription), Some(values::health(&health))),
        Op::DeleteHealth(subscription) => (Positions, keys::health(subscription), None),
        Op::PutReplay(replay) => (Positions, keys::replay(&replay), Some(values::replay(&replay))),
        Op::DeleteReplay(replay) => (Positions, keys::replay(&replay), None),
        Op::PutGone(id) => (Positions, keys::of_subscription(keys::GONE, id), Some(Vec::new())),
        Op::PutClean => (Positions, keys::CLEAN.to_vec(), Some(Vec::new())),
        Op::DeleteClean => (Positions, keys::CLEAN.to_vec(), None),
        Op::PutRetry(retry) => (Retries, keys::retry(&retry.id()), Some(values::retry(&retry))),
        Op::DeleteRetry(id) => (Retries, keys::retry(&id), None),
        Op::PutDeadLetter(letter) => {
            index = letter.subscription.map(|subscription| indexed(subscription, letter.id, Some(Vec::new())));
            (Letters, keys::letter(letter.id), Some(values::letter(&letter)))
        }
        Op::DeleteDeadLetter(id) => {
            index = owner(id)?.map(|subscription| indexed(subscription, id, None));
            (Letters, keys::letter(id), None)
        }
        Op::PutReader(reader) => (Readers, keys::reader(&reader.name), Some(values::text(&reader.document))),
        Op::DeleteReader(name) => (Readers, keys::reader(&name), None),
        Op::PutCursor(cursor) => (Readers, keys::cursor(&cursor), Some(values::integers(&[cursor.next]))),
        Op::DeleteCursor(cursor) => (Readers, keys::cursor(&cursor), None),
    };
    Ok((((table, key), value), index))
}

/// A store that can delete rows by what they hold.
pub(super) trait Removes {
    /// Deletes the rows that start with `prefix` and that `picks` wants. Returns how many.
    fn remove_where(&self, table: Table, prefix: &[u8], picks: impl Fn(&[u8], &[u8]) -> bool) -> Result<u64, StateError>;

    /// As [`super::State::remove_subscription`]; the note that it is gone goes last.
    fn remove_rows_of_subscription(&self, subscription: SubscriptionId) -> Result<u64, StateError> {
        let mut removed = 0;
        for kind in [keys::LANE, keys::START, keys::HEALTH, keys::REPLAY] {
            removed += self.remove_where(Table::Positions, &keys::of_subscription(kind, subscription), |_, _| true)?;
        }
        removed += self.remove_where(Table::Retries, subscription.as_bytes(), |_, _| true)?;
        self.remove_where(Table::Positions, &keys::of_subscription(keys::GONE, subscription), |_, _| true)?;
        Ok(removed)
    }

    /// As [`super::State::remove_replay`].
    fn remove_rows_of_replay(&self, subscription: SubscriptionId, replay: ReplayId) -> Result<u64, StateError> {
        self.remove_where(Table::Retries, subscription.as_bytes(), |key, value| {
            let retry = keys::read_retry(key).and_then(|id| values::read_retry(value, id));
            retry.is_some_and(|retry| retry.replay == Some(replay))
        })
    }

    /// As [`super::State::remove_waiting`].
    fn remove_rows_of_waiting(&self, subscription: SubscriptionId, from: &[(TopicName, u32, u64)]) -> Result<u64, StateError> {
        self.remove_where(Table::Retries, subscription.as_bytes(), |key, value| {
            let retry = keys::read_retry(key).and_then(|id| values::read_retry(value, id));
            retry.filter(|retry| retry.replay.is_none()).is_some_and(|retry| match &retry.source {
                RetrySource::Log { topic, partition, offset, .. } => {
                    from.iter().any(|(of, at, first)| of == topic && at == partition && first <= offset)
                }
                RetrySource::DeadLetter(_) => false,
            })
        })
    }

    /// As [`super::State::remove_topic`].
    fn remove_rows_of_topic(&self, topic: &TopicName) -> Result<u64, StateError> {
        let bases = self.remove_where(Table::Positions, &keys::bases_of(topic), |_, _| true)?;
        let of_topic = |key: &[u8]| keys::read_lane(key).is_some_and(|lane| lane.topic == *topic);
        let lanes = self.remove_where(Table::Positions, &[keys::LANE], |key, _| of_topic(key))?;
        let of_topic = |key: &[u8]| keys::read_start(key, Vec::new()).is_some_and(|start| start.topic == *topic);
        let starts = self.remove_where(Table::Positions, &[keys::START], |key, _| of_topic(key))?;
        let retries = self.remove_where(Table::Retries, &[], |key, value| {
            let retry = keys::read_retry(key).and_then(|id| values::read_retry(value, id));
            retry.is_some_and(|retry| matches!(&retry.source, RetrySource::Log { topic: of, .. } if of == topic))
        })?;
        let of_topic = |key: &[u8]| keys::read_cursor(key, 0).is_some_and(|cursor| cursor.topic == *topic);
        let cursors = self.remove_where(Table::Readers, &[keys::CURSOR], |key, _| of_topic(key))?;
        Ok(bases + lanes + starts + retries + cursors)
    }
}
