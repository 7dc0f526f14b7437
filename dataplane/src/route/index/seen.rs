//! What an event has at the places that are asked for, found once.

use posthorn_domain::filter::{Number, Place, View};
use posthorn_domain::json::{Doc, Kind as Json};
use smallvec::SmallVec;

use super::hooks::{Kind, Spot, hash};

/// The event's values so far.
pub(super) struct Seen<'v> {
    pub(super) view: &'v View<'v>,
    /// By the spot's address: a place is one spot in one index.
    found: SmallVec<[(*const Spot, Found<'v>); 12]>,
}

#[derive(Clone, Copy)]
enum Found<'v> {
    Nothing,
    Attribute(&'v str),
    Data(Doc<'v>),
}

impl<'v> Seen<'v> {
    pub(super) fn new(view: &'v View<'v>) -> Self {
        Self { view, found: SmallVec::new() }
    }

    /// The hash of what is at the place, as values of this kind are filed.
    pub(super) fn hash(&mut self, spot: &Spot, kind: Kind) -> Option<u64> {
        match kind {
            Kind::Text => Some(hash(spot, kind, self.text(spot)?.as_bytes())),
            Kind::Number => Some(hash(spot, kind, self.number(spot)?)),
            Kind::Word => Some(hash(spot, kind, self.word(spot)?)),
            Kind::Prefix(length) => Some(hash(spot, kind, self.text(spot)?.as_bytes().get(..usize::from(length))?)),
            Kind::Suffix(length) => {
                let text = self.text(spot)?.as_bytes();
                Some(hash(spot, kind, &text[text.len().checked_sub(usize::from(length))?..]))
            }
            Kind::Exists => (!matches!(self.find(spot), Found::Nothing)).then(|| hash(spot, kind, ())),
            Kind::Low | Kind::High => None,
        }
    }

    /// The number at the place.
    pub(super) fn number(&mut self, spot: &Spot) -> Option<Number> {
        match self.find(spot) {
            Found::Nothing => None,
            Found::Attribute(_) => spot.place.number(self.view),
            Found::Data(doc) => Number::of(doc),
        }
    }

    fn text(&mut self, spot: &Spot) -> Option<&'v str> {
        match self.find(spot) {
            Found::Nothing => None,
            Found::Attribute(text) => Some(text),
            Found::Data(doc) => doc.as_str(),
        }
    }

    fn word(&mut self, spot: &Spot) -> Option<Option<bool>> {
        match self.find(spot) {
            Found::Data(doc) if doc.kind() == Json::Null => Some(None),
            Found::Data(doc) => doc.as_bool().map(Some),
            Found::Nothing | Found::Attribute(_) => None,
        }
    }

    fn find(&mut self, spot: &Spot) -> Found<'v> {
        let address: *const Spot = spot;
        if let Some((_, found)) = self.found.iter().find(|(known, _)| *known == address) {
            return *found;
        }
        let found = match &spot.place {
            Place::Attribute(name) => self.view.text(name).map_or(Found::Nothing, Found::Attribute),
            Place::Data(_) => spot.place.doc(self.view).map_or(Found::Nothing, Found::Data),
        };
        self.found.push((address, found));
        found
    }
}
