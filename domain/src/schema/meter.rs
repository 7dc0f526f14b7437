//! A budget of steps for one check of one document.
//!
//! No limit on a schema alone bounds a check: a recursive schema that tries two branches at each level takes 2^n turns
//! on a document of n levels. So every look at the document costs a step. When the budget is spent each value looks like
//! null and empty, which ends every loop and recursion of the validator soon, and the outcome is thrown away.

use std::cell::Cell;

/// Steps left. Lives on the stack of one check.
pub(super) struct Meter {
    left: Cell<u64>,
    explains: bool,
}

/// Steps that every check may take, and more for each node of the document. About 10 ns a step: a document of 1 MiB
/// fails after half a second at the very worst.
const BASE: u64 = 4_000_000;
const PER_NODE: u64 = 64;
/// For explaining a refusal, where each step may also build an error.
const EXPLAIN: u64 = 200_000;

impl Meter {
    pub(super) fn for_checking(nodes: usize) -> Self {
        Self { left: Cell::new(BASE + PER_NODE * nodes as u64), explains: false }
    }

    pub(super) fn for_explaining(nodes: usize) -> Self {
        Self { left: Cell::new(EXPLAIN + 4 * nodes as u64), explains: true }
    }

    /// Whether the check is to build errors.
    pub(super) fn explains(&self) -> bool {
        self.explains
    }

    /// Takes `steps`; whether they were there.
    pub(super) fn take(&self, steps: usize) -> bool {
        let left = self.left.get().saturating_sub(steps as u64);
        self.left.set(left);
        left > 0
    }

    /// Whether the budget is used up.
    pub(super) fn is_spent(&self) -> bool {
        self.left.get() == 0
    }
}
