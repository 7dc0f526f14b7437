//! How many requests an endpoint gets at the same time. Pure; a few additions a request.
//!
//! As many as its limits allow, until there is evidence that this is too much: it says so (429, 503), lets requests time out, fails
//! while it is slow, or takes several times as long as it used to. Then less, once a round of requests, down to one; and one more
//! each round that goes well. After an outage it begins at one and doubles each round (slow start).

use std::time::Duration;

/// Below this many milliseconds no endpoint is slow: a queue of ours, or a pause of the machine, is as long.
const NO_MATTER: f32 = 250.0;
/// An endpoint is strained when it takes so many times as long as it used to.
const STRAINED: f32 = 3.0;
/// How much of a request the mean of late, and the mean of long, take in.
const LATE: f32 = 1.0 / 16.0;
const LONG: f32 = 1.0 / 2048.0;
/// What is left after an answer that asks for less, and after a round that was only slow.
const HALF: f32 = 0.5;
const LESS: f32 = 0.9;

/// The limit of one endpoint.
#[derive(Debug)]
pub(super) struct Concurrency {
    /// Infinite while there is no reason for a limit.
    limit: f32,
    /// Whether each success adds one, rather than each round.
    starting: bool,
    /// Requests that end before the limit may sink again: they were sent under the one before.
    round: u32,
    /// Mean milliseconds of a request, of late and for long; zero before the first.
    late: f32,
    long: f32,
}

/// What a request says of how much its endpoint can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// It was answered for itself.
    Answered,
    /// The endpoint failed.
    Failed,
    /// The endpoint failed because it had too much to do, as far as can be seen.
    Overloaded,
}

impl Default for Concurrency {
    fn default() -> Self {
        Self { limit: f32::INFINITY, starting: false, round: 0, late: 0.0, long: 0.0 }
    }
}

impl Concurrency {
    /// Requests at the same time, where `most` are allowed.
    pub(super) fn limit(&self, most: u32) -> u32 {
        // The cast stops at the greatest number.
        most.min(self.limit as u32).max(1)
    }

    /// The endpoint is back: one request, then ever more.
    pub(super) fn restart(&mut self) {
        *self = Self { limit: 1.0, starting: true, ..Self::default() };
    }

    /// A request ended that took so long. Unless `adaptive`, it only matters to a slow start.
    pub(super) fn ended(&mut self, sign: Sign, took: Duration, most: u32, adaptive: bool) {
        self.round = self.round.saturating_sub(1);
        if sign == Sign::Answered {
            self.time(took);
        }
        match sign {
            _ if !adaptive && !self.starting => {}
            Sign::Answered if adaptive && self.is_strained() => self.sink(LESS, most),
            Sign::Answered => self.rise(most),
            Sign::Failed | Sign::Overloaded if self.starting => self.limit = (self.limit * HALF).max(1.0),
            Sign::Failed if !self.is_strained() => {}
            Sign::Failed | Sign::Overloaded => self.sink(HALF, most),
        }
    }

    fn time(&mut self, took: Duration) {
        let millis = (took.as_secs_f32() * 1000.0).max(NO_MATTER);
        if self.long == 0.0 {
            (self.late, self.long) = (millis, millis);
        }
        self.late += (millis - self.late) * LATE;
        self.long += (millis - self.long) * LONG;
    }

    fn is_strained(&self) -> bool {
        self.late > STRAINED * self.long
    }

    fn rise(&mut self, most: u32) {
        if self.limit.is_finite() {
            self.limit += if self.starting { 1.0 } else { 1.0 / self.limit };
            if self.limit >= most as f32 {
                (self.limit, self.starting) = (f32::INFINITY, false);
            }
        }
    }

