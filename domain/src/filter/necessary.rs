//! What must hold for a filter to hold: simple conditions that an index can look up. Conservative: what is not sure is
//! left out, so a filter without conditions is asked for every event.

use std::ops::Bound;

use super::atom::{Atom, Literal, Place, Test};
use super::expr::{Compare, Constant, Expr, ExprKind, Function, Logic};
use super::like::LikePattern;
use super::number::Number;
use super::program::{Dialect, Program};
use super::{Comparison, Filter};

impl Filter {
    /// Necessary conditions: whenever the filter holds, all of these do. None when nothing simple is known.
    pub fn atoms(&self) -> Vec<Atom> {
        let each = |comparisons: &[Comparison], test: fn(Box<str>) -> Test| {
            let atom = |wanted: &Comparison| attribute(&wanted.attribute, test(wanted.text.as_str().into()));
            comparisons.iter().map(atom).collect()
        };
        match self {
            Self::Topic(pattern) => match (pattern.as_exact(), pattern.literal_start()) {
                (Some(topic), _) => vec![attribute("topic", Test::Equals(Literal::Text(topic.into())))],
                (None, "") => Vec::new(),
                (None, start) => vec![attribute("topic", Test::Prefix(start.into()))],
            },
            Self::Exact(comparisons) => each(comparisons, |text| Test::Equals(Literal::Text(text))),
            Self::Prefix(comparisons) => each(comparisons, Test::Prefix),
            Self::Suffix(comparisons) => each(comparisons, Test::Suffix),
            Self::All(filters) => filters.iter().flat_map(Self::atoms).collect(),
            Self::Any(filters) => either(filters.iter().map(Self::atoms)),
            Self::Not(_) => Vec::new(),
            Self::Expr(program) => program.atoms(),
        }
    }
}

impl Program {
    /// Necessary conditions, as [`Filter::atoms`] gives them.
    pub fn atoms(&self) -> Vec<Atom> {
        let reader = if self.dialect() == Dialect::Sql { sql } else { cel };
        conditions(self.expr(), reader)
    }
}

/// What an expression that is true needs; `reader` knows comparisons of the dialect.
fn conditions(expr: &Expr, reader: fn(&Expr) -> Option<Atom>) -> Vec<Atom> {
    match &expr.kind {
        ExprKind::Logic(Logic::And, operands) => operands.iter().flat_map(|operand| conditions(operand, reader)).collect(),
        ExprKind::Logic(Logic::Or, operands) => either(operands.iter().map(|operand| conditions(operand, reader))),
        _ => reader(expr).into_iter().collect(),
    }
}

/// Of alternatives: what each says about one place by equality, joined.
fn either(alternatives: impl Iterator<Item = Vec<Atom>>) -> Vec<Atom> {
    let alternatives: Vec<Vec<Atom>> = alternatives.collect();
    if let [only] = alternatives.as_slice() {
        return only.clone();
    }
    let Some(first) = alternatives.first() else { return Vec::new() };
    let joined = |place: &Place| {
        let mut literals = Vec::new();
        for atoms in &alternatives {
            let equality = atoms.iter().filter(|atom| atom.place == *place).find_map(|atom| match &atom.test {
                Test::Equals(literal) => Some(std::slice::from_ref(literal)),
                Test::OneOf(literals) => Some(&**literals),
                _ => None,
            });
            literals.extend_from_slice(equality?);
        }
        Some(Atom { place: place.clone(), test: Test::OneOf(literals.into()) })
    };
    first.iter().find_map(|atom| joined(&atom.place)).into_iter().collect()
}

fn attribute(name: &str, test: Test) -> Atom {
    Atom { place: Place::Attribute(name.into()), test }
}

