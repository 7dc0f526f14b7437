//! Why data is not acceptable JSON. The texts name places, never values.

use simd_json::{Error, ErrorType};

use crate::problem::{Code, Problem};

/// Why data is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// There is nothing but white space.
    #[error("the data is empty; JSON data is one value, `null` if there is nothing to say")]
    Empty,
    /// Not JSON (RFC 8259).
    #[error("the data is not JSON: {reason} near byte {offset}")]
    Syntax {
        /// Bytes from the start of the data.
        offset: usize,
        /// What the grammar wants.
        reason: String,
    },
    /// Not UTF-8.
    #[error("the data is not UTF-8 at byte {offset}")]
    Utf8 {
        /// Bytes from the start of the data.
        offset: usize,
    },
    /// An object has the same key twice.
    #[error("the object at `{pointer}` has a key twice: `{key}`; readers disagree which one counts")]
    DuplicateKey {
        /// The object, as `#/a/0`.
        pointer: String,
        /// The key as a pointer's step, cut if it is long.
        key: String,
    },
    /// Nested too deeply.
    #[error("the data is nested more than {} levels deep", super::MAX_DEPTH)]
    TooDeep,
    /// A number that readers would round or refuse.
    #[error("a number near byte {offset} is neither a 64-bit integer nor a finite double; send it as a string")]
    Number {
        /// Bytes from the start of the data.
        offset: usize,
    },
    /// More than the parser's 4 GiB.
    #[error("the data is too large to parse")]
    TooLarge,
}

impl From<JsonFault> for Problem {
    fn from(fault: JsonFault) -> Self {
        Self::new(Code::InvalidJson, fault.to_string())
    }
}

/// Explains the parser's refusal of `data`. Only refusals pay for this second look.
#[cold]
pub(super) fn explain(error: &Error, data: &[u8]) -> JsonFault {
    if data.iter().all(u8::is_ascii_whitespace) {
        return JsonFault::Empty;
    }
    if let Err(error) = std::str::from_utf8(data) {
        return JsonFault::Utf8 { offset: error.valid_up_to() };
    }
    match error.error() {
        ErrorType::DepthLimitExceeded => JsonFault::TooDeep,
        ErrorType::InputTooLarge => JsonFault::TooLarge,
        kind => second_opinion(data).unwrap_or_else(|| match kind {
            ErrorType::InvalidNumber | ErrorType::InvalidExponent | ErrorType::Overflow => JsonFault::Number { offset: error.index() },
            _ => JsonFault::Syntax { offset: error.index(), reason: "it is malformed".into() },
        }),
    }
}

/// serde_json says line and column where simd-json often only says that something is wrong. It reads numbers of any
/// size, so what it accepts is a number out of range.
fn second_opinion(data: &[u8]) -> Option<JsonFault> {
    let error = serde_json::from_slice::<&serde_json::value::RawValue>(data).err()?;
    let before: usize = data.split_inclusive(|byte| *byte == b'\n').take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or(&text).to_owned();
    Some(JsonFault::Syntax { offset: before + error.column().saturating_sub(1), reason })
}