    fn sink(&mut self, to: f32, most: u32) {
        if self.round == 0 {
            let limit = self.limit.min(most as f32);
            (self.limit, self.starting) = ((limit * to).max(1.0), false);
            self.round = limit as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOST: u32 = 64;

    fn after(concurrency: &mut Concurrency, count: u32, sign: Sign, millis: u64) -> u32 {
        (0..count).for_each(|_| concurrency.ended(sign, Duration::from_millis(millis), MOST, true));
        concurrency.limit(MOST)
    }

    #[test]
    fn a_healthy_endpoint_has_its_whole_limit_from_the_first_request_on() {
        for millis in [0, 5, 240, 3000] {
            let mut concurrency = Concurrency::default();
            assert_eq!(concurrency.limit(MOST), MOST);
            assert_eq!(after(&mut concurrency, 10_000, Sign::Answered, millis), MOST);
            // One in ten breaks without being slow: that is the breaker's to judge.
            for _ in 0..100 {
                after(&mut concurrency, 9, Sign::Answered, millis);
                assert_eq!(after(&mut concurrency, 1, Sign::Failed, millis), MOST);
            }
        }
        let mut queued = Concurrency::default();
        after(&mut queued, 100, Sign::Answered, 1);
        assert_eq!(after(&mut queued, 100, Sign::Answered, 700), MOST, "pauses of this machine are no evidence");
    }

    #[test]
    fn a_slow_start_doubles_each_round_and_a_failure_sets_it_back() {
        let mut concurrency = Concurrency::default();
        concurrency.restart();
        for limit in [1, 2, 4, 8, 16, 32] {
            assert_eq!(concurrency.limit(MOST), limit);
            after(&mut concurrency, limit, Sign::Answered, 5);
        }
        assert_eq!(concurrency.limit(MOST), MOST);
        assert_eq!(concurrency.limit(1000), 1000, "there is no limit left");
        concurrency.restart();
        after(&mut concurrency, 15, Sign::Answered, 5);
        assert_eq!(after(&mut concurrency, 1, Sign::Failed, 5), 8);
        assert_eq!(after(&mut concurrency, 3, Sign::Failed, 5), 1);
        assert_eq!(after(&mut concurrency, 3, Sign::Answered, 5), 4);
    }

    #[test]
    fn who_asks_for_less_gets_half_once_a_round_and_more_again_bit_by_bit() {
        let mut concurrency = Concurrency::default();
        after(&mut concurrency, 100, Sign::Answered, 20);
        assert_eq!(after(&mut concurrency, 1, Sign::Overloaded, 20), 32);
        assert_eq!(after(&mut concurrency, 63, Sign::Overloaded, 20), 32, "they were sent before");
        assert_eq!(after(&mut concurrency, 1, Sign::Overloaded, 20), 16);
        assert_eq!(after(&mut concurrency, 17, Sign::Answered, 20), 17);
        assert_eq!(after(&mut concurrency, 2000, Sign::Answered, 20), MOST);
        assert_eq!(after(&mut concurrency, 1000, Sign::Overloaded, 20), 1, "never less than one");
    }

    #[test]
    fn who_takes_ever_longer_gets_less_until_that_is_what_it_takes() {
        let mut concurrency = Concurrency::default();
        after(&mut concurrency, 100, Sign::Answered, 100);
        assert!(after(&mut concurrency, 150, Sign::Answered, 5000) < MOST);
        let strained = after(&mut concurrency, 50, Sign::Answered, 5000);
        assert!(strained < 56, "{strained}");
        assert_eq!(after(&mut concurrency, 10_000, Sign::Answered, 5000), MOST);
    }

    #[test]
    fn without_adapting_there_is_only_the_slow_start() {
        let mut concurrency = Concurrency::default();
        (0..100).for_each(|_| concurrency.ended(Sign::Overloaded, Duration::from_secs(9), MOST, false));
        assert_eq!(concurrency.limit(MOST), MOST);
        concurrency.restart();
        (0..63).for_each(|_| concurrency.ended(Sign::Answered, Duration::from_secs(9), MOST, false));
        assert_eq!(concurrency.limit(MOST), MOST);
    }

    proptest! {
        #[test]
        fn it_is_always_between_one_and_what_is_allowed_and_finds_its_way_back(
            steps in prop::collection::vec((0u8..4, 0u64..20_000), 0..300),
            most in 1u32..200,
        ) {
            let mut concurrency = Concurrency::default();
            for (kind, millis) in steps {
                match kind {
                    0 => concurrency.restart(),
                    1 => concurrency.ended(Sign::Failed, Duration::from_millis(millis), most, true),
                    2 => concurrency.ended(Sign::Overloaded, Duration::from_millis(millis), most, true),
                    _ => concurrency.ended(Sign::Answered, Duration::from_millis(millis), most, true),
                }
                prop_assert!((1..=most).contains(&concurrency.limit(most)));
            }
            (0..40_000).for_each(|_| concurrency.ended(Sign::Answered, Duration::from_millis(10), most, true));
            prop_assert_eq!(concurrency.limit(most), most);
        }
    }
}