/// CESQL: a missing attribute is an error, so what is compared must be there; casts decide what equality says.
fn sql(expr: &Expr) -> Option<Atom> {
    let of = |read: &Expr, test: Test| place(read).map(|place| Atom { place: place.clone(), test });
    match &expr.kind {
        ExprKind::Read(place) | ExprKind::Exists(place) => Some(Atom { place: place.clone(), test: Test::Exists }),
        ExprKind::Compare(compare, left, right) => match (&left.kind, &right.kind) {
            (ExprKind::Read(_), ExprKind::Literal(constant)) => of(left, sql_test(*compare, constant)),
            (ExprKind::Literal(constant), ExprKind::Read(_)) => of(right, sql_test_mirrored(*compare, constant)),
            (ExprKind::Read(_), _) => of(left, Test::Exists),
            (_, ExprKind::Read(_)) => of(right, Test::Exists),
            _ => None,
        },
        ExprKind::Like(text, pattern) => of(text, like(pattern)),
        ExprKind::OneOf(left, elements) => of(left, sql_one_of(elements).unwrap_or(Test::Exists)),
        _ => None,
    }
}

/// The right side's type decides: the attribute is cast to the literal's.
fn sql_test(compare: Compare, constant: &Constant) -> Test {
    match (compare, constant) {
        (Compare::Equal, Constant::Text(text)) => Test::Equals(Literal::Text(text.clone())),
        (Compare::Equal, Constant::Int(value)) => Test::Equals(Literal::Number((*value).into())),
        (compare, Constant::Int(value)) => range(compare, (*value).into()).unwrap_or(Test::Exists),
        _ => Test::Exists,
    }
}

/// The attribute's own type decides about equality, which is not known beforehand; order is always one of integers.
fn sql_test_mirrored(compare: Compare, constant: &Constant) -> Test {
    match (mirrored(compare), constant) {
        (Compare::Equal | Compare::NotEqual, _) => Test::Exists,
        (compare, Constant::Int(value)) => range(compare, (*value).into()).unwrap_or(Test::Exists),
        _ => Test::Exists,
    }
}

/// The elements are cast to the attribute's type, which may be any of the three.
fn sql_one_of(elements: &[Expr]) -> Option<Test> {
    let mut literals = Vec::with_capacity(elements.len() + 1);
    for element in elements {
        match &element.kind {
            ExprKind::Literal(Constant::Text(text)) if is_canonical(text) => literals.push(Literal::Text(text.clone())),
            ExprKind::Literal(Constant::Int(value)) => literals.push(Literal::Number((*value).into())),
            _ => return None,
        }
    }
    // Of a boolean attribute every integer but zero is `true`, which is cast to 1.
    if literals.iter().any(|literal| matches!(literal, Literal::Number(number) if *number != Number::from(0i64))) {
        literals.push(Literal::Number(1i64.into()));
    }
    Some(Test::OneOf(literals.into()))
}

/// Whether a text that is cast to an integer or a boolean is that value's own text.
fn is_canonical(text: &str) -> bool {
    let integer = super::integer(text).is_none_or(|value| value.to_string() == text);
    let boolean = ["true", "false"].iter().all(|word| !text.eq_ignore_ascii_case(word) || text == *word);
    integer && boolean
}

fn like(pattern: &str) -> Test {
    let pattern = LikePattern::new(pattern);
    match (pattern.literal_start(), pattern.literal_end()) {
        ((text, true), _) => Test::Equals(Literal::Text(text.into())),
        (("", false), "") => Test::Exists,
        (("", false), end) => Test::Suffix(end.into()),
        ((start, false), _) => Test::Prefix(start.into()),
    }
}

