//! Keys of the embedded store. Integers are big-endian, so that byte order is number order.
//!
//! ```text
//! positions:     'b' topic length u8 · topic · incarnation u64 · partition u32 · shards u16 · shard u16
//!                'l' subscription 16 · replay 16 (zero: none) · incarnation u64 · partition u32 · topic
//!                's' subscription 16 · incarnation u64 · topic
//!                'h' subscription 16
//!                'r' subscription 16 · replay 16
//!                'g' subscription 16                                  its rows are still to be removed
//!                'c'                                                  there when the last process stored all it had done
//!                'v'                                                  the format version
//! retries:       subscription 16 · due u64 · delivery 16 · flags u8
//! dead letters:  'd' id 16;  's' subscription 16 · id 16              the second is the index
//! readers:       'd' name;  'c' name length u8 · name · topic length u8 · topic · incarnation u64 · partition u32
//! ```

use posthorn_domain::ids::{DeadLetterId, DeliveryId, ReplayId, SubscriptionId};
use posthorn_domain::names::TopicName;
use posthorn_domain::time::Time;

use super::{Base, LaneState, ReaderCursor, Replay, RetryId, Start};

pub(super) const FORMAT: &[u8] = b"v";
pub(super) const CLEAN: &[u8] = b"c";
pub(super) const BASE: u8 = b'b';
pub(super) const LANE: u8 = b'l';
pub(super) const START: u8 = b's';
pub(super) const HEALTH: u8 = b'h';
pub(super) const GONE: u8 = b'g';
pub(super) const REPLAY: u8 = b'r';
pub(super) const LETTER: u8 = b'd';
pub(super) const LETTER_OF: u8 = b's';
pub(super) const READER: u8 = b'd';
pub(super) const CURSOR: u8 = b'c';

pub(super) fn base(base: &Base) -> Vec<u8> {
    let mut key = bases_of(&base.topic);
    key.extend(base.incarnation.to_be_bytes());
    key.extend(base.partition.to_be_bytes());
    key.extend(base.shards.to_be_bytes());
    key.extend(base.shard.to_be_bytes());
    key
}

/// What the keys of the topic's bases start with.
pub(super) fn bases_of(topic: &TopicName) -> Vec<u8> {
    let len = u8::try_from(topic.len()).expect("names are at most 200 bytes");
    [&[BASE, len], topic.as_bytes()].concat()
}

pub(super) fn read_base(key: &[u8], offset: u64) -> Option<Base> {
    let mut key = Key(key.strip_prefix(&[BASE])?);
    let len = usize::from(key.array::<1>()?[0]);
    let topic = key.name(len)?;
    let incarnation = u64::from_be_bytes(key.array()?);
    let partition = u32::from_be_bytes(key.array()?);
    let [shards, shard] = [u16::from_be_bytes(key.array()?), u16::from_be_bytes(key.array()?)];
    key.0.is_empty().then_some(Base { topic, incarnation, partition, shard, shards, offset })
}

pub(super) fn lane(lane: &LaneState) -> Vec<u8> {
    let mut key = of_subscription(LANE, lane.subscription);
    key.extend(lane.replay.map_or([0; 16], |replay| *replay.as_bytes()));
    key.extend(lane.incarnation.to_be_bytes());
    key.extend(lane.partition.to_be_bytes());
    key.extend(lane.topic.as_bytes());
    key
}

/// The lane of this key, without progress.
pub(super) fn read_lane(key: &[u8]) -> Option<LaneState> {
    let mut key = Key(key.strip_prefix(&[LANE])?);
    let subscription = SubscriptionId::from_bytes(key.array()?);
    let replay = Some(key.array()?).filter(|replay| *replay != [0; 16]).map(ReplayId::from_bytes);
    let incarnation = u64::from_be_bytes(key.array()?);
    let partition = u32::from_be_bytes(key.array()?);
    let topic = key.name(key.0.len())?;
    Some(LaneState { subscription, topic, incarnation, partition, replay, next: 0, settled: Vec::new(), until: None })
}

pub(super) fn start(start: &Start) -> Vec<u8> {
    let mut key = of_subscription(START, start.subscription);
    key.extend(start.incarnation.to_be_bytes());
    key.extend(start.topic.as_bytes());
    key
}

pub(super) fn read_start(key: &[u8], offsets: Vec<u64>) -> Option<Start> {
    let mut key = Key(key.strip_prefix(&[START])?);
    let subscription = SubscriptionId::from_bytes(key.array()?);
    let incarnation = u64::from_be_bytes(key.array()?);
    Some(Start { subscription, topic: key.name(key.0.len())?, incarnation, offsets })
}

