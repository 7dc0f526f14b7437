//! Filters: which events a subscription wants (interfaces §4, CloudEvents Subscriptions API §3.2.4).
//!
//! One AST for every dialect. `exact prefix suffix all any not` and `topic` are here; expression dialects (`sql`, `cel`,
//! `data`) are to become further variants of [`Filter`], parsed beside [`parse`] and evaluated by [`Filter::matches`].
//! The control plane admits exactly what this module parses, so a data plane can run whatever it is sent.

mod parse;
mod pattern;

pub use pattern::TopicPattern;

use crate::event::Event;

/// One assertion about an event.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    All(Vec<Filter>),
    /// At least one holds.
    Any(Vec<Filter>),
    /// It does not hold.
    Not(Box<Filter>),
}

/// An attribute and the text it is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The attribute's name.
    pub attribute: String,
    /// The text, compared with the attribute's canonical string, case-sensitively.
    pub text: String,
}

impl Filter {
    /// Whether the event on this topic passes. A missing attribute fails its comparison; nothing here can fail otherwise.
    pub fn matches(&self, topic: &str, event: &Event) -> bool {
        let every = |comparisons: &[Comparison], holds: fn(&str, &str) -> bool| {
            comparisons.iter().all(|wanted| attribute(&wanted.attribute, topic, event).is_some_and(|value| holds(value, &wanted.text)))
        };
        match self {
            Self::Topic(pattern) => pattern.matches(topic),
            Self::Exact(comparisons) => every(comparisons, |value, text| value == text),
            Self::Prefix(comparisons) => every(comparisons, |value, text| value.starts_with(text)),
            Self::Suffix(comparisons) => every(comparisons, |value, text| value.ends_with(text)),
            Self::All(filters) => filters.iter().all(|filter| filter.matches(topic, event)),
            Self::Any(filters) => filters.iter().any(|filter| filter.matches(topic, event)),
            Self::Not(filter) => !filter.matches(topic, event),
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
            Self::Prefix(_) | Self::Suffix(_) | Self::Not(_) => true,
        }
    }
}

/// The attribute's canonical string; `topic` is the topic that the event is on, whatever the event said.
pub fn attribute<'a>(name: &str, topic: &'a str, event: &'a Event) -> Option<&'a str> {
    if name == "topic" { Some(topic) } else { event.get(name) }
}
