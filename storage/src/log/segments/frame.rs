//! Format version 1 of a segment file: a header, then frames.
//!
//! ```text
//! segment = "PHORNSEG" · version u32 (1) · partition u32 · base offset u64 · created u64 · incarnation u64 · salt u64
//!         · crc32 u32 (over what stands before it)                                          (all little-endian; 52 bytes)
//! frame   = "PHf1" · body length u32 · base offset u64 · count u32 · first time u64 · last time u64 · body crc32 u32
//!         · head crc32 u32 (over the salt and what stands before it) · body                        (head: 44 bytes)
//! body    = count × (length u32 · record)
//! ```
//! First and last time are the least and the greatest `accepted_at`. The salt is random for each topic: bytes that a
//! publisher sends cannot pass for a frame when a reader looks for the next one behind damage.
//!
//! A frame is broken when: it is cut short; the magic is another; the head's or the body's checksum is another; the length is
//! above [`MAX_BODY`]; its base offset is below what the frames before it reached; the body does not split into `count` records.

use bytes::Bytes;
use posthorn_domain::record::Record;
use posthorn_domain::time::Time;

pub(super) const SEGMENT_HEAD: usize = 52;
pub(super) const FRAME_HEAD: usize = 44;
/// A frame is closed once its body has this much, so that a page or a damage costs no more.
pub(super) const TARGET_BODY: usize = 256 << 10;
/// Longer is no frame of ours.
pub(super) const MAX_BODY: usize = 64 << 20;
pub(super) const MAGIC: [u8; 4] = *b"PHf1";
const SEGMENT_MAGIC: [u8; 8] = *b"PHORNSEG";
const VERSION: u32 = 1;

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHead {
    pub(super) partition: u32,
    pub(super) base: u64,
    pub(super) created: Time,
    pub(super) incarnation: u64,
    pub(super) salt: u64,
}

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) body: usize,
    pub(super) base: u64,
    pub(super) count: u32,
    pub(super) first: Time,
    pub(super) last: Time,
    crc: u32,
}

impl SegmentHead {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SEGMENT_HEAD);
        out.extend_from_slice(&SEGMENT_MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.partition.to_le_bytes());
        for field in [self.base, self.created.millis(), self.incarnation, self.salt] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; SEGMENT_HEAD] = bytes.first_chunk()?;
        let sound = bytes[..8] == SEGMENT_MAGIC && u32_at(bytes, 8) == VERSION && crc32fast::hash(&bytes[..48]) == u32_at(bytes, 48);
        sound.then(|| Self {
            partition: u32_at(bytes, 12),
            base: u64_at(bytes, 16),
            created: Time::from_millis(u64_at(bytes, 24)),
            incarnation: u64_at(bytes, 32),
            salt: u64_at(bytes, 40),
        })
    }
}

impl Head {
    /// The sound head at the start of `bytes`.
    pub(super) fn decode(bytes: &[u8], salt: u64) -> Option<Self> {
        let bytes: &[u8; FRAME_HEAD] = bytes.first_chunk()?;
        let body = u32_at(bytes, 4) as usize;
        if bytes[..4] != MAGIC || body > MAX_BODY || head_crc(&bytes[..40], salt) != u32_at(bytes, 40) {
            return None;
        }
        let (base, count) = (u64_at(bytes, 8), u32_at(bytes, 16));
        let sound = count > 0 && base.checked_add(u64::from(count)).is_some();
        sound.then(|| Self {
            body,
            base,
            count,
            first: Time::from_millis(u64_at(bytes, 20)),
            last: Time::from_millis(u64_at(bytes, 28)),
            crc: u32_at(bytes, 36),
        })
    }

    pub(super) fn end(&self) -> u64 {
        self.base + u64::from(self.count)
    }

    pub(super) fn len(&self) -> usize {
        FRAME_HEAD + self.body
    }

    /// Whether `body` is the one that was written.
    pub(super) fn holds(&self, body: &[u8]) -> bool {
        body.len() == self.body && crc32fast::hash(body) == self.crc
    }
}

/// Writes one frame of records whose first has the offset `base`; answers how many of `records` it took.
pub(super) fn encode<'a>(out: &mut Vec<u8>, records: impl Iterator<Item = &'a Record>, base: u64, salt: u64) -> Head {
    let start = out.len();
    out.resize(start + FRAME_HEAD, 0);
    let (mut count, mut first, mut last) = (0u32, Time::MAX, Time::ZERO);
    for record in records {
        let len = u32::try_from(record.encoded_len()).expect("records are bounded at ingest");
        out.extend_from_slice(&len.to_le_bytes());
        record.encode(out);
        count += 1;
        first = first.min(record.accepted_at);
        last = last.max(record.accepted_at);
        if out.len() - start >= TARGET_BODY {
            break;
        }
    }
    let body = out.len() - start - FRAME_HEAD;
    let crc = crc32fast::hash(&out[start + FRAME_HEAD..]);
    let head = Head { body, base, count, first, last, crc };
    let fixed = encode_head(&head, salt);
    out[start..start + FRAME_HEAD].copy_from_slice(&fixed);
    head
}

/// The records of a body; `None` when it does not split into `count` records. They stay slices of `body`.
pub(super) fn records(body: &Bytes, count: u32) -> Option<Vec<Record>> {
    let mut records = Vec::with_capacity((count as usize).min(body.len() / 4));
    let mut at = 0;
    for _ in 0..count {
        let len = u32::from_le_bytes(*body.get(at..)?.first_chunk()?) as usize;
        let end = (at + 4).checked_add(len).filter(|end| *end <= body.len())?;
        records.push(Record::decode(&body.slice(at + 4..end)).ok()?);
        at = end;
    }
    (at == body.len()).then_some(records)
}

fn encode_head(head: &Head, salt: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(FRAME_HEAD);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&u32::try_from(head.body).expect("batches are far below 4 GiB").to_le_bytes());
    out.extend_from_slice(&head.base.to_le_bytes());
    out.extend_from_slice(&head.count.to_le_bytes());
    out.extend_from_slice(&head.first.millis().to_le_bytes());
    out.extend_from_slice(&head.last.millis().to_le_bytes());
    out.extend_from_slice(&head.crc.to_le_bytes());
    let crc = head_crc(&out, salt);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

fn head_crc(head: &[u8], salt: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(head);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | (u64::from(u32_at(bytes, at + 4)) << 32)
}
