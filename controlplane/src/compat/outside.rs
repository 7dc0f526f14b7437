//! A second opinion, from a library that is asked where the own proof and the own search come to nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};

use jsoncompat::{CompatibilityResult, Role, SchemaDocument, analyze_compat};
use serde_json::Value;

/// Bytes of a document that is handed over; how the library's work grows with it is not known.
const MAX_BYTES: usize = 64 << 10;

/// What somebody says of two documents of draft 2020-12.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Opinion {
    /// Every value of the one is one of the other.
    Within,
    /// This value is not, they say.
    Not(Value),
    /// They cannot tell.
    Unknown,
}

/// Somebody who may know.
pub(crate) trait Adviser {
    /// Whether every value that `narrow` takes is taken by `wide`.
    fn within(&self, narrow: &Value, wide: &Value) -> Opinion;
}

/// The library `jsoncompat`.
pub(crate) struct Jsoncompat;

impl Adviser for Jsoncompat {
    fn within(&self, narrow: &Value, wide: &Value) -> Opinion {
        if [narrow, wide].iter().any(|document| document.to_string().len() > MAX_BYTES) {
            return Opinion::Unknown;
        }
        // It is young: whatever becomes of it, the control plane goes on.
        catch_unwind(AssertUnwindSafe(|| ask(narrow, wide))).ok().flatten().unwrap_or(Opinion::Unknown)
    }
}

/// Of a writer it is asked whether all that it writes anew is read as before: nothing is assumed then.
fn ask(narrow: &Value, wide: &Value) -> Option<Opinion> {
    let narrow = SchemaDocument::from_json(narrow).ok()?;
    let wide = SchemaDocument::from_json(wide).ok()?;
    Some(match analyze_compat(&wide, &narrow, Role::Serializer).ok()? {
        CompatibilityResult::Compatible => Opinion::Within,
        CompatibilityResult::Incompatible { counterexample, .. } => Opinion::Not(counterexample),
        CompatibilityResult::Unknown { .. } => Opinion::Unknown,
    })
}
