//! Bugs that are there only while the simulation is asked whether it finds them. The feature that brings this module is set by
//! `make sim-bugs` alone; a bug is switched on for one thread, which is a simulation's whole process.

use std::cell::Cell;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A batch is answered as if it were on the disk, without a sync.
    SkippedSync,
    /// A delivery counts as done when its request goes out.
    SettledBeforeSent,
    /// A lane goes on one offset too far after a restart.
    RestoredOneTooFar,
    /// A start cuts the last whole frame of a partition off, as if it were torn.
    CutOneFrameTooMany,
}

thread_local! {
    static NOW: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Switches this bug on, or all off, for this thread.
pub fn plant(bug: Option<Bug>) {
    NOW.set(bug);
}

/// Whether this one is on.
pub fn is(bug: Bug) -> bool {
    NOW.get() == Some(bug)
}
