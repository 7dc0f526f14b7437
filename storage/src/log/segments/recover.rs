//! What a start finds on the disk: each partition's segments, a torn tail, damage, missing files.

use std::io;
use std::path::Path;
use std::sync::Arc;

use posthorn_domain::names::TopicName;

use super::frame::{self, SEGMENT_HEAD, SegmentHead};
use super::index;
use super::partition::TopicInfo;
use super::scan::Walker;
use super::segment::{self, Segment};
use super::shared::{OnDamage, Shared, io_error};
use crate::log::{Damage, Gap, GapReason, LogError};

/// What a start found.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    /// Torn tails.
    pub cuts: Vec<Cut>,
    /// Offsets that are lost.
    pub damage: Vec<Damage>,
}

/// A torn tail that was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub file: String,
    /// How many bytes were dropped.
    pub bytes: u64,
}

/// A partition's segments and known gaps.
pub(super) type Recovered = (Vec<Arc<Segment>>, Vec<Gap>);

/// Reads a partition's folder, making it when absent.
pub(super) fn partition(shared: &Shared, topic: &TopicInfo, number: u32, report: &mut Recovery) -> Result<Recovered, LogError> {
    let dir = topic.dir.join(number.to_string());
    shared.disk.make_dir(&dir).map_err(|error| io_error(&dir, &error))?;
    let bases = bases(shared, &dir).map_err(|error| io_error(&dir, &error))?;
    let mut recovered: Recovered = Default::default();
    for (index, base) in bases.iter().enumerate() {
        let next = bases.get(index + 1).copied();
        let path = segment::path(&dir, *base);
        let mut gaps = Vec::new();
        let segment = scan(shared, topic, number, *base, next, &mut gaps, report).map_err(|error| io_error(&path, &error))?;
        for gap in gaps {
            found(shared, &topic.name, number, &path, gap, report)?;
            recovered.1.push(gap);
        }
        recovered.0.push(Arc::new(segment));
    }
    // A process that was killed may have left names that are not on the disk; what is appended to these files must not go with them.
    shared.disk.sync_dir(&dir).map_err(|error| io_error(&dir, &error))?;
    Ok(recovered)
}

fn bases(shared: &Shared, dir: &Path) -> io::Result<Vec<u64>> {
    let names = shared.disk.names(dir)?;
    let mut bases: Vec<u64> = names.iter().filter_map(|name| name.strip_suffix(".seg")?.parse().ok()).collect();
    bases.sort_unstable();
    Ok(bases)
}

/// Walks one file. Only the last one of a partition may have a torn tail; it is cut there.
fn scan(
    shared: &Shared,
    topic: &TopicInfo,
    number: u32,
    base: u64,
    next: Option<u64>,
    gaps: &mut Vec<Gap>,
    report: &mut Recovery,
) -> io::Result<Segment> {
    let path = segment::path(&topic.dir.join(number.to_string()), base);
    let file = shared.disk.open(&path, false)?;
    let len = file.len()?;
    if let Some(segment) = next.and_then(|_| index::load(&*shared.disk, &path, base, len)) {
        missing_behind(&segment, next, len, gaps);
        return Ok(segment);
    }
    let mut bytes = vec![0; SEGMENT_HEAD];
    file.read_at(&mut bytes, 0)?;
    let head = SegmentHead::decode(&bytes).filter(|head| head.base == base && head.partition == number && head.salt == topic.salt);
    let segment = Segment::new(base, head.map_or_else(|| shared.config.clock.now(), |head| head.created));
    let mut walker = Walker::new(file.clone(), len, topic.salt, 1 << 20);
    while let Some(frame) = walker.next(segment.len(), segment.end())? {
        if frame.head.base > segment.end() {
            gaps.push(Gap { from: segment.end(), to: frame.head.base, reason: GapReason::Damaged });
        }
        #[cfg(feature = "planted")]
        if crate::planted::is(crate::planted::Bug::CutOneFrameTooMany) && next.is_none() && frame.at + frame.head.len() as u64 == len {
            break;
        }
        segment.push(&frame.head, frame.at, shared.config.index_interval);
        let records = frame::records(&frame.body, frame.head.count);
        segment.sum_up(records.as_deref().map(<[_]>::iter));
    }
    missing_behind(&segment, next, len, gaps);
    if next.is_some() {
        segment.close();
    }
    if !gaps.is_empty() {
        // Whoever is to get an event of the gap must come to it.
        segment.sum_up(None::<std::iter::Empty<_>>);
    }
    if head.is_none() {
        tracing::warn!(file = %path.display(), "the segment's head is damaged or was never finished: it is written again");
        let head = SegmentHead { partition: number, base, created: segment.created, incarnation: topic.incarnation, salt: topic.salt };
        file.write_all_at(&head.encode(), 0)?;
    }
    if next.is_some() && head.is_some() && gaps.is_empty() {
        index::store(shared, &segment, &path);
    }
    if next.is_none() {
        if len > segment.len() {
            let cut = Cut { file: path.display().to_string(), bytes: len - segment.len() };
            tracing::warn!(file = cut.file, bytes = cut.bytes, end = segment.end(), "a torn tail was cut off");
            report.cuts.push(cut);
            file.set_len(segment.len())?;
        }
        // What is read from now on must not go away with the power after all.
        file.sync_data()?;
    }
    Ok(segment)
}

fn missing_behind(segment: &Segment, next: Option<u64>, len: u64, gaps: &mut Vec<Gap>) {
    if let Some(next) = next.filter(|next| *next > segment.end()) {
        let reason = if len > segment.len() { GapReason::Damaged } else { GapReason::Missing };
        gaps.push(Gap { from: segment.end(), to: next, reason });
    }
}

fn found(shared: &Shared, topic: &TopicName, partition: u32, path: &Path, gap: Gap, report: &mut Recovery) -> Result<(), LogError> {
    let damage = Damage { topic: topic.clone(), partition, file: path.display().to_string(), gap };
    tracing::error!(topic = %topic, partition, file = damage.file, from = gap.from, to = gap.to, "the log is damaged");
    metrics::counter!(super::METRIC_DAMAGE).increment(1);
    if shared.config.on_damage == OnDamage::Stop {
        return Err(LogError::Damaged(damage.to_string()));
    }
    report.damage.push(damage);
    Ok(())
}
