//! What one evaluation may cost. Programs have no endless loops, but macros over lists can be nested and texts can be
//! long; so every operation takes steps, and when they are used up evaluation ends with an error.

/// Steps of each evaluation; a step takes some nanoseconds.
const BASE: u64 = 100_000;
/// Further ones for each node of the data, so that one pass over it always fits.
const PER_NODE: u64 = 16;
/// Bytes that are copied or compared in one step.
const BYTES: usize = 64;

/// Steps left.
#[derive(Debug)]
pub(super) struct Steps(u64);

/// They are used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spent;

impl Steps {
    /// For an event whose data has so many nodes.
    pub(super) fn new(nodes: usize) -> Self {
        Self(BASE + PER_NODE * nodes as u64)
    }

    /// Takes steps.
    pub(super) fn take(&mut self, steps: usize) -> Result<(), Spent> {
        match self.0.checked_sub(steps as u64) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => {
                self.0 = 0;
                Err(Spent)
            }
        }
    }

    /// Takes the price of going once through a text.
    pub(super) fn take_bytes(&mut self, bytes: usize) -> Result<(), Spent> {
        self.take(1 + bytes / BYTES)
    }
}
