//! Reads the records of segments that begin with `PHATT1`, which earlier versions wrote; they are dropped with age.
//!
//! ```text
//! record  = flags u8 (outcome in bits 0-1, then: has status, has error, has head, has next) · delivery 8 · event hash u32
//!           · subscription word · topic word · partition · offset · number · time after the block's first · duration
//!           · [status] [error length · error] [head length · head] [next − time]
//! ```

use posthorn_domain::position::{Position, take_varint};
use posthorn_domain::time::Time;

use super::record::{OUTCOMES, subscription, take_array, take_bytes, topic};
use super::{Attempt, DeliveryPrefix};

pub(super) const MAGIC: &[u8; 8] = b"PHATT1\0\n";

/// Reads one record and moves `bytes` behind it.
pub(super) fn take_record(bytes: &mut &[u8], words: &[&[u8]], first: Time) -> Option<Attempt> {
    let [flags] = take_array(bytes)?;
    let delivery = DeliveryPrefix(take_array(bytes)?);
    let event_hash = u32::from_le_bytes(take_array(bytes)?);
    let subscription = subscription(words, take_varint(bytes)?)?;
    let topic = topic(words, take_varint(bytes)?)?;
    let position = Position { partition: u32::try_from(take_varint(bytes)?).ok()?, offset: take_varint(bytes)? };
    let number = u32::try_from(take_varint(bytes)?).ok()?;
    let at = Time::from_millis(first.millis().checked_add(take_varint(bytes)?)?);
    let duration_ms = u32::try_from(take_varint(bytes)?).ok()?;
    let status = if flags & 4 != 0 { Some(u16::try_from(take_varint(bytes)?).ok()?) } else { None };
    let error = if flags & 8 != 0 { std::str::from_utf8(take_bytes(bytes)?).ok()?.to_owned() } else { String::new() };
    let response_head = if flags & 16 != 0 { take_bytes(bytes)?.to_vec() } else { Vec::new() };
    let next_attempt_at = if flags & 32 != 0 { Some(Time::from_millis(at.millis().checked_add(take_varint(bytes)?)?)) } else { None };
    let outcome = OUTCOMES[usize::from(flags & 3)];
    #[rustfmt::skip]
    let attempt = Attempt {
        subscription, topic, position, delivery, event_hash, number, at, duration_ms, status, outcome, error, response_head,
        next_attempt_at,
    };
    Some(attempt)
}
