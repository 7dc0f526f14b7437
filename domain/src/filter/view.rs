//! What a filter may see.

use crate::direction::Direction;
use crate::event::{Attr, AttrKind, Event};
use crate::json::Doc;

/// An event in its context. The context's values win over what the event said of itself.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The topic that the event is on; the attribute `topic`.
    pub topic: &'a str,
    /// Which way it goes; the attribute `direction`.
    pub direction: Direction,
    /// The event.
    pub event: &'a Event,
    /// Its JSON data, parsed; `None` when the data is not JSON or there is none.
    pub data: Option<Doc<'a>>,
}

impl<'a> View<'a> {
    /// An incoming event without JSON data.
    pub fn new(topic: &'a str, event: &'a Event) -> Self {
        Self { topic, direction: Direction::Incoming, event, data: None }
    }

    /// The attribute of this name, those of the context and `specversion` too.
    pub fn attribute(&self, name: &str) -> Option<Attr<'a>> {
        let context = |value| Some(Attr { name: "", kind: AttrKind::String, value });
        match name {
            "topic" => context(self.topic),
            "direction" => context(self.direction.as_str()),
            name => self.event.attr(name),
        }
    }

    /// The names of all attributes that the event has.
    pub fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let context = ["specversion", "topic", "direction"];
        let own = self.event.attrs().map(|attr| attr.name).filter(move |name| !context.contains(name));
        context.into_iter().chain(own)
    }

    /// The attribute's canonical string.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.attribute(name).map(|attr| attr.value)
    }
}
