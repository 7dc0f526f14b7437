//! How long to wait before the next connection: doubling from 50 ms to 5 s, jittered so that nodes do not come all at once.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

const FIRST: Duration = Duration::from_millis(50);
const MOST: Duration = Duration::from_secs(5);

/// Counts failures in a row.
#[derive(Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The next wait: between half and all of the doubled one.
    pub(super) fn next(&mut self) -> Duration {
        let mut byte = [0];
        // Without randomness the wait is the shortest; that is no reason to fail.
        if SystemRandom::new().fill(&mut byte).is_err() {
            byte = [0];
        }
        self.next_with(byte[0])
    }

    fn next_with(&mut self, jitter: u8) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(16)).min(MOST);
        self.failures = self.failures.saturating_add(1);
        whole / 2 + whole / 2 * u32::from(jitter) / 255
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_most() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next_with(0), FIRST / 2);
        assert_eq!(backoff.next_with(255), FIRST * 2);
        for _ in 0..100 {
            assert!(backoff.next() <= MOST);
        }
        assert_eq!(backoff.next_with(255), MOST);
        backoff.reset();
        assert_eq!(backoff.next_with(255), FIRST);
    }
}
