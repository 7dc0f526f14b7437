//! Whether every value of one shape fits another: a proof, or nothing.
//!
//! `Prover::subset` says yes only when it is so. Circles are closed by assuming what is being proved, once a member or an
//! element has been entered since: then a counterexample would have a smaller one in it.

mod array;
mod object;
mod scalar;

use std::collections::{BTreeSet, HashMap, HashSet};

use super::holds::holds;
use super::patterns::Patterns;
use super::shape::{Id, Shape, Shapes, Types};
use super::view::{Conj, View};

/// Questions that one proof may ask.
const MAX_STEPS: usize = 60_000;
/// Questions within each other.
const MAX_DEPTH: usize = 200;
/// Cases within cases.
const MAX_SPLITS: usize = 6;
/// Values that make cases.
pub(super) const MAX_CASES: usize = 64;
/// Values that are tried one by one.
const MAX_VALUES: usize = 1000;

/// Looks for proofs.
pub(super) struct Prover<'a> {
    pub(super) shapes: &'a mut Shapes,
    pub(super) patterns: &'a Patterns,
    /// Members that were taken as not being sent by writers that do not declare them.
    pub(super) assumed: BTreeSet<String>,
    /// Texts that fit one pattern and not another, found on the way.
    pub(super) witnesses: BTreeSet<String>,
    steps: usize,
    depth: usize,
    splits: usize,
    /// What is being proved, with how deep in the value that was asked.
    open: HashMap<(Vec<Id>, Id), usize>,
    /// What came of earlier questions.
    known: HashMap<(Vec<Id>, Id), bool>,
    /// Shapes that are written alike, or not.
    same: HashMap<(Id, Id), bool>,
    /// How often something open was leaned on.
    leaned: usize,
    /// What is being emptied.
    emptying: HashSet<Vec<Id>>,
    /// The shapes made for one kind, and for what is not.
    kinds: Vec<(Types, Id)>,
    negations: HashMap<Id, Id>,
    /// How deep in the value the question is.
    level: usize,
    /// Where it went wrong first.
    stuck: Option<String>,
    place: Vec<String>,
}

impl<'a> Prover<'a> {
    pub(super) fn new(shapes: &'a mut Shapes, patterns: &'a Patterns) -> Self {
        Self {
            shapes,
            patterns,
            assumed: BTreeSet::new(),
            witnesses: BTreeSet::new(),
            steps: 0,
            depth: 0,
            splits: 0,
            open: HashMap::new(),
            known: HashMap::new(),
            same: HashMap::new(),
            leaned: 0,
            emptying: HashSet::new(),
            kinds: Vec::new(),
            negations: HashMap::new(),
            level: 0,
            stuck: None,
            place: Vec::new(),
        }
    }

    /// Where in the data no proof was found.
    pub(super) fn stuck(&self) -> String {
        self.stuck.clone().unwrap_or_default()
    }

    /// Whether every value of which all of `narrow` hold fits `wide`.
    pub(super) fn subset(&mut self, narrow: &Conj, wide: Id) -> bool {
        if self.shapes.get(wide) == &Shape::default() || narrow.contains(&wide) {
            return true;
        }
        if narrow.iter().any(|id| self.shapes.same(*id, wide, &mut self.same)) {
            return true;
        }
        self.steps += 1;
        if self.steps > MAX_STEPS || self.depth > MAX_DEPTH {
            return false;
        }
        let question = (narrow.iter().copied().collect::<Vec<Id>>(), wide);
        if let Some(level) = self.open.get(&question) {
            self.leaned += 1;
            return *level < self.level;
        }
        if let Some(known) = self.known.get(&question) {
            return *known;
        }
        let leaned = self.leaned;
        self.open.insert(question.clone(), self.level);
        self.depth += 1;
        let proved = self.prove(narrow, wide);
        self.depth -= 1;
        self.open.remove(&question);
        // A yes that leans on what is still being proved is good only here; a no only loses a proof.
        if !proved || self.leaned == leaned {
            self.known.insert(question, proved);
        }
        if !proved && self.stuck.is_none() {
            self.stuck = Some(self.place.iter().map(|part| format!("/{part}")).collect());
        }
        proved
    }

