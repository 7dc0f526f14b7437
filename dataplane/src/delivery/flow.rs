//! How much an endpoint may be sent, beside what its contract and its breaker say: what it asked for, and what it can take. Pure.

use std::time::Duration;

use posthorn_domain::time::Time;

use super::concurrency::{Concurrency, Sign};
use super::rate::Rate;
use crate::egress::AllowedRate;

/// The flow to one endpoint.
#[derive(Debug, Default)]
pub(super) struct Flow {
    concurrency: Concurrency,
    /// It said `Retry-After`: nothing goes out before.
    held_until: Option<Time>,
    /// Requests a minute that it allows.
    allowed: Option<u32>,
    allowance: Rate,
}

impl Flow {
    /// When a request may go out, at the earliest `now`.
    pub(super) fn ready(&self, now: Time) -> Result<(), Time> {
        match self.held_until {
            Some(until) if until > now => Err(until),
            _ => self.allowance.fits(now, 1),
        }
    }

    /// Requests at the same time, where the contract allows `most`.
    pub(super) fn limit(&self, most: u32) -> u32 {
        self.concurrency.limit(most)
    }

    /// A request goes out.
    pub(super) fn started(&mut self, now: Time) {
        self.allowance.take(now, 1);
    }

    /// A request ended; see [`Concurrency::ended`].
    pub(super) fn ended(&mut self, sign: Sign, took: Duration, most: u32, adaptive: bool) {
        self.concurrency.ended(sign, took, most, adaptive);
    }

    /// The endpoint is back after an outage.
    pub(super) fn restart(&mut self) {
        self.concurrency.restart();
    }

    /// The endpoint asks for nothing before `until`; after that it starts slowly. False when it had asked for that already.
    pub(super) fn hold(&mut self, until: Time) -> bool {
        let longer = self.held_until.is_none_or(|earlier| earlier < until);
        if longer {
            self.held_until = Some(until);
            self.concurrency.restart();
        }
        longer
    }

    /// The endpoint said how many requests a minute it allows.
    pub(super) fn allow(&mut self, rate: AllowedRate) {
        let allowed = match rate {
            AllowedRate::PerMinute(count) => Some(count.get()),
            AllowedRate::Unlimited => None,
        };
        if allowed != self.allowed {
            self.allowed = allowed;
            self.allowance.set(allowed.map(|count| f64::from(count) / 60.0));
        }
    }

    /// What the endpoint asked for counts no more.
    pub(super) fn forget(&mut self) {
        let concurrency = std::mem::take(&mut self.concurrency);
        *self = Self { concurrency, ..Self::default() };
    }

    /// Until when it is held, while it is.
    pub(super) fn held_until(&self, now: Time) -> Option<Time> {
        self.held_until.filter(|until| *until > now)
    }

    /// Requests a minute that it allows.
    pub(super) fn allowed(&self) -> Option<u32> {
        self.allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_millis(1_000_000);

    fn per_minute(count: u32) -> AllowedRate {
        AllowedRate::read(count.to_string().as_bytes()).expect("a rate")
    }

    #[test]
    fn the_longest_hold_counts_and_is_followed_by_a_slow_start() {
        let mut flow = Flow::default();
        assert_eq!((flow.ready(NOW), flow.limit(16)), (Ok(()), 16));
        let until = NOW.after(Duration::from_secs(30));
        assert!(flow.hold(until));
        assert!(!flow.hold(NOW.after(Duration::from_secs(5))), "the others in flight say the same or less");
        assert_eq!((flow.ready(NOW), flow.held_until(NOW)), (Err(until), Some(until)));
        flow.forget();
        assert_eq!((flow.ready(NOW), flow.limit(16)), (Ok(()), 1), "forgotten, but not forgiven");
        assert!(flow.hold(until));
        assert_eq!((flow.ready(until), flow.held_until(until), flow.limit(16)), (Ok(()), None, 1));
    }

    #[test]
    fn an_allowed_rate_paces_requests_until_it_is_lifted() {
        let mut flow = Flow::default();
        flow.allow(per_minute(30));
        assert_eq!(flow.ready(NOW), Ok(()));
        flow.started(NOW);
        assert_eq!((flow.ready(NOW), flow.allowed()), (Err(NOW.after(Duration::from_secs(2))), Some(30)));
        flow.allow(per_minute(30));
        assert!(flow.ready(NOW).is_err(), "saying it again changes nothing");
        flow.allow(AllowedRate::Unlimited);
        assert_eq!((flow.ready(NOW), flow.allowed()), (Ok(()), None));
    }
}
