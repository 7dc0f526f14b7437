//! Places in a topic: [`Position`] of one event, [`Cursor`] over all partitions.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Serialize, Serializer};

/// The place of one event in its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Position {
    /// The partition, from 0.
    pub partition: u32,
    /// The offset in the partition, from 0.
    pub offset: u64,
}

/// A place in a topic, over all its partitions: for each, the offset of the next event to read.
///
/// Its text is opaque to users: `c1` and URL-safe base64 of the incarnation of the topic and the offsets as variable-length integers.
/// (A cursor names the *last read* event to users; "the next to read" says the same and also covers "nothing read yet".)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Which life of the topic it belongs to: the revision at which the topic was created.
    pub incarnation: u64,
    /// By partition.
    pub next: Vec<u64>,
}

/// Text that is no cursor of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a cursor: use `earliest`, `latest`, `time:` and an RFC 3339 time, or a cursor from an answer")]
pub struct InvalidCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(4 + self.next.len() * 4);
        put_varint(&mut bytes, self.incarnation);
        for offset in &self.next {
            put_varint(&mut bytes, *offset);
        }
        write!(f, "c1{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let body = text.strip_prefix("c1").filter(|body| body.len() <= 16 * 1024).ok_or(InvalidCursor)?;
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(body).map_err(|_| InvalidCursor)?;
        let mut rest = bytes.as_slice();
        let incarnation = take_varint(&mut rest).ok_or(InvalidCursor)?;
        let mut next = Vec::new();
        while !rest.is_empty() {
            next.push(take_varint(&mut rest).ok_or(InvalidCursor)?);
        }
        Ok(Self { incarnation, next })
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Writes `value` in groups of seven bits, least first (LEB128).
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads what [`put_varint`] wrote and moves `bytes` behind it; `None` when it is cut short or longer than 64 bits.
pub fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        if shift == 63 && *first > 1 {
            return None;
        }
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_round_trip() {
        let cursor = Cursor { incarnation: 7, next: vec![0, 1, 300, u64::MAX] };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in ["", "c1!", "c2AAAA", "earliest", "c1gA"] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}