    /// The same one level further in the value.
    pub(super) fn subset_in(&mut self, part: &str, narrow: &Conj, wide: Id) -> bool {
        self.level += 1;
        self.place.push(part.replace('~', "~0").replace('/', "~1"));
        let proved = self.subset(narrow, wide);
        self.place.pop();
        self.level -= 1;
        proved
    }

    fn prove(&mut self, narrow: &Conj, wide: Id) -> bool {
        let view = View::of(narrow, self.shapes);
        if view.types == Types::NONE || view.ids.contains(&wide) || self.is_empty_view(&view) {
            return true;
        }
        if let Some(values) = view.values.as_ref().filter(|values| values.len() <= MAX_VALUES) {
            let known: Vec<Option<bool>> = values.iter().map(|value| self.value(value, &view, wide)).collect();
            if known.iter().all(|holds| *holds == Some(true)) {
                return true;
            }
        }
        if self.directly(&view, wide) {
            return true;
        }
        self.by_cases(&view, wide)
    }

    /// Whether the value fits `wide`, or not all of the view.
    fn value(&self, value: &serde_json::Value, view: &View, wide: Id) -> Option<bool> {
        let out = view.ids.iter().any(|id| holds(value, *id, self.shapes, self.patterns) == Some(false));
        if out { Some(true) } else { holds(value, wide, self.shapes, self.patterns) }
    }

    /// Each demand of `wide` by itself.
    fn directly(&mut self, view: &View, wide: Id) -> bool {
        let shape = self.shapes.get(wide).clone();
        shape.opaque.is_empty()
            && !shape.never
            && shape.types.holds(view.types)
            && shape.values.is_none()
            && self.numbers(view, &shape)
            && self.strings(view, &shape)
            && shape.array.as_ref().is_none_or(|array| !view.types.has(Types::ARRAY) || self.arrays(view, array))
            && shape.object.as_ref().is_none_or(|object| !view.types.has(Types::OBJECT) || self.objects(view, object))
            && self.combined(view, &shape)
    }

    fn combined(&mut self, view: &View, shape: &Shape) -> bool {
        let ids = view.ids.clone();
        shape.all.iter().all(|id| self.subset(&ids, *id))
            && shape.any.iter().all(|group| group.iter().any(|id| self.subset(&ids, *id)))
            && shape.one.iter().all(|group| self.exactly_one(&ids, group))
            && shape.not.iter().all(|id| self.is_empty(&with(&ids, [*id])))
            && shape.cond.iter().all(|(condition, then, other)| self.conditional(&ids, *condition, *then, *other))
    }

    fn exactly_one(&mut self, ids: &Conj, group: &[Id]) -> bool {
        group.iter().enumerate().any(|(n, id)| {
            self.subset(ids, *id) && group.iter().enumerate().all(|(m, other)| m == n || self.is_empty(&with(ids, [*other])))
        })
    }

    fn conditional(&mut self, ids: &Conj, condition: Id, then: Option<Id>, other: Option<Id>) -> bool {
        let when = with(ids, [condition]);
        let holds = then.is_none_or(|then| self.subset(&when, then));
        holds && other.is_none_or(|other| self.subset(ids, other) || self.subset(ids, condition))
    }

    /// One case after the other, by the alternatives of the narrow side or by the kind of value.
    fn by_cases(&mut self, view: &View, wide: Id) -> bool {
        if self.splits >= MAX_SPLITS {
            return false;
        }
        self.splits += 1;
        let proved = self.cases(view).is_some_and(|cases| cases.iter().all(|case| self.subset(case, wide)));
        self.splits -= 1;
        proved
    }

