//! The form of one attempt within its block. What most attempts have in common takes no room, and an event's place is written once a
//! block, however many subscriptions it went to.
//!
//! ```text
//! record = flags u8 (outcome in bits 0-1, then: status is 200, has another status, has error or head, has next, has number, has id)
//!          · event · subscription word · (id 16 | start of the derived id 4) · time after the record before (zigzag) · duration
//!          · [status] [number] [error length · error · head length · head] [next − time]
//! event  = 0 · message 16 · hash u32 · topic word · partition · offset      one that this block has not named yet
//!        | n                                                                the one that was named n-th last, from 1
//! ```
//!
//! Unmarked integers are LEB128; the number is 1 where there is none. An id that can be derived from subscription and message is, once its
//! start tells that it may be the one that is looked for.

use std::collections::HashMap;

use posthorn_domain::ids::{DeliveryId, MessageId, SubscriptionId};
use posthorn_domain::names::TopicName;
use posthorn_domain::position::{Position, put_varint, take_varint};
use posthorn_domain::time::Time;

use super::{Attempt, Outcome, Query};

const OK: u16 = 200;
const IS_OK: u8 = 1 << 2;
const STATUS: u8 = 1 << 3;
const FAULT: u8 = 1 << 4;
const NEXT: u8 = 1 << 5;
const NUMBER: u8 = 1 << 6;
const ID: u8 = 1 << 7;
/// Of a derived id.
const START: usize = 4;
/// By the lowest bits of the flags.
const OUTCOMES: [Outcome; 4] = [Outcome::Delivered, Outcome::Retry, Outcome::DeadLettered, Outcome::Dropped];

/// Writes the records of one block.
pub(super) struct Encoder {
    out: Vec<u8>,
    /// The events that were named, and as which.
    events: HashMap<Event, usize, foldhash::fast::RandomState>,
    last: Time,
}

#[derive(PartialEq, Eq, Hash)]
struct Event {
    message: MessageId,
    hash: u32,
    topic: u64,
    position: Position,
}

impl Encoder {
    /// Of a block whose time this is.
    pub(super) fn new(first: Time) -> Self {
        Self { out: Vec::new(), events: HashMap::default(), last: first }
    }

    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }

    /// Appends an attempt, whose subscription and topic have these words.
    pub(super) fn put(&mut self, attempt: &Attempt, [subscription, topic]: [u64; 2]) {
        debug_assert!(!attempt.derived || attempt.delivery == DeliveryId::of(attempt.subscription, attempt.message), "it is derived");
        let bit = |set: bool, bit| if set { bit } else { 0 };
        let fault = !attempt.error.is_empty() || !attempt.response_head.is_empty();
        let (status, number) = (attempt.status.filter(|status| *status != OK), attempt.number != 1);
        let flags = bit(attempt.status == Some(OK), IS_OK) | bit(status.is_some(), STATUS) | bit(fault, FAULT) | bit(!attempt.derived, ID);
        self.out.push(attempt.outcome as u8 | flags | bit(attempt.next_attempt_at.is_some(), NEXT) | bit(number, NUMBER));
        self.put_event(Event { message: attempt.message, hash: attempt.event_hash, topic, position: attempt.position });
        let out = &mut self.out;
        put_varint(out, subscription);
        let id = attempt.delivery.as_bytes();
        out.extend_from_slice(if attempt.derived { &id[..START] } else { id });
        put_varint(out, zigzag(self.last, attempt.at));
        self.last = attempt.at;
        put_varint(out, attempt.duration_ms.into());
        if let Some(status) = status {
            put_varint(out, status.into());
        }
        if number {
            put_varint(out, attempt.number.into());
        }
        if fault {
            put_bytes(out, attempt.error.as_bytes());
            put_bytes(out, &attempt.response_head);
        }
        if let Some(next) = attempt.next_attempt_at {
            put_varint(out, next.millis().saturating_sub(attempt.at.millis()));
        }
    }

    fn put_event(&mut self, event: Event) {
        let named = self.events.len();
        if let Some(number) = self.events.get(&event) {
            return put_varint(&mut self.out, (named - number) as u64);
        }
        self.out.push(0);
        self.out.extend(event.message.as_bytes());
        self.out.extend(event.hash.to_le_bytes());
        for int in [event.topic, event.position.partition.into(), event.position.offset] {
            put_varint(&mut self.out, int);
        }
        self.events.insert(event, named);
    }
}

/// Reads the records of one block.
pub(super) struct Decoder<'a> {
    bytes: &'a [u8],
    words: &'a [&'a [u8]],
    events: Vec<Named>,
    last: Time,
}

