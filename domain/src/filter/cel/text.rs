//! CEL's string and bytes literals: four quotes, raw ones, and escapes.

use crate::filter::expr::Constant;
use crate::filter::limits::Unfit;

/// A literal and the bytes of source that it takes.
pub(super) struct Literal {
    pub(super) constant: Constant,
    pub(super) len: usize,
}

/// The literal that `rest` starts with, if it starts with one.
pub(super) fn literal(rest: &str, at: usize) -> Result<Option<Literal>, Unfit> {
    let bytes = rest.starts_with(['b', 'B']);
    let after = &rest[usize::from(bytes)..];
    let raw = after.starts_with(['r', 'R']);
    let prefix = usize::from(bytes) + usize::from(raw);
    let body = &rest[prefix..];
    let Some(quote) = [r#"""""#, "'''", "\"", "'"].into_iter().find(|quote| body.starts_with(quote)) else { return Ok(None) };
    let start = prefix + quote.len();
    let (inner, end) =
        inner(&rest[start..], quote, raw).ok_or_else(|| Unfit::new(at, format!("the text that starts here has no closing {quote}")))?;
    let unescape = Unescape { bytes, at: at + start };
    let value = if raw { inner.as_bytes().to_vec() } else { unescape.all(inner)? };
    let constant = if bytes {
        Constant::Bytes(value.into())
    } else {
        Constant::Text(String::from_utf8(value).map_err(|_| Unfit::new(at, "the text is not UTF-8"))?.into())
    };
    Ok(Some(Literal { constant, len: start + end + quote.len() }))
}

/// What is between the quotes, and where it ends. A short quote does not go over lines.
fn inner<'a>(text: &'a str, quote: &str, raw: bool) -> Option<(&'a str, usize)> {
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        if text[at..].starts_with(quote) {
            return Some((&text[..at], at));
        }
        match char {
            '\\' if !raw => {
                chars.next()?;
            }
            '\n' | '\r' if quote.len() == 1 => return None,
            _ => {}
        }
    }
    None
}

struct Unescape {
    bytes: bool,
    /// Where the text starts in the source.
    at: usize,
}

impl Unescape {
    fn all(&self, text: &str) -> Result<Vec<u8>, Unfit> {
        let mut out = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(backslash) = rest.find('\\') {
            out.extend_from_slice(&rest.as_bytes()[..backslash]);
            let at = self.at + (text.len() - rest.len()) + backslash;
            let escape = &rest[backslash + 1..];
            let taken = self
                .one(escape, &mut out)
                .ok_or_else(|| Unfit::new(at, r#"not an escape; \\ \' \" \` \? \a \b \f \n \r \t \v \xHH \uHHHH \UHHHHHHHH \ooo are"#))?;
            rest = &escape[taken..];
        }
        out.extend_from_slice(rest.as_bytes());
        Ok(out)
    }

    /// One escape after its backslash; how many bytes it takes.
    fn one(&self, escape: &str, out: &mut Vec<u8>) -> Option<usize> {
        let first = escape.chars().next()?;
        let simple = match first {
            'a' => 0x07,
            'b' => 0x08,
            'f' => 0x0c,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 0x0b,
            '\\' | '\'' | '"' | '`' | '?' => first as u8,
            _ => return self.code(first, escape, out),
        };
        out.push(simple);
        Some(1)
    }

    fn code(&self, first: char, escape: &str, out: &mut Vec<u8>) -> Option<usize> {
        let (from, len, radix) = match first {
            'x' | 'X' => (1, 2, 16),
            'u' if !self.bytes => (1, 4, 16),
            'U' if !self.bytes => (1, 8, 16),
            '0'..='3' => (0, 3, 8),
            _ => return None,
        };
        let digits = escape.get(from..from + len)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let code = u32::from_str_radix(digits, radix).ok()?;
        if self.bytes {
            out.push(u8::try_from(code).ok()?);
        } else {
            out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
        }
        Some(from + len)
    }
}
