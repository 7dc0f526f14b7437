//! The form of attempts on the disk.
//!
//! ```text
//! segment = "PHATT2\0\n" block…
//! block   = payload length u32 · CRC-32 of the payload u32 · payload                                (little-endian)
//! payload = first time · word count · (length · bytes)… · record…
//! record  = flags u8 (outcome in bits 0-1, then: has status, has error, has head, has next) · delivery 16 · event hash u32
//!           · subscription word · topic word · partition · offset · number · time after the block's first · duration
//!           · [status] [error length · error] [head length · head] [next − time]
//! ```
//!
//! Unmarked integers are LEB128. Words (subscription ids, topic names) are written once a segment and numbered from 0.

use std::collections::HashMap;

use posthorn_domain::ids::{DeliveryId, SubscriptionId};
use posthorn_domain::names::TopicName;
use posthorn_domain::position::{Position, put_varint, take_varint};
use posthorn_domain::time::Time;

use super::{Attempt, Outcome};

pub(super) const MAGIC: &[u8; 8] = b"PHATT2\0\n";
pub(super) const HEADER: usize = 8;
/// A block is ended once its records pass this.
const BLOCK: usize = 64 << 10;

/// Words by number of the segment that is written.
#[derive(Default)]
pub(super) struct Words {
    numbers: HashMap<Box<[u8]>, u64, foldhash::fast::RandomState>,
}

impl Words {
    pub(super) fn of(words: &[&[u8]]) -> Self {
        Self { numbers: words.iter().zip(0..).map(|(word, number)| (Box::from(*word), number)).collect() }
    }

    fn number<'a>(&mut self, word: &'a [u8], fresh: &mut Vec<&'a [u8]>) -> u64 {
        if let Some(number) = self.numbers.get(word) {
            return *number;
        }
        let number = self.numbers.len() as u64;
        self.numbers.insert(word.into(), number);
        fresh.push(word);
        number
    }
}

/// One block, header included, of the first of `attempts`; and how many it holds. `attempts` is not empty.
pub(super) fn encode(words: &mut Words, attempts: &[Attempt]) -> (Vec<u8>, usize) {
    let first = attempts.iter().map(|attempt| attempt.at).min().unwrap_or_default();
    let (mut records, mut fresh, mut count) = (Vec::new(), Vec::new(), 0);
    for attempt in attempts {
        if records.len() >= BLOCK {
            break;
        }
        let subscription = words.number(attempt.subscription.as_bytes(), &mut fresh);
        let topic = words.number(attempt.topic.as_bytes(), &mut fresh);
        put_record(&mut records, attempt, [subscription, topic], first);
        count += 1;
    }
    let mut out = vec![0; HEADER];
    put_varint(&mut out, first.millis());
    put_varint(&mut out, fresh.len() as u64);
    fresh.iter().for_each(|word| put_bytes(&mut out, word));
    out.extend(records);
    let len = u32::try_from(out.len() - HEADER).expect("a block is far below 4 GiB");
    let crc = crc32fast::hash(&out[HEADER..]);
    out[..4].copy_from_slice(&len.to_le_bytes());
    out[4..HEADER].copy_from_slice(&crc.to_le_bytes());
    (out, count)
}

fn put_record(out: &mut Vec<u8>, attempt: &Attempt, [subscription, topic]: [u64; 2], first: Time) {
    let bit = |set: bool, at: u8| u8::from(set) << at;
    let [error, head] = [!attempt.error.is_empty(), !attempt.response_head.is_empty()];
    let status = bit(attempt.status.is_some(), 2);
    out.push(attempt.outcome as u8 | status | bit(error, 3) | bit(head, 4) | bit(attempt.next_attempt_at.is_some(), 5));
    out.extend(attempt.delivery.as_bytes());
    out.extend(attempt.event_hash.to_le_bytes());
    let Position { partition, offset } = attempt.position;
    let after = attempt.at.millis() - first.millis();
    for int in [subscription, topic, partition.into(), offset, attempt.number.into(), after, attempt.duration_ms.into()] {
        put_varint(out, int);
    }
    if let Some(status) = attempt.status {
        put_varint(out, status.into());
    }
    if error {
        put_bytes(out, attempt.error.as_bytes());
    }
    if head {
        put_bytes(out, &attempt.response_head);
    }
    if let Some(next) = attempt.next_attempt_at {
        put_varint(out, next.millis().saturating_sub(attempt.at.millis()));
    }
}

/// The payload of the block at the start of `bytes`; `None` when it is cut short or damaged.
pub(super) fn payload(bytes: &[u8]) -> Option<&[u8]> {
    let (len, rest) = bytes.split_first_chunk()?;
    let (crc, rest) = rest.split_first_chunk()?;
    let payload = rest.get(..usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
    (!payload.is_empty() && crc32fast::hash(payload) == u32::from_le_bytes(*crc)).then_some(payload)
}

/// Reads the words of a payload onto `words`; returns the block's first time and its records.
pub(super) fn open<'a>(mut payload: &'a [u8], words: &mut Vec<&'a [u8]>) -> Option<(Time, &'a [u8])> {
    let first = Time::from_millis(take_varint(&mut payload)?);
    for _ in 0..take_varint(&mut payload)? {
        words.push(take_bytes(&mut payload)?);
    }
    Some((first, payload))
}

/// Reads one record and moves `bytes` behind it.
pub(super) fn take_record(bytes: &mut &[u8], words: &[&[u8]], first: Time) -> Option<Attempt> {
    let [flags] = take_array(bytes)?;
    let delivery = DeliveryId::from_bytes(take_array(bytes)?);
    let event_hash = u32::from_le_bytes(take_array(bytes)?);
    let word = |number: u64| words.get(usize::try_from(number).ok()?).copied();
    let subscription = SubscriptionId::from_bytes(word(take_varint(bytes)?)?.try_into().ok()?);
    let topic: TopicName = std::str::from_utf8(word(take_varint(bytes)?)?).ok()?.parse().ok()?;
    let position = Position { partition: u32::try_from(take_varint(bytes)?).ok()?, offset: take_varint(bytes)? };
    let number = u32::try_from(take_varint(bytes)?).ok()?;
    let at = Time::from_millis(first.millis().checked_add(take_varint(bytes)?)?);
    let duration_ms = u32::try_from(take_varint(bytes)?).ok()?;
    let status = if flags & 4 != 0 { Some(u16::try_from(take_varint(bytes)?).ok()?) } else { None };
    let error = if flags & 8 != 0 { std::str::from_utf8(take_bytes(bytes)?).ok()?.to_owned() } else { String::new() };
    let response_head = if flags & 16 != 0 { take_bytes(bytes)?.to_vec() } else { Vec::new() };
    let next_attempt_at = if flags & 32 != 0 { Some(Time::from_millis(at.millis().checked_add(take_varint(bytes)?)?)) } else { None };
    let outcome = [Outcome::Delivered, Outcome::Retry, Outcome::DeadLettered, Outcome::Dropped][usize::from(flags & 3)];
    Some(Attempt {
        subscription,
        topic,
        position,
        delivery,
        event_hash,
        number,
        at,
        duration_ms,
        status,
        outcome,
        error,
        response_head,
        next_attempt_at,
    })
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(take_varint(bytes)?).ok()?;
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (array, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*array)
}
