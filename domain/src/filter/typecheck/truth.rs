//! How an expression may come out on data that holds to a schema: walks the tree with sets of values in place of values.

use super::attribute::Known;
use super::compare::{self, Outcome, flipped, with_constant};
use super::path::{Path, Step};
use super::shape::Shape;
use super::values::{Kinds, Possible};
use super::why::{self, Why};
use crate::filter::Dialect;
use crate::filter::atom::Place;
use crate::filter::expr::{Compare, Constant, Expr, ExprKind, Function, Logic, Quantifier};

/// Judges expressions of one dialect against one schema version, or against none.
#[derive(Clone, Copy)]
pub(super) struct Judge<'a, 's> {
    pub(super) shape: Option<&'a Shape<'s>>,
    pub(super) topic: Option<&'a str>,
    pub(super) dialect: Dialect,
}

/// How a condition may come out, and why not true.
#[derive(Clone, Debug)]
pub(super) struct Truth {
    pub(super) outcome: Outcome,
    /// There when it cannot be true.
    pub(super) why: Option<Box<Why>>,
}

/// The places of the variables of the enclosing macros.
pub(super) type Variables<'v> = [Option<Path>];

enum Side<'e, 's> {
    Constant(&'e Constant),
    Attribute(&'e str),
    Place(Path, Possible<'s>),
    Unknown,
}

impl Truth {
    pub(super) const UNKNOWN: Self = Self { outcome: Outcome::UNKNOWN, why: None };

    /// The outcome, with the reason where it cannot be true.
    pub(super) fn of(outcome: Outcome, why: impl FnOnce() -> Why) -> Self {
        let why = (!outcome.yes).then(|| Box::new(why()));
        Self { outcome, why }
    }

    fn never(why: Why) -> Self {
        Self { outcome: Outcome::NEVER, why: Some(Box::new(why)) }
    }

    /// All must be true.
    pub(super) fn all(parts: impl Iterator<Item = Self>) -> Self {
        let mut all = Self { outcome: Outcome::fixed(true), why: None };
        for Self { outcome, why } in parts {
            all.outcome = Outcome {
                yes: all.outcome.yes && outcome.yes,
                no: all.outcome.no || outcome.no,
                error: all.outcome.error || outcome.error,
            };
            all.why = all.why.or(why);
        }
        all
    }

    /// One must be true.
    pub(super) fn any(parts: impl Iterator<Item = Self>) -> Self {
        let mut any = Self { outcome: Outcome::fixed(false), why: None };
        for Self { outcome, why } in parts {
            any.outcome = Outcome {
                yes: any.outcome.yes || outcome.yes,
                no: any.outcome.no || outcome.no,
                error: any.outcome.error || outcome.error,
            };
            any.why = any.why.or(why);
        }
        if any.outcome.yes {
            any.why = None;
        }
        any
    }
}

impl<'s> Judge<'_, 's> {
    /// How the whole expression may come out.
    pub(super) fn truth(&self, expr: &Expr) -> Truth {
        if !self.may_be_boolean(expr) {
            return Truth::never(Why::at(expr, "is not a condition: a filter passes only what makes it true"));
        }
        self.condition(expr, &[])
    }

    fn may_be_boolean(&self, expr: &Expr) -> bool {
        use Function::{SqlBool, SqlIsBool, SqlIsInt};
        match &expr.kind {
            ExprKind::Literal(constant) => matches!(constant, Constant::Bool(_)),
            ExprKind::Arithmetic(..) | ExprKind::Negate(_) | ExprKind::List(_) | ExprKind::Map(_) | ExprKind::Event => false,
            ExprKind::Call(function, _) if self.dialect == Dialect::Sql => matches!(function, SqlBool | SqlIsBool | SqlIsInt),
            ExprKind::Read(Place::Attribute(name)) => Known::of(name, self.topic) == Known::Nothing,
            _ => true,
        }
    }

    fn condition(&self, expr: &Expr, variables: &Variables<'_>) -> Truth {
        match &expr.kind {
            ExprKind::Literal(Constant::Bool(value)) => Truth::of(Outcome::fixed(*value), || Why::at(expr, "is never true")),
            ExprKind::Exists(Place::Attribute(name)) => {
                Truth::of(Known::of(name, self.topic).is_there(), || Why::at(expr, "is never true"))
            }
            ExprKind::Exists(Place::Data(pointer)) => self.exists(expr, &Path::from(pointer)),
            ExprKind::Field { of, name, test: true } => match self.place(of, variables) {
                Some(path) => self.exists(expr, &path.then(Step::member(name))),
                None => self.strict([&**of], variables),
            },
            ExprKind::Not(inner) => self.negated(expr, inner, variables),
            ExprKind::Logic(logic, parts) => self.logic(expr, *logic, parts, variables),
            ExprKind::Compare(op, a, b) => self.comparison(expr, *op, a, b, variables),
            ExprKind::OneOf(value, list) => self.one_of(expr, value, list, variables),
            ExprKind::In(value, list) => match &list.kind {
                ExprKind::List(items) => self.one_of(expr, value, items, variables),
                _ => self.contained(expr, value, list, variables),
            },
            ExprKind::Call(function, arguments) => self.call(expr, *function, arguments, variables),
            ExprKind::UnknownCall(name, _) => {
                Truth::never(Why::at(expr, format!("there is no function `{name}` that takes so many arguments")))
            }
            ExprKind::Matches(value, _) => self.textual(expr, value, None, variables),
            ExprKind::Like(value, _) | ExprKind::Negate(value) => self.strict([&**value], variables),
            ExprKind::Arithmetic(_, a, b) => self.strict([&**a, &**b], variables),
            ExprKind::Conditional(condition, then, otherwise) => {
                let condition = self.condition(condition, variables);
                let (then, otherwise) = (self.condition(then, variables), self.condition(otherwise, variables));
                let negated = Truth { outcome: condition.outcome.not(), why: condition.why.clone() };
                Truth::any([Truth::all([condition, then].into_iter()), Truth::all([negated, otherwise].into_iter())].into_iter())
            }
            ExprKind::Quantified { quantifier, variable, over, predicate } => {
                let Side::Place(path, possible) = self.side(over, variables) else {
                    let over = self.strict([&**over], variables);
                    let body = self.condition(predicate, &with(variables, *variable, None));
                    return if over.outcome.yes { some(*quantifier, body) } else { over };
                };
                if !possible.kinds.has(Kinds::ARRAY.or(Kinds::OBJECT)) {
                    return Truth::never(self.unfit(expr, &path, &possible, "it is used as a list"));
                }
                // Over a map the variable is a key, which is at no place.
                let element = (!possible.kinds.has(Kinds::OBJECT)).then(|| path.then(Step::Element));
                some(*quantifier, self.condition(predicate, &with(variables, *variable, element)))
            }
            ExprKind::Read(_) | ExprKind::Variable(_) | ExprKind::Field { .. } | ExprKind::Index(..) => self.flag(expr, variables),
            ExprKind::Literal(_) | ExprKind::Event | ExprKind::List(_) | ExprKind::Map(_) => Truth::UNKNOWN,
        }
    }

    fn negated(&self, expr: &Expr, inner: &Expr, variables: &Variables<'_>) -> Truth {
        let Truth { outcome, why } = self.condition(inner, variables);
        if !outcome.yes && !outcome.no {
            return Truth { outcome, why };
        }
        Truth::of(outcome.not(), || {
            let (path, detail) = match &inner.kind {
                ExprKind::Exists(Place::Data(pointer)) => (Some(Path::from(pointer)), "is always there"),
                ExprKind::Exists(Place::Attribute(_)) => (None, "denies what is in every event"),
                _ => (place(inner, variables), "denies what always holds"),
            };
            Why { path: path.map(|path| path.to_string()), ..Why::at(expr, detail) }
        })
    }

    fn logic(&self, expr: &Expr, logic: Logic, parts: &[Expr], variables: &Variables<'_>) -> Truth {
        let parts = parts.iter().map(|part| self.condition(part, variables));
        match logic {
            Logic::And => Truth::all(parts),
            Logic::Or => Truth::any(parts),
            Logic::Xor => {
                let either = parts.map(|part| part.outcome).reduce(|a, b| Outcome {
                    yes: (a.yes && b.no) || (a.no && b.yes),
                    no: (a.yes && b.yes) || (a.no && b.no),
                    error: a.error || b.error,
                });
                Truth::of(either.unwrap_or(Outcome::UNKNOWN), || Why::at(expr, "is never true"))
            }
        }
    }

    /// Whether something is there.
    fn exists(&self, expr: &Expr, path: &Path) -> Truth {
        let Some(shape) = self.shape else { return Truth::UNKNOWN };
        let possible = shape.at(&path.0);
        let outcome = Outcome { yes: possible.is_there(), no: possible.missing, error: true };
        Truth::of(outcome, || why::missing(expr, shape, path))
    }

    /// A value that must be true itself.
    fn flag(&self, expr: &Expr, variables: &Variables<'_>) -> Truth {
        let Side::Place(path, possible) = self.side(expr, variables) else { return self.strict([expr], variables) };
        let outcome = with_constant(Compare::Equal, &possible, &Constant::Bool(true));
        let false_too = with_constant(Compare::Equal, &possible, &Constant::Bool(false));
        let outcome = Outcome { no: false_too.yes, error: true, ..outcome };
        Truth::of(outcome, || self.unfit(expr, &path, &possible, "it is used as a condition"))
    }

    fn comparison(&self, expr: &Expr, op: Compare, a: &Expr, b: &Expr, variables: &Variables<'_>) -> Truth {
        match (self.side(a, variables), self.side(b, variables)) {
            (Side::Constant(a), Side::Constant(b)) => match compare::constants(op, a, b) {
                Some(value) => Truth::of(Outcome::fixed(value), || Why::at(expr, "is never true")),
                None => Truth::UNKNOWN,
            },
            (Side::Place(path, possible), Side::Constant(constant)) => self.against(expr, op, &path, &possible, constant),
            (Side::Constant(constant), Side::Place(path, possible)) => self.against(expr, flipped(op), &path, &possible, constant),
            (Side::Attribute(name), Side::Constant(constant)) => {
                let outcome = Known::of(name, self.topic).compare(op, constant, true, self.dialect);
                Truth::of(outcome, || why::attribute(expr, name, self.topic))
            }
            (Side::Constant(constant), Side::Attribute(name)) => {
                let outcome = Known::of(name, self.topic).compare(flipped(op), constant, false, self.dialect);
                Truth::of(outcome, || why::attribute(expr, name, self.topic))
            }
            (Side::Place(path, possible), Side::Place(_, other)) if possible.is_there() && other.is_there() => {
                let together = !possible.kinds.and(other.kinds).is_empty();
                let outcome = Outcome { yes: together || op == Compare::NotEqual, ..Outcome::UNKNOWN };
                Truth::of(outcome, || self.unfit(expr, &path, &possible, &format!("it is compared with {}", other.kinds)))
            }
            _ => self.strict([a, b], variables),
        }
    }

    fn against(&self, expr: &Expr, op: Compare, path: &Path, possible: &Possible<'s>, constant: &Constant) -> Truth {
        let outcome = with_constant(op, possible, constant);
        Truth::of(outcome, || {
            let kinds = compare::kinds(constant);
            let compared =
                if possible.kinds.has(kinds) { "the comparison excludes that".into() } else { format!("it is compared with {kinds}") };
            self.unfit(expr, path, possible, &compared)
        })
    }

    fn one_of(&self, expr: &Expr, value: &Expr, list: &[Expr], variables: &Variables<'_>) -> Truth {
        let truth = Truth::any(list.iter().map(|item| self.comparison(expr, Compare::Equal, value, item, variables)));
        if list.is_empty() { Truth::of(Outcome { yes: false, ..Outcome::UNKNOWN }, || Why::at(expr, "names no value")) } else { truth }
    }

    /// `in` with a list or map from the data.
    fn contained(&self, expr: &Expr, value: &Expr, list: &Expr, variables: &Variables<'_>) -> Truth {
        let Side::Place(path, possible) = self.side(list, variables) else { return self.strict([value, list], variables) };
        let outcome = Outcome { yes: possible.kinds.has(Kinds::ARRAY.or(Kinds::OBJECT)), ..Outcome::UNKNOWN };
        Truth::of(outcome, || self.unfit(expr, &path, &possible, "it is used as a list"))
    }

    fn call(&self, expr: &Expr, function: Function, arguments: &[Expr], variables: &Variables<'_>) -> Truth {
        let test: fn(&str, &str) -> bool = match function {
            Function::StartsWith => |value, text| value.starts_with(text),
            Function::EndsWith => |value, text| value.ends_with(text),
            Function::Contains => |value, text| value.contains(text),
            _ => return self.strict(arguments, variables),
        };
        let [value, Expr { kind: ExprKind::Literal(Constant::Text(text)), .. }] = arguments else {
            return self.strict(arguments, variables);
        };
        self.textual(expr, value, Some(&|value: &str| test(value, text)), variables)
    }

    /// A test of a text.
    fn textual(&self, expr: &Expr, value: &Expr, test: Option<&dyn Fn(&str) -> bool>, variables: &Variables<'_>) -> Truth {
        match (self.side(value, variables), test) {
            (Side::Place(path, possible), test) => {
                let texts = possible.values.iter().flatten().filter_map(|value| value.as_str());
                let fits = possible.values.is_none() || texts.into_iter().any(|text| test.is_none_or(|test| test(text)));
                let outcome = Outcome { yes: possible.kinds.has(Kinds::TEXT) && fits, ..Outcome::UNKNOWN };
                Truth::of(outcome, || self.unfit(expr, &path, &possible, "its text is looked at"))
            }
            (Side::Attribute(name), Some(test)) => {
                Truth::of(Known::of(name, self.topic).test(test), || why::attribute(expr, name, self.topic))
            }
            _ => self.strict([value], variables),
        }
    }

    /// An expression that needs all of these: it fails where one of them always fails.
    fn strict<'e>(&self, needed: impl IntoIterator<Item = &'e Expr>, variables: &Variables<'_>) -> Truth {
        needed.into_iter().find_map(|expr| self.fails(expr, variables)).map_or(Truth::UNKNOWN, Truth::never)
    }

    /// Why evaluating it always fails, if it does.
    fn fails(&self, expr: &Expr, variables: &Variables<'_>) -> Option<Why> {
        if let Side::Place(path, possible) = self.side(expr, variables) {
            let shape = self.shape?;
            return (!possible.is_there()).then(|| why::missing(expr, shape, &path));
        }
        match &expr.kind {
            ExprKind::Negate(inner) => self.fails(inner, variables),
            ExprKind::Arithmetic(_, a, b) => self.fails(a, variables).or_else(|| self.fails(b, variables)),
            ExprKind::Call(_, arguments) => arguments.iter().find_map(|argument| self.fails(argument, variables)),
            ExprKind::Field { of, test: false, .. } => self.fails(of, variables),
            ExprKind::Index(of, index) => self.fails(of, variables).or_else(|| self.fails(index, variables)),
            _ => None,
        }
    }

    fn side<'e>(&self, expr: &'e Expr, variables: &Variables<'_>) -> Side<'e, 's> {
        match &expr.kind {
            ExprKind::Literal(constant) => return Side::Constant(constant),
            ExprKind::Read(Place::Attribute(name)) => return Side::Attribute(name),
            _ => {}
        }
        match (self.place(expr, variables), self.shape) {
            (Some(path), Some(shape)) => {
                let possible = shape.at(&path.0);
                Side::Place(path, possible)
            }
            _ => Side::Unknown,
        }
    }

