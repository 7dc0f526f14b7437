//! The index of a closed segment on disk, `{base:020}.idx`, so that a start need not walk closed segments.
//!
//! ```text
//! "PHi2" · base u64 · end u64 · file length u64 · created u64 · last time u64 · count u32
//!        · count × (offset u64 · position u64 · greatest time before it u64)
//!        · summary length u32 · summary (`summary.rs`) · crc32 u32                                (all little-endian)
//! ```
//! It is only a help: when it is missing, broken, or not for this length of file, the segment is walked and it is written anew.
//! So is one of the first version, which had no summary.

use std::path::Path;

use posthorn_domain::time::Time;

use super::disk::Disk;
use super::segment::{Mark, Segment};
use super::shared::Shared;
use super::summary::Summary;

const MAGIC: [u8; 4] = *b"PHi2";
const FIXED: usize = 48;
const ENTRY: usize = 24;

/// Writes the index beside the segment at `path`; a failure costs a walk at the next start.
pub(super) fn store(shared: &Shared, segment: &Segment, path: &Path) {
    let bytes = encode(segment);
    let file = shared.disk.open(&path.with_extension("idx"), true);
    let stored = file.and_then(|file| file.set_len(0).and_then(|()| file.write_all_at(&bytes, 0)));
    if let Err(error) = stored {
        tracing::warn!(file = %path.display(), %error, "the segment's index could not be written");
    }
}

/// The segment at `path` as its index describes it, if that is sound and the file has the same length still.
pub(super) fn load(disk: &dyn Disk, path: &Path, base: u64, len: u64) -> Option<Segment> {
    decode(&disk.read(&path.with_extension("idx")).ok()?).filter(|segment| segment.base == base && segment.len() == len)
}

pub(super) fn encode(segment: &Segment) -> Vec<u8> {
    let marks = segment.marks();
    let mut out = Vec::with_capacity(FIXED + marks.len() * ENTRY);
    out.extend_from_slice(&MAGIC);
    for field in [segment.base, segment.end(), segment.len(), segment.created.millis(), segment.last().millis()] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    out.extend_from_slice(&u32::try_from(marks.len()).unwrap_or(u32::MAX).to_le_bytes());
    for mark in &marks {
        for field in [mark.offset, mark.at, mark.before.millis()] {
            out.extend_from_slice(&field.to_le_bytes());
        }
    }
    let mut summary = Vec::new();
    if let Some(known) = segment.summary() {
        known.encode(&mut summary);
    }
    out.extend_from_slice(&u32::try_from(summary.len()).unwrap_or(0).to_le_bytes());
    out.extend_from_slice(&summary);
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

pub(super) fn decode(bytes: &[u8]) -> Option<Segment> {
    let (body, crc) = bytes.split_last_chunk()?;
    let rest = body.strip_prefix(&MAGIC)?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (fields, rest) = rest.split_at_checked(40)?;
    let (count, rest) = rest.split_first_chunk()?;
    let (entries, rest) = rest.split_at_checked((u32::from_le_bytes(*count) as usize).checked_mul(ENTRY)?)?;
    let (len, summary) = rest.split_first_chunk()?;
    if summary.len() != u32::from_le_bytes(*len) as usize {
        return None;
    }
    let summary = if summary.is_empty() { None } else { Some(Summary::decode(summary)?) };
    let field = |bytes: &[u8], nth: usize| bytes.get(nth * 8..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let mark = |entry: &[u8]| Some(Mark { offset: field(entry, 0)?, at: field(entry, 1)?, before: Time::from_millis(field(entry, 2)?) });
    let marks = entries.chunks_exact(ENTRY).map(mark).collect::<Option<_>>()?;
    let time = |nth| field(fields, nth).map(Time::from_millis);
    Some(Segment::closed(field(fields, 0)?, field(fields, 1)?, field(fields, 2)?, time(3)?, time(4)?, marks, summary))
}
