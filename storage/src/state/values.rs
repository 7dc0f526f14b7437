//! Values of the delivery state: a version byte, then the members in order; integers as LEB128, texts with their length before.

use bytes::Bytes;
use posthorn_domain::ids::{DeadLetterId, DeliveryId, MessageId, ReplayId, SubscriptionId};
use posthorn_domain::node::ReplayState;
use posthorn_domain::position::{Position, put_varint, take_varint};
use posthorn_domain::problem::Fault;
use posthorn_domain::reason::Reason;
use posthorn_domain::time::Time;

use super::{DeadLetter, Health, LaneState, Replay, Retry, RetryId, RetrySource};

const VERSION: u8 = 1;
/// Of dead letters that belong to a replay; the others are written as before.
const OF_REPLAY: u8 = 2;
/// What earlier versions wrote does not tell of which replay it is.
const SOME_REPLAY: ReplayId = ReplayId::from_bytes([0; 16]);
const DETAIL_MAX: usize = 4096;
const ERROR_MAX: usize = 200;

/// A list of integers that grow, or not: bases and starts.
pub(super) fn integers(values: &[u64]) -> Vec<u8> {
    let mut out = vec![VERSION];
    values.iter().for_each(|value| put_varint(&mut out, *value));
    out
}

pub(super) fn read_integers(value: &[u8]) -> Option<Vec<u64>> {
    let mut value = Value::open(value)?;
    let mut out = Vec::new();
    while !value.0.is_empty() {
        out.push(value.int()?);
    }
    Some(out)
}

pub(super) fn text(text: &str) -> Vec<u8> {
    [&[VERSION], text.as_bytes()].concat()
}

pub(super) fn read_text(value: &[u8]) -> Option<String> {
    String::from_utf8(Value::open(value)?.0.to_vec()).ok()
}

/// Settled offsets as distances from the one before, for they lie close together.
pub(super) fn lane(lane: &LaneState) -> Vec<u8> {
    let mut out = vec![VERSION];
    put_varint(&mut out, lane.next);
    put_option(&mut out, lane.until);
    let mut last = lane.next;
    for offset in &lane.settled {
        put_varint(&mut out, offset.wrapping_sub(last));
        last = *offset;
    }
    out
}

pub(super) fn read_lane(value: &[u8], key: LaneState) -> Option<LaneState> {
    let mut value = Value::open(value)?;
    let next = value.int()?;
    let until = value.option()?;
    let (mut settled, mut last) = (Vec::new(), next);
    while !value.0.is_empty() {
        last = last.wrapping_add(value.int()?);
        settled.push(last);
    }
    Some(LaneState { next, until, settled, ..key })
}

pub(super) fn health(health: &Health) -> Vec<u8> {
    let mut out = vec![VERSION];
    put_option(&mut out, health.failing_since.map(Time::millis));
    out.push(u8::from(health.told_down));
    out
}

pub(super) fn read_health(value: &[u8], subscription: SubscriptionId) -> Option<Health> {
    let mut value = Value::open(value)?;
    let failing_since = value.option()?.map(Time::from_millis);
    Some(Health { subscription, failing_since, told_down: value.some()? })
}

pub(super) fn retry(retry: &Retry) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend(retry.message.as_bytes());
    put_varint(&mut out, u64::from(retry.attempts));
    put_varint(&mut out, retry.first_attempt_at.millis());
    put_option(&mut out, retry.key_hash);
    put_text(&mut out, cut(&retry.last_error, ERROR_MAX));
    match &retry.source {
        RetrySource::Log { topic, incarnation, partition, offset } => {
            out.push(0);
            put_text(&mut out, topic);
            [*incarnation, u64::from(*partition), *offset].into_iter().for_each(|int| put_varint(&mut out, int));
        }
        RetrySource::DeadLetter(id) => {
            out.push(1);
            out.extend(id.as_bytes());
        }
    }
    out.extend(retry.replay.iter().flat_map(|replay| replay.as_bytes()));
    out
}

pub(super) fn read_retry(value: &[u8], id: RetryId) -> Option<Retry> {
    let mut value = Value::open(value)?;
    let RetryId { subscription, due, delivery, replay, manual } = id;
    let message = MessageId::from_bytes(value.array()?);
    let attempts = u32::try_from(value.int()?).ok()?;
    let first_attempt_at = Time::from_millis(value.int()?);
    let key_hash = value.option()?;
    let last_error = value.text()?.to_owned();
    let source = match value.array()? {
        [0] => RetrySource::Log {
            topic: value.text()?.parse().ok()?,
            incarnation: value.int()?,
            partition: u32::try_from(value.int()?).ok()?,
            offset: value.int()?,
        },
        [1] => RetrySource::DeadLetter(DeadLetterId::from_bytes(value.array()?)),
        _ => return None,
    };
    let replay = replay.then(|| value.array().map_or(SOME_REPLAY, ReplayId::from_bytes));
    Some(Retry { subscription, delivery, message, due, attempts, first_attempt_at, source, key_hash, last_error, replay, manual })
}

