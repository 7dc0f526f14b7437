//! Numbers and texts.

use super::super::holds::is_multiple;
use super::super::patterns::{Within, of_length, within};
use super::super::shape::{Bound, Shape, Types};
use super::super::view::View;
use super::Prover;

impl Prover<'_> {
    pub(super) fn numbers(&self, view: &View, shape: &Shape) -> bool {
        if !view.types.has(Types::NUMBER) {
            return true;
        }
        let above = shape.min.is_none_or(|min| view.min.is_some_and(|own| inside(own, min, own.at > min.at)));
        let below = shape.max.is_none_or(|max| view.max.is_some_and(|own| inside(own, max, own.at < max.at)));
        let integer = !view.types.has(Types::FRACTION);
        let multiple = |of: f64| view.multiples.iter().any(|own| is_multiple(*own, of)) || (integer && is_multiple(1.0, of));
        above && below && shape.multiples.iter().all(|of| multiple(*of))
    }

    pub(super) fn strings(&mut self, view: &View, shape: &Shape) -> bool {
        if !view.types.has(Types::STRING) {
            return true;
        }
        let mut known: Vec<&str> = view.patterns.iter().map(String::as_str).collect();
        let length = of_length(view.length.min, view.length.max);
        known.extend(length.as_deref().filter(|_| view.length != Default::default()));
        let long_enough = shape.length.holds(view.length)
            || (!view.patterns.is_empty() && of_length(shape.length.min, shape.length.max).is_some_and(|wide| self.within(&known, &wide)));
        long_enough
            && shape.patterns.iter().all(|wide| view.patterns.contains(wide) || self.within(&known, wide))
            && shape.formats.iter().all(|format| view.formats.contains(format))
    }

    fn within(&mut self, narrow: &[&str], wide: &str) -> bool {
        match within(narrow, wide) {
            Within::Yes => true,
            Within::Not(text) => {
                self.witnesses.insert(text);
                false
            }
            Within::Unknown => false,
        }
    }
}

/// Whether what `own` lets through is inside `wide`; `further` says that it is the stricter by its place alone.
fn inside(own: Bound, wide: Bound, further: bool) -> bool {
    further || (own.at == wide.at && (own.open || !wide.open))
}
