//! An expression made ready to run: its text, its tree, and one flat program.

mod cel;
mod cel_functions;
mod compile;
mod container;
mod equality;
mod loops;
mod machine;
mod moments;
mod op;
mod outcome;
mod sql;
mod sql_functions;
mod value;
mod why;

use std::hash::{Hash, Hasher};

use serde_json::Value as Json;

use super::evaluation::Evaluation;
use super::expr::{Constant, Expr, ExprKind, Logic, Span};
use super::like::LikePattern;
use super::limits::{Refusal, Unfit};
use super::regexp::Regexp;
use super::view::View;
use crate::fields::Faults;
use crate::json::Pointer;
use machine::Machine;
use op::Op;
use value::Value;

/// The languages of expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// CloudEvents SQL v1.
    Sql,
    /// A subset of CEL.
    Cel,
    /// Assertions on places in JSON data.
    Data,
}

/// A compiled expression. Two are equal when dialect and meaning are, whatever blanks they were written with.
#[derive(Clone, Debug)]
pub struct Program {
    dialect: Dialect,
    source: Box<str>,
    expr: Expr,
    code: Code,
}

/// The operations and what they refer to.
#[derive(Clone, Debug, Default)]
struct Code {
    ops: Vec<Op>,
    /// The part of the source that each operation is of.
    spans: Vec<Span>,
    constants: Vec<Constant>,
    texts: Vec<Box<str>>,
    pointers: Vec<Pointer>,
    likes: Vec<LikePattern>,
    patterns: Vec<Regexp>,
    /// Whether it follows CESQL's rules.
    sql: bool,
}

impl Dialect {
    /// The name of the dialect's member in a filter.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sql => "sql",
            Self::Cel => "cel",
            Self::Data => "data",
        }
    }
}

impl Program {
    /// Reads CloudEvents SQL.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if it is not an expression, or a larger one than is allowed.
    pub fn sql(source: &str) -> Result<Self, Refusal> {
        Self::new(Dialect::Sql, source, super::sql::parse)
    }

    /// Reads CEL.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if it is not an expression of the subset, or a larger one than is allowed.
    pub fn cel(source: &str) -> Result<Self, Refusal> {
        Self::new(Dialect::Cel, source, super::cel::parse)
    }

    /// Reads assertions on JSON data. Faults are recorded at `at` and below.
    pub fn data(body: &Json, at: &str, faults: &mut Faults) -> Option<Self> {
        let (source, expr) = super::data::parse(body, at, faults)?;
        match Self::new(Dialect::Data, &source, |_| Ok(expr)) {
            Ok(program) => Some(program),
            Err(refusal) => {
                faults.meaning(at, refusal.detail);
                None
            }
        }
    }

    fn new(dialect: Dialect, source: &str, parse: impl FnOnce(&str) -> Result<Expr, Unfit>) -> Result<Self, Refusal> {
        let compiled = parse(source).and_then(|expr| Ok((compile::compile(dialect, &expr)?, expr)));
        let (code, expr) = compiled.map_err(|unfit| unfit.within(source))?;
        Ok(Self { dialect, source: source.into(), expr, code })
    }

    /// A part of the expression as a program of its own; in CESQL cast to a boolean.
    pub(super) fn part(&self, part: &Expr) -> Option<Self> {
        let expr = Expr { span: part.span, kind: ExprKind::Logic(Logic::And, vec![part.clone()]) };
        let code = compile::compile(self.dialect, &expr).ok()?;
        Some(Self { dialect: self.dialect, source: self.source.clone(), expr, code })
    }

    /// The language that it was written in.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// As it was written; for `data` its JSON.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Its syntax tree.
    pub fn expr(&self) -> &Expr {
        &self.expr
    }

    /// Whether it may look at the data.
    pub fn reads_data(&self) -> bool {
        self.code.reads_data()
    }

    /// Whether it is true without any error; stops at the first error that decides.
    pub fn holds(&self, view: &View<'_>) -> bool {
        matches!(Machine::new(&self.code, view, false).run(), Ok(Value::Bool(true)))
    }

    /// Value and errors (CESQL's complete evaluation).
    pub fn evaluate(&self, view: &View<'_>) -> Evaluation {
        outcome::evaluate(self, view)
    }
}

impl Code {
    fn reads_data(&self) -> bool {
        self.ops.iter().any(|op| matches!(op, Op::Data { .. } | Op::DataExists { .. }))
    }
}

impl PartialEq for Program {
    fn eq(&self, other: &Self) -> bool {
        self.dialect == other.dialect && self.expr == other.expr
    }
}

impl Eq for Program {}

impl Hash for Program {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.dialect.hash(state);
        self.expr.hash(state);
    }
}