pub(super) fn letter(letter: &DeadLetter) -> Vec<u8> {
    let mut out = Vec::with_capacity(160 + letter.detail.len().min(DETAIL_MAX) + letter.record.len());
    out.extend([if letter.replay.is_some() { OF_REPLAY } else { VERSION }, letter.reason.code()]);
    put_varint(&mut out, letter.at.millis());
    put_text(&mut out, &letter.topic);
    put_option(&mut out, letter.position.map(|position| u64::from(position.partition)));
    put_varint(&mut out, letter.position.map_or(0, |position| position.offset));
    put_id(&mut out, letter.subscription.as_ref().map(SubscriptionId::as_bytes));
    put_id(&mut out, letter.delivery.as_ref().map(DeliveryId::as_bytes));
    out.extend(letter.replay.iter().flat_map(|replay| replay.as_bytes()));
    put_varint(&mut out, u64::from(letter.attempts));
    put_text(&mut out, cut(&letter.detail, DETAIL_MAX));
    let errors = if letter.errors.is_empty() { String::new() } else { serde_json::to_string(&letter.errors).unwrap_or_default() };
    put_text(&mut out, &errors);
    out.extend_from_slice(&letter.record);
    out
}

pub(super) fn read_letter(bytes: &Bytes, id: DeadLetterId) -> Option<DeadLetter> {
    let of_replay = bytes.first() == Some(&OF_REPLAY);
    let mut value = if of_replay { Value(&bytes[1..]) } else { Value::open(bytes)? };
    let reason = Reason::from_code(value.array::<1>()?[0])?;
    let at = Time::from_millis(value.int()?);
    let topic = value.text()?.parse().ok()?;
    let partition = value.option()?;
    let offset = value.int()?;
    let partition = partition.map(u32::try_from).transpose().ok()?;
    let position = partition.map(|partition| Position { partition, offset });
    let subscription = value.id()?.map(SubscriptionId::from_bytes);
    let delivery = value.id()?.map(DeliveryId::from_bytes);
    let replay = if of_replay { Some(ReplayId::from_bytes(value.array()?)) } else { None };
    let attempts = u32::try_from(value.int()?).ok()?;
    let detail = value.text()?.to_owned();
    let errors = read_faults(value.text()?)?;
    let record = bytes.slice(bytes.len() - value.0.len()..);
    Some(DeadLetter { id, reason, detail, at, topic, position, record, subscription, delivery, replay, attempts, errors })
}

pub(super) fn replay(replay: &Replay) -> Vec<u8> {
    let mut out = vec![VERSION, replay.state.code()];
    put_text(&mut out, &replay.from);
    out.push(u8::from(replay.to.is_some()));
    replay.to.iter().for_each(|to| put_text(&mut out, to));
    put_option(&mut out, replay.rate.map(f64::to_bits));
    let Replay { events, considered, delivered, failed, waiting, started_at, .. } = replay;
    [*events, *considered, *delivered, *failed, *waiting, started_at.millis()].into_iter().for_each(|int| put_varint(&mut out, int));
    put_option(&mut out, replay.ended_at.map(Time::millis));
    out
}

pub(super) fn read_replay(value: &[u8], (subscription, id): (SubscriptionId, ReplayId)) -> Option<Replay> {
    let mut value = Value::open(value)?;
    let state = ReplayState::from_code(value.array::<1>()?[0])?;
    let from = value.text()?.to_owned();
    let to = if value.some()? { Some(value.text()?.to_owned()) } else { None };
    let rate = value.option()?.map(f64::from_bits);
    let [events, considered, delivered, failed, waiting] = [value.int()?, value.int()?, value.int()?, value.int()?, value.int()?];
    let started_at = Time::from_millis(value.int()?);
    let ended_at = value.option()?.map(Time::from_millis);
    Some(Replay { subscription, id, state, from, to, rate, events, considered, delivered, failed, waiting, started_at, ended_at })
}

fn read_faults(text: &str) -> Option<Vec<Fault>> {
    #[derive(serde::Deserialize)]
    struct Kept {
        schema: Option<String>,
        pointer: String,
        detail: String,
    }
    if text.is_empty() {
        return Some(Vec::new());
    }
    let kept: Vec<Kept> = serde_json::from_str(text).ok()?;
    Some(kept.into_iter().map(|Kept { schema, pointer, detail }| Fault { schema, pointer, detail }).collect())
}

/// The longest start of `text` of at most `max` bytes that ends between characters.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_option(out: &mut Vec<u8>, value: Option<u64>) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put_varint(out, value);
    }
}

fn put_id(out: &mut Vec<u8>, id: Option<&[u8; 16]>) {
    out.push(u8::from(id.is_some()));
    out.extend(id.into_iter().flatten());
}

struct Value<'a>(&'a [u8]);

impl<'a> Value<'a> {
    fn open(bytes: &'a [u8]) -> Option<Self> {
        bytes.strip_prefix(&[VERSION]).map(Self)
    }

    fn int(&mut self) -> Option<u64> {
        take_varint(&mut self.0)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn some(&mut self) -> Option<bool> {
        match self.array()? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    fn option(&mut self) -> Option<Option<u64>> {
        if self.some()? { self.int().map(Some) } else { Some(None) }
    }

    fn id(&mut self) -> Option<Option<[u8; 16]>> {
        if self.some()? { self.array().map(Some) } else { Some(None) }
    }

    fn text(&mut self) -> Option<&'a str> {
        let len = usize::try_from(self.int()?).ok()?;
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }
}
