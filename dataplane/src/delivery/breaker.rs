//! Whether an endpoint is fit to be sent to. Pure.
//!
//! After [`THRESHOLD`] endpoint faults in a row it opens: the lane stops taking new events and single probes go out. The time
//! between probes is a share of the time since it opened, so a short outage is over at once and a long one costs little.

use std::time::Duration;

use posthorn_domain::time::Time;

/// Endpoint faults in a row that open it.
const THRESHOLD: u32 = 10;
/// Time between probes as a share of the time since it opened.
const SHARE: u32 = 20;
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(10);

/// The breaker of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    since: Time,
    probe_at: Time,
    probing: bool,
}

/// What may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// As much as the limits allow.
    Open,
    /// One request, to see whether it is back.
    Probe,
    /// Nothing before this time.
    Wait(Time),
    /// Nothing before the probe that is under way has ended.
    Probing,
}

impl Breaker {
    /// What may be sent at `now`.
    pub(super) fn gate(&self, now: Time) -> Gate {
        match &self.open {
            None => Gate::Open,
            Some(open) if open.probing => Gate::Probing,
            Some(open) if open.probe_at <= now => Gate::Probe,
            Some(open) => Gate::Wait(open.probe_at),
        }
    }

    /// A request goes out. True when it is a probe.
    pub(super) fn started(&mut self) -> bool {
        if let Some(open) = &mut self.open {
            open.probing = true;
        }
        self.open.is_some()
    }

    /// A request ended well enough: the endpoint answered for itself.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// A request ended with an endpoint fault. Only a probe moves the time of the next one.
    pub(super) fn failed(&mut self, was_probe: bool, now: Time) {
        self.failures = self.failures.saturating_add(1);
        match &mut self.open {
            Some(open) if was_probe => {
                open.probing = false;
                open.probe_at = now.after((now.since(open.since) / SHARE).clamp(SHORTEST, LONGEST));
            }
            Some(_) => {}
            None if self.failures >= THRESHOLD => self.open = Some(Open { since: now, probe_at: now.after(SHORTEST), probing: false }),
            None => {}
        }
    }

    /// A probe's place was not used after all.
    pub(super) fn released(&mut self, was_probe: bool) {
        if let Some(open) = self.open.as_mut().filter(|_| was_probe) {
            open.probing = false;
        }
    }

    /// closed, open or half_open.
    pub(super) fn name(&self) -> &'static str {
        match &self.open {
            None => "closed",
            Some(open) if open.probing => "half_open",
            Some(_) => "open",
        }
    }

    /// Whether it only lets probes through.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_endpoint_is_probed_ever_more_rarely_and_closes_on_the_first_success() {
        let mut breaker = Breaker::default();
        let mut now = Time::from_millis(1_000_000);
        for _ in 0..THRESHOLD {
            assert_eq!(breaker.gate(now), Gate::Open);
            assert!(!breaker.started());
            breaker.failed(false, now);
        }
        let opened = now;
        let mut probes = 0;
        while now.since(opened) < Duration::from_secs(3600) {
            match breaker.gate(now) {
                Gate::Wait(until) => now = until,
                Gate::Probe => {
                    assert!(breaker.started());
                    assert_eq!(breaker.gate(now), Gate::Probing);
                    breaker.failed(true, now);
                    probes += 1;
                }
                gate => panic!("{gate:?}"),
            }
        }
        assert!((300..700).contains(&probes), "{probes}");
        breaker.succeeded();
        assert_eq!(breaker.gate(now), Gate::Open);
    }
}