#[derive(Clone)]
struct Named {
    message: MessageId,
    hash: u32,
    topic: TopicName,
    position: Position,
}

impl<'a> Decoder<'a> {
    /// Of the block with these records, whose time `first` is.
    pub(super) fn new(bytes: &'a [u8], words: &'a [&'a [u8]], first: Time) -> Self {
        Self { bytes, words, events: Vec::new(), last: first }
    }

    /// The next record, whole if the query wants it; none at the end, or where the bytes are not what an encoder makes.
    pub(super) fn next(&mut self, query: &Query) -> Option<Option<Attempt>> {
        let [flags] = take_array(&mut self.bytes)?;
        let has = |bit| flags & bit != 0;
        let Named { message, hash: event_hash, topic, position } = self.take_event()?;
        let bytes = &mut self.bytes;
        let subscription = subscription(self.words, take_varint(bytes)?)?;
        let (delivery, start) =
            if has(ID) { (Some(DeliveryId::from_bytes(take_array(bytes)?)), None) } else { (None, Some(take_array(bytes)?)) };
        let at = unzigzag(self.last, take_varint(bytes)?)?;
        self.last = at;
        let duration_ms = u32::try_from(take_varint(bytes)?).ok()?;
        let status = match (has(IS_OK), has(STATUS)) {
            (true, _) => Some(OK),
            (_, true) => Some(u16::try_from(take_varint(bytes)?).ok()?),
            _ => None,
        };
        let number = if has(NUMBER) { u32::try_from(take_varint(bytes)?).ok()? } else { 1 };
        let [error, head] = if has(FAULT) { [take_bytes(bytes)?, take_bytes(bytes)?] } else { [&[][..]; 2] };
        let error = std::str::from_utf8(error).ok()?.to_owned();
        let next_attempt_at = if has(NEXT) { Some(Time::from_millis(at.millis().checked_add(take_varint(bytes)?)?)) } else { None };
        let mut attempt = Attempt {
            subscription,
            topic,
            position,
            message,
            delivery: delivery.unwrap_or(DeliveryId::from_bytes([0; 16])),
            derived: delivery.is_none(),
            event_hash,
            number,
            at,
            duration_ms,
            status,
            outcome: OUTCOMES[usize::from(flags & 3)],
            error,
            response_head: head.to_vec(),
            next_attempt_at,
        };
        if !query.matches_but_for_id(&attempt) {
            return Some(None);
        }
        if let Some(start) = start {
            let start: [u8; START] = start;
            if query.delivery.is_some_and(|wanted| wanted.as_bytes()[..START] != start) {
                return Some(None);
            }
            attempt.delivery = DeliveryId::of(subscription, message);
        }
        Some(Some(attempt).filter(|attempt| query.delivery.is_none_or(|wanted| wanted == attempt.delivery)))
    }

    fn take_event(&mut self) -> Option<Named> {
        let back = usize::try_from(take_varint(&mut self.bytes)?).ok()?;
        if back > 0 {
            return self.events.get(self.events.len().checked_sub(back)?).cloned();
        }
        let bytes = &mut self.bytes;
        let message = MessageId::from_bytes(take_array(bytes)?);
        let hash = u32::from_le_bytes(take_array(bytes)?);
        let topic = topic(self.words, take_varint(bytes)?)?;
        let position = Position { partition: u32::try_from(take_varint(bytes)?).ok()?, offset: take_varint(bytes)? };
        let named = Named { message, hash, topic, position };
        self.events.push(named.clone());
        Some(named)
    }
}

/// Small for times that lie close together, in either order.
fn zigzag(from: Time, to: Time) -> u64 {
    let by = to.millis().wrapping_sub(from.millis()).cast_signed();
    ((by << 1) ^ (by >> 63)).cast_unsigned()
}

fn unzigzag(from: Time, by: u64) -> Option<Time> {
    let by = (by >> 1).cast_signed() ^ -(by & 1).cast_signed();
    from.millis().checked_add_signed(by).map(Time::from_millis)
}

fn subscription(words: &[&[u8]], number: u64) -> Option<SubscriptionId> {
    Some(SubscriptionId::from_bytes(words.get(usize::try_from(number).ok()?).copied()?.try_into().ok()?))
}

fn topic(words: &[&[u8]], number: u64) -> Option<TopicName> {
    std::str::from_utf8(words.get(usize::try_from(number).ok()?)?).ok()?.parse().ok()
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(super) fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
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