    fn cases(&mut self, view: &View) -> Option<Vec<Conj>> {
        let ids = &view.ids;
        let split = |group: &Vec<Id>| -> Option<Vec<Conj>> {
            group.iter().all(|id| !ids.contains(id)).then(|| group.iter().map(|id| with(ids, [*id])).collect())
        };
        if let Some(cases) = view.any.iter().chain(&view.one).find_map(split) {
            return Some(cases);
        }
        let decided = |condition: &Id| ids.contains(condition) || self.negations.get(condition).is_some_and(|no| ids.contains(no));
        let branch = view.cond.iter().find(|(condition, ..)| !decided(condition));
        if let Some((condition, then, other)) = branch {
            let no = self.negation(*condition);
            return Some(vec![
                with(ids, [Some(*condition), *then].into_iter().flatten()),
                with(ids, [Some(no), *other].into_iter().flatten()),
            ]);
        }
        let kinds: Vec<Types> = view.types.each().collect();
        if kinds.len() > 1 {
            return Some(kinds.into_iter().map(|types| with(ids, [self.kind(types)])).collect());
        }
        self.by_member(view).or_else(|| self.by_value(view))
    }

    /// By the values of a view that lists them.
    fn by_value(&mut self, view: &View) -> Option<Vec<Conj>> {
        let values = view.values.clone().filter(|values| values.len() > 1 && values.len() <= MAX_CASES)?;
        Some(values.into_iter().map(|value| with(&view.ids, [self.shapes.add(Shape::one_of(vec![value]))])).collect())
    }

    fn negation(&mut self, id: Id) -> Id {
        let shapes = &mut *self.shapes;
        *self.negations.entry(id).or_insert_with(|| shapes.add(Shape { not: vec![id], ..Shape::default() }))
    }

    fn kind(&mut self, types: Types) -> Id {
        if let Some((_, id)) = self.kinds.iter().find(|(known, _)| *known == types) {
            return *id;
        }
        let id = self.shapes.add(Shape { types, ..Shape::default() });
        self.kinds.push((types, id));
        id
    }

    /// Whether no value at all has all of these hold; no is no proof of the contrary.
    pub(super) fn is_empty(&mut self, conj: &Conj) -> bool {
        self.steps += 1;
        if self.steps > MAX_STEPS || self.depth > MAX_DEPTH {
            return false;
        }
        let question: Vec<Id> = conj.iter().copied().collect();
        if !self.emptying.insert(question.clone()) {
            return false;
        }
        let view = View::of(conj, self.shapes);
        self.depth += 1;
        let empty = self.is_empty_view(&view);
        self.depth -= 1;
        self.emptying.remove(&question);
        empty
    }

    fn is_empty_view(&mut self, view: &View) -> bool {
        if let Some(values) = view.values.as_ref().filter(|values| values.len() <= MAX_VALUES) {
            let out = |value| view.ids.iter().any(|id| holds(value, *id, self.shapes, self.patterns) == Some(false));
            return values.iter().all(out);
        }
        let mut types = view.types;
        if types.has(Types::OBJECT) && self.no_object(view) {
            types = types.without(Types::OBJECT);
        }
        if types.has(Types::ARRAY) && self.no_array(view) {
            types = types.without(Types::ARRAY);
        }
        if types == Types::NONE {
            return true;
        }
        if view.not.iter().any(|id| self.subset(&view.ids, *id)) {
            return true;
        }
        if view.cond.iter().any(|condition| self.no_branch(view, *condition)) {
            return true;
        }
        let groups: Vec<Vec<Id>> = view.any.iter().chain(&view.one).cloned().collect();
        groups
            .iter()
            .any(|group| group.iter().all(|id| !view.ids.contains(id)) && group.iter().all(|id| self.is_empty(&with(&view.ids, [*id]))))
    }
}

impl Prover<'_> {
    /// Whether nothing fits either branch of a condition.
    fn no_branch(&mut self, view: &View, (condition, then, other): (Id, Option<Id>, Option<Id>)) -> bool {
        let no = self.negation(condition);
        if view.ids.contains(&condition) || view.ids.contains(&no) {
            return false;
        }
        self.is_empty(&with(&view.ids, [Some(condition), then].into_iter().flatten()))
            && self.is_empty(&with(&view.ids, [Some(no), other].into_iter().flatten()))
    }
}

/// The shapes and some more.
fn with(conj: &Conj, more: impl IntoIterator<Item = Id>) -> Conj {
    let mut all = conj.clone();
    all.extend(more);
    all
}
