//! Whether an endpoint is fit to be sent to. Pure.
//!
//! It opens after some endpoint faults in a row, at a share of endpoint faults, or at a share of slow answers among the requests of
//! a [`Window`]. Then the lane stops taking new events and single probes go out. The time between probes is a share of the time
//! since it opened, so a short outage is over at once and a long one costs little. What follows a success is
//! [`super::concurrency`]'s: it lets through ever more.

use std::time::Duration;

use posthorn_domain::time::Time;

use super::share::Window;
use crate::config::Breaker as Rules;

/// Time between probes as a share of the time since it opened.
const SHARE: u32 = 20;
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(10);

/// The breaker of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    window: Window,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    since: Time,
    reason: Trip,
    probe_at: Time,
    probing: bool,
}

/// Why it opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trip {
    /// So many endpoint faults in a row.
    InARow,
    /// Too many of the latest requests were endpoint faults.
    FailureShare,
    /// Too many of the latest requests were slow.
    Latency,
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

/// What a request changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// It opened.
    Opened(Trip),
    /// It closed.
    Closed,
}

impl Trip {
    /// As states and metrics name it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::InARow => "failures_in_a_row",
            Self::FailureShare => "failure_share",
            Self::Latency => "latency",
        }
    }
}

impl Breaker {
    /// One that an earlier process left open: its first request is a probe.
    pub(super) fn left_open(since: Time) -> Self {
        let open = Open { since, reason: Trip::InARow, probe_at: Time::ZERO, probing: false };
        Self { open: Some(open), ..Self::default() }
    }

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

    /// A request ended well enough: the endpoint answered for itself, however slowly.
    pub(super) fn succeeded(&mut self, was_probe: bool, slow: bool, now: Time, rules: &Rules) -> Change {
        self.failures = 0;
        let slow = slow && rules.slow_share.is_some();
        match &mut self.open {
            None => {
                self.window.count(now, rules.window, false, slow);
                self.trip(now, rules)
            }
            // Whoever is slow is asked on, one request at a time.
            Some(open) if was_probe && slow => {
                (open.probing, open.probe_at) = (false, now);
                Change::None
            }
            Some(_) if was_probe => {
                *self = Self::default();
                Change::Closed
            }
            // It was sent before this opened, so it proves little; enough to ask again at once.
            Some(open) => {
                open.probe_at = open.probe_at.min(now);
                Change::None
            }
        }
    }

    /// A request ended with an endpoint fault. Only a probe moves the time of the next one.
    pub(super) fn failed(&mut self, was_probe: bool, slow: bool, now: Time, rules: &Rules) -> Change {
        self.failures = self.failures.saturating_add(1);
        match &mut self.open {
            None => {
                self.window.count(now, rules.window, true, slow);
                self.trip(now, rules)
            }
            Some(open) => {
                if was_probe {
                    open.probing = false;
                    open.probe_at = now.after((now.since(open.since) / SHARE).clamp(SHORTEST, LONGEST));
                }
                Change::None
            }
        }
    }

    /// A probe's place was not used after all.
    pub(super) fn released(&mut self, was_probe: bool) {
        if let Some(open) = self.open.as_mut().filter(|_| was_probe) {
            open.probing = false;
        }
    }

