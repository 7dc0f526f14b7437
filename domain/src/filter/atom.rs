//! What a filter needs at least: conditions that an index can look up.

use std::ops::Bound;

use super::number::Number;
use super::view::View;
use crate::json::{Doc, Kind, Pointer};

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// An attribute of the event or its context, by its name.
    Attribute(Box<str>),
    /// A value in JSON data.
    Data(Pointer),
}

/// A scalar that a place is compared with; numbers on one line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Literal {
    /// JSON null.
    Null,
    /// True or false.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    Text(Box<str>),
}

/// A test of one place. Of an attribute, text is its canonical string, and a number is what CESQL casts it to
/// ([`Place::number`]).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Test {
    /// It is there and equals the literal.
    Equals(Literal),
    /// It is there and equals one of the literals.
    OneOf(Box<[Literal]>),
    /// It is a text that starts so.
    Prefix(Box<str>),
    /// It is a text that ends so.
    Suffix(Box<str>),
    /// It is a number within the bounds.
    Range(Bound<Number>, Bound<Number>),
    /// It is there, also as null.
    Exists,
}

/// A necessary condition of a filter: when the filter holds, so does this. Decided exactly by [`Atom::holds`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Atom {
    /// Where to look.
    pub place: Place,
    /// What must hold there.
    pub test: Test,
}

impl Place {
    /// The value in JSON data; none for attributes.
    pub fn doc<'a>(&self, view: &View<'a>) -> Option<Doc<'a>> {
        match self {
            Self::Attribute(_) => None,
            Self::Data(pointer) => view.data?.find(pointer),
        }
    }

    /// Whether there is a value.
    pub fn exists(&self, view: &View<'_>) -> bool {
        match self {
            Self::Attribute(name) => view.attribute(name).is_some(),
            Self::Data(_) => self.doc(view).is_some(),
        }
    }

    /// The text there: an attribute's canonical string, or a JSON string.
    pub fn text<'a>(&self, view: &View<'a>) -> Option<&'a str> {
        match self {
            Self::Attribute(name) => view.text(name),
            Self::Data(_) => self.doc(view)?.as_str(),
        }
    }

    /// The number there: what CESQL casts an attribute to (§3.7), or a JSON number.
    pub fn number(&self, view: &View<'_>) -> Option<Number> {
        match self {
            Self::Attribute(name) => super::integer_of(view.attribute(name)?).map(Number::from),
            Self::Data(_) => Number::of(self.doc(view)?),
        }
    }
}

impl Atom {
    /// Whether the condition holds.
    pub fn holds(&self, view: &View<'_>) -> bool {
        let place = &self.place;
        match &self.test {
            Test::Equals(literal) => literal.is_at(place, view),
            Test::OneOf(literals) => literals.iter().any(|literal| literal.is_at(place, view)),
            Test::Prefix(text) => place.text(view).is_some_and(|value| value.starts_with(&**text)),
            Test::Suffix(text) => place.text(view).is_some_and(|value| value.ends_with(&**text)),
            Test::Range(low, high) => place.number(view).is_some_and(|number| within(number, *low, *high)),
            Test::Exists => place.exists(view),
        }
    }
}

impl Literal {
    /// Whether this is the value at the place.
    pub fn is_at(&self, place: &Place, view: &View<'_>) -> bool {
        match self {
            Self::Null => place.doc(view).is_some_and(|doc| doc.kind() == Kind::Null),
            Self::Bool(value) => place.doc(view).and_then(Doc::as_bool) == Some(*value),
            Self::Number(number) => place.number(view) == Some(*number),
            Self::Text(text) => place.text(view) == Some(text),
        }
    }
}

fn within(number: Number, low: Bound<Number>, high: Bound<Number>) -> bool {
    std::ops::RangeBounds::contains(&(low, high), &number)
}
