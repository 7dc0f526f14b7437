//! What evaluating an expression gives.

use serde_json::{Value, json};

/// Value and errors of one expression on one event (CESQL §3.3; for the other dialects there is at most one error).
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The value; with an error, what the dialect gives beside it.
    pub value: Value,
    /// The value's type in the dialect: `boolean`, `integer`, `string` in CESQL; CEL's names in CEL.
    pub ty: &'static str,
    /// What went wrong on the way, each kind once.
    pub errors: Vec<Fault>,
}

/// One error of an evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its kind.
    pub kind: FaultKind,
    /// The place in the source, in bytes.
    pub at: usize,
    /// What happened.
    pub detail: String,
}

/// The kinds of CESQL §3.3; the other dialects use the ones that fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// Overflow, division by zero.
    Math,
    /// A value has no meaning in the type that is needed.
    Cast,
    /// There is no such function, or not with so many arguments.
    MissingFunction,
    /// A function cannot work with these arguments.
    FunctionEvaluation,
    /// The event has no such attribute, or the data no such place.
    MissingAttribute,
    /// Anything else.
    Generic,
}

impl FaultKind {
    /// The name in documents (interfaces §9).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Math => "math",
            Self::Cast => "cast",
            Self::MissingFunction => "missing_function",
            Self::FunctionEvaluation => "function_evaluation",
            Self::MissingAttribute => "missing_attribute",
            Self::Generic => "generic",
        }
    }
}

impl Evaluation {
    /// Whether a filter passes: true, and no error (CESQL §1.2).
    pub fn passes(&self) -> bool {
        self.errors.is_empty() && self.value == Value::Bool(true)
    }

    /// The first error as documents show it, or null.
    pub fn error_json(&self) -> Value {
        self.errors.first().map_or(Value::Null, |fault| json!({"kind": fault.kind.name(), "detail": fault.detail}))
    }
}
