//! A count of what began a short while ago and has not ended.

//!
//! Time is told in spans: ten ticks of 25 ms *as the thread has them*. When the thread is late, its spans are longer, so that what it did
//! not get to look at is not taken for something that hangs.

use std::cell::Cell;
use std::time::Duration;

/// What a pool sleeps for, [`TICKS`] times a span.
pub(super) const TICK: Duration = Duration::from_millis(25);
/// Ticks of a span.
pub(super) const TICKS: usize = 10;

/// The count, by the number of the span in which each began; what began before the last span is forgotten.
#[derive(Default)]
pub(super) struct Recent {
    now: Cell<u64>,
    counts: [Cell<u32>; 2],
}

impl Recent {
    /// One more, begun in this span.
    pub(super) fn enter(&self, span: u64) {
        self.roll(span);
        let count = self.of(span);
        count.set(count.get() + 1);
    }

    /// One less, which had begun in that span.
    pub(super) fn leave(&self, began: u64) {
        if began + 1 >= self.now.get() {
            let count = self.of(began);
            count.set(count.get().saturating_sub(1));
        }
    }

    /// How many there are.
    pub(super) fn count(&self, span: u64) -> usize {
        self.roll(span);
        (self.counts[0].get() + self.counts[1].get()) as usize
    }

    fn roll(&self, span: u64) {
        let before = self.now.replace(span.max(self.now.get()));
        (before + 1..=span).take(2).for_each(|begun| self.of(begun).set(0));
    }

    fn of(&self, span: u64) -> &Cell<u32> {
        &self.counts[usize::from(span % 2 == 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_are_forgotten() {
        let recent = Recent::default();
        (0..3).for_each(|_| recent.enter(10));
        recent.enter(11);
        recent.leave(10);
        assert_eq!((recent.count(11), recent.count(12)), (3, 1));
        recent.leave(10);
        assert_eq!(recent.count(12), 1, "who was forgotten is not missed twice");
        recent.leave(11);
        assert_eq!(recent.count(12), 0);
        recent.enter(12);
        assert_eq!((recent.count(13), recent.count(20)), (1, 0));
        recent.enter(20);
        assert_eq!(recent.count(100), 0);
    }
}
