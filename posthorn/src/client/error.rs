//! Why a verb failed, and the exit code that says so.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::Value;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server said no.
    #[error("{}", describe(*.status, .problem))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The problem document, or null.
        problem: Value,
    },
    /// Something in the arguments or in a file that they name.
    #[error("{0}")]
    Usage(String),
    /// Nobody answered, or not in time.
    #[error("{url} is not reachable: {detail}")]
    Unreachable {
        /// The door.
        url: String,
        /// What happened.
        detail: String,
    },
    /// The local side failed, such as a closed pipe.
    #[error(transparent)]
    Local(#[from] std::io::Error),
}

impl Error {
    /// 1 refused, 2 usage, 69 not reachable (EX_UNAVAILABLE).
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Refused { .. } | Self::Local(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable { .. } => 69,
        })
    }
}

/// Title, detail, and each error with its place.
pub fn describe(status: u16, problem: &Value) -> String {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let mut out = text(problem, "title").unwrap_or_else(|| format!("the server answered {status}"));
    if let Some(detail) = text(problem, "detail").filter(|detail| !detail.is_empty()) {
        out.push_str(": ");
        out.push_str(&detail);
    }
    for error in problem.get("errors").and_then(Value::as_array).into_iter().flatten() {
        let schema = text(error, "schema").map(|schema| format!("{schema} ")).unwrap_or_default();
        let (pointer, detail) = (text(error, "pointer").unwrap_or_default(), text(error, "detail").unwrap_or_default());
        write!(out, "\n  {schema}{pointer}: {detail}").expect("writing to a string");
    }
    for name in ["counterexample", "earliest"] {
        if let Some(value) = problem.get(name) {
            write!(out, "\n  {name}: {value}").expect("writing to a string");
        }
    }
    out
}
