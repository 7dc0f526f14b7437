//! JSON strings (RFC 8259 §7): what stands between the quotes, read and written.

use std::borrow::Cow;

use super::refusal::syntax;
use crate::problem::Problem;

/// The text of a string, given what stands between its quotes and the offset of that in the body.
///
/// # Errors
/// Unescaped control characters, unknown escapes, unpaired surrogates.
pub(super) fn unescape(raw: &str, offset: usize) -> Result<Cow<'_, str>, Problem> {
    if let Some(at) = raw.bytes().position(|byte| byte < 0x20) {
        return Err(syntax(offset + at, "a control character in a string must be escaped"));
    }
    let Some(first) = memchr::memchr(b'\\', raw.as_bytes()) else { return Ok(Cow::Borrowed(raw)) };
    let mut text = String::with_capacity(raw.len());
    let mut at = 0;
    let mut next = Some(first);
    while let Some(backslash) = next {
        text.push_str(&raw[at..backslash]);
        let (char, len) = escape(&raw.as_bytes()[backslash..])
            .ok_or_else(|| syntax(offset + backslash, "a string has a malformed escape or half a surrogate pair"))?;
        text.push(char);
        at = backslash + len;
        next = memchr::memchr(b'\\', &raw.as_bytes()[at..]).map(|found| at + found);
    }
    text.push_str(&raw[at..]);
    Ok(Cow::Owned(text))
}

/// The character that an escape stands for, and the length of the escape.
fn escape(bytes: &[u8]) -> Option<(char, usize)> {
    let char = match bytes.get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode_escape(bytes),
        _ => return None,
    };
    Some((char, 2))
}

fn unicode_escape(bytes: &[u8]) -> Option<(char, usize)> {
    let high = code_unit(bytes.get(2..6)?)?;
    if !(0xd800..0xdc00).contains(&high) {
        // A low surrogate on its own is no char.
        return char::from_u32(high).map(|char| (char, 6));
    }
    let low = code_unit(bytes.get(6..12)?.strip_prefix(b"\\u")?)?;
    if !(0xdc00..0xe000).contains(&low) {
        return None;
    }
    char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)).map(|char| (char, 12))
}

fn code_unit(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |sum, digit| Some(sum << 4 | char::from(*digit).to_digit(16)?))
}

/// Appends the text as a JSON string with its quotes.
pub fn write_json_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut start = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if escaped_len(*byte) == 1 {
            continue;
        }
        out.extend_from_slice(&bytes[start..at]);
        start = at + 1;
        write_escape(*byte, out);
    }
    out.extend_from_slice(&bytes[start..]);
    out.push(b'"');
}

fn write_escape(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x09 => b't',
        0x0a => b'n',
        0x0c => b'f',
        0x0d => b'r',
        _ => {
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// How many bytes [`write_json_string`] appends.
pub(super) fn json_string_len(text: &str) -> usize {
    2 + text.bytes().map(escaped_len).sum::<usize>()
}

const fn escaped_len(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | 0x08 | 0x09 | 0x0a | 0x0c | 0x0d => 2,
        0x00..=0x1f => 6,
        _ => 1,
    }
}
