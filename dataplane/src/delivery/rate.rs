//! A subscription's rate (`limits.rate`): deliveries a second with a burst of one second's worth, smoothly (GCRA). Pure.

use std::time::Duration;

use posthorn_domain::time::Time;

/// The rate limiter of one subscription.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// Milliseconds between deliveries; none without a limit.
    interval: Option<f64>,
    /// The theoretical arrival time of the next delivery, in milliseconds.
    arrival: f64,
}

impl Rate {
    /// Deliveries a second; `None` is no limit.
    pub(super) fn set(&mut self, per_second: Option<f64>) {
        self.interval = per_second.map(|rate| 1000.0 / rate);
    }

    /// When `count` deliveries may go out, at the earliest `now`; they are taken when that is now.
    pub(super) fn take(&mut self, now: Time, count: u32) -> Result<(), Time> {
        self.ready(now)?;
        self.spend(now, count);
        Ok(())
    }

    /// When a delivery may go out, at the earliest `now`.
    pub(super) fn ready(&self, now: Time) -> Result<(), Time> {
        let Some(interval) = self.interval else { return Ok(()) };
        let at = now.millis() as f64;
        // The burst is one second's worth, and never less than one delivery.
        let tolerance = (1000.0 - interval).max(0.0);
        let start = self.arrival.max(at);
        if start - at > tolerance {
            let wait = Duration::from_secs_f64((start - at - tolerance) / 1000.0);
            return Err(now.after(wait.max(Duration::from_millis(1))));
        }
        Ok(())
    }

    /// `count` deliveries go out.
    pub(super) fn spend(&mut self, now: Time, count: u32) {
        if let Some(interval) = self.interval {
            self.arrival = self.arrival.max(now.millis() as f64) + interval * f64::from(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_a_steady_rate() {
        let mut rate = Rate::default();
        rate.set(Some(10.0));
        let start = Time::from_millis(50_000);
        let burst = (0..100).take_while(|_| rate.take(start, 1).is_ok()).count();
        assert_eq!(burst, 10);
        let mut now = start;
        let mut sent = 0;
        while now < start.after(Duration::from_secs(10)) {
            match rate.take(now, 1) {
                Ok(()) => sent += 1,
                Err(later) => now = later,
            }
        }
        assert!((99..=101).contains(&sent), "{sent}");
    }

    #[test]
    fn slow_rates_let_the_first_through() {
        let mut rate = Rate::default();
        rate.set(Some(0.5));
        let now = Time::from_millis(1000);
        assert_eq!(rate.take(now, 1), Ok(()));
        assert_eq!(rate.take(now, 1), Err(Time::from_millis(3000)));
    }
}
