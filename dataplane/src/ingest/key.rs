//! The `Idempotency-Key` header (draft-ietf-httpapi-idempotency-key-header): a structured-field string, or the bare text.

use compact_str::CompactString;
use posthorn_domain::problem::{Code, Problem};

/// Bytes that a key may have.
const MAX: usize = 255;

/// The key in a header's value, quoted or not.
///
/// # Errors
/// `invalid-request` for one that is empty, too long, not printable ASCII, or badly quoted.
pub fn idempotency_key(value: &[u8]) -> Result<CompactString, Problem> {
    let value = value.trim_ascii();
    let text = match value.strip_prefix(b"\"") {
        None => plain(value),
        Some(rest) => rest.strip_suffix(b"\"").and_then(unescaped),
    };
    text.filter(|text| !text.is_empty() && text.len() <= MAX).ok_or_else(|| {
        let detail = format!("`idempotency-key` must be 1 to {MAX} printable ASCII characters, quoted or not, such as \"8e03978e\"");
        Problem::new(Code::InvalidRequest, detail)
    })
}

fn plain(value: &[u8]) -> Option<CompactString> {
    let printable = value.iter().all(|byte| (0x20..0x7f).contains(byte) && *byte != b'"');
    printable.then(|| CompactString::from_utf8(value).ok()).flatten()
}

/// The content of a structured-field string (RFC 9651 §3.3.3).
fn unescaped(inner: &[u8]) -> Option<CompactString> {
    let mut text = CompactString::default();
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'"' => return None,
            b'\\' => *bytes.next().filter(|next| matches!(next, b'"' | b'\\'))?,
            byte => *byte,
        };
        if !(0x20..0x7f).contains(&byte) {
            return None;
        }
        text.push(char::from(byte));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_quoted_or_not() {
        for (header, key) in [("abc", "abc"), ("\"abc\"", "abc"), (" \"a\\\"b\" ", "a\"b")] {
            assert_eq!(idempotency_key(header.as_bytes()).expect("a key"), key);
        }
        let long = "k".repeat(256);
        for header in ["", "\"\"", "\"", "\"a", "a\"b", "\"a\"b\"", "\"a\\n\"", "ø", long.as_str()] {
            assert!(idempotency_key(header.as_bytes()).is_err(), "{header}");
        }
    }
}
