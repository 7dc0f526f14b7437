//! What follows an attempt: a pure state machine without clock, channel or I/O. The driver performs the [`Step`].

use std::time::Duration;

use posthorn_domain::ids::DeliveryId;
use posthorn_domain::reason::Reason;
use posthorn_domain::resource::RetryPolicy;
use posthorn_domain::time::Time;

use super::outcome::Verdict;

/// A server's `Retry-After` is heeded up to this (protocols §13.2).
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// How far a delivery has come: `ready → in flight → (waiting → in flight)* → ended`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// Attempts made, the one under way included.
    pub made: u32,
    /// When the first began.
    pub first_at: Time,
}

/// What to do next with a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is done.
    Delivered,
    /// Try again then.
    Wait {
        /// When.
        due: Time,
    },
    /// It will not be tried again by itself.
    GiveUp(Reason),
    /// As [`Step::GiveUp`], and the subscription is to be disabled.
    Disable,
}

impl Progress {
    /// What follows from `verdict` on the attempt just made. `dice` in 0..1 chooses the jitter.
    pub(super) fn step(self, verdict: &Verdict, policy: &RetryPolicy, now: Time, dice: f64) -> Step {
        match verdict {
            Verdict::Delivered => Step::Delivered,
            Verdict::Gone => Step::Disable,
            Verdict::Forbidden => Step::GiveUp(Reason::EgressForbidden),
            Verdict::Retry { retry_after, .. } => self.again(policy, now, *retry_after, dice),
        }
    }

    fn again(self, policy: &RetryPolicy, now: Time, retry_after: Option<Duration>, dice: f64) -> Step {
        let Some(delay) = policy.schedule.get(self.made.saturating_sub(1) as usize) else {
            return Step::GiveUp(Reason::AttemptsExhausted);
        };
        let spread = 1.0 + policy.jitter * (2.0 * dice - 1.0);
        let delay = delay.std().mul_f64(spread.max(0.0)).max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER));
        let due = now.after(delay);
        if due > self.first_at.after(policy.max_age.std()) {
            return Step::GiveUp(Reason::MaxAge);
        }
        Step::Wait { due }
    }
}

/// A number in 0..1 that is fixed by delivery and attempt, so that a run can be repeated exactly.
pub(super) fn dice(delivery: DeliveryId, made: u32) -> f64 {
    let bytes = delivery.as_bytes();
    let half = |at: usize| bytes[at..at + 8].iter().fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
    let mixed = (half(0) ^ u64::from(made).wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xff51_afd7_ed55_8ccd) ^ half(8);
    (mixed >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use posthorn_domain::units::Dur;
    use proptest::prelude::*;

    const FAILED: Verdict =
        Verdict::Retry { endpoint_fault: true, overload: false, retry_after: None, error: super::super::outcome::AttemptError::UNKNOWN };

    #[test]
    fn the_default_schedule_makes_ten_attempts_over_75_hours() {
        let policy = RetryPolicy { jitter: 0.0, ..RetryPolicy::default() };
        let start = Time::from_millis(1_000_000);
        let mut now = start;
        let mut progress = Progress { made: 1, first_at: start };
        while let Step::Wait { due } = progress.step(&FAILED, &policy, now, 0.5) {
            now = due;
            progress.made += 1;
        }
        assert_eq!(progress.made, 10);
        assert_eq!(now.since(start), Duration::from_secs(5 + 300 + 1800 + 7200 + 18_000 + 36_000 + 50_400 + 72_000 + 86_400));
        assert_eq!(progress.step(&FAILED, &policy, now, 0.5), Step::GiveUp(Reason::AttemptsExhausted));
    }

    #[test]
    fn max_age_and_retry_after_are_heeded() {
        let policy = RetryPolicy { schedule: vec![Dur::from_secs(1); 5], jitter: 0.0, max_age: Dur::from_secs(60) };
        let progress = Progress { made: 1, first_at: Time::ZERO };
        let slow = |secs| Verdict::Retry {
            endpoint_fault: true,
            overload: false,
            retry_after: Some(Duration::from_secs(secs)),
            error: super::super::outcome::AttemptError::UNKNOWN,
        };
        assert_eq!(progress.step(&slow(30), &policy, Time::ZERO, 0.5), Step::Wait { due: Time::from_millis(30_000) });
        assert_eq!(progress.step(&slow(61), &policy, Time::ZERO, 0.5), Step::GiveUp(Reason::MaxAge));
    }

    proptest! {
        #[test]
        fn jitter_stays_within_its_share(seed in any::<[u8; 16]>(), made in 1u32..5, jitter in 0.0f64..=1.0) {
            let policy = RetryPolicy { schedule: vec![Dur::from_secs(100); 5], jitter, max_age: Dur::from_secs(100_000) };
            let dice = dice(DeliveryId::from_bytes(seed), made);
            prop_assert!((0.0..1.0).contains(&dice));
            let Step::Wait { due } = (Progress { made, first_at: Time::ZERO }).step(&FAILED, &policy, Time::ZERO, dice) else {
                return Err(TestCaseError::fail("it waits"));
            };
            let share = (due.millis() as f64 / 100_000.0 - 1.0).abs();
            prop_assert!(share <= jitter + 1e-4, "{share} {jitter}");
        }
    }
}