pub(super) fn health(subscription: SubscriptionId) -> Vec<u8> {
    of_subscription(HEALTH, subscription)
}

/// Whose health it is.
pub(super) fn read_health(key: &[u8]) -> Option<SubscriptionId> {
    Some(SubscriptionId::from_bytes(key.strip_prefix(&[HEALTH])?.try_into().ok()?))
}

/// The subscription of a note that it is gone.
pub(super) fn read_gone(key: &[u8]) -> Option<SubscriptionId> {
    key.strip_prefix(&[GONE])?.try_into().ok().map(SubscriptionId::from_bytes)
}

pub(super) fn replay(replay: &Replay) -> Vec<u8> {
    [&of_subscription(REPLAY, replay.subscription), &replay.id.as_bytes()[..]].concat()
}

pub(super) fn read_replay(key: &[u8]) -> Option<(SubscriptionId, ReplayId)> {
    let mut key = Key(key.strip_prefix(&[REPLAY])?);
    let ids = (SubscriptionId::from_bytes(key.array()?), ReplayId::from_bytes(key.array()?));
    key.0.is_empty().then_some(ids)
}

pub(super) fn retry(id: &RetryId) -> Vec<u8> {
    let mut key = id.subscription.as_bytes().to_vec();
    key.extend(id.due.millis().to_be_bytes());
    key.extend(id.delivery.as_bytes());
    key.push(u8::from(id.replay) | u8::from(id.manual) << 1);
    key
}

pub(super) fn read_retry(key: &[u8]) -> Option<RetryId> {
    let mut key = Key(key);
    let subscription = SubscriptionId::from_bytes(key.array()?);
    let due = Time::from_millis(u64::from_be_bytes(key.array()?));
    let delivery = DeliveryId::from_bytes(key.array()?);
    let [flags] = key.array()?;
    key.0.is_empty().then_some(RetryId { subscription, due, delivery, replay: flags & 1 != 0, manual: flags & 2 != 0 })
}

pub(super) fn letter(id: DeadLetterId) -> Vec<u8> {
    [&[LETTER], &id.as_bytes()[..]].concat()
}

pub(super) fn letter_of(subscription: SubscriptionId, id: DeadLetterId) -> Vec<u8> {
    [&of_subscription(LETTER_OF, subscription), &id.as_bytes()[..]].concat()
}

/// The id at the end of a dead letter's key or index key.
pub(super) fn read_letter(key: &[u8]) -> Option<DeadLetterId> {
    key.last_chunk().copied().map(DeadLetterId::from_bytes)
}

pub(super) fn reader(name: &str) -> Vec<u8> {
    [&[READER], name.as_bytes()].concat()
}

/// The reader's name.
pub(super) fn read_reader(key: &[u8]) -> Option<String> {
    String::from_utf8(key.strip_prefix(&[READER])?.to_vec()).ok()
}

pub(super) fn cursor(cursor: &ReaderCursor) -> Vec<u8> {
    let len = |text: &str| u8::try_from(text.len()).expect("names are at most 255 bytes");
    let mut key = vec![CURSOR, len(&cursor.reader)];
    key.extend(cursor.reader.as_bytes());
    key.push(len(&cursor.topic));
    key.extend(cursor.topic.as_bytes());
    key.extend(cursor.incarnation.to_be_bytes());
    key.extend(cursor.partition.to_be_bytes());
    key
}

pub(super) fn read_cursor(key: &[u8], next: u64) -> Option<ReaderCursor> {
    let mut key = Key(key.strip_prefix(&[CURSOR])?);
    let len = usize::from(key.array::<1>()?[0]);
    let reader = std::str::from_utf8(key.take(len)?).ok()?.to_owned();
    let len = usize::from(key.array::<1>()?[0]);
    let topic = key.name(len)?;
    let incarnation = u64::from_be_bytes(key.array()?);
    let partition = u32::from_be_bytes(key.array()?);
    key.0.is_empty().then_some(ReaderCursor { reader, topic, incarnation, partition, next })
}

pub(super) fn of_subscription(kind: u8, subscription: SubscriptionId) -> Vec<u8> {
    [&[kind], &subscription.as_bytes()[..]].concat()
}

/// The first key behind all that start with `prefix`; `None` when there is none.
pub(super) fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let keep = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut next = prefix[..=keep].to_vec();
    next[keep] += 1;
    Some(next)
}

struct Key<'a>(&'a [u8]);

impl<'a> Key<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn name(&mut self, len: usize) -> Option<TopicName> {
        std::str::from_utf8(self.take(len)?).ok()?.parse().ok()
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }
}
