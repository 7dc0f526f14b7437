//! What the log keeps of one event: the event, who sent it, and what was decided about it when it came in.
//!
//! ```text
//! record = version u8 (2) · flags u8 · data kind u8 · durability u8 · accepted_at u64 · expires_at u64 (0: never)
//!        · publisher length u16 · key length u16 · head length u32 · data length u32        (all little-endian)
//!        · publisher · idempotency key · head · data
//! flags  : bit 0 = has an idempotency key, bit 1 = never becomes a dead letter, bit 2 = outgoing
//! ```
//! Version 1 is the same without bit 2: its records are incoming.
//!
//! Dead letters keep the same bytes, so an event reads back the same wherever it was kept.

use std::sync::OnceLock;

use bytes::{BufMut, Bytes, BytesMut};
use compact_str::CompactString;

use crate::direction::Direction;
use crate::event::{DataKind, Event};
use crate::filter::View;
use crate::ids::MessageId;
use crate::qos::{DeadLetter, Durability};
use crate::time::Time;

/// An event as it is kept. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The event, with its `topic` attribute set.
    pub event: Event,
    /// Who sent it; empty when nobody was authenticated.
    pub publisher: CompactString,
    /// The `Idempotency-Key` that stood in for `source` and `id`.
    pub idempotency_key: Option<CompactString>,
    /// When it was taken in.
    pub accepted_at: Time,
    /// When it must no longer be delivered (I13).
    pub expires_at: Option<Time>,
    /// What its acknowledgement promised.
    pub durability: Durability,
    /// The strongest of its schemas' settings.
    pub dead_letter: DeadLetter,
    /// Which way it goes.
    pub direction: Direction,
}

/// Bytes that are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored record is not well-formed")]
pub struct InvalidRecord;

const VERSION: u8 = 2;
/// The version before there was a direction.
const UNDIRECTED: u8 = 1;
const FIXED: usize = 32;
const HAS_KEY: u8 = 1;
const NEVER_LETTER: u8 = 2;
const OUTGOING: u8 = 4;

impl Record {
    /// The id that receivers see and that duplicates are known by.
    pub fn message_id(&self, topic: &str) -> MessageId {
        match &self.idempotency_key {
            Some(key) => MessageId::of_key(topic, &self.publisher, key),
            None => MessageId::of_event(topic, &self.publisher, self.event.source(), self.event.id()),
        }
    }

    /// What orders events among themselves: `partitionkey`, else `subject` (DESIGN §5).
    pub fn key(&self) -> Option<&str> {
        self.event.get("partitionkey").or_else(|| self.event.get("subject"))
    }

    /// What filters see of it, its data not parsed.
    pub fn view<'a>(&'a self, topic: &'a str) -> View<'a> {
        View { direction: self.direction, ..View::new(topic, &self.event) }
    }

    /// Whether it must no longer be delivered at `now`.
    pub fn is_expired(&self, now: Time) -> bool {
        self.expires_at.is_some_and(|expires| expires <= now)
    }

    /// Bytes that [`Record::encode`] will write.
    pub fn encoded_len(&self) -> usize {
        FIXED + self.publisher.len() + self.idempotency_key.as_ref().map_or(0, |key| key.len()) + self.event.size()
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut impl BufMut) {
        let key = self.idempotency_key.as_deref().unwrap_or_default();
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let flags = flag(self.idempotency_key.is_some(), HAS_KEY)
            | flag(self.dead_letter == DeadLetter::Never, NEVER_LETTER)
            | flag(self.direction == Direction::Outgoing, OUTGOING);
        out.put_u8(VERSION);
        out.put_u8(flags);
        out.put_u8(self.event.data_kind() as u8);
        out.put_u8(self.durability as u8);
        out.put_u64_le(self.accepted_at.millis());
        out.put_u64_le(self.expires_at.map_or(0, Time::millis));
        out.put_u16_le(u16::try_from(self.publisher.len()).expect("publisher names are at most 200 bytes"));
        out.put_u16_le(u16::try_from(key.len()).expect("idempotency keys are bounded at ingest"));
        out.put_u32_le(u32::try_from(self.event.head().len()).expect("heads are bounded at ingest"));
        out.put_u32_le(u32::try_from(self.event.data().len()).expect("data is bounded at ingest"));
        out.put_slice(self.publisher.as_bytes());
        out.put_slice(key.as_bytes());
        out.put_slice(self.event.head());
        out.put_slice(self.event.data());
    }

