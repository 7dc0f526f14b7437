//! From what a session reads to lines, each a batch of one partition (protocols §11.1), within the stream's parameters.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use posthorn_domain::clock::Clock;
use posthorn_domain::cloudevents::structured_parts;
use posthorn_domain::time::Time;
use serde_json::{Map, Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::cursors::{text, token};
use super::params::Params;
use crate::read::Item;
use crate::readers::group::PartKey;
use crate::readers::{Page, Session};

/// Events that are read at once.
const MOST: usize = 1000;
/// Bytes that wait for their batch; beyond that batches go out as they are.
const BYTES: usize = 1 << 20;
/// How long a stream lives when nothing is said, and how far that is strewn.
const LIFE: u64 = 3600;
const STREWN: u64 = 600;

/// One stream.
pub(super) struct Batches {
    session: Session,
    params: Params,
    /// Its name, when it is of a subscription.
    stream: Option<String>,
    clock: Clock,
    ends: Time,
    buffers: BTreeMap<PartKey, Buffer>,
    buffered: usize,
    bytes: usize,
    /// Batches that are full and wait to go out.
    ready: VecDeque<(PartKey, Buffer)>,
    /// Where each partition stands for the client: behind the last that was sent.
    places: BTreeMap<PartKey, u64>,
    /// Sent and not committed, and when.
    sent: VecDeque<(PartKey, u64, Time)>,
    total: u64,
    /// When the last line went out.
    last: Time,
    keep_alives: u64,
    ended: bool,
    /// Of the events that wait, or of those that may not be sent yet.
    held: Option<OwnedSemaphorePermit>,
}

/// Events of one partition that wait for their batch.
#[derive(Default)]
struct Buffer {
    events: Vec<u8>,
    count: usize,
    /// Where the partition goes on behind them.
    next: u64,
    /// When the first came here, and when it was taken in.
    since: Time,
    first: Time,
    /// They are too far apart in time to wait any longer.
    due: bool,
}

/// The lines, as they come.
pub(super) fn batches(batches: Batches) -> impl Stream<Item = Bytes> + Send {
    futures_util::stream::unfold(batches, |mut batches| async move {
        let lines = batches.step().await?;
        Some((lines, batches))
    })
}

impl Batches {
    pub(super) fn new(session: Session, params: Params, stream: Option<String>, clock: Clock) -> Self {
        let now = clock.now();
        let life = params.timeout.unwrap_or(Duration::from_secs(LIFE - STREWN + now.millis() % (2 * STREWN)));
        Self {
            session,
            params,
            stream,
            ends: now.after(life),
            buffers: BTreeMap::new(),
            buffered: 0,
            bytes: 0,
            ready: VecDeque::new(),
            places: BTreeMap::new(),
            sent: VecDeque::new(),
            total: 0,
            last: now,
            keep_alives: 0,
            ended: false,
            held: None,
            clock,
        }
    }

    /// The next lines; none at the end.
    async fn step(&mut self) -> Option<Bytes> {
        loop {
            if self.ended || self.session.is_over() {
                return None;
            }
            let (limit, wait) = (self.room(), self.wait(self.clock.now()));
            let page = match self.session.next(limit, wait).await {
                Ok(page) => page,
                Err(problem) => return Some(self.end(Vec::new(), problem.detail())),
            };
            let now = self.clock.now();
            self.take(page, now);
            let mut lines = self.full(now);
            let unpaid = self.sent.front().is_some_and(|(.., at)| now.since(*at) >= self.params.commit_timeout);
            if unpaid {
                self.session.expel();
                return Some(self.end(lines, "the commit timeout has passed; the partitions go to other streams"));
            }
            if self.params.stream_limit.is_some_and(|limit| self.total >= limit) {
                return Some(self.end(lines, "the stream limit is reached"));
            }
            if now >= self.ends {
                self.flush_all(&mut lines, now);
                return Some(self.end(lines, "the stream timeout has passed"));
            }
            if lines.is_empty() && now.since(self.last) >= self.params.flush {
                self.keep_alive(&mut lines, now);
                if self.params.keep_alives.is_some_and(|most| self.keep_alives >= most) {
                    return Some(self.end(lines, "the limit of keep-alive batches is reached"));
                }
            }
            if !lines.is_empty() {
                return Some(lines.into());
            }
        }
    }

    /// Events that may be read now.
    fn room(&self) -> usize {
        let mut room = MOST;
        if self.stream.is_some() {
            room = room.min(self.params.max_uncommitted.saturating_sub(self.sent.len() + self.buffered));
        }
        if let Some(limit) = self.params.stream_limit {
            let left = limit.saturating_sub(self.total).saturating_sub(self.buffered as u64);
            room = room.min(usize::try_from(left).unwrap_or(MOST));
        }
        if self.bytes >= BYTES { 0 } else { room }
    }

    /// Until something has to be done though nothing came.
    fn wait(&self, now: Time) -> Duration {
        let flush = self.buffers.values().map(|buffer| buffer.since.after(self.params.flush)).min();
        let unpaid = self.sent.front().map(|(.., at)| at.after(self.params.commit_timeout));
        let alive = self.last.after(self.params.flush);
        let first = [flush, unpaid, Some(alive), Some(self.ends)].into_iter().flatten().min().unwrap_or(now);
        // Commits are seen when it is looked for them.
        let most = if self.sent.is_empty() { Duration::from_secs(60) } else { Duration::from_millis(100) };
        first.since(now).max(Duration::from_millis(1)).min(most)
    }

    fn take(&mut self, page: Page, now: Time) {
        let Page { entries, parts, places, held, .. } = page;
        match (&mut self.held, held) {
            (Some(before), Some(held)) if self.buffered > 0 => before.merge(held),
            (_, None) => {}
            (before, held) => *before = held,
        }
        let committed: BTreeMap<&PartKey, u64> = parts.iter().map(|(part, next)| (part, *next)).collect();
        // What is not this stream's any more is not waited for.
        self.sent.retain(|(part, next, _)| committed.get(part).is_some_and(|committed| next > committed));
        let gone: Vec<_> = self.buffers.keys().filter(|part| !committed.contains_key(part)).cloned().collect();
        for part in gone {
            if let Some(buffer) = self.buffers.remove(&part) {
                self.buffered -= buffer.count;
                self.bytes -= buffer.events.len();
            }
        }
        self.places.retain(|part, _| committed.contains_key(part));
        for (part, next) in &parts {
            self.places.entry(part.clone()).or_insert(*next);
        }
        for (entry, (part, next)) in entries.into_iter().zip(places) {
            let Item::Event(stored) = entry.item else { continue };
            let buffer = self.buffers.entry(part.clone()).or_default();
            let before = buffer.events.len();
            if buffer.count == 0 {
                (buffer.since, buffer.first) = (now, stored.record.accepted_at);
            } else {
                buffer.events.push(b',');
            }
            let json = structured_parts(&stored.record.event, None);
            for piece in [&json.head, &json.data, &json.tail] {
                // A batch is a line; between tokens a line break says nothing, and inside of texts there is none.
                buffer.events.extend(piece.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
            }
            (buffer.next, buffer.count) = (next, buffer.count + 1);
            let apart = stored.record.accepted_at.since(buffer.first);
            buffer.due |= self.params.timespan.is_some_and(|most| apart > most) || buffer.count >= self.params.batch_limit;
            (self.buffered, self.bytes) = (self.buffered + 1, self.bytes + buffer.events.len() - before);
            if buffer.due {
                let full = std::mem::take(buffer);
                self.buffers.remove(&part);
                self.ready.push_back((part, full));
            }
        }
    }

    /// The batches that go out now.
    fn full(&mut self, now: Time) -> Vec<u8> {
        // Nothing more may be read to fill them: the stream's limit, what may be uncommitted or the memory is used up.
        let all = self.room() == 0;
        let due: Vec<PartKey> = self
            .buffers
            .iter()
            .filter(|(_, buffer)| all || now.since(buffer.since) >= self.params.flush)
            .map(|(part, _)| part.clone())
            .collect();
        let mut lines = Vec::new();
        self.flush_ready(&mut lines, now);
        due.into_iter().for_each(|part| self.flush(&part, &mut lines, now));
        lines
    }

    fn flush_ready(&mut self, lines: &mut Vec<u8>, now: Time) {
        while let Some((part, buffer)) = self.ready.pop_front() {
            self.send(&part, &buffer, lines, now);
        }
    }

    fn flush_all(&mut self, lines: &mut Vec<u8>, now: Time) {
        let all: Vec<PartKey> = self.buffers.keys().cloned().collect();
        all.into_iter().for_each(|part| self.flush(&part, lines, now));
    }

    fn flush(&mut self, part: &PartKey, lines: &mut Vec<u8>, now: Time) {
        if let Some(buffer) = self.buffers.remove(part) {
            self.send(part, &buffer, lines, now);
        }
    }

    fn send(&mut self, part: &PartKey, buffer: &Buffer, lines: &mut Vec<u8>, now: Time) {
        self.places.insert(part.clone(), buffer.next);
        self.buffered -= buffer.count;
        self.bytes -= buffer.events.len();
        self.total += buffer.count as u64;
        if self.stream.is_some() {
            self.sent.extend((0..buffer.count).map(|_| (part.clone(), buffer.next, now)));
        }
        self.line(part, Some(&buffer.events), None, lines);
        (self.last, self.keep_alives) = (now, 0);
    }

    fn keep_alive(&mut self, lines: &mut Vec<u8>, now: Time) {
        let all: Vec<PartKey> = self.places.keys().cloned().collect();
        all.iter().for_each(|part| self.line(part, None, None, lines));
        self.last = now;
        self.keep_alives += 1;
    }

    /// The last line says why there are no more.
    fn end(&mut self, mut lines: Vec<u8>, why: &str) -> Bytes {
        self.ended = true;
        if let Some(part) = self.places.keys().next().cloned() {
            self.line(&part, None, Some(why), &mut lines);
        }
        lines.into()
    }

    fn line(&self, part: &PartKey, events: Option<&[u8]>, info: Option<&str>, out: &mut Vec<u8>) {
        let offset = text(self.places.get(part).copied().unwrap_or(0));
        let mut cursor = Map::new();
        cursor.insert("partition".into(), json!(part.1.to_string()));
        cursor.insert("offset".into(), json!(offset));
        if let Some(stream) = &self.stream {
            cursor.insert("event_type".into(), json!(part.0));
            cursor.insert("cursor_token".into(), json!(token(stream, part, &offset)));
        }
        out.extend_from_slice(b"{\"cursor\":");
        out.extend_from_slice(Value::Object(cursor).to_string().as_bytes());
        if let Some(events) = events {
            out.extend_from_slice(b",\"events\":[");
            out.extend_from_slice(events);
            out.push(b']');
        }
        if let Some(info) = info {
            out.extend_from_slice(format!(",\"info\":{}", json!({"debug": info})).as_bytes());
        }
        out.extend_from_slice(b"}\n");
    }
}
