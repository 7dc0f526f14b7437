//! Reading a partition: pages and times. Blocking; the topic runs it off the runtime's own threads.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use posthorn_domain::record::Stored;
use posthorn_domain::time::Time;

use super::frame;
use super::partition::Partition;
use super::scan::{Found, Walker};
use super::segment::{self, Segment};
use super::shared::io_error;
use crate::log::{GapReason, LogError, Page, Wanted};

/// How much a page may ask for, whatever its caller says.
const MAX_READ: usize = 8 << 20;

impl Partition {
    pub(super) fn read(&self, from: u64, max_bytes: usize, max_records: usize) -> Result<Page, LogError> {
        let end = self.end.load(Ordering::Acquire);
        let mut page = Page { next: from, ..Page::default() };
        while page.next < end && page.records.is_empty() {
            let (segment, next_base) = self.segment_of(page.next)?;
            // What is above the segment's own end was never written, or is gone with a file.
            let limit = segment.end().min(end);
            if page.next < limit {
                self.read_segment(&segment, limit, &mut page, max_bytes.min(MAX_READ), max_records.max(1))?;
            } else {
                let to = next_base.unwrap_or(end);
                page.gaps.push(self.report(self.file_of(&segment), page.next, to, GapReason::Missing));
                page.next = to;
            }
        }
        Ok(page)
    }

    /// Passes over closed segments without anything that is wanted, up to the next gap between segments at most.
    pub(super) fn skip_to(&self, from: u64, wanted: &Wanted) -> u64 {
        let end = self.end.load(Ordering::Acquire);
        let segments = self.segments.read();
        let first = segments.partition_point(|segment| segment.base <= from);
        let mut next = from;
        for pair in segments[first.saturating_sub(1)..].windows(2) {
            let here = first > 0 && next < pair[0].end() && pair[0].end() <= end;
            if !here || pair[0].may_have(wanted) {
                break;
            }
            next = pair[0].end();
            if next != pair[1].base {
                break;
            }
        }
        next
    }

    /// The segment that `offset` belongs to, and the base of the one behind it.
    fn segment_of(&self, offset: u64) -> Result<(Arc<Segment>, Option<u64>), LogError> {
        let segments = self.segments.read();
        let index = segments.partition_point(|segment| segment.base <= offset);
        match index.checked_sub(1) {
            Some(at) => Ok((segments[at].clone(), segments.get(index).map(|segment| segment.base))),
            None => Err(LogError::BelowStart { start: segments.first().map_or(0, |segment| segment.base) }),
        }
    }

    fn read_segment(&self, segment: &Segment, limit: u64, page: &mut Page, max_bytes: usize, max_records: usize) -> Result<(), LogError> {
        let (mut at, mut expected) = segment.seek(page.next);
        let mut walker = self.walker(segment, max_bytes)?;
        let mut bytes = 0;
        while expected < limit && bytes < max_bytes.max(1) && page.records.len() < max_records {
            let found = self.pass(&mut walker, &mut at, &mut expected, page.next, limit);
            let found = found.map_err(|error| io_error(&segment::path(&self.dir, segment.base), &error))?;
            let lost_to = found.as_ref().map_or(limit, |found| found.head.base.min(limit));
            if lost_to > page.next {
                page.gaps.push(self.report(self.file_of(segment), page.next, lost_to, GapReason::Damaged));
                page.next = lost_to;
            }
            let Some(found) = found.filter(|found| found.head.base < limit) else { return Ok(()) };
            at = found.at + found.head.len() as u64;
            expected = found.head.end();
            bytes += self.take(&found, segment, limit, page, max_bytes - bytes, max_records);
        }
        Ok(())
    }

    /// The frame that holds `wanted`, or the next whole one; frames below are passed over by their heads alone.
    fn pass(&self, walker: &mut Walker, at: &mut u64, expected: &mut u64, wanted: u64, limit: u64) -> io::Result<Option<Found>> {
        while *expected < limit {
            match walker.head(*at)?.filter(|head| head.base >= *expected) {
                Some(head) if head.end() <= wanted => {
                    *at += head.len() as u64;
                    *expected = head.end();
                }
                _ => {
                    let found = walker.next(*at, *expected)?;
                    let Some(passed) = found.as_ref().filter(|found| found.head.end() <= wanted) else { return Ok(found) };
                    *at = passed.at + passed.head.len() as u64;
                    *expected = passed.head.end();
                }
            }
        }
        Ok(None)
    }

    /// Puts the frame's records into the page; answers how many bytes it put.
    fn take(&self, found: &Found, segment: &Segment, limit: u64, page: &mut Page, max_bytes: usize, max_records: usize) -> usize {
        let Some(records) = frame::records(&found.body, found.head.count) else {
            let to = found.head.end().min(limit);
            page.gaps.push(self.report(self.file_of(segment), page.next, to, GapReason::Damaged));
            page.next = to;
            return 0;
        };
        let mut bytes = 0;
        for (offset, record) in (found.head.base..limit).zip(records) {
            if offset < page.next {
                continue;
            }
            let full = bytes >= max_bytes || page.records.len() >= max_records;
            if full && !page.records.is_empty() {
                break;
            }
            bytes += record.encoded_len();
            page.records.push(Arc::new(Stored::new(offset, record, None)));
            page.next = offset + 1;
        }
        bytes
    }

    pub(super) fn offset_at(&self, time: Time) -> Result<u64, LogError> {
        let end = self.end.load(Ordering::Acquire);
        let segments = self.segments.read().clone();
        for segment in segments.iter().filter(|segment| segment.last() >= time) {
            let mut page = Page { next: segment.seek_time(time), ..Page::default() };
            let limit = segment.end().min(end);
            while page.next < limit {
                self.read_segment(segment, limit, &mut page, 1 << 20, usize::MAX)?;
                if let Some(stored) = page.records.iter().find(|stored| stored.record.accepted_at >= time) {
                    return Ok(stored.offset);
                }
                page.records.clear();
            }
        }
        Ok(end)
    }

    fn walker(&self, segment: &Segment, chunk: usize) -> Result<Walker, LogError> {
        let path = segment::path(&self.dir, segment.base);
        let file = self.shared.file(segment.id, &path, false).map_err(|error| self.gone_or(&error, &path, segment))?;
        Ok(Walker::new(file, segment.len(), self.topic.salt, chunk.max(64 << 10)))
    }

    /// A file that retention or removal took while we came for it is no failure of the disk.
    fn gone_or(&self, error: &io::Error, path: &std::path::Path, segment: &Segment) -> LogError {
        let start = self.bounds().start;
        if self.removed.load(Ordering::Acquire) {
            LogError::Removed
        } else if segment.base < start {
            LogError::BelowStart { start }
        } else {
            io_error(path, error)
        }
    }

    pub(super) fn file_of(&self, segment: &Segment) -> String {
        segment::path(&self.dir, segment.base).display().to_string()
    }
}
