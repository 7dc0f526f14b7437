//! The text that names a reader's place: which partitions it has moved on, over any number of topics. Opaque to users: `r1` and
//! URL-safe base64 of variable-length integers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use posthorn_domain::names::TopicName;
use posthorn_domain::position::{Cursor, InvalidCursor, put_varint, take_varint};

use super::group::PartKey;
use crate::delivery::Waiting;

/// The longest text that is looked at.
const MAX_TEXT: usize = 64 << 10;

/// Where a reader goes on, on the partitions that it names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Token {
    /// Which life of each topic.
    pub(super) lives: BTreeMap<TopicName, u64>,
    /// The next offset to read.
    pub(super) next: BTreeMap<PartKey, u64>,
    /// Waiting deliveries of a subscription that were had.
    pub(super) had: BTreeSet<Waiting>,
}

impl Token {
    /// The same as a topic's cursor says it.
    pub(super) fn of_cursor(topic: &TopicName, cursor: &Cursor) -> Self {
        let next = (0..).zip(&cursor.next).map(|(partition, next)| ((topic.clone(), partition), *next)).collect();
        Self { lives: BTreeMap::from([(topic.clone(), cursor.incarnation)]), next, had: BTreeSet::new() }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(16 + self.next.len() * 6);
        for (topic, life) in &self.lives {
            put_varint(&mut bytes, topic.len() as u64);
            bytes.extend_from_slice(topic.as_bytes());
            put_varint(&mut bytes, *life);
            let next: Vec<_> = self.next.iter().filter(|((of, _), _)| of == topic).map(|((_, part), next)| (*part, *next)).collect();
            let had: Vec<_> = self.had.iter().filter(|place| place.topic == *topic).map(|place| (place.partition, place.offset)).collect();
            for list in [next, had] {
                put_varint(&mut bytes, list.len() as u64);
                for (partition, offset) in list {
                    put_varint(&mut bytes, u64::from(partition));
                    put_varint(&mut bytes, offset);
                }
            }
        }
        write!(f, "r1{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Token {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let body = text.strip_prefix("r1").filter(|body| body.len() <= MAX_TEXT).ok_or(InvalidCursor)?;
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(body).map_err(|_| InvalidCursor)?;
        read(&bytes).ok_or(InvalidCursor)
    }
}

fn read(mut bytes: &[u8]) -> Option<Token> {
    let mut token = Token::default();
    while !bytes.is_empty() {
        let len = usize::try_from(take_varint(&mut bytes)?).ok()?;
        let (name, rest) = bytes.split_at_checked(len)?;
        bytes = rest;
        let topic: TopicName = std::str::from_utf8(name).ok()?.parse().ok()?;
        token.lives.insert(topic.clone(), take_varint(&mut bytes)?);
        for (partition, next) in pairs(&mut bytes)? {
            token.next.insert((topic.clone(), partition), next);
        }
        for (partition, offset) in pairs(&mut bytes)? {
            token.had.insert(Waiting { topic: topic.clone(), partition, offset });
        }
    }
    Some(token)
}

fn pairs(bytes: &mut &[u8]) -> Option<Vec<(u32, u64)>> {
    let count = take_varint(bytes)?;
    let mut pairs = Vec::new();
    for _ in 0..count {
        pairs.push((u32::try_from(take_varint(bytes)?).ok()?, take_varint(bytes)?));
    }
    Some(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip_and_other_text_is_refused() {
        let topic = |name: &str| -> TopicName { name.parse().unwrap() };
        let token = Token {
            lives: BTreeMap::from([(topic("a"), 7), (topic("b"), u64::MAX)]),
            next: BTreeMap::from([((topic("a"), 0), 3), ((topic("a"), 9), u64::MAX), ((topic("b"), 1), 0)]),
            had: BTreeSet::from([Waiting { topic: topic("b"), partition: 1, offset: 300 }]),
        };
        let text = token.to_string();
        assert_eq!(text.parse(), Ok(token));
        assert_eq!("r1".parse(), Ok(Token::default()));
        for cut in 3..text.len() {
            // A cut text is another token or none, never a panic.
            drop(text[..cut].parse::<Token>());
        }
        for text in ["", "c1AA", "r1!", "r1AQ", "r1gICAgICAgICAgIA"] {
            assert!(text.parse::<Token>().is_err(), "{text}");
        }
    }
}
