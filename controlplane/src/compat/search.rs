//! Looks for a value that one schema takes and another refuses. What it finds is checked with the compiled schemas, so
//! it is a proof; finding nothing is none.

use std::collections::BTreeSet;

use posthorn_domain::json::Parser;
use posthorn_domain::schema::CompiledSchema;
use serde_json::{Value, json};

use super::make::{Filled, Maker, beside, plain, sample_of};
use super::patterns::Patterns;
use super::shape::{Id, Range, Shapes};
use super::shrink::{at_mut, places, shrunk};
use super::view::{Conj, View};

/// Values that are made from the narrow schema.
const MADE: usize = 160;
/// Work for one search: values times the ways to them.
const MAX_WORK: u64 = 4_000_000;
/// Values that are put in place of others.
const MAX_POOL: usize = 160;
/// Places of one value at which something is put.
const MAX_PLACES: usize = 60;

/// Parts of an object or array that is made larger.
const MAX_SIZE: u64 = 80;
/// Names that few schemas think of.
const ODD_NAMES: [&str; 4] = [super::make::UNDECLARED, "", "A 1", "\u{e9}-Z"];

/// One direction of a comparison.
pub(super) struct Search<'a> {
    pub(super) shapes: &'a Shapes,
    pub(super) patterns: &'a Patterns,
    pub(super) narrow: (Id, &'a CompiledSchema),
    pub(super) wide: (Id, &'a CompiledSchema),
    /// Names that the wide schema declares anywhere.
    names: BTreeSet<String>,
    /// Names of members that are put into objects.
    to_add: BTreeSet<String>,
    /// Sizes to which objects and arrays are brought.
    sizes: BTreeSet<u64>,
    parser: Parser,
    work: u64,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        shapes: &'a Shapes,
        patterns: &'a Patterns,
        narrow: (Id, &'a CompiledSchema),
        wide: (Id, &'a CompiledSchema),
    ) -> Self {
        let mut names = BTreeSet::new();
        let mut seen = BTreeSet::new();
        collect_names(shapes, wide.0, &mut seen, &mut names);
        let to_add = names.iter().cloned().chain(ODD_NAMES.map(str::to_owned)).collect();
        let sizes = seen.iter().flat_map(|id| sizes(shapes, *id)).filter(|size| *size <= MAX_SIZE).collect();
        Self { shapes, patterns, narrow, wide, names, to_add, sizes, parser: Parser::new(), work: 0 }
    }

    /// A small value that the narrow schema takes and the wide one refuses; `hints` are texts to try, `stuck` is the pointer to
    /// where a proof failed.
    pub(super) fn run(&mut self, hints: &BTreeSet<String>, stuck: &str) -> Option<Value> {
        let pool = self.pool(hints);
        self.to_add.extend(hints.iter().take(32).cloned());
        let found = pool.iter().find(|value| self.refutes(value)).cloned().or_else(|| self.made(&pool, stuck))?;
        Some(shrunk(found, |value| self.refutes(value)))
    }

    fn made(&mut self, pool: &[Value], stuck: &str) -> Option<Value> {
        let mut maker = Maker::new(self.shapes, self.patterns);
        let narrow = Conj::from([self.narrow.0]);
        let mut bases: Vec<Value> = Vec::new();
        for n in 0..MADE {
            let filled = [Filled::Most, Filled::Least, Filled::Some, Filled::Some][n % 4];
            let Some(value) = maker.value(&narrow, filled) else { continue };
            if self.refutes(&value) {
                return Some(value);
            }
            if bases.len() < 24 && !bases.contains(&value) {
                bases.push(value);
            }
        }
        // First what was made as full as can be: it has the most places.
        bases.sort_by_key(|value| std::cmp::Reverse(places(value).len()));
        let there = |place: &[String]| is_at(place, stuck);
        let found = bases.iter().find_map(|base| self.changed(base, pool, there));
        found.or_else(|| bases.iter().find_map(|base| self.changed(base, pool, |_| true)))
    }

    /// The value with one thing changed at one of the places that are wanted.
    fn changed(&mut self, base: &Value, pool: &[Value], wanted: impl Fn(&[String]) -> bool) -> Option<Value> {
        if !self.accepts(self.narrow.1, base) {
            return None;
        }
        for place in places(base).into_iter().filter(|place| wanted(place)).take(MAX_PLACES) {
            for value in pool {
                let mut changed = base.clone();
                *at_mut(&mut changed, &place)? = value.clone();
                if self.refutes(&changed) {
                    return Some(changed);
                }
            }
            if let Some(found) = self.extended(base, &place, pool) {
                return Some(found);
            }
            if self.work > MAX_WORK {
                return None;
            }
        }
        None
    }

    /// The object or array at the place with one part more or less.
    fn extended(&mut self, base: &Value, place: &[String], pool: &[Value]) -> Option<Value> {
        let mut candidates = Vec::new();
        match base.pointer(&super::shrink::pointer(place))? {
            Value::Object(members) => {
                for name in self.to_add.iter().filter(|name| !members.contains_key(*name)) {
                    for value in pool.iter().take(16) {
                        candidates.push(edited(base, place, |object| {
                            object.as_object_mut()?.insert(name.clone(), value.clone());
                            Some(())
                        }));
                    }
                }
                candidates.extend(self.sizes.iter().map(|size| edited(base, place, |object| pad_object(object, *size))));
                for name in members.keys() {
                    candidates.push(edited(base, place, |object| object.as_object_mut()?.remove(name).map(drop)));
                }
            }
            Value::Array(items) => {
                for value in pool.iter().take(16).chain(items.first()) {
                    candidates.push(edited(base, place, |array| {
                        array.as_array_mut()?.push(value.clone());
                        Some(())
                    }));
                }
                candidates.extend(self.sizes.iter().map(|size| edited(base, place, |array| pad_array(array, *size))));
                candidates.push(edited(base, place, |array| array.as_array_mut()?.pop().map(drop)));
            }
            _ => {}
        }
        candidates.into_iter().flatten().find(|value| self.refutes(value))
    }

    /// Whether the narrow schema takes it and the wide one does not, and not only for a member that the narrow one says
    /// nothing of.
    pub(super) fn refutes(&mut self, value: &Value) -> bool {
        self.work < MAX_WORK
            && self.accepts(self.narrow.1, value)
            && !self.accepts(self.wide.1, value)
            && !self.relies(&Conj::from([self.narrow.0]), value, 0)
    }

    fn accepts(&mut self, schema: &CompiledSchema, value: &Value) -> bool {
        let text = value.to_string();
        self.work += schema.paths() * (1 + text.len() as u64 / 16);
        self.parser.parse(text.as_bytes(), |doc| schema.is_valid(doc)).unwrap_or(false)
    }

    /// Whether the value has a member that the narrow schema says nothing of where it is, and the wide one somewhere does.
    pub(super) fn relies(&self, conj: &Conj, value: &Value, depth: usize) -> bool {
        let view = open(conj, self.shapes);
        match value {
            Value::Object(members) => members.iter().any(|(name, member)| {
                let part = view.member(name, self.patterns);
                let named = part.declared || view.required.contains(name);
                if named { depth < 64 && self.relies(&part.conj, member, depth + 1) } else { self.names.contains(name) }
            }),
            Value::Array(items) => items.iter().enumerate().any(|(index, item)| {
                let conj = view.arrays.iter().filter_map(|array| array.prefix.get(index).copied().or(array.rest)).collect();
                depth < 64 && self.relies(&conj, item, depth + 1)
            }),
            _ => false,
        }
    }

    /// Values at the edges of both schemas, and some of every kind.
    fn pool(&mut self, hints: &BTreeSet<String>) -> Vec<Value> {
        let mut pool = vec![
            Value::Null,
            json!(true),
            json!(false),
            json!(0),
            json!(1),
            json!(-1),
            json!(0.5),
            json!(""),
            json!("a"),
            json!([]),
            json!({}),
            json!([0]),
            json!({"undeclared": 1}),
            json!(" "),
            json!(1e15),
            json!("é\n"),
        ];
        let mut seen = BTreeSet::new();
        let mut names = BTreeSet::new();
        for id in [self.wide.0, self.narrow.0] {
            collect_names(self.shapes, id, &mut seen, &mut names);
        }
        let hinted = hints.iter().map(|text| json!(text));
        let mut maker = Maker::new(self.shapes, self.patterns);
        let edges: Vec<Value> = seen.into_iter().flat_map(|id| edges(self.shapes, id, &mut maker)).collect();
        for value in hinted.chain(edges) {
            if pool.len() < MAX_POOL && !pool.contains(&value) {
                pool.push(value);
            }
        }
        for filled in [Filled::Least, Filled::Most] {
            pool.extend(maker.value(&Conj::from([self.wide.0]), filled));
        }
        pool
    }
}

/// Everything that may be said of a value, alternatives too.
fn open(conj: &Conj, shapes: &Shapes) -> View {
    let mut all = conj.clone();
    let mut pending: Vec<Id> = conj.iter().copied().collect();
    while let Some(id) = pending.pop() {
        let shape = shapes.get(id);
        let groups = shape.any.iter().chain(&shape.one).flatten().chain(&shape.all).chain(&shape.not).copied();
        let cond = shape.cond.iter().flat_map(|(condition, then, other)| [Some(*condition), *then, *other].into_iter().flatten());
        let with = shape.object.iter().flat_map(|object| object.with.iter().map(|(_, id)| *id));
        pending.extend(groups.chain(cond).chain(with).filter(|id| all.insert(*id)));
    }
    View::of(&all, shapes)
}

/// The names that are declared anywhere in the shape; `seen` gets all shapes in it.
fn collect_names(shapes: &Shapes, id: Id, seen: &mut BTreeSet<Id>, names: &mut BTreeSet<String>) {
    let mut pending = vec![id];
    while let Some(id) = pending.pop() {
        if !seen.insert(id) {
            continue;
        }
        let shape = shapes.get(id);
        pending.extend(shape.parts());
        if let Some(object) = &shape.object {
            names.extend(object.members.keys().chain(object.needs.keys()).chain(object.with.iter().map(|(name, _)| name)).cloned());
            names.extend(object.needs.values().flatten().cloned());
        }
    }
}

/// Values at the limits of one shape.
fn edges(shapes: &Shapes, id: Id, maker: &mut Maker<'_>) -> Vec<Value> {
    let shape = shapes.get(id);
    let mut values: Vec<Value> = shape.values.iter().flatten().take(24).cloned().collect();
    let bounds = [shape.min, shape.max].into_iter().flatten();
    values.extend(bounds.flat_map(|bound| beside(bound.at)));
    values.extend(shape.multiples.iter().map(|multiple| json!(multiple * 1.5)));
    values.extend(around(shape.length).map(|length| json!(plain(length))));
    values.extend(shape.formats.iter().map(|format| json!(sample_of(format))));
    values.extend(
        shape.patterns.iter().filter_map(|pattern| maker.fitting(std::slice::from_ref(pattern), Range::default())).map(Value::String),
    );
    if let Some(array) = &shape.array {
        values.extend(around(array.size).filter(|size| *size <= 80).map(|size| (0..size).map(Value::from).collect()));
        values.push(json!([1, 1]));
    }
    values
}

/// Sizes at the limits of one shape.
fn sizes(shapes: &Shapes, id: Id) -> Vec<u64> {
    let shape = shapes.get(id);
    let ranges = shape.array.iter().map(|array| array.size).chain(shape.object.iter().map(|object| object.size));
    let prefix = shape.array.iter().map(|array| array.prefix.len() as u64 + 1);
    ranges.flat_map(around).chain(prefix).collect()
}

fn pad_object(object: &mut Value, size: u64) -> Option<()> {
    let members = object.as_object_mut()?;
    for n in 0..size.saturating_sub(members.len() as u64) {
        let like = members.values().next_back().cloned().unwrap_or(json!(1));
        members.insert(format!("member{n}"), like);
    }
    Some(())
}

fn pad_array(array: &mut Value, size: u64) -> Option<()> {
    let items = array.as_array_mut()?;
    while (items.len() as u64) < size {
        items.push(items.last().cloned().unwrap_or(json!(1)));
    }
    Some(())
}

fn around(range: Range) -> impl Iterator<Item = u64> {
    let min = (range.min > 0).then(|| [range.min - 1, range.min]).into_iter().flatten();
    min.chain(range.max.filter(|max| *max < 70_000).map(|max| [max, max + 1]).into_iter().flatten())
}

/// Whether the place is the one of the pointer, in which `*` is any member and a number any element.
fn is_at(place: &[String], pointer: &str) -> bool {
    let wanted: Vec<&str> = pointer.split('/').skip(1).collect();
    let alike = |part: &String, wanted: &str| {
        wanted == "*" || *part == wanted.replace("~1", "/").replace("~0", "~") || (is_number(part) && is_number(wanted))
    };
    place.len() == wanted.len() && place.iter().zip(wanted).all(|(part, wanted)| alike(part, wanted))
}

fn is_number(part: &str) -> bool {
    part.bytes().all(|byte| byte.is_ascii_digit())
}

fn edited(base: &Value, place: &[String], edit: impl FnOnce(&mut Value) -> Option<()>) -> Option<Value> {
    let mut changed = base.clone();
    edit(at_mut(&mut changed, place)?)?;
    Some(changed)
}
