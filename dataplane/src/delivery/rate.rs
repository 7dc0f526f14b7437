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

    /// The most deliveries that may go out at once; a larger batch would never fit.
    pub(super) fn burst(&self) -> usize {
        self.interval.map_or(usize::MAX, |interval| ((1000.0 / interval) as usize).max(1))
    }

    /// Whether `count` deliveries may go out together `now`, else when.
    pub(super) fn fits(&self, now: Time, count: usize) -> Result<(), Time> {
        let Some(interval) = self.interval else { return Ok(()) };
        let at = now.millis() as f64;
        // The burst is one second's worth, and never less than one delivery.
        let tolerance = (1000.0 - interval).max(0.0);
        let others = count.clamp(1, self.burst()) - 1;
        // The last of them must be within the burst; a thousandth of a millisecond is for rounding.
        let over = self.arrival.max(at) + interval * others as f64 - at - tolerance;
        if over > 0.001 {
            return Err(now.after(Duration::from_secs_f64(over / 1000.0).max(Duration::from_millis(1))));
        }
        Ok(())
    }

    /// `count` deliveries go out `now`.
    pub(super) fn take(&mut self, now: Time, count: usize) {
        if let Some(interval) = self.interval {
            self.arrival = self.arrival.max(now.millis() as f64) + interval * count as f64;
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
        let burst = (0..100).take_while(|_| go(&mut rate, start, 1).is_ok()).count();
        assert_eq!(burst, 10);
        let mut now = start;
        let mut sent = 0;
        while now < start.after(Duration::from_secs(10)) {
            match go(&mut rate, now, 1) {
                Ok(()) => sent += 1,
                Err(later) => now = later,
            }
        }
        assert!((99..=101).contains(&sent), "{sent}");
    }

    /// Batches are counted by their events: over any time no more go out than rate times time and one burst.
    #[test]
    fn batches_count_by_their_events() {
        for size in [1, 3, 7, 10, 40] {
            let mut rate = Rate::default();
            rate.set(Some(10.0));
            let start = Time::from_millis(50_000);
            let size = rate.burst().min(size);
            let (mut now, mut sent) = (start, 0);
            while now < start.after(Duration::from_secs(20)) {
                match go(&mut rate, now, size) {
                    Ok(()) => sent += size,
                    Err(later) => now = later,
                }
                let most = now.since(start).as_secs_f64() * 10.0 + 10.0;
                assert!(sent as f64 <= most + 0.1, "{sent} of {size} after {:?}", now.since(start));
            }
            assert!((195..=215).contains(&sent), "{sent} of {size}");
        }
        assert_eq!(Rate::default().fits(Time::ZERO, 1000), Ok(()));
    }

    fn go(rate: &mut Rate, now: Time, count: usize) -> Result<(), Time> {
        rate.fits(now, count)?;
        rate.take(now, count);
        Ok(())
    }

    #[test]
    fn slow_rates_let_the_first_through() {
        let mut rate = Rate::default();
        rate.set(Some(0.5));
        let now = Time::from_millis(1000);
        assert_eq!(go(&mut rate, now, 1), Ok(()));
        assert_eq!(go(&mut rate, now, 1), Err(Time::from_millis(3000)));
    }
}
