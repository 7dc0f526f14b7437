//! What filters said of the event that is being routed, so that equal filters are evaluated once.

use std::cell::Cell;

use posthorn_domain::filter::View;

use super::filters::Known;

/// Answers by the filters' numbers. Beginning an event forgets them all at no cost, as each carries its event's number.
#[derive(Default)]
pub(super) struct Memo {
    event: u32,
    /// The event's number, doubled, and the answer.
    answers: Vec<u32>,
}

thread_local! {
    static MEMO: Cell<Option<Memo>> = const { Cell::new(None) };
}

impl Memo {
    /// Lends this thread's memo, empty, with room for filters whose numbers are below `bound`.
    pub(super) fn lend<R>(bound: u32, use_it: impl FnOnce(&mut Self) -> R) -> R {
        let mut memo = MEMO.take().unwrap_or_default();
        memo.begin(bound as usize);
        let result = use_it(&mut memo);
        MEMO.set(Some(memo));
        result
    }

    fn begin(&mut self, bound: usize) {
        if self.event == u32::MAX >> 1 {
            self.answers.clear();
            self.event = 0;
        }
        self.event += 1;
        if self.answers.len() < bound {
            self.answers.resize(bound, 0);
        }
    }

    /// Whether the filter holds; evaluated the first time only.
    pub(super) fn holds(&mut self, filter: &Known, view: &View<'_>) -> bool {
        let answer = &mut self.answers[filter.number as usize];
        if *answer >> 1 != self.event {
            *answer = self.event << 1 | u32::from(filter.matches(view));
        }
        *answer & 1 == 1
    }
}
