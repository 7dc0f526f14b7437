//! Objects.
//!
//! One thing is assumed here and nowhere else: a writer whose schema says nothing of a member does not send a member that
//! the reader's schema declares as something narrower. Without it no open object could ever get a new optional member. An
//! object that is closed is held to it: what the writer may send beside its own members must then be let through.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::super::holds::holds;
use super::super::patterns::{Within, within};
use super::super::shape::{Id, Object, Range, Rest, Shape, Types};
use super::super::view::{Conj, Part, View};
use super::{MAX_CASES, Prover, with};

/// Fits no text.
const NOTHING: &str = r"[^\s\S]";

impl Prover<'_> {
    pub(super) fn objects(&mut self, view: &View, object: &Object) -> bool {
        object.required.is_subset(&view.required)
            && self.named_members(view, object)
            && self.members_by_pattern(view, object)
            && object.rest.iter().all(|rest| self.other_members(view, rest))
            && (object.size == Range::default() || object.size.holds(self.sizes_of(view)))
            && object.names.iter().all(|id| self.names_fit(view, *id))
            && self.dependent(view, object)
    }

    fn named_members(&mut self, view: &View, object: &Object) -> bool {
        object.members.iter().all(|(name, wide)| {
            let part = view.member(name, self.patterns);
            !self.can_be(view, name, &part)
                || (part.declared && self.subset_in(name, &part.conj, *wide))
                || (!part.declared && self.is_assumed(view, name, *wide))
        })
    }

    /// Whether the member, of which the narrow side says nothing, may be taken as fitting.
    fn is_assumed(&mut self, view: &View, name: &str, wide: Id) -> bool {
        if self.shapes.get(wide) == &Shape::default() {
            return true;
        }
        // A member that must be there is sent, whatever is said of it; one that may not be there cannot be declared by that.
        if view.required.contains(name) || self.is_empty(&Conj::from([wide])) {
            return self.subset_in(name, &Conj::new(), wide);
        }
        self.assumed.insert(name.to_owned());
        true
    }

    fn members_by_pattern(&mut self, view: &View, object: &Object) -> bool {
        object.patterns.iter().all(|(pattern, wide)| {
            let names: Vec<String> = self.all_names(view).into_iter().filter(|name| self.patterns.fits(pattern, name)).collect();
            let named = names.iter().all(|name| self.member_fits(view, name, *wide));
            named && self.own_patterns(view, pattern, *wide) && self.others_by_pattern(view, pattern, *wide)
        })
    }

    fn own_patterns(&mut self, view: &View, pattern: &str, wide: Id) -> bool {
        let own = view.by_pattern().into_iter().map(|(own, conj)| (own.to_owned(), conj)).collect::<Vec<_>>();
        own.iter().all(|(own, conj)| (own != pattern && within(&[own, pattern], NOTHING) == Within::Yes) || self.subset_in("*", conj, wide))
    }

    fn others_by_pattern(&mut self, view: &View, pattern: &str, wide: Id) -> bool {
        let covered = view.by_pattern().into_keys().any(|own| own == pattern || within(&[pattern], own) == Within::Yes);
        covered || self.is_finite(view) || self.subset_in("*", &view.others(), wide)
    }

    fn other_members(&mut self, view: &View, rest: &Rest) -> bool {
        let left = |name: &String| !rest.but.contains(name) && !rest.but_patterns.iter().any(|pattern| self.patterns.fits(pattern, name));
        let names: Vec<String> = self.all_names(view).into_iter().filter(left).collect();
        if !names.iter().all(|name| self.member_fits(view, name, rest.shape)) {
            return false;
        }
        let own: Vec<(String, Conj)> = view.by_pattern().into_iter().map(|(own, conj)| (own.to_owned(), conj)).collect();
        let fits = own.iter().all(|(own, conj)| self.is_covered(&[own], rest) || self.subset_in("*", conj, rest.shape));
        if !fits {
            return false;
        }
        let names = self.name_patterns(view);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.is_finite(view) || (!names.is_empty() && self.is_covered(&names, rest)) || self.subset_in("*", &view.others(), rest.shape)
    }

    /// Whether names that fit all of these are none of what is left.
    fn is_covered(&self, names: &[&str], rest: &Rest) -> bool {
        rest.but_patterns.iter().any(|wide| names.contains(&wide.as_str()) || within(names, wide) == Within::Yes)
    }

    fn member_fits(&mut self, view: &View, name: &str, wide: Id) -> bool {
        let part = view.member(name, self.patterns);
        !self.can_be(view, name, &part) || self.subset_in(name, &part.conj, wide)
    }

    /// Whether a member of this name may be there.
    fn can_be(&mut self, view: &View, name: &str, part: &Part) -> bool {
        let text = Value::String(name.to_owned());
        let named =
            view.objects.iter().flat_map(|object| &object.names).all(|id| holds(&text, *id, self.shapes, self.patterns) != Some(false));
        named && !(part.declared && self.is_empty(&part.conj))
    }

    /// Names that something is said of, and those that are all there can be where the names are listed.
    fn all_names(&mut self, view: &View) -> BTreeSet<String> {
        let mut names = view.names();
        if let Some(values) = self.name_view(view).and_then(|view| view.values) {
            names.extend(values.iter().filter_map(Value::as_str).map(str::to_owned));
        }
        names
    }

    /// Whether there are no members beside those of [`Prover::all_names`] and of patterns.
    fn is_finite(&mut self, view: &View) -> bool {
        let listed = self.name_view(view).is_some_and(|view| view.values.is_some() || !view.types.has(Types::STRING));
        listed || self.is_empty(&view.others())
    }

    fn name_view(&self, view: &View) -> Option<View> {
        let names: Conj = view.objects.iter().flat_map(|object| object.names.clone()).collect();
        (!names.is_empty()).then(|| View::of(&names, self.shapes))
    }

    fn name_patterns(&self, view: &View) -> Vec<String> {
        self.name_view(view).map(|view| view.patterns.into_iter().collect()).unwrap_or_default()
    }

    fn sizes_of(&mut self, view: &View) -> Range {
        let mut members = view.members;
        if view.by_pattern().is_empty() && self.is_finite(view) {
            let names = self.all_names(view);
            let possible = names.iter().filter(|name| self.can_be(view, name, &view.member(name, self.patterns))).count() as u64;
            members.max = Some(members.max.unwrap_or(u64::MAX).min(possible));
        }
        members
    }

    fn names_fit(&mut self, view: &View, wide: Id) -> bool {
        let listed = self.all_names(view).into_iter().all(|name| {
            let part = view.member(&name, self.patterns);
            !self.can_be(view, &name, &part) || holds(&Value::String(name), wide, self.shapes, self.patterns) == Some(true)
        });
        if !listed {
            return false;
        }
        let names: Conj = view.objects.iter().flat_map(|object| object.names.clone()).collect();
        let text = self.kind(Types::STRING);
        let names = with(&names, [text]);
        let own: Vec<String> = view.by_pattern().into_keys().map(str::to_owned).collect();
        let by_pattern = own.into_iter().all(|pattern| {
            let shape = self.shapes.add(Shape { types: Types::STRING, patterns: vec![pattern], ..Shape::default() });
            self.subset_in("*", &with(&names, [shape]), wide)
        });
        by_pattern && (self.is_finite(view) || self.subset_in("*", &names, wide))
    }

    fn dependent(&mut self, view: &View, object: &Object) -> bool {
        let needs = object.needs.iter().all(|(name, needed)| {
            let brought = view.objects.iter().filter_map(|own| own.needs.get(name)).flatten();
            let there: BTreeSet<&String> = view.required.iter().chain(brought).collect();
            needed.iter().all(|one| there.contains(one) || one == name) || self.is_absent(view, name)
        });
        needs
            && object.with.iter().all(|(name, wide)| {
                let there = Object { required: BTreeSet::from([name.clone()]), ..Object::default() };
                let there = self.shapes.add(Shape { object: Some(Arc::new(there)), ..Shape::default() });
                self.is_absent(view, name) || self.subset(&with(&view.ids, [there]), *wide)
            })
    }

    /// Whether the member cannot be there, or is not sent because nothing is said of it.
    fn is_absent(&mut self, view: &View, name: &str) -> bool {
        let part = view.member(name, self.patterns);
        if !self.can_be(view, name, &part) {
            return true;
        }
        let unsaid = !part.declared && !view.required.contains(name);
        if unsaid {
            self.assumed.insert(name.to_owned());
        }
        unsaid
    }

    pub(super) fn no_object(&mut self, view: &View) -> bool {
        view.required.iter().any(|name| {
            let part = view.member(name, self.patterns);
            !self.can_be(view, name, &part)
        })
    }

    /// By the values of a required member that lists them, as where a member tells the kinds of object apart.
    pub(super) fn by_member(&mut self, view: &View) -> Option<Vec<Conj>> {
        if view.types != Types::OBJECT {
            return None;
        }
        let (name, values) = view.required.iter().find_map(|name| {
            let values = View::of(&view.member(name, self.patterns).conj, self.shapes).values?;
            (values.len() > 1 && values.len() <= MAX_CASES).then_some((name.clone(), values))
        })?;
        let mut case = |value: Value| {
            let member = self.shapes.add(Shape::one_of(vec![value]));
            let object = Object { members: [(name.clone(), member)].into(), ..Object::default() };
            with(&view.ids, [self.shapes.add(Shape { object: Some(Arc::new(object)), ..Shape::default() })])
        };
        Some(values.into_iter().map(&mut case).collect())
    }
}
