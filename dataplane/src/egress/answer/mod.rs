//! An HTTP/1.1 answer, read from bytes as they come (RFC 9112 §4–§7). Pure: it is given bytes and says how far they reach.
//!
//! What is remembered of an answer is its status, what `Retry-After` and `WebHook-Allowed-Rate` say, and the first kibibyte of its body.

mod chunks;
mod head;

use std::time::Instant;

use bytes::Bytes;
use posthorn_domain::time::Time;

use super::error::Fault;
use super::reply::{KEPT, Reply};
use super::retry_after::retry_after;
use chunks::Chunks;
use head::{Head, Outcome};

/// Bytes that the heads of one answer may have, interim ones included.
const MAX_HEAD: usize = 64 << 10;

/// An answer that is being read.
pub(super) struct Answer {
    state: State,
    /// Bytes of interim heads that were passed over.
    passed: usize,
    /// Bytes of the unfinished head that were looked at before.
    looked: usize,
    head: Option<Head>,
    kept: Vec<u8>,
    seen: usize,
    limit: usize,
    truncated: bool,
    /// Whether the connection may serve again once the answer is complete.
    keep: bool,
}

enum State {
    Head,
    Length(u64),
    Chunked(Chunks),
    UntilClose,
    Done,
}

/// How the body of an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

impl Answer {
    /// An answer of whose body `limit` bytes are read.
    pub(super) fn new(limit: usize) -> Self {
        Self { state: State::Head, passed: 0, looked: 0, head: None, kept: Vec::new(), seen: 0, limit, truncated: false, keep: false }
    }

    /// Reads on. Returns how many bytes of `input` belong to the answer and were used up: while the head is incomplete its bytes are
    /// not, and are to be given again with those that follow.
    ///
    /// # Errors
    /// [`Fault::Protocol`] when this is no HTTP answer or passes a limit.
    pub(super) fn advance(&mut self, input: &[u8]) -> Result<usize, Fault> {
        let mut used = 0;
        while let (State::Head, true) = (&self.state, used < input.len()) {
            match self.read_head(&input[used..])? {
                0 => return Ok(used),
                length => used += length,
            }
        }
        Ok(used + self.read_body(&input[used..])?)
    }

    /// The connection ended.
    ///
    /// # Errors
    /// [`Fault::Closed`] unless that is how the answer ends.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        if !matches!(self.state, State::UntilClose) {
            return Err(Fault::Closed);
        }
        self.state = State::Done;
        Ok(())
    }

    /// Whether the final head was read.
    pub(super) fn has_head(&self) -> bool {
        self.head.is_some()
    }

    /// Whether all was read that is to be read.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Whether the connection may serve again.
    pub(super) fn keeps(&self) -> bool {
        self.is_done() && self.keep
    }

    /// What was answered, of an answer that is done; a date in it counts from `now`; the request had its connection at `began`.
    pub(super) fn into_reply(self, now: Time, began: Instant) -> Result<Reply, Fault> {
        let head = self.head.filter(|_| matches!(self.state, State::Done)).ok_or(Fault::Closed)?;
        Ok(Reply {
            status: head.status,
            retry_after: head.wait.and_then(|wait| retry_after(&wait.retry_after, wait.date.as_deref(), now)),
            allowed_rate: head.allowed_rate,
            began,
            body_head: Bytes::from(self.kept),
            body_truncated: self.truncated,
        })
    }

    /// The length of the head that `input` begins with, once it is complete.
    fn read_head(&mut self, input: &[u8]) -> Result<usize, Fault> {
        // A head that comes in drops is parsed when it came and when it may be complete, not at each drop.
        let looked = std::mem::replace(&mut self.looked, input.len());
        if looked > 0 && !ends_head(&input[looked.saturating_sub(2)..]) {
            return self.room(input.len()).map(|()| 0);
        }
        let Some((length, outcome)) = head::parse(input)? else { return self.room(input.len()).map(|()| 0) };
        self.room(length)?;
        self.looked = 0;
        match outcome {
            Outcome::Interim => self.passed += length,
            Outcome::Final(head, framing, keep) => {
                self.keep = keep;
                self.head = Some(head);
                if let Framing::Length(length) = framing
                    && length > self.limit as u64
                {
                    // It will not be read to its end, so no more is read than is kept.
                    self.limit = self.limit.min(KEPT);
                }
                self.state = match framing {
                    Framing::Length(0) => State::Done,
                    Framing::Length(length) => State::Length(length),
                    Framing::Chunked => State::Chunked(Chunks::default()),
                    Framing::UntilClose => State::UntilClose,
                };
            }
        }
        Ok(length)
    }

    fn room(&self, length: usize) -> Result<(), Fault> {
        if self.passed + length > MAX_HEAD { Err(Fault::Protocol("the head has more than 64 KiB".into())) } else { Ok(()) }
    }

    fn read_body(&mut self, input: &[u8]) -> Result<usize, Fault> {
        let mut used = 0;
        while used < input.len() {
            let rest = &input[used..];
            let (length, data) = match &mut self.state {
                State::Head | State::Done => break,
                State::UntilClose => (rest.len(), rest),
                State::Length(left) => {
                    let length = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= length as u64;
                    (length, &rest[..length])
                }
                State::Chunked(chunks) => chunks.next(rest)?,
            };
            used += length;
            self.take(data);
            let ended = match &self.state {
                State::Length(left) => *left == 0,
                State::Chunked(chunks) => chunks.is_done(),
                _ => false,
            };
            if self.seen > self.limit {
                (self.truncated, self.keep) = (true, false);
            }
            if ended || self.truncated {
                self.state = State::Done;
            }
        }
        Ok(used)
    }

    fn take(&mut self, data: &[u8]) {
        self.seen = self.seen.saturating_add(data.len());
        self.kept.extend_from_slice(&data[..data.len().min(KEPT.saturating_sub(self.kept.len()))]);
    }
}

/// Whether an empty line may be among these bytes.
fn ends_head(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair == b"\n\n") || bytes.windows(3).any(|three| three == b"\n\r\n")
}

#[cfg(test)]
mod tests;
