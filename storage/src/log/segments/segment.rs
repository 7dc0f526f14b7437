//! One segment file of a partition: what is known of it in memory.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use posthorn_domain::record::Record;
use posthorn_domain::time::Time;

use super::frame::{Head, SEGMENT_HEAD};
use super::summary::Summary;
use crate::log::Wanted;

/// A place to start reading: the frame at `at` starts with `offset`; nothing before it was accepted later than `before`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) offset: u64,
    pub(super) at: u64,
    pub(super) before: Time,
}

#[derive(Debug)]
pub(super) struct Segment {
    /// Unique in the process; what its open file is kept under.
    pub(super) id: u64,
    pub(super) base: u64,
    pub(super) created: Time,
    end: AtomicU64,
    len: AtomicU64,
    last: AtomicU64,
    marks: Mutex<Vec<Mark>>,
    /// None when it is not known of all records.
    summary: Mutex<Option<Summary>>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl Segment {
    pub(super) fn new(base: u64, created: Time) -> Self {
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            base,
            created,
            end: AtomicU64::new(base),
            len: AtomicU64::new(SEGMENT_HEAD as u64),
            last: AtomicU64::new(0),
            marks: Mutex::new(Vec::new()),
            summary: Mutex::new(Some(Summary::default())),
        }
    }

    /// A closed one, as its index describes it.
    pub(super) fn closed(base: u64, end: u64, len: u64, created: Time, last: Time, marks: Vec<Mark>, summary: Option<Summary>) -> Self {
        let segment = Self::new(base, created);
        segment.end.store(end, Ordering::Release);
        segment.len.store(len, Ordering::Release);
        segment.last.store(last.millis(), Ordering::Release);
        *segment.marks.lock() = marks;
        *segment.summary.lock() = summary;
        segment
    }

    pub(super) fn marks(&self) -> Vec<Mark> {
        self.marks.lock().clone()
    }

    /// One above the last offset that is written.
    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// The bytes that are written.
    pub(super) fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    /// When its last record was accepted.
    pub(super) fn last(&self) -> Time {
        Time::from_millis(self.last.load(Ordering::Acquire))
    }

    pub(super) fn is_blank(&self) -> bool {
        self.end() == self.base
    }

    /// Counts in a frame that stands at `at`. `len` moves before `end`, so that whoever sees the offset finds the bytes.
    pub(super) fn push(&self, head: &Head, at: u64, interval: u64) {
        let mut marks = self.marks.lock();
        if at - marks.last().map_or(SEGMENT_HEAD as u64, |mark| mark.at) >= interval {
            marks.push(Mark { offset: head.base, at, before: self.last() });
        }
        drop(marks);
        self.last.fetch_max(head.last.millis(), Ordering::AcqRel);
        self.len.store(at + head.len() as u64, Ordering::Release);
        self.end.store(head.end(), Ordering::Release);
    }

    /// Takes records that are written into the summary; none when they cannot be told, and then it says nothing any more.
    pub(super) fn sum_up<'a>(&self, records: Option<impl Iterator<Item = &'a Record>>) {
        let mut summary = self.summary.lock();
        match records {
            Some(records) => records.for_each(|record| {
                if let Some(summary) = &mut *summary {
                    summary.add(record);
                }
            }),
            None => *summary = None,
        }
    }

    /// No more records come: the summary takes its smallest form.
    pub(super) fn close(&self) {
        if let Some(summary) = &mut *self.summary.lock() {
            summary.fold();
        }
    }

    pub(super) fn summary(&self) -> Option<Summary> {
        self.summary.lock().clone()
    }

    /// Whether it may hold an event that is wanted.
    pub(super) fn may_have(&self, wanted: &Wanted) -> bool {
        self.summary.lock().as_ref().is_none_or(|summary| summary.may_have(wanted))
    }

    /// Whether it may hold an event that may not become a dead letter.
    pub(super) fn never_letters(&self) -> bool {
        self.summary.lock().as_ref().is_none_or(Summary::never_letters)
    }

    /// Where to start looking for `offset`: file position and offset there.
    pub(super) fn seek(&self, offset: u64) -> (u64, u64) {
        let marks = self.marks.lock();
        let index = marks.partition_point(|mark| mark.offset <= offset);
        index.checked_sub(1).map_or((SEGMENT_HEAD as u64, self.base), |index| (marks[index].at, marks[index].offset))
    }

    /// An offset from which on to look for the first record accepted at or after `time`.
    pub(super) fn seek_time(&self, time: Time) -> u64 {
        let marks = self.marks.lock();
        let index = marks.partition_point(|mark| mark.before < time);
        index.checked_sub(1).map_or(self.base, |index| marks[index].offset)
    }
}

/// The name of the segment that starts at `base`.
pub(super) fn path(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{base:020}.seg"))
}
