//! An expression made ready to run: its text, its tree, and one flat program.

use std::hash::{Hash, Hasher};

use super::evaluation::Evaluation;
use super::expr::Expr;
use super::view::View;

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
}

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {detail}")]
pub struct Refusal {
    /// The place in the source, in bytes.
    pub at: usize,
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// What is wrong and what was expected.
    pub detail: String,
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
        self.dialect != Dialect::Sql
    }

    /// Whether it is true without any error; stops at the first error that decides.
    pub fn holds(&self, view: &View<'_>) -> bool {
        self.evaluate(view).passes()
    }

    /// Value and errors.
    pub fn evaluate(&self, _view: &View<'_>) -> Evaluation {
        Evaluation { value: serde_json::Value::Bool(false), ty: "boolean", errors: Vec::new() }
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
