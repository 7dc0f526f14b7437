//! Attribute values as HTTP header values (CloudEvents HTTP §3.1.3.2).

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// What must be encoded: all but U+0021–U+007E, and `"` and `%`. Everything beyond ASCII is encoded anyway.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// A header value that is no attribute value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHeaderValue {
    /// A `%` without two hexadecimal digits after it.
    #[error("has a `%` that two hexadecimal digits do not follow; write `%25` for the character itself")]
    Percent,
    /// The decoded bytes are no text.
    #[error("is not UTF-8 once percent-decoded; encode the UTF-8 bytes of the text")]
    Utf8,
}

/// The header value for an attribute value.
pub fn encode_header_value(value: &str) -> Cow<'_, str> {
    utf8_percent_encode(value, ENCODED).into()
}

/// The attribute value in a header value: a quoted string is unquoted, then one pass of percent-decoding.
///
/// # Errors
/// A broken percent sequence, or bytes that are not UTF-8 (overlong forms and surrogates included).
pub fn decode_header_value(value: &[u8]) -> Result<Cow<'_, str>, InvalidHeaderValue> {
    let value = value.trim_ascii();
    match unquote(value) {
        None => match memchr::memchr(b'%', value) {
            None => std::str::from_utf8(value).map(Cow::Borrowed).map_err(|_| InvalidHeaderValue::Utf8),
            Some(_) => percent_decode(value).map(Cow::Owned),
        },
        Some(unquoted) => percent_decode(&unquoted).map(Cow::Owned),
    }
}

/// The content of a quoted string (RFC 9110 §5.6.4); `None` when the value is none, and is then taken as it stands.
fn unquote(value: &[u8]) -> Option<Vec<u8>> {
    let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return None,
            b'\\' => text.push(*bytes.next()?),
            other => text.push(*other),
        }
    }
    Some(text)
}

fn percent_decode(value: &[u8]) -> Result<String, InvalidHeaderValue> {
    let mut text = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = memchr::memchr(b'%', rest) {
        text.extend_from_slice(&rest[..at]);
        let [high, low, tail @ ..] = &rest[at + 1..] else { return Err(InvalidHeaderValue::Percent) };
        let (Some(high), Some(low)) = (hex(*high), hex(*low)) else { return Err(InvalidHeaderValue::Percent) };
        text.push(high << 4 | low);
        rest = tail;
    }
    text.extend_from_slice(rest);
    String::from_utf8(text).map_err(|_| InvalidHeaderValue::Utf8)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
