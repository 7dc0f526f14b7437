//! Several shapes that hold of one value at once, seen as one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::patterns::Patterns;
use super::read::tighter;
use super::shape::{Array, Bound, Id, Number, Object, Range, Shapes, Types, equal};

/// Shapes that all hold of one value.
pub(super) type Conj = BTreeSet<Id>;

/// What they say together, `all` followed; alternatives are left as groups.
#[derive(Debug)]
pub(super) struct View {
    /// Every shape that certainly holds.
    pub(super) ids: Conj,
    pub(super) types: Types,
    pub(super) values: Option<Vec<Value>>,
    pub(super) min: Option<Bound>,
    pub(super) max: Option<Bound>,
    pub(super) multiples: Vec<f64>,
    pub(super) length: Range,
    pub(super) patterns: BTreeSet<String>,
    pub(super) formats: BTreeSet<String>,
    pub(super) arrays: Vec<Arc<Array>>,
    pub(super) items: Range,
    pub(super) unique: bool,
    pub(super) objects: Vec<Arc<Object>>,
    pub(super) members: Range,
    pub(super) required: BTreeSet<String>,
    pub(super) any: Vec<Vec<Id>>,
    pub(super) one: Vec<Vec<Id>>,
    pub(super) not: Vec<Id>,
    pub(super) cond: Vec<(Id, Option<Id>, Option<Id>)>,
    pub(super) opaque: bool,
}

/// What is said of one member or element.
pub(super) struct Part {
    pub(super) conj: Conj,
    /// Whether anything is said of it at all.
    pub(super) declared: bool,
}

impl View {
    pub(super) fn of(conj: &Conj, shapes: &Shapes) -> Self {
        let mut view = Self::anything();
        let mut pending: Vec<Id> = conj.iter().copied().collect();
        while let Some(id) = pending.pop() {
            if view.ids.insert(id) {
                view.add(id, shapes);
                pending.extend(&shapes.get(id).all);
            }
        }
        view.settle();
        view
    }

    fn anything() -> Self {
        Self {
            ids: Conj::new(),
            types: Types::ALL,
            values: None,
            min: None,
            max: None,
            multiples: Vec::new(),
            length: Range::default(),
            patterns: BTreeSet::new(),
            formats: BTreeSet::new(),
            arrays: Vec::new(),
            items: Range::default(),
            unique: false,
            objects: Vec::new(),
            members: Range::default(),
            required: BTreeSet::new(),
            any: Vec::new(),
            one: Vec::new(),
            not: Vec::new(),
            cond: Vec::new(),
            opaque: false,
        }
    }

    fn add(&mut self, id: Id, shapes: &Shapes) {
        let shape = shapes.get(id);
        self.types = if shape.never { Types::NONE } else { self.types.and(shape.types) };
        if let Some(values) = &shape.values {
            let kept = |value: &Value| self.values.as_ref().is_none_or(|known| known.iter().any(|one| equal(one, value)));
            self.values = Some(values.iter().filter(|value| kept(value)).cloned().collect());
        }
        self.min = tighter(self.min, shape.min, |a, b| a > b);
        self.max = tighter(self.max, shape.max, |a, b| a < b);
        self.multiples.extend(&shape.multiples);
        self.length = self.length.and(shape.length);
        self.patterns.extend(shape.patterns.iter().cloned());
        self.formats.extend(shape.formats.iter().cloned());
        if let Some(array) = &shape.array {
            self.items = self.items.and(array.size);
            self.unique |= array.unique;
            self.arrays.push(array.clone());
        }
        if let Some(object) = &shape.object {
            self.members = self.members.and(object.size);
            self.required.extend(object.required.iter().cloned());
            self.objects.push(object.clone());
        }
        self.any.extend(shape.any.iter().cloned());
        self.one.extend(shape.one.iter().cloned());
        self.not.extend(&shape.not);
        self.cond.extend(&shape.cond);
        self.opaque |= !shape.opaque.is_empty();
    }

