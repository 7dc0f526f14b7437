//! Shares of faults and of slow answers among the latest requests. Pure, of constant size: a span that is being counted, and the
//! one before it, of which counts the part that the window still covers.

use std::time::Duration;

use posthorn_domain::time::Time;

/// The latest requests of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Window {
    began: Time,
    /// What part of the span has passed.
    passed: f64,
    current: Counts,
    before: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    requests: u32,
    faults: u32,
    slow: u32,
}

/// Shares, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shares {
    pub(super) faults: f64,
    pub(super) slow: f64,
}

impl Window {
    /// A request ended at `now`, in a window of this `length`.
    pub(super) fn count(&mut self, now: Time, length: Duration, fault: bool, slow: bool) {
        let since = now.since(self.began);
        if since >= length {
            self.before = if since < length * 2 { self.current } else { Counts::default() };
            self.began = if since < length * 2 { self.began.after(length) } else { now };
            self.current = Counts::default();
        }
        self.passed = (now.since(self.began).as_secs_f64() / length.as_secs_f64()).min(1.0);
        self.current.requests += 1;
        self.current.faults += u32::from(fault);
        self.current.slow += u32::from(slow);
    }

    /// The shares as of the last request; `None` when the window has fewer than `least`.
    pub(super) fn shares(&self, least: u32) -> Option<Shares> {
        let sum = |of: fn(&Counts) -> u32| f64::from(of(&self.current)) + (1.0 - self.passed) * f64::from(of(&self.before));
        let requests = sum(|counts| counts.requests);
        // A window that has just moved must not fall short of its least by a rounding error.
        let enough = requests + 1e-9 >= f64::from(least) && requests > 0.0;
        enough.then(|| Shares { faults: sum(|counts| counts.faults) / requests, slow: sum(|counts| counts.slow) / requests })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(10);

    fn at(millis: u64) -> Time {
        Time::from_millis(5_000_000 + millis)
    }

    #[test]
    fn what_is_past_counts_less_and_less() {
        let mut window = Window::default();
        assert_eq!(window.shares(0), None);
        (0..100).for_each(|n| window.count(at(n), LENGTH, true, false));
        assert_eq!(window.shares(100), Some(Shares { faults: 1.0, slow: 0.0 }));
        assert_eq!(window.shares(101), None);
        // Half of the earlier hundred and a hundred good ones.
        (0..100).for_each(|_| window.count(at(15_000), LENGTH, false, true));
        let shares = window.shares(20).expect("enough");
        assert!((shares.faults - 1.0 / 3.0).abs() < 1e-6 && (shares.slow - 2.0 / 3.0).abs() < 1e-6, "{shares:?}");
        window.count(at(60_000), LENGTH, true, true);
        assert_eq!(window.shares(1), Some(Shares { faults: 1.0, slow: 1.0 }));
        assert_eq!(window.shares(2), None);
    }
}
