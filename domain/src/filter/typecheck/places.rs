//! The places in the data that filters read.

use super::path::{Path, Step};
use super::truth::{Variables, place, with};
use super::{Finding, Position};
use crate::fields::pointer;
use crate::filter::atom::Place;
use crate::filter::expr::{Expr, ExprKind};
use crate::filter::{Dialect, Filter, Program};

/// A place and where it is read.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) path: Path,
    filter: usize,
    pointer: String,
    position: Option<Position>,
}

impl Read {
    pub(super) fn finding(&self, detail: String) -> Finding {
        Finding {
            filter: self.filter,
            pointer: format!("#{}", self.pointer),
            position: self.position,
            path: None,
            nearest: None,
            schema: None,
            detail,
        }
    }
}

/// Every place that is read, in order; a place on the way to another one is not told by itself.
pub(super) fn reads(filters: &[Filter], at: &str) -> Vec<Read> {
    let mut found = Vec::new();
    for (number, filter) in filters.iter().enumerate() {
        walk(filter, number, &pointer(at, number), &mut found);
    }
    found
}

fn walk(filter: &Filter, number: usize, at: &str, found: &mut Vec<Read>) {
    match filter {
        Filter::All(filters) | Filter::Any(filters) => {
            let below = pointer(at, if matches!(filter, Filter::All(_)) { "all" } else { "any" });
            for (n, filter) in filters.iter().enumerate() {
                walk(filter, number, &pointer(&below, n), found);
            }
        }
        Filter::Not(inner) => walk(inner, number, &pointer(at, "not"), found),
        Filter::Expr(program) if program.reads_data() => {
            let at = pointer(at, program.dialect().name());
            Walk { program, number, at, found }.expr(program.expr(), &[]);
        }
        _ => {}
    }
}

struct Walk<'a> {
    program: &'a Program,
    number: usize,
    at: String,
    found: &'a mut Vec<Read>,
}

impl Walk<'_> {
    fn expr(&mut self, expr: &Expr, variables: &Variables<'_>) {
        if let Some(path) = place(expr, variables) {
            return self.add(expr, path);
        }
        match &expr.kind {
            ExprKind::Exists(Place::Data(pointer)) => self.add(expr, Path::from(pointer)),
            ExprKind::Field { of, name, test: true } => match place(of, variables) {
                Some(path) => self.add(expr, path.then(Step::member(name))),
                None => self.expr(of, variables),
            },
            ExprKind::Quantified { variable, over, predicate, .. } => {
                self.expr(over, variables);
                let element = place(over, variables).map(|path| path.then(Step::Element));
                self.expr(predicate, &with(variables, *variable, element));
            }
            ExprKind::Field { of: inner, .. }
            | ExprKind::Not(inner)
            | ExprKind::Negate(inner)
            | ExprKind::Like(inner, _)
            | ExprKind::Matches(inner, _) => self.expr(inner, variables),
            ExprKind::Compare(_, a, b) | ExprKind::Arithmetic(_, a, b) | ExprKind::In(a, b) | ExprKind::Index(a, b) => {
                self.each([&**a, &**b], variables);
            }
            ExprKind::OneOf(value, list) => {
                self.expr(value, variables);
                self.each(list, variables);
            }
            ExprKind::Conditional(a, b, c) => self.each([&**a, &**b, &**c], variables),
            ExprKind::Logic(_, parts) | ExprKind::Call(_, parts) | ExprKind::UnknownCall(_, parts) | ExprKind::List(parts) => {
                self.each(parts, variables);
            }
            ExprKind::Map(entries) => entries.iter().for_each(|(key, value)| self.each([key, value], variables)),
            ExprKind::Literal(_) | ExprKind::Read(_) | ExprKind::Exists(_) | ExprKind::Event | ExprKind::Variable(_) => {}
        }
    }

    fn each<'e>(&mut self, parts: impl IntoIterator<Item = &'e Expr>, variables: &Variables<'_>) {
        parts.into_iter().for_each(|part| self.expr(part, variables));
    }

    fn add(&mut self, expr: &Expr, path: Path) {
        let data = self.program.dialect() == Dialect::Data;
        let pointer = if data { pointer(&self.at, &path) } else { self.at.clone() };
        let position = (!data).then(|| Position::of(self.program.source(), expr.span.start as usize));
        self.found.push(Read { path, filter: self.number, pointer, position });
    }
}
