//! A budget of steps for one check of one document.
//!
//! No limit on a schema alone bounds a check: a recursive schema that tries two branches at each level takes 2^n turns
//! on a document of n levels. So every look at the document costs a step. When the budget is spent each value looks like
//! null and empty, which ends every loop and recursion of the validator soon, and the outcome is thrown away.

use std::cell::Cell;

use super::patterns::Weight;

/// Steps left, and where lookups go on. Lives on the stack of one check.
pub(super) struct Meter {
    left: Cell<u64>,
    weight: Weight,
    explains: bool,
    marks: [Cell<Mark>; MARKS],
}

/// Where the last lookup in an object ended: schemas name members mostly in the order in which documents have them.
#[derive(Clone, Copy, Default)]
struct Mark {
    /// The object, by the address of its node; 0 is none.
    object: usize,
    /// An index among its nodes at which a member begins.
    next: usize,
}

/// As many objects are remembered, each in the place that its address gives it: those that are nested in each other.
const MARKS: usize = 8;

/// Steps that every check may take, and more for each node of the document. A step takes some 10 ns.
const BASE: u64 = 8_000_000;
const PER_NODE: u64 = 64;
/// For explaining a refusal, which is done once and not for every event's sake.
const EXPLAIN_BASE: u64 = 1_000_000;
const EXPLAIN_PER_NODE: u64 = 8;
/// What building one error costs: about 1 KB and 1 µs.
const ERROR: usize = 200;

impl Meter {
    pub(super) fn for_checking(nodes: usize, weight: Weight) -> Self {
        Self::new(BASE + PER_NODE * nodes as u64, weight, false)
    }

    pub(super) fn for_explaining(nodes: usize, weight: Weight) -> Self {
        Self::new(EXPLAIN_BASE + EXPLAIN_PER_NODE * nodes as u64, weight, true)
    }

    fn new(steps: u64, weight: Weight, explains: bool) -> Self {
        Self { left: Cell::new(steps), weight, explains, marks: Default::default() }
    }

    /// Where a lookup in the object whose node is at `object` had best begin, if one has been there.
    pub(super) fn mark(&self, object: usize) -> Option<usize> {
        let mark = self.place(object).get();
        (mark.object == object).then_some(mark.next)
    }

    /// The next lookup in this object had best begin at this index among its nodes.
    pub(super) fn set_mark(&self, object: usize, next: usize) {
        self.place(object).set(Mark { object, next });
    }

    fn place(&self, object: usize) -> &Cell<Mark> {
        &self.marks[object / size_of::<simd_json::Node<'_>>() % MARKS]
    }

    /// Takes the price of reading a string, which a pattern may do.
    pub(super) fn take_string(&self, length: usize) -> bool {
        self.take(1 + length / 64 + length.saturating_mul(self.weight.string))
    }

    /// Takes the price of a member's name, which patterns may look at.
    pub(super) fn take_name(&self, length: usize) -> bool {
        self.take(1 + length.saturating_mul(self.weight.name))
    }

    /// Takes the price of an error; whether what it is about was looked at.
    pub(super) fn take_error(&self) -> bool {
        let believed = !self.is_spent();
        self.take(ERROR);
        believed
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
