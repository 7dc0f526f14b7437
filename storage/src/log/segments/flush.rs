//! The flusher's work: take what waits in a partition, write it, sync it if asked, tell whoever waits.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use posthorn_domain::qos::Durability;
use posthorn_domain::record::Stored;

use super::disk::DiskFile;
use super::frame::{self, Head, SegmentHead};
use super::index;
use super::partition::{Batch, Entry, Partition};
use super::segment::{self, Segment};
use super::shared::{Shared, is_full};
use crate::log::LogError;
use crate::log::relay::Answer;

/// Larger buffers are given back after use.
const KEPT_BUFFER: usize = 4 << 20;

/// How far a flusher steps back for threads that have work, in nice levels.
const NICE: i32 = 15;

/// The loop of one flusher thread.
pub(super) fn run(shared: &Shared) {
    step_back();
    let mut buffer = Vec::new();
    while let Some((partition, since)) = shared.next() {
        guarded(shared, &partition, since, &mut buffer);
        if buffer.capacity() > KEPT_BUFFER {
            buffer = Vec::new();
        }
    }
}

/// While all cores are full, a flusher that comes at once would write few records, and a page twice. One that waits for its turn writes
/// many; where a core is free it has it at once.
fn step_back() {
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
        tracing::debug!(%error, "flushers run at the priority of the others");
    }
}

/// Flushes one partition that waits; `false` when none does.
pub(super) fn step(shared: &Shared) -> bool {
    let next = shared.try_next();
    next.inspect(|(partition, since)| guarded(shared, partition, *since, &mut Vec::new())).is_some()
}

fn guarded(shared: &Shared, partition: &Arc<Partition>, since: Instant, buffer: &mut Vec<u8>) {
    if catch_unwind(AssertUnwindSafe(|| partition.flush(since, buffer))).is_err() {
        let error = shared.poison(&partition.dir, "a thread that writes has panicked");
        partition.fail(Batch::default(), &error);
        partition.reschedule();
    }
}

impl Partition {
    fn flush(self: &Arc<Self>, since: Instant, buffer: &mut Vec<u8>) {
        let writing = self.writing.lock();
        let mut batch = std::mem::take(&mut self.pending.lock().batch);
        let bytes: usize = batch.entries.iter().map(|entry| entry.stored.record.encoded_len()).sum();
        if !batch.entries.is_empty()
            && let Err(error) = self.keep(&mut batch, since, buffer)
        {
            self.fail(batch, &error);
        }
        self.shared.pending.fetch_sub(bytes, Ordering::AcqRel);
        drop(writing);
        self.reschedule();
    }

    /// Back to the queue if more has gathered, so that nobody waits for an answer in vain.
    fn reschedule(self: &Arc<Self>) {
        let mut pending = self.pending.lock();
        pending.scheduled = !pending.batch.entries.is_empty();
        if pending.scheduled {
            self.shared.schedule(self.clone());
        }
    }

    fn keep(&self, batch: &mut Batch, since: Instant, buffer: &mut Vec<u8>) -> Result<(), LogError> {
        if let Some(error) = self.shared.refusal() {
            return Err(error);
        }
        if self.removed.load(Ordering::Acquire) {
            return Err(LogError::Removed);
        }
        let entries = &batch.entries;
        let heads = self.encode(entries, buffer);
        let segment = self.writable(buffer.len() as u64)?;
        let path = segment::path(&self.dir, segment.base);
        let file = self.shared.file(segment.id, &path, false).map_err(|error| self.shared.poison(&path, &error.to_string()))?;
        self.write(&*file, &path, &segment, buffer)?;
        let mut at = segment.len();
        for head in &heads {
            segment.push(head, at, self.shared.config.index_interval);
            at += head.len() as u64;
        }
        segment.sum_up(Some(entries.iter().map(|entry| &entry.stored.record)));
        self.shared.set_well();
        let synced = entries.iter().position(|entry| entry.durability == Durability::Sync).unwrap_or(entries.len());
        self.shared.sink.waited(self.shared.config.clock.instant().saturating_duration_since(since));
        self.publish(&entries[..synced]);
        answer(batch.written.take());
        if synced < entries.len() {
            sync(&*file).map_err(|error| self.shared.poison(&path, &error.to_string()))?;
            self.publish(&entries[synced..]);
            answer(batch.synced.take());
        }
        Ok(())
    }

    fn encode(&self, entries: &[Entry], buffer: &mut Vec<u8>) -> Vec<Head> {
        buffer.clear();
        let mut heads = Vec::new();
        let mut done = 0;
        while done < entries.len() {
            let rest = &entries[done..];
            let head = frame::encode(buffer, rest.iter().map(|entry| &entry.stored.record), rest[0].stored.offset, self.topic.salt);
            done += head.count as usize;
            heads.push(head);
        }
        heads
    }