    /// The record's bytes on their own.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.encoded_len());
        self.encode(&mut out);
        out.freeze()
    }

    /// Reads exactly one record; attributes and data stay slices of `bytes`.
    pub fn decode(bytes: &Bytes) -> Result<Self, InvalidRecord> {
        let fixed: &[u8; FIXED] = bytes.first_chunk().ok_or(InvalidRecord)?;
        let u16_at = |at: usize| usize::from(u16::from_le_bytes([fixed[at], fixed[at + 1]]));
        let u32_at = |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]) as usize;
        let u64_at = |at: usize| (u32_at(at) as u64) | ((u32_at(at + 4) as u64) << 32);
        let durability = match fixed[3] {
            0 => Durability::None,
            1 => Durability::Log,
            2 => Durability::Sync,
            _ => return Err(InvalidRecord),
        };
        let lengths = [u16_at(20), u16_at(22), u32_at(24), u32_at(28)];
        let whole = lengths.iter().try_fold(FIXED, |sum, len| sum.checked_add(*len));
        let known_flags = match fixed[0] {
            VERSION => HAS_KEY | NEVER_LETTER | OUTGOING,
            UNDIRECTED => HAS_KEY | NEVER_LETTER,
            _ => return Err(InvalidRecord),
        };
        if fixed[1] & !known_flags != 0 || whole != Some(bytes.len()) {
            return Err(InvalidRecord);
        }
        let has = |flag: u8| fixed[1] & flag != 0;
        let mut at = FIXED;
        let [publisher, key, head, data] = lengths.map(|len| {
            at += len;
            bytes.slice(at - len..at)
        });
        let text = |bytes: &Bytes| std::str::from_utf8(bytes).map(CompactString::from).map_err(|_| InvalidRecord);
        let data_kind = DataKind::from_code(fixed[2]).ok_or(InvalidRecord)?;
        Ok(Self {
            event: Event::from_parts(head, data_kind, data).map_err(|_| InvalidRecord)?,
            publisher: text(&publisher)?,
            idempotency_key: has(HAS_KEY).then(|| text(&key)).transpose()?,
            accepted_at: Time::from_millis(u64_at(4)),
            expires_at: Some(u64_at(12)).filter(|millis| *millis != 0).map(Time::from_millis),
            durability,
            dead_letter: if has(NEVER_LETTER) { DeadLetter::Never } else { DeadLetter::Allow },
            direction: if has(OUTGOING) { Direction::Outgoing } else { Direction::Incoming },
        })
    }
}

/// What was found out about an event on its way in. Who gets it was decided while its parsed form was at hand, and is good only for the
/// same generation of the topic's routes; otherwise the event is matched again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Its [`Record::message_id`].
    pub message: MessageId,
    /// The generation of the topic's routes that decided.
    pub generation: u64,
    /// The slots of the matching subscriptions in that generation.
    pub slots: Box<[u32]>,
}

/// A record at its place in the log.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its offset in its partition.
    pub offset: u64,
    /// The record.
    pub record: Record,
    /// What is known of it when it has just come in.
    pub hint: Option<Hint>,
    message: OnceLock<MessageId>,
    lines: OnceLock<String>,
}

impl Stored {
    /// The record at its place.
    pub fn new(offset: u64, record: Record, hint: Option<Hint>) -> Self {
        let message = hint.as_ref().map_or_else(OnceLock::new, |hint| hint.message.into());
        Self { offset, record, hint, message, lines: OnceLock::new() }
    }

    /// As [`Record::message_id`], made once (I5).
    pub fn message_id(&self, topic: &str) -> MessageId {
        *self.message.get_or_init(|| self.record.message_id(topic))
    }

    /// What requests that carry it in binary mode have in common: made by the first of them (I5).
    pub fn lines(&self, make: impl FnOnce() -> String) -> &str {
        self.lines.get_or_init(make)
    }

    /// The same in memory of its own: it no longer keeps the page or request alive that it was read from.
    pub fn detached(&self) -> Self {
        let record = Record::decode(&self.record.to_bytes()).expect("a record reads what it wrote");
        Self::new(self.offset, record, self.hint.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventBuilder;

    fn record() -> Record {
        Record {
            event: EventBuilder::new("1", "/s", "t").with_data(DataKind::Json, Bytes::from_static(b"[1]")),
            publisher: "acme".into(),
            idempotency_key: Some("k".into()),
            accepted_at: Time::from_millis(1_700_000_000_123),
            expires_at: Some(Time::from_millis(1_700_000_100_000)),
            durability: Durability::Log,
            dead_letter: DeadLetter::Never,
            direction: Direction::Outgoing,
        }
    }

    #[test]
    fn a_detached_record_is_the_same_elsewhere() {
        let stored = Stored::new(7, record(), None);
        let copy = stored.detached();
        assert_eq!((copy.offset, &copy.record), (7, &stored.record));
        assert_ne!(copy.record.event.data().as_ptr(), stored.record.event.data().as_ptr());
    }

    #[test]
    fn records_round_trip() {
        let bytes = record().to_bytes();
        assert_eq!(bytes.len(), record().encoded_len());
        assert_eq!(Record::decode(&bytes), Ok(record()));
    }

    #[test]
    fn records_of_the_version_before_are_incoming() {
        let incoming = Record { direction: Direction::Incoming, ..record() };
        let mut bytes = incoming.to_bytes().to_vec();
        bytes[0] = UNDIRECTED;
        assert_eq!(Record::decode(&bytes.clone().into()), Ok(incoming));
        bytes[1] |= OUTGOING;
        assert_eq!(Record::decode(&bytes.into()), Err(InvalidRecord), "a flag that its version does not know");
    }

    #[test]
    fn cut_or_lengthened_records_are_refused() {
        let bytes = record().to_bytes();
        for cut in 0..bytes.len() {
            assert_eq!(Record::decode(&bytes.slice(..cut)), Err(InvalidRecord));
        }
        let longer = [&bytes[..], b"x"].concat();
        assert_eq!(Record::decode(&longer.into()), Err(InvalidRecord));
    }
}
