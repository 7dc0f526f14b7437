//! Filters: which events a subscription wants (interfaces §4, CloudEvents Subscriptions API §3.2.4).
//!
//! One AST for every dialect. `exact prefix suffix all any not` and `topic` are here; expression dialects (`sql`, `cel`,
//! `data`) are to become further variants of [`Filter`], parsed beside [`parse`] and evaluated by [`Filter::matches`].
//! The control plane admits exactly what this module parses, so a data plane can run whatever it is sent.

mod atom;
mod cel;
mod data;
mod evaluation;
mod explain;
pub mod expr;
#[doc(hidden)]
pub mod fuzz;
mod like;
mod limits;
mod necessary;
mod number;
mod parse;
mod pattern;
mod program;
mod regexp;
mod sql;
mod steps;
pub mod typecheck;
mod view;

use std::sync::Arc;

use compact_str::CompactString;

pub use atom::{Atom, Literal, Place, Test};
pub use evaluation::{Evaluation, Fault, FaultKind};
pub use explain::Because;
pub use limits::Refusal;
pub use number::Number;
pub use pattern::TopicPattern;
pub use program::{Dialect, Program};
pub use view::View;

use crate::event::{Attr, AttrKind};
use crate::operations::{RESERVED, is_reserved};

/// One assertion about an event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// The topic's name fits the pattern.
    Topic(TopicPattern),
    /// Every named attribute equals its text.
    Exact(Vec<Comparison>),
    /// Every named attribute starts with its text.
    Prefix(Vec<Comparison>),
    /// Every named attribute ends with its text.
    Suffix(Vec<Comparison>),
    /// All hold.
    All(Vec<Self>),
    /// At least one holds.
    Any(Vec<Self>),
    /// It does not hold.
    Not(Box<Self>),
    /// An expression is true: `sql`, `cel`, `data`.
    Expr(Arc<Program>),
}

/// An attribute and the text it is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Comparison {
    /// The attribute's name.
    pub attribute: CompactString,
    /// The text, compared with the attribute's canonical string, case-sensitively.
    pub text: CompactString,
}

impl Filter {
    /// Whether the event passes. A missing attribute fails its comparison; so does an error of an expression.
    pub fn matches(&self, view: &View<'_>) -> bool {
        let every = |comparisons: &[Comparison], holds: fn(&str, &str) -> bool| {
            comparisons.iter().all(|wanted| view.text(&wanted.attribute).is_some_and(|value| holds(value, &wanted.text)))
        };
        match self {
            Self::Topic(pattern) => pattern.matches(view.topic),
            Self::Exact(comparisons) => every(comparisons, |value, text| value == text),
            Self::Prefix(comparisons) => every(comparisons, |value, text| value.starts_with(text)),
            Self::Suffix(comparisons) => every(comparisons, |value, text| value.ends_with(text)),
            Self::All(filters) => filters.iter().all(|filter| filter.matches(view)),
            Self::Any(filters) => filters.iter().any(|filter| filter.matches(view)),
            Self::Not(filter) => !filter.matches(view),
            Self::Expr(program) => program.holds(view),
        }
    }

    /// Whether it may look at the data.
    pub fn reads_data(&self) -> bool {
        match self {
            Self::All(filters) | Self::Any(filters) => filters.iter().any(Self::reads_data),
            Self::Not(filter) => filter.reads_data(),
            Self::Expr(program) => program.reads_data(),
            Self::Topic(_) | Self::Exact(_) | Self::Prefix(_) | Self::Suffix(_) => false,
        }
    }

    /// The one topic without which this cannot hold, if there is such a one.
    pub fn only_topic(&self) -> Option<&str> {
        match self {
            Self::Topic(pattern) => pattern.as_exact(),
            Self::Exact(comparisons) => comparisons.iter().find(|wanted| wanted.attribute == "topic").map(|wanted| wanted.text.as_str()),
            Self::All(filters) => filters.iter().find_map(Self::only_topic),
            _ => None,
        }
    }

    /// Whether an event of this topic can pass at all, as far as topic assertions alone tell.
    pub fn admits_topic(&self, topic: &str) -> bool {
        match self {
            Self::Topic(pattern) => pattern.matches(topic),
            Self::Exact(comparisons) => comparisons.iter().all(|wanted| wanted.attribute != "topic" || wanted.text == topic),
            Self::All(filters) => filters.iter().all(|filter| filter.admits_topic(topic)),
            Self::Any(filters) => filters.iter().any(|filter| filter.admits_topic(topic)),
            Self::Prefix(_) | Self::Suffix(_) | Self::Not(_) | Self::Expr(_) => true,
        }
    }

    /// Whether it asks by name for topics of the server's own ([`crate::operations`]). `**` does not, nor does an expression: who
    /// wants everything wants what publishers send.
    pub fn names_reserved(&self) -> bool {
        match self {
            Self::Topic(pattern) => {
                let start = pattern.literal_start();
                is_reserved(start) || format!("{start}.") == RESERVED
            }
            Self::Exact(comparisons) | Self::Prefix(comparisons) => {
                comparisons.iter().any(|wanted| wanted.attribute == "topic" && is_reserved(&wanted.text))
            }
            Self::All(filters) | Self::Any(filters) => filters.iter().any(Self::names_reserved),
            Self::Suffix(_) | Self::Not(_) | Self::Expr(_) => false,
        }
    }
}

/// An attribute cast to an integer (CESQL §3.7).
fn integer_of(attr: Attr<'_>) -> Option<i64> {
    match attr.kind {
        AttrKind::Boolean => Some(i64::from(attr.value == "true")),
        AttrKind::Integer | AttrKind::String => integer(attr.value).map(i64::from),
    }
}

/// Base 10 of 32 bits with an optional sign.
fn integer(text: &str) -> Option<i32> {
    text.parse().ok()
}