    /// The endpoint may be another one now: it is probed at once.
    pub(super) fn hurry(&mut self) {
        if let Some(open) = &mut self.open {
            open.probe_at = Time::ZERO;
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

    /// Why and since when it is open.
    pub(super) fn opened(&self) -> Option<(Trip, Time)> {
        self.open.as_ref().map(|open| (open.reason, open.since))
    }

    /// When the next probe may go out, while none is under way.
    pub(super) fn next_probe(&self) -> Option<Time> {
        self.open.as_ref().filter(|open| !open.probing).map(|open| open.probe_at)
    }

    fn trip(&mut self, now: Time, rules: &Rules) -> Change {
        let shares = self.window.shares(rules.min_requests);
        let reaches = |share: f64, limit: Option<f64>| limit.is_some_and(|limit| share >= limit);
        let reason = if self.failures >= rules.failures_in_a_row {
            Trip::InARow
        } else if shares.is_some_and(|shares| reaches(shares.faults, rules.failure_share)) {
            Trip::FailureShare
        } else if shares.is_some_and(|shares| reaches(shares.slow, rules.slow_share)) {
            Trip::Latency
        } else {
            return Change::None;
        };
        self.window = Window::default();
        self.open = Some(Open { since: now, reason, probe_at: now.after(SHORTEST), probing: false });
        Change::Opened(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Time = Time::from_millis(1_000_000);

    fn rules() -> Rules {
        Rules::default()
    }

    /// Requests as letters, one each 100 ms: `.` well, `s` slow, `x` fault, `t` timed out. What the last one changed.
    fn run(breaker: &mut Breaker, letters: &str) -> Change {
        let (mut now, mut change) = (START, Change::None);
        for letter in letters.chars() {
            assert_eq!(change, Change::None, "it opened before the end of {letters}");
            now = now.after(Duration::from_millis(100));
            let was_probe = breaker.started();
            change = match letter {
                '.' | 's' => breaker.succeeded(was_probe, letter == 's', now, &rules()),
                _ => breaker.failed(was_probe, letter == 't', now, &rules()),
            };
        }
        change
    }

    #[test]
    fn a_dead_endpoint_is_probed_ever_more_rarely_and_closes_on_the_first_success() {
        let mut breaker = Breaker::default();
        assert_eq!(run(&mut breaker, "xxxxxxxxxx"), Change::Opened(Trip::InARow));
        let opened = START.after(Duration::from_secs(1));
        let mut now = opened;
        let mut probes = 0;
        while now.since(opened) < Duration::from_secs(3600) {
            match breaker.gate(now) {
                Gate::Wait(until) => now = until,
                Gate::Probe => {
                    assert!(breaker.started());
                    assert_eq!((breaker.gate(now), breaker.name()), (Gate::Probing, "half_open"));
                    assert_eq!(breaker.failed(true, false, now, &rules()), Change::None);
                    probes += 1;
                }
                gate => panic!("{gate:?}"),
            }
        }
        assert!((300..700).contains(&probes), "{probes}");
        assert_eq!(breaker.opened(), Some((Trip::InARow, opened)));
        assert!(breaker.started());
        assert_eq!(breaker.succeeded(true, false, now, &rules()), Change::Closed);
        assert_eq!((breaker.gate(now), breaker.opened()), (Gate::Open, None));
    }

    #[test]
    fn mixed_results_open_it_by_their_share() {
        assert_eq!(run(&mut Breaker::default(), ".x.x.x.x.x.x.x.x.x.x"), Change::Opened(Trip::FailureShare));
        // Fewer than half, or too few to judge.
        assert_eq!(run(&mut Breaker::default(), &"..x.x".repeat(40)), Change::None);
        assert_eq!(run(&mut Breaker::default(), ".x.x.x.x.x.x.x.x.x."), Change::None);
        // Old faults are forgotten.
        let mut breaker = Breaker::default();
        run(&mut breaker, "xxxxxxxxx");
        let later = START.after(Duration::from_secs(90));
        let changes = (0..40).map(|n| {
            let at = later.after(Duration::from_millis(n));
            if n % 3 == 1 { breaker.failed(false, false, at, &rules()) } else { breaker.succeeded(false, false, at, &rules()) }
        });
        assert!(changes.into_iter().all(|change| change == Change::None));
    }

    #[test]
    fn slow_answers_open_it_and_are_asked_on_one_by_one_until_one_is_quick() {
        let mut breaker = Breaker::default();
        assert_eq!(run(&mut breaker, "ssss.sssstssss.sssss"), Change::Opened(Trip::Latency));
        let now = START.after(Duration::from_secs(10));
        assert!(breaker.started());
        assert_eq!(breaker.succeeded(true, true, now, &rules()), Change::None);
        assert_eq!(breaker.gate(now), Gate::Probe, "at once");
        assert!(breaker.started());
        assert_eq!(breaker.gate(now), Gate::Probing, "but one at a time");
        assert_eq!(breaker.succeeded(true, false, now, &rules()), Change::Closed);
    }

    #[test]
    fn what_was_sent_before_it_opened_does_not_close_it_but_has_it_probed() {
        let mut breaker = Breaker::default();
        run(&mut breaker, "xxxxxxxxxx");
        let now = START.after(Duration::from_secs(1));
        assert!(matches!(breaker.gate(now), Gate::Wait(_)));
        assert_eq!(breaker.succeeded(false, false, now, &rules()), Change::None);
        assert_eq!(breaker.gate(now), Gate::Probe);
    }
}