    /// Draws the conclusions that need no look at other shapes.
    fn settle(&mut self) {
        if self.multiples.iter().any(|multiple| multiple.fract() == 0.0) {
            self.types = self.types.without(Types::FRACTION);
        }
        if !self.types.has(Types::FRACTION) {
            self.min = self.min.map(|bound| whole(bound, 1));
            self.max = self.max.map(|bound| whole(bound, -1));
        }
        let crossed = matches!((self.min, self.max), (Some(min), Some(max))
            if min.at > max.at || (min.at == max.at && (min.open || max.open)));
        if crossed {
            self.types = self.types.without(Types::NUMBER);
        }
        if matches!((self.min, self.max), (Some(min), Some(max)) if min.at == max.at && min.at.is_integer()) {
            self.types = self.types.without(Types::FRACTION);
        }
        if self.length.is_empty() {
            self.types = self.types.without(Types::STRING);
        }
        if self.items.is_empty() {
            self.types = self.types.without(Types::ARRAY);
        }
        // What a required member brings along is required too.
        while let Some(more) = self.needed() {
            self.required.extend(more);
        }
        self.members.min = self.members.min.max(self.required.len() as u64);
        if self.members.is_empty() {
            self.types = self.types.without(Types::OBJECT);
        }
        if self.values.is_none() {
            self.values = self.few();
        }
        if let Some(values) = &mut self.values {
            let types = self.types;
            values.retain(|value| types.has(Types::of(value)));
            self.types = values.iter().fold(Types::NONE, |types, value| types.or(Types::of(value)));
        }
    }

    /// The values, where there are so few that they can be told.
    fn few(&self) -> Option<Vec<Value>> {
        const MOST: i128 = 64;
        if self.types == Types::INT
            && let (Some(Bound { at: Number::Int(min), .. }), Some(Bound { at: Number::Int(max), .. })) = (self.min, self.max)
            && max - min < MOST
        {
            return Some((min..=max).filter_map(|int| i64::try_from(int).ok().map(Value::from)).collect());
        }
        let few = Types::NULL.or(Types::BOOL).holds(self.types) && self.types != Types::NONE;
        few.then(|| [Value::Null, true.into(), false.into()].into_iter().filter(|value| self.types.has(Types::of(value))).collect())
    }

    fn needed(&self) -> Option<BTreeSet<String>> {
        let brought = |object: &Arc<Object>| {
            object.needs.iter().filter(|(name, _)| self.required.contains(*name)).flat_map(|(_, needed)| needed.clone()).collect::<Vec<_>>()
        };
        let more: BTreeSet<String> = self.objects.iter().flat_map(brought).filter(|name| !self.required.contains(name)).collect();
        (!more.is_empty()).then_some(more)
    }

    /// What is said of the member with this name. Its name itself is not looked at.
    pub(super) fn member(&self, name: &str, patterns: &Patterns) -> Part {
        let mut part = Part { conj: Conj::new(), declared: false };
        for object in &self.objects {
            part.conj.extend(object.members.get(name));
            part.conj.extend(object.patterns.iter().filter(|(pattern, _)| patterns.fits(pattern, name)).map(|(_, id)| *id));
            let left = object
                .rest
                .iter()
                .filter(|rest| !rest.but.contains(name) && !rest.but_patterns.iter().any(|pattern| patterns.fits(pattern, name)));
            part.conj.extend(left.map(|rest| rest.shape));
        }
        part.declared = !part.conj.is_empty();
        part
    }

    /// What is said of the element at this place.
    pub(super) fn element(&self, index: usize) -> Conj {
        self.arrays.iter().filter_map(|array| array.prefix.get(index).copied().or(array.rest)).collect()
    }

    /// What is said of elements beyond every prefix.
    pub(super) fn further(&self) -> Conj {
        self.arrays.iter().filter_map(|array| array.rest).collect()
    }

    /// The longest prefix.
    pub(super) fn prefix(&self) -> usize {
        self.arrays.iter().map(|array| array.prefix.len()).max().unwrap_or(0)
    }

    /// The names of members that something is said of by name.
    pub(super) fn names(&self) -> BTreeSet<String> {
        let declared = self.objects.iter().flat_map(|object| object.members.keys().chain(object.needs.keys()));
        declared.chain(&self.required).cloned().collect()
    }

    /// What is said of members by pattern.
    pub(super) fn by_pattern(&self) -> BTreeMap<&str, Conj> {
        let mut by_pattern: BTreeMap<&str, Conj> = BTreeMap::new();
        for (pattern, id) in self.objects.iter().flat_map(|object| &object.patterns) {
            by_pattern.entry(pattern).or_default().insert(*id);
        }
        by_pattern
    }

    /// What is said at least of members that no name and no pattern declares.
    pub(super) fn others(&self) -> Conj {
        self.objects.iter().flat_map(|object| &object.rest).map(|rest| rest.shape).collect()
    }
}

/// The bound of an integer: closed, and an integer itself.
fn whole(bound: Bound, inward: i128) -> Bound {
    let Bound { at, open } = bound;
    let at = match at {
        Number::Int(int) if open => Number::Int(int + inward),
        Number::Int(_) => at,
        Number::Float(float) if float.abs() < 9e15 => {
            let whole = if inward > 0 { float.ceil() } else { float.floor() };
            Number::Int(whole as i128)
        }
        Number::Float(_) => return bound,
    };
    Bound { at, open: false }
}
