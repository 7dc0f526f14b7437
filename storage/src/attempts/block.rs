//! The form of attempts on the disk.
//!
//! ```text
//! segment = "PHATT2\0\n" block…
//! block   = payload length u32 · CRC-32 of the payload u32 · payload                                (little-endian)
//! payload = first time · word count · (length · bytes)… · record…                                  (see `record`)
//! ```
//!
//! Unmarked integers are LEB128. Words (subscription ids, topic names) are written once a segment and numbered from 0.

use std::collections::HashMap;

use posthorn_domain::position::{put_varint, take_varint};
use posthorn_domain::time::Time;

use super::record::{Decoder, Encoder, put_bytes, take_bytes};
use super::{Attempt, Query};

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
    let (mut records, mut fresh, mut count) = (Encoder::new(first), Vec::new(), 0);
    for attempt in attempts {
        if records.len() >= BLOCK {
            break;
        }
        let subscription = words.number(attempt.subscription.as_bytes(), &mut fresh);
        let topic = words.number(attempt.topic.as_bytes(), &mut fresh);
        records.put(attempt, [subscription, topic]);
        count += 1;
    }
    let mut out = vec![0; HEADER];
    put_varint(&mut out, first.millis());
    put_varint(&mut out, fresh.len() as u64);
    fresh.iter().for_each(|word| put_bytes(&mut out, word));
    out.extend(records.finish());
    let len = u32::try_from(out.len() - HEADER).expect("a block is far below 4 GiB");
    let crc = crc32fast::hash(&out[HEADER..]);
    out[..4].copy_from_slice(&len.to_le_bytes());
    out[4..HEADER].copy_from_slice(&crc.to_le_bytes());
    (out, count)
}

/// The payload of the block at the start of `bytes`; `None` when it is cut short or damaged.
pub(super) fn payload(bytes: &[u8]) -> Option<&[u8]> {
    let (len, rest) = bytes.split_first_chunk()?;
    let (crc, rest) = rest.split_first_chunk()?;
    let payload = rest.get(..usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
    (!payload.is_empty() && crc32fast::hash(payload) == u32::from_le_bytes(*crc)).then_some(payload)
}

/// A whole block of a segment that was read.
pub(super) struct Block<'a> {
    first: Time,
    records: &'a [u8],
}

impl<'a> Block<'a> {
    /// Of this payload, whose words go onto `words`.
    pub(super) fn open(mut payload: &'a [u8], words: &mut Vec<&'a [u8]>) -> Option<Self> {
        let first = Time::from_millis(take_varint(&mut payload)?);
        for _ in 0..take_varint(&mut payload)? {
            words.push(take_bytes(&mut payload)?);
        }
        Some(Self { first, records: payload })
    }

    /// Its records in the order in which they were written, of those that are not asked for only that they are there. `words` are those
    /// of the segment.
    pub(super) fn find(&self, words: &[&[u8]], query: &Query) -> Vec<Option<Attempt>> {
        let mut records = Decoder::new(self.records, words, self.first);
        std::iter::from_fn(|| records.next(query)).collect()
    }
}
