//! What a schema's regular expressions may cost on a byte of text.
//!
//! They are linear, but a pattern of n states may take n turns for each byte: `[ab]*a[ab]{5000}` takes 16 s on 1 MB.
//! A match cannot be interrupted, so its price is known before and taken from the check's budget first.

use regex::RegexBuilder;
use serde_json::Value;

use crate::problem::Fault;

/// A compiled pattern may take this much memory.
pub(super) const MAX_PATTERN_BYTES: usize = 256 << 10;
/// All patterns of a schema together.
const MAX_TOTAL_BYTES: usize = 8 << 20;
/// At most so many in a schema.
const MAX_PATTERNS: usize = 2000;
/// Compiled bytes that cost about one step ([`super::meter`]) for each byte of text: measured.
const BYTES_A_STEP: usize = 256;

/// Steps for each byte of text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    /// Of a string: the heaviest `pattern`.
    pub(super) string: usize,
    /// Of a member's name: all patterns that may look at it.
    pub(super) name: usize,
}

/// Weighs all patterns of the documents of a schema, which are not nested too deeply.
///
/// # Errors
///
/// A fault if they are too many or too large together. Whether each is valid is the compiler's to say.
pub(super) fn weigh<'s>(documents: impl Iterator<Item = &'s Value>) -> Result<Weight, Fault> {
    let mut scale = Scale::default();
    documents.for_each(|document| scale.add(document));
    if scale.count > MAX_PATTERNS || scale.bytes > MAX_TOTAL_BYTES {
        let detail = format!("the schema has {} patterns; at most {MAX_PATTERNS}, of 8 MiB compiled, are allowed", scale.count);
        return Err(Fault { schema: None, pointer: "#".into(), detail });
    }
    let all = scale.bytes.div_ceil(BYTES_A_STEP);
    Ok(Weight { string: scale.heaviest.div_ceil(BYTES_A_STEP), name: if scale.names { all } else { 0 } })
}

#[derive(Default)]
struct Scale {
    count: usize,
    bytes: usize,
    heaviest: usize,
    /// Whether any pattern can look at names.
    names: bool,
}

impl Scale {
    fn add(&mut self, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.add(item)),
            Value::Object(members) => {
                if let Some(pattern) = members.get("pattern").and_then(Value::as_str) {
                    let bytes = self.compiled(pattern);
                    self.heaviest = self.heaviest.max(bytes);
                }
                if let Some(patterns) = members.get("patternProperties").and_then(Value::as_object) {
                    self.names = true;
                    for pattern in patterns.keys() {
                        self.compiled(pattern);
                    }
                }
                self.names |= members.contains_key("propertyNames");
                members.values().for_each(|member| self.add(member));
            }
            _ => {}
        }
    }

    /// About how large the pattern is when compiled.
    fn compiled(&mut self, pattern: &str) -> usize {
        self.count += 1;
        if self.count > MAX_PATTERNS || self.bytes > MAX_TOTAL_BYTES {
            return 0;
        }
        let sizes = [1 << 10, 4 << 10, 16 << 10, 64 << 10];
        let fits = |size: &usize| RegexBuilder::new(pattern).size_limit(*size).build().is_ok();
        // One that this dialect does not know counts as one of the largest; only a few are written like that.
        let bytes = sizes.into_iter().find(fits).unwrap_or(MAX_PATTERN_BYTES);
        self.bytes += bytes;
        bytes
    }
}
