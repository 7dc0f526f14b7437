//! The retry budget of a node: retries that fail are at most a share of the first attempts, and so many a second besides. Pure but
//! for a few atomics, which all shards share.
//!
//! A retry takes a token, and gives it back when it is delivered: only what is wasted counts. First attempts bring their share of
//! tokens, time brings the rest, and what is not used is forgotten over [`WINDOW`] (exponentially), so that an idle node has a
//! window's worth in hand and its retries go out when they are due.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use posthorn_domain::time::Time;

use crate::config::RetryBudget;

/// Over how long tokens are forgotten.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// Parts of a token that are counted.
const TOKEN: i64 = 1000;
/// Time is looked at in steps, so that no part of a token is lost in rounding.
const STEP: u64 = 10;

/// The budget.
#[derive(Debug)]
pub(super) struct Budget {
    tokens: AtomicI64,
    /// Until when time has brought its tokens, in milliseconds.
    at: AtomicU64,
    /// What a first attempt brings.
    share: i64,
    per_second: f64,
    /// Shards in which retries wait for tokens.
    starving: AtomicU32,
}

impl Budget {
    /// With a window's worth of tokens.
    pub(super) fn new(config: &RetryBudget, now: Time) -> Self {
        let full = config.per_second * WINDOW.as_secs_f64();
        Self {
            tokens: AtomicI64::new(parts(full)),
            at: AtomicU64::new(now.millis()),
            share: parts(config.share),
            per_second: config.per_second,
            starving: AtomicU32::new(0),
        }
    }

    /// So many first attempts are made.
    pub(super) fn first_attempts(&self, count: u32) {
        self.tokens.fetch_add(self.share * i64::from(count), Relaxed);
    }

    /// Tokens that are there at `now`.
    pub(super) fn tokens(&self, now: Time) -> u64 {
        self.pass(now);
        u64::try_from(self.tokens.load(Relaxed) / TOKEN).unwrap_or(0)
    }

    /// Takes one, if there is one.
    pub(super) fn take(&self, now: Time) -> bool {
        self.pass(now);
        let less = |tokens: i64| (tokens >= TOKEN).then_some(tokens - TOKEN);
        self.tokens.fetch_update(Relaxed, Relaxed, less).is_ok()
    }

    /// One was not needed, or well spent.
    pub(super) fn put_back(&self) {
        self.tokens.fetch_add(TOKEN, Relaxed);
    }

    /// Retries of a shard begin to wait, or wait no longer.
    pub(super) fn starves(&self, starves: bool) {
        if starves {
            self.starving.fetch_add(1, Relaxed);
        } else {
            self.starving.fetch_sub(1, Relaxed);
        }
    }

    /// Shards in which retries wait.
    pub(super) fn starving(&self) -> u32 {
        self.starving.load(Relaxed)
    }

    /// Lets time bring and take tokens; who comes first does it for all.
    fn pass(&self, now: Time) {
        let at = self.at.load(Relaxed);
        let passed = now.millis().saturating_sub(at);
        if passed < STEP || self.at.compare_exchange(at, now.millis(), Relaxed, Relaxed).is_err() {
            return;
        }
        let window = WINDOW.as_secs_f64();
        let kept = (-(passed as f64) / 1000.0 / window).exp();
        let full = self.per_second * window * TOKEN as f64;
        let moved = |tokens: i64| Some((full + (tokens as f64 - full) * kept) as i64);
        // The closure always gives a value.
        self.tokens.fetch_update(Relaxed, Relaxed, moved).ok();
    }
}

fn parts(tokens: f64) -> i64 {
    (tokens * TOKEN as f64) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Time = Time::from_millis(1_000_000_000);

    fn budget(per_second: f64) -> Budget {
        Budget::new(&RetryBudget { share: 0.2, per_second }, START)
    }

    fn take_all(budget: &Budget, now: Time) -> usize {
        std::iter::repeat_with(|| budget.take(now)).take_while(|taken| *taken).count()
    }

    #[test]
    fn an_idle_node_has_a_windows_worth_and_then_so_many_a_second() {
        let budget = budget(100.0);
        assert_eq!(take_all(&budget, START), 1000);
        let mut now = START;
        let mut taken = 0;
        while now < START.after(Duration::from_secs(60)) {
            now = now.after(Duration::from_millis(7));
            taken += take_all(&budget, now);
        }
        assert!((5900..=6000).contains(&taken), "{taken}");
        // Unused tokens do not pile up.
        assert_eq!(take_all(&budget, now.after(Duration::from_secs(86_400))), 1000);
    }

    #[test]
    fn first_attempts_bring_their_share_and_success_costs_nothing() {
        let budget = budget(1.0);
        take_all(&budget, START);
        let (mut now, mut taken) = (START, 0);
        for _ in 0..1000 {
            now = now.after(Duration::from_millis(10));
            budget.first_attempts(10);
            taken += take_all(&budget, now);
        }
        // A thousand a second for ten seconds: 200 retries a second and one.
        assert!((1950..=2015).contains(&taken), "{taken}");
        budget.first_attempts(5);
        for _ in 0..100 {
            assert!(budget.take(now));
            budget.put_back();
        }
        assert_eq!(budget.tokens(now), 1);
    }
}
