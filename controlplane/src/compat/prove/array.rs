//! Arrays.

use super::super::shape::{Array, Id, Range};
use super::super::view::{Conj, View};
use super::Prover;

impl Prover<'_> {
    pub(super) fn arrays(&mut self, view: &View, array: &Array) -> bool {
        let items = self.sizes(view);
        array.size.holds(items)
            && (!array.unique || view.unique || items.max.is_some_and(|max| max <= 1))
            && self.elements(view, array, items)
            && array.contains.iter().all(|(id, range)| self.contained(view, *id, *range, items))
    }

    /// How many elements there may be: none where nothing fits.
    fn sizes(&mut self, view: &View) -> Range {
        let mut items = view.items;
        let prefix = view.prefix();
        for index in 0..=prefix {
            let part = if index < prefix { view.element(index) } else { view.further() };
            if self.is_empty(&part) {
                items.max = Some(items.max.unwrap_or(u64::MAX).min(index as u64));
                break;
            }
        }
        items
    }

    fn elements(&mut self, view: &View, array: &Array, items: Range) -> bool {
        let reached = |index: usize| items.max.is_none_or(|max| (index as u64) < max);
        let prefix = view.prefix().max(array.prefix.len());
        for index in (0..prefix).take_while(|index| reached(*index)) {
            let Some(wide) = array.prefix.get(index).copied().or(array.rest) else { continue };
            if !self.subset_in(&index.to_string(), &view.element(index), wide) {
                return false;
            }
        }
        match array.rest {
            Some(wide) if reached(prefix) => self.subset_in(&prefix.to_string(), &view.further(), wide),
            _ => true,
        }
    }

    fn contained(&mut self, view: &View, id: Id, range: Range, items: Range) -> bool {
        let known: Vec<(Id, Range)> = view.arrays.iter().flat_map(|array| array.contains.clone()).collect();
        let enough = range.min == 0
            || known.iter().any(|(own, of)| of.min >= range.min && self.subset(&Conj::from([*own]), id))
            || (items.min >= range.min && self.all_elements(view, id));
        let few = range.max.is_none_or(|max| {
            items.max.is_some_and(|most| most <= max)
                || known.iter().any(|(own, of)| of.max.is_some_and(|most| most <= max) && self.subset(&Conj::from([id]), *own))
        });
        enough && few
    }

    fn all_elements(&mut self, view: &View, id: Id) -> bool {
        let parts: Vec<Conj> = (0..view.prefix()).map(|index| view.element(index)).chain([view.further()]).collect();
        self.level += 1;
        let all = parts.iter().all(|part| self.subset(part, id));
        self.level -= 1;
        all
    }

    pub(super) fn no_array(&mut self, view: &View) -> bool {
        let wanted: Vec<Id> =
            view.arrays.iter().flat_map(|array| &array.contains).filter(|(_, range)| range.min > 0).map(|(id, _)| *id).collect();
        wanted.into_iter().any(|id| self.is_empty(&Conj::from([id]))) || (view.items.min > 0 && self.sizes(view).is_empty())
    }
}
