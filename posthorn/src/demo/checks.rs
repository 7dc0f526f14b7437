//! What must hold for the demonstration to have succeeded.

use std::fmt;

/// Expectations so far.
#[derive(Debug, Default)]
pub(super) struct Checks {
    pub(super) held: usize,
    pub(super) failed: Vec<String>,
}

impl Checks {
    /// `got` must be `wanted`.
    pub(super) fn equal<T: PartialEq + fmt::Debug>(&mut self, what: &str, got: T, wanted: T) {
        let holds = got == wanted;
        self.that(holds, || format!("{what}: {got:?}, but {wanted:?} was expected"));
    }

    /// `holds`, else what `why` says.
    pub(super) fn that(&mut self, holds: bool, why: impl FnOnce() -> String) {
        if holds {
            self.held += 1;
        } else {
            self.failed.push(why());
        }
    }
}
