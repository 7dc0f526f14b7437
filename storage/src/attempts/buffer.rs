//! What was recorded and not yet flushed, bounded by memory.

use std::collections::VecDeque;

use super::{Attempt, ERROR_MAX, HEAD_MAX};
use crate::state::cut;

pub(super) struct Buffer {
    attempts: VecDeque<Attempt>,
    bytes: usize,
    limit: usize,
    dropped: u64,
}

impl Buffer {
    pub(super) fn new(limit: usize) -> Self {
        Self { attempts: VecDeque::new(), bytes: 0, limit, dropped: 0 }
    }

    pub(super) fn push(&mut self, mut attempt: Attempt) {
        let end = cut(&attempt.error, ERROR_MAX).len();
        attempt.error.truncate(end);
        attempt.response_head.truncate(HEAD_MAX);
        self.bytes += weight(&attempt);
        self.attempts.push_back(attempt);
        while self.bytes > self.limit {
            let Some(oldest) = self.attempts.pop_front() else { break };
            self.bytes -= weight(&oldest);
            self.count_dropped(1);
        }
    }

    /// Everything, in one slice; the buffer is empty afterwards and holds no memory.
    pub(super) fn take(&mut self) -> VecDeque<Attempt> {
        self.bytes = 0;
        let mut taken = std::mem::take(&mut self.attempts);
        taken.make_contiguous();
        taken
    }

    pub(super) fn count_dropped(&mut self, count: usize) {
        self.dropped += count as u64;
        metrics::counter!("posthorn_attempt_records_dropped_total").increment(count as u64);
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

fn weight(attempt: &Attempt) -> usize {
    size_of::<Attempt>() + attempt.error.capacity() + attempt.response_head.capacity()
}