/// CEL and the data dialect: no casts. A boolean attribute's canonical string tells it.
fn cel(expr: &Expr) -> Option<Atom> {
    let of = |read: &Expr, test: Option<Test>| {
        let place = place(read)?.clone();
        let test = test.map_or(Test::Exists, |test| if let Place::Attribute(_) = place { of_attribute(test) } else { test });
        Some(Atom { place, test })
    };
    match &expr.kind {
        ExprKind::Read(_) => of(expr, Some(Test::Equals(Literal::Bool(true)))),
        ExprKind::Exists(place) => Some(Atom { place: place.clone(), test: Test::Exists }),
        ExprKind::Compare(compare, left, right) => match (&left.kind, &right.kind) {
            (ExprKind::Read(_), ExprKind::Literal(constant)) => of(left, cel_test(*compare, constant)),
            (ExprKind::Literal(constant), ExprKind::Read(_)) => of(right, cel_test(mirrored(*compare), constant)),
            (ExprKind::Read(_), _) => of(left, None),
            (_, ExprKind::Read(_)) => of(right, None),
            _ => None,
        },
        ExprKind::OneOf(left, elements) => of(left, one_of(elements)),
        ExprKind::In(left, right) => match &right.kind {
            ExprKind::List(elements) => of(left, one_of(elements)),
            _ => of(right, None),
        },
        ExprKind::Call(function, arguments) => of(arguments.first()?, text_test(*function, arguments)),
        ExprKind::Matches(text, _) => of(text, None),
        _ => None,
    }
}

fn cel_test(compare: Compare, constant: &Constant) -> Option<Test> {
    let literal = literal(constant)?;
    match (compare, literal) {
        (Compare::Equal, literal) => Some(Test::Equals(literal)),
        (compare, Literal::Number(number)) => range(compare, number),
        _ => None,
    }
}

fn one_of(elements: &[Expr]) -> Option<Test> {
    let literal = |element: &Expr| match &element.kind {
        ExprKind::Literal(constant) => literal(constant),
        _ => None,
    };
    elements.iter().map(literal).collect::<Option<Box<[_]>>>().map(Test::OneOf)
}

/// A function that is a condition by itself. Others give no boolean that would make the filter hold.
fn text_test(function: Function, arguments: &[Expr]) -> Option<Test> {
    let [_, Expr { kind: ExprKind::Literal(Constant::Text(text)), .. }] = arguments else { return None };
    match function {
        Function::StartsWith => Some(Test::Prefix(text.clone())),
        Function::EndsWith => Some(Test::Suffix(text.clone())),
        _ => None,
    }
}

/// A test of an attribute, whose booleans are told by their text.
fn of_attribute(test: Test) -> Test {
    let plain = |literal: &Literal| match literal {
        Literal::Bool(value) => Literal::Text(value.to_string().into()),
        other => other.clone(),
    };
    match test {
        Test::Equals(literal) => Test::Equals(plain(&literal)),
        Test::OneOf(literals) => Test::OneOf(literals.iter().map(plain).collect()),
        other => other,
    }
}

fn literal(constant: &Constant) -> Option<Literal> {
    match constant {
        Constant::Null => Some(Literal::Null),
        Constant::Bool(value) => Some(Literal::Bool(*value)),
        Constant::Int(value) => Some(Literal::Number((*value).into())),
        Constant::Uint(value) => Some(Literal::Number((*value).into())),
        Constant::Double(value) => Number::from_f64(value.0).map(Literal::Number),
        Constant::Text(text) => Some(Literal::Text(text.clone())),
        Constant::Bytes(_) | Constant::Type(_) => None,
    }
}

fn range(compare: Compare, number: Number) -> Option<Test> {
    Some(match compare {
        Compare::Less => Test::Range(Bound::Unbounded, Bound::Excluded(number)),
        Compare::LessOrEqual => Test::Range(Bound::Unbounded, Bound::Included(number)),
        Compare::Greater => Test::Range(Bound::Excluded(number), Bound::Unbounded),
        Compare::GreaterOrEqual => Test::Range(Bound::Included(number), Bound::Unbounded),
        Compare::Equal | Compare::NotEqual => return None,
    })
}

/// The comparison with its sides exchanged.
fn mirrored(compare: Compare) -> Compare {
    match compare {
        Compare::Less => Compare::Greater,
        Compare::LessOrEqual => Compare::GreaterOrEqual,
        Compare::Greater => Compare::Less,
        Compare::GreaterOrEqual => Compare::LessOrEqual,
        same => same,
    }
}

fn place(expr: &Expr) -> Option<&Place> {
    match &expr.kind {
        ExprKind::Read(place) => Some(place),
        _ => None,
    }
}

#[cfg(test)]
#[path = "necessary_tests.rs"]
mod tests;
