//! What a group of paths does with a delivery. Every group answers 200 at once until told otherwise.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::distribution::Distribution;
use crate::fields::{Faults, Fields};
use crate::rng::Rng;

/// The longest that a request is left hanging.
const LONGEST_HANG: Duration = Duration::from_secs(120);
const LARGEST_BODY: u64 = 1 << 30;

/// How a group answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Behaviour {
    status: u16,
    /// Milliseconds before the answer.
    delay: Option<Distribution>,
    /// The share that gets `flaky_status` instead.
    flaky: f64,
    flaky_status: u16,
    hang: f64,
    hang_for: Duration,
    reset: f64,
    body: usize,
    slow_body: Duration,
}

/// What is done with one delivery.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Answer.
    Answer {
        /// The status.
        status: u16,
        /// Wait before.
        delay: Duration,
        /// Bytes of the body.
        body: usize,
        /// How long the body takes, from its first to its last byte.
        over: Duration,
    },
    /// Say nothing for so long, then 503.
    Hang(Duration),
    /// Reset the connection.
    Reset,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            status: 200,
            delay: None,
            flaky: 0.0,
            flaky_status: 503,
            hang: 0.0,
            hang_for: LONGEST_HANG,
            reset: 0.0,
            body: 0,
            slow_body: Duration::ZERO,
        }
    }
}

impl Behaviour {
    /// Reads `{status, delay_ms, flaky, flaky_status, hang, hang_for, reset, body, slow_body}`; shares are from 0 to 1.
    ///
    /// # Errors
    /// All faults, each with its place.
    pub fn parse(value: Value) -> Result<Self> {
        let mut faults = Faults::default();
        let behaviour = Self::read(value, "", &mut faults);
        faults.check(behaviour)
    }

    /// As [`Behaviour::parse`], within another document.
    pub fn read(value: Value, place: &str, faults: &mut Faults) -> Self {
        let mut fields = Fields::of(value, place, faults);
        let plain = Self::default();
        let status = |fields: &mut Fields, name, default: u16, faults: &mut Faults| {
            fields.whole(name, 200..=599, faults).map_or(default, |status| status as u16)
        };
        let behaviour = Self {
            status: status(&mut fields, "status", plain.status, faults),
            delay: fields.distribution("delay_ms", faults),
            flaky: fields.number("flaky", 0.0..=1.0, faults).unwrap_or_default(),
            flaky_status: status(&mut fields, "flaky_status", plain.flaky_status, faults),
            hang: fields.number("hang", 0.0..=1.0, faults).unwrap_or_default(),
            hang_for: fields.duration("hang_for", faults).unwrap_or(LONGEST_HANG).min(LONGEST_HANG),
            reset: fields.number("reset", 0.0..=1.0, faults).unwrap_or_default(),
            body: fields.whole("body", 0..=LARGEST_BODY, faults).unwrap_or_default() as usize,
            slow_body: fields.duration("slow_body", faults).unwrap_or_default().min(LONGEST_HANG),
        };
        fields.end(faults);
        behaviour
    }

    /// What to do with the next delivery.
    pub fn act(&self, rng: &mut Rng) -> Act {
        if self.hang > 0.0 && rng.unit() < self.hang {
            return Act::Hang(self.hang_for);
        }
        if self.reset > 0.0 && rng.unit() < self.reset {
            return Act::Reset;
        }
        let flaky = self.flaky > 0.0 && rng.unit() < self.flaky;
        let millis = self.delay.as_ref().map_or(0.0, |delay| delay.sample(rng));
        Act::Answer {
            status: if flaky { self.flaky_status } else { self.status },
            delay: Duration::from_micros((millis * 1e3) as u64).min(LONGEST_HANG),
            body: self.body,
            over: self.slow_body,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn act(document: Value) -> Act {
        Behaviour::parse(document).unwrap().act(&mut Rng::new(1))
    }

    #[test]
    fn each_behaviour_is_done() {
        let ok = Act::Answer { status: 200, delay: Duration::ZERO, body: 0, over: Duration::ZERO };
        assert_eq!(Behaviour::default().act(&mut Rng::new(1)), ok);
        assert_eq!(act(json!({})), ok);
        assert_eq!(act(json!({"hang": 1, "hang_for": "2s"})), Act::Hang(Duration::from_secs(2)));
        assert_eq!(act(json!({"reset": 1})), Act::Reset);
        let slow = json!({"status": 202, "delay_ms": 20, "body": 10, "slow_body": "1s"});
        assert_eq!(act(slow), Act::Answer { status: 202, delay: Duration::from_millis(20), body: 10, over: Duration::from_secs(1) });
    }

    #[test]
    fn a_flaky_group_fails_its_share() {
        let behaviour = Behaviour::parse(json!({"flaky": 0.25, "flaky_status": 500})).unwrap();
        let mut rng = Rng::new(5);
        let failed = (0..10_000).filter(|_| matches!(behaviour.act(&mut rng), Act::Answer { status: 500, .. })).count();
        assert!((2_300..2_700).contains(&failed), "{failed}");
    }

    #[test]
    fn faults_are_all_named() {
        let error = Behaviour::parse(json!({"status": 99, "flaky": 2, "hang": "yes", "later": 1})).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 4, "{error}");
        assert!(["status: ", "flaky: ", "hang: ", "later: is not known"].iter().all(|part| error.contains(part)), "{error}");
    }
}
