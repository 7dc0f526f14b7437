//! What a reader wants at least, so that a log may pass over stretches that have nothing for it.

use posthorn_domain::filter::{Atom, Literal, Place, Test};

/// Attributes that logs keep a summary of beside `type`.
pub const SUMMED_UP: [&str; 3] = ["subject", "source", "partitionkey"];

/// Conditions that all must hold of every event that is wanted. Empty: nothing can be passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    conditions: Box<[Condition]>,
}

/// A condition on the text of one attribute, which must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// `type` or one of [`SUMMED_UP`].
    pub attribute: Box<str>,
    /// What holds of it.
    pub text: Text,
}

/// A test of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// It is one of these.
    OneOf(Box<[Box<str>]>),
    /// It starts so.
    Prefix(Box<str>),
    /// It ends so.
    Suffix(Box<str>),
}

impl Wanted {
    /// What can be said in these terms of `atoms`, all of which are necessary.
    pub fn of(atoms: &[Atom]) -> Self {
        Self { conditions: atoms.iter().filter_map(Condition::of).collect() }
    }

    /// The conditions.
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }
}

impl Condition {
    fn of(atom: &Atom) -> Option<Self> {
        let Place::Attribute(name) = &atom.place else { return None };
        if &**name != "type" && !SUMMED_UP.contains(&&**name) {
            return None;
        }
        let plain = |literal: &Literal| match literal {
            Literal::Text(text) => Some(text.clone()),
            _ => None,
        };
        let text = match &atom.test {
            Test::Equals(literal) => Text::OneOf([plain(literal)?].into()),
            Test::OneOf(literals) => Text::OneOf(literals.iter().map(plain).collect::<Option<_>>()?),
            Test::Prefix(start) => Text::Prefix(start.clone()),
            Test::Suffix(end) => Text::Suffix(end.clone()),
            Test::Range(..) | Test::Exists => return None,
        };
        Some(Self { attribute: name.clone(), text })
    }
}

impl Text {
    /// Whether it holds of `value`.
    pub fn holds(&self, value: &str) -> bool {
        match self {
            Self::OneOf(texts) => texts.iter().any(|text| **text == *value),
            Self::Prefix(start) => value.starts_with(&**start),
            Self::Suffix(end) => value.ends_with(&**end),
        }
    }
}
