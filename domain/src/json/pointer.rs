//! JSON pointers (RFC 6901), parsed once and followed often.

use std::fmt::{self, Write as _};
use std::str::FromStr;

/// A parsed JSON pointer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pointer(Box<[Token]>);

/// One step: a key, and an index where it can be one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    key: Box<str>,
    index: Option<usize>,
}

/// Text that is no JSON pointer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPointer {
    /// It is neither empty nor starts with `/`.
    #[error("a JSON pointer is empty or starts with `/`")]
    Start,
    /// A `~` that neither `0` nor `1` follows.
    #[error("in a JSON pointer `~` is written `~0` and `/` within a name `~1`")]
    Escape,
    /// Longer than 4096 bytes or more than 128 steps.
    #[error("a JSON pointer has at most 4096 bytes and 128 steps")]
    TooLong,
}

impl Pointer {
    /// The place one step further; none when that is too deep.
    pub fn join(&self, key: &str) -> Option<Self> {
        if self.0.len() >= super::MAX_DEPTH {
            return None;
        }
        let step = Token { key: key.into(), index: index(key) };
        Some(Self(self.0.iter().cloned().chain([step]).collect()))
    }

    /// The steps from the root.
    pub fn tokens(&self) -> impl Iterator<Item = &Token> {
        self.0.iter()
    }
}

impl Token {
    /// The step as a member's name.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The step as an element's index: digits without a leading zero (RFC 6901 §4). `-` leads nowhere.
    pub fn index(&self) -> Option<usize> {
        self.index
    }
}

impl FromStr for Pointer {
    type Err = InvalidPointer;

    fn from_str(text: &str) -> Result<Self, InvalidPointer> {
        if text.is_empty() {
            return Ok(Self(Box::default()));
        }
        let steps = text.strip_prefix('/').ok_or(InvalidPointer::Start)?;
        if text.len() > 4096 || steps.split('/').count() > super::MAX_DEPTH {
            return Err(InvalidPointer::TooLong);
        }
        steps.split('/').map(token).collect::<Result<_, _>>().map(Self)
    }
}

fn token(step: &str) -> Result<Token, InvalidPointer> {
    let mut key = String::with_capacity(step.len());
    let mut chars = step.chars();
    while let Some(char) = chars.next() {
        key.push(match char {
            '~' => match chars.next() {
                Some('0') => '~',
                Some('1') => '/',
                _ => return Err(InvalidPointer::Escape),
            },
            char => char,
        });
    }
    let index = index(&key);
    Ok(Token { key: key.into(), index })
}

fn index(key: &str) -> Option<usize> {
    let canonical = key == "0" || (!key.starts_with('0') && key.bytes().all(|byte| byte.is_ascii_digit()));
    if canonical { key.parse().ok() } else { None }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for token in &self.0 {
            write!(f, "/{}", escaped(&token.key))?;
        }
        Ok(())
    }
}

/// A pointer's text as a URI fragment, `#/lines/0/qty` (RFC 6901 §6), cut after about 500 bytes.
pub fn fragment(pointer: &str) -> String {
    let mut out = String::with_capacity(pointer.len() + 1);
    out.push('#');
    for char in pointer.chars() {
        if out.len() > 500 {
            out.push('…');
            break;
        }
        if char.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/?".contains(char) {
            out.push(char);
            continue;
        }
        for byte in char.encode_utf8(&mut [0; 4]).bytes() {
            write!(out, "%{byte:02X}").expect("writing to a string");
        }
    }
    out
}

/// One name as a pointer's step.
pub(crate) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_of_the_standard() {
        for (text, keys) in [("", vec![]), ("/", vec![""]), ("/a~1b/m~0n", vec!["a/b", "m~n"]), ("/foo/0", vec!["foo", "0"])] {
            let pointer: Pointer = text.parse().expect("valid");
            assert_eq!(pointer.tokens().map(Token::key).collect::<Vec<_>>(), keys);
            assert_eq!(pointer.to_string(), text);
        }
        assert_eq!("a".parse::<Pointer>(), Err(InvalidPointer::Start));
        assert_eq!("/~2".parse::<Pointer>(), Err(InvalidPointer::Escape));
        assert_eq!("/a".repeat(200).parse::<Pointer>(), Err(InvalidPointer::TooLong));
    }

    #[test]
    fn only_canonical_digits_are_indices() {
        for (text, index) in [("/0", Some(0)), ("/10", Some(10)), ("/01", None), ("/-", None), ("/", None), ("/+1", None)] {
            let pointer: Pointer = text.parse().expect("valid");
            assert_eq!(pointer.tokens().next().and_then(Token::index), index, "{text}");
        }
    }

    #[test]
    fn fragments_are_escaped_and_cut() {
        assert_eq!(fragment("/a b/é"), "#/a%20b/%C3%A9");
        assert!(fragment(&"/aaaa".repeat(1000)).len() < 520);
    }
}
