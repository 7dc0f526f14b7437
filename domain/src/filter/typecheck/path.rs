//! Places in data as the type check walks to them: a pointer, and beyond it the elements that a macro visits.

use std::fmt;

use crate::json::{Pointer, escaped};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A member, or an element where the name is an index.
    Key(Box<str>, Option<usize>),
    /// Some element of an array.
    Element,
}

/// Steps from the root of the data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Path(pub(super) Vec<Step>);

impl Path {
    /// One step further.
    pub(super) fn then(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }
}

impl Step {
    pub(super) fn member(name: &str) -> Self {
        Self::Key(name.into(), None)
    }

    pub(super) fn index(index: usize) -> Self {
        Self::Key(index.to_string().into(), Some(index))
    }
}

impl From<&Pointer> for Path {
    fn from(pointer: &Pointer) -> Self {
        Self(pointer.tokens().map(|token| Step::Key(token.key().into(), token.index())).collect())
    }
}

impl fmt::Display for Path {
    /// As a JSON pointer, with `*` for any element.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|step| match step {
            Step::Key(name, _) => write!(f, "/{}", escaped(name)),
            Step::Element => f.write_str("/*"),
        })
    }
}
