//! Why a filter does not hold.

use serde_json::Value;

use super::atom::Place;
use super::evaluation::Fault;

/// The first assertion that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Because {
    /// The dialect's name: the member that holds the text.
    pub dialect: &'static str,
    /// The assertion as written: text of a `sql` or `cel` (sub-)expression, JSON in the other dialects.
    pub assertion: Value,
    /// The place that it looked at, when it is one.
    pub place: Option<Place>,
    /// The value there; `None` when it was missing, or when there is no single place.
    pub saw: Option<Value>,
    /// The error that made it fail, if one did.
    pub error: Option<Fault>,
}