    /// Writes behind the last good frame; what a full disk left of it is cut off again.
    fn write(&self, file: &dyn DiskFile, path: &Path, segment: &Segment, buffer: &[u8]) -> Result<(), LogError> {
        match file.write_all_at(buffer, segment.len()) {
            Ok(()) => Ok(()),
            Err(error) if is_full(&error) => match file.set_len(segment.len()) {
                Ok(()) => Err(self.shared.set_full(path)),
                Err(error) => Err(self.shared.poison(path, &error.to_string())),
            },
            Err(error) => Err(self.shared.poison(path, &error.to_string())),
        }
    }

    /// The last segment, or a new one when there is none, it is full, or it is old.
    fn writable(&self, bytes: u64) -> Result<Arc<Segment>, LogError> {
        let last = self.segments.read().last().cloned();
        let rolling = self.rolling.load(Ordering::Acquire);
        match last {
            Some(segment)
                if !rolling
                    && (segment.is_blank() || (segment.len() + bytes <= self.shared.config.segment_bytes && !self.is_old(&segment))) =>
            {
                Ok(segment)
            }
            last => self.roll(last.as_deref()),
        }
    }

    /// Whether it has to be closed so that retention by age can delete in steps of a quarter of the age.
    pub(super) fn is_old(&self, segment: &Segment) -> bool {
        let age = self.topic.settings.lock().retention_age;
        age.is_some_and(|age| segment.created.after(age.std() / 4) <= self.shared.config.clock.now())
    }

    /// Closes the last segment and makes the next. The caller holds `writing`.
    pub(super) fn roll(&self, last: Option<&Segment>) -> Result<Arc<Segment>, LogError> {
        // Once begun it must come to an end: a file for the next offsets may be there already.
        self.rolling.store(true, Ordering::Release);
        if let Some(last) = last {
            let path = segment::path(&self.dir, last.base);
            let synced = self.shared.file(last.id, &path, false).and_then(|file| file.sync_data());
            synced.map_err(|error| self.shared.poison(&path, &error.to_string()))?;
            last.close();
            index::store(&self.shared, last, &path);
        }
        let segment = Arc::new(Segment::new(last.map_or(0, Segment::end), self.shared.config.clock.now()));
        let path = segment::path(&self.dir, segment.base);
        if let Err(error) = self.make(&segment, &path) {
            self.shared.forget(segment.id);
            // What is left of it is made anew by the next append or cut by recovery.
            return Err(if is_full(&error) { self.shared.set_full(&path) } else { self.shared.poison(&path, &error.to_string()) });
        }
        self.segments.write().push(segment.clone());
        self.rolling.store(false, Ordering::Release);
        Ok(segment)
    }

    /// File, head and name are on the disk before anything in it is acknowledged.
    fn make(&self, segment: &Segment, path: &Path) -> io::Result<()> {
        let head = SegmentHead {
            partition: self.number,
            base: segment.base,
            created: segment.created,
            incarnation: self.topic.incarnation,
            salt: self.topic.salt,
        };
        let file = self.shared.file(segment.id, path, true)?;
        file.set_len(0)?;
        file.write_all_at(&head.encode(), 0)?;
        file.sync_data()?;
        self.shared.disk.sync_dir(&self.dir)?;
        self.shared.disk.sync_dir(&self.topic.dir)
    }

    fn publish(&self, entries: &[Entry]) {
        let Some(last) = entries.last() else { return };
        self.end.store(last.stored.offset + 1, Ordering::Release);
        let records: Vec<Arc<Stored>> = entries.iter().map(|entry| entry.stored.clone()).collect();
        self.shared.sink.durable(&self.topic.name, self.number, records);
    }

    /// Refuses the batch and what gathered behind it: their offsets go to what is written next.
    pub(super) fn fail(&self, batch: Batch, error: &LogError) {
        let mut pending = self.pending.lock();
        let gathered = std::mem::take(&mut pending.batch);
        pending.next = self.segments.read().last().map_or(0, |segment| segment.end());
        drop(pending);
        let bytes = gathered.entries.iter().map(|entry| entry.stored.record.encoded_len()).sum();
        self.shared.pending.fetch_sub(bytes, Ordering::AcqRel);
        for answer in [batch.written, batch.synced, gathered.written, gathered.synced].into_iter().flatten() {
            answer.give(Err(error.clone()));
        }
    }
}

fn sync(file: &dyn DiskFile) -> io::Result<()> {
    #[cfg(feature = "planted")]
    if crate::planted::is(crate::planted::Bug::SkippedSync) {
        return Ok(());
    }
    file.sync_data()
}

fn answer(waiting: Option<Answer>) {
    if let Some(answer) = waiting {
        answer.give(Ok(()));
    }
}