    /// The place in the data that the expression reads, if it just reads one.
    fn place(&self, expr: &Expr, variables: &Variables<'_>) -> Option<Path> {
        place(expr, variables)
    }

    fn unfit(&self, expr: &Expr, path: &Path, possible: &Possible<'_>, use_of_it: &str) -> Why {
        match self.shape {
            Some(shape) if !possible.is_there() => why::missing(expr, shape, path),
            _ => why::unfit(expr, path, possible, use_of_it),
        }
    }
}

/// `all` holds of no elements; the others need one.
fn some(quantifier: Quantifier, body: Truth) -> Truth {
    if quantifier == Quantifier::All || body.outcome.yes {
        return Truth::UNKNOWN;
    }
    Truth { outcome: Outcome { yes: false, ..Outcome::UNKNOWN }, ..body }
}

/// The variables within a macro.
pub(super) fn with(variables: &Variables<'_>, variable: u16, place: Option<Path>) -> Vec<Option<Path>> {
    let number = usize::from(variable);
    let mut inner = variables.to_vec();
    inner.resize(inner.len().max(number + 1), None);
    inner[number] = place;
    inner
}

/// The place in the data that the expression reads, if it just reads one.
pub(super) fn place(expr: &Expr, variables: &Variables<'_>) -> Option<Path> {
    match &expr.kind {
        ExprKind::Read(Place::Data(pointer)) => Some(Path::from(pointer)),
        ExprKind::Variable(number) => variables.get(usize::from(*number))?.clone(),
        ExprKind::Field { of, name, test: false } => Some(place(of, variables)?.then(Step::member(name))),
        ExprKind::Index(of, index) => {
            let step = match &index.kind {
                ExprKind::Literal(Constant::Text(name)) => Step::member(name),
                ExprKind::Literal(Constant::Int(index)) => Step::index(usize::try_from(*index).ok()?),
                _ => return None,
            };
            Some(place(of, variables)?.then(step))
        }
        _ => None,
    }
}
