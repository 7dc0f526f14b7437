//! A scanner over JSON text that tells where values begin and end, without recursion and without building anything.
//!
//! Strings, numbers and words are checked in full. Inside objects and arrays only brackets and strings are followed:
//! what stands in them is data, which the JSON parser checks later on exactly the same bytes.

use std::borrow::Cow;
use std::ops::Range;

use super::refusal::syntax;
use super::strings::unescape;
use crate::problem::Problem;

/// A place in a JSON text; offsets count from the start of the text.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    pos: usize,
}

/// The deepest nesting that can be followed.
pub(super) const DEEPEST: usize = 256;

impl<'a> Scanner<'a> {
    /// At `pos` of `text`.
    pub(super) fn new(text: &'a str, pos: usize) -> Self {
        Self { text, pos }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.pos).copied()
    }

    /// Past whitespace, to the next byte.
    pub(super) fn next_token(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.pos += 1;
        }
        self.peek()
    }

    /// Takes the next token if it is this byte.
    pub(super) fn take(&mut self, wanted: u8) -> bool {
        let found = self.next_token() == Some(wanted);
        self.pos += usize::from(found);
        found
    }

    /// Takes this byte, or says what was expected.
    pub(super) fn need(&mut self, wanted: u8, what: &str) -> Result<(), Problem> {
        if self.take(wanted) { Ok(()) } else { Err(self.unexpected(what)) }
    }

    /// The end of the text, after whitespace.
    pub(super) fn end(&mut self) -> Result<(), Problem> {
        if self.next_token().is_none() { Ok(()) } else { Err(self.unexpected("nothing more")) }
    }

    /// What stands here instead of `wanted`.
    pub(super) fn unexpected(&self, wanted: &str) -> Problem {
        match self.text.get(self.pos..).and_then(|rest| rest.chars().next()) {
            Some(char) => syntax(self.pos, format!("expected {wanted}, found `{}`", char.escape_default())),
            None => syntax(self.pos, format!("expected {wanted}, found the end")),
        }
    }

    /// A string, decoded.
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, Problem> {
        let inner = self.skip_string()?;
        unescape(&self.text[inner.clone()], inner.start)
    }

    /// A number's text (RFC 8259 §6).
    pub(super) fn number(&mut self) -> Result<&'a str, Problem> {
        let start = self.pos;
        self.pos += usize::from(self.peek() == Some(b'-'));
        if self.peek() == Some(b'0') {
            self.pos += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.pos += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.pos += 1;
            self.pos += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(&self.text[start..self.pos])
    }

    fn digits(&mut self) -> Result<(), Problem> {
        let start = self.pos;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.pos += 1;
        }
        if self.pos > start { Ok(()) } else { Err(self.unexpected("a digit")) }
    }

    /// Takes `true`, `false` or `null`.
    pub(super) fn word(&mut self, word: &'static str) -> Result<&'static str, Problem> {
        if !self.text.as_bytes()[self.pos..].starts_with(word.as_bytes()) {
            return Err(self.unexpected("a JSON value"));
        }
        self.pos += word.len();
        Ok(word)
    }

    /// Where the value here lies, without whitespace around it. Containers nest at most `depth` (≤ [`DEEPEST`]) deep.
    pub(super) fn value(&mut self, depth: usize) -> Result<Range<usize>, Problem> {
        let first = self.next_token();
        let start = self.pos;
        match first {
            Some(b'"') => self.skip_string().map(drop)?,
            Some(b'{' | b'[') => self.skip_container(depth)?,
            Some(b't') => self.word("true").map(drop)?,
            Some(b'f') => self.word("false").map(drop)?,
            Some(b'n') => self.word("null").map(drop)?,
            Some(b'-' | b'0'..=b'9') => self.number().map(drop)?,
            _ => return Err(self.unexpected("a JSON value")),
        }
        Ok(start..self.pos)
    }

    /// Past a string; what stands between its quotes. Escapes are stepped over, not checked.
    fn skip_string(&mut self) -> Result<Range<usize>, Problem> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("a string"));
        }
        let bytes = self.text.as_bytes();
        let start = self.pos + 1;
        let mut at = start;
        loop {
            let found = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest));
            let Some(found) = found else { return Err(syntax(self.pos, "a string is not closed; it starts")) };
            if bytes[at + found] == b'"' {
                self.pos = at + found + 1;
                return Ok(start..at + found);
            }
            at += found + 2;
        }
    }

    fn skip_container(&mut self, limit: usize) -> Result<(), Problem> {
        let start = self.pos;
        let mut open = Brackets::default();
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.skip_string()?;
                    continue;
                }
                b'{' | b'[' if open.depth == limit.min(DEEPEST) => {
                    return Err(syntax(self.pos, format!("JSON data nests deeper than {limit} levels; flatten it")));
                }
                b'{' | b'[' => open.push(byte == b'{'),
                b'}' | b']' if !open.pop(byte == b'}') => return Err(self.unexpected("the other kind of bracket")),
                _ => {}
            }
            self.pos += 1;
            if open.depth == 0 {
                return Ok(());
            }
        }
        Err(syntax(start, "an object or array is not closed; it starts"))
    }
}

/// Which brackets are open: one bit a level.
#[derive(Default)]
struct Brackets {
    curly: [u64; DEEPEST / 64],
    depth: usize,
}

impl Brackets {
    /// The caller has checked that `depth` is below [`DEEPEST`].
    fn push(&mut self, curly: bool) {
        let (word, bit) = (self.depth / 64, self.depth % 64);
        self.curly[word] = self.curly[word] & !(1 << bit) | u64::from(curly) << bit;
        self.depth += 1;
    }

    /// Whether the innermost bracket was of this kind.
    fn pop(&mut self, curly: bool) -> bool {
        self.depth -= 1;
        (self.curly[self.depth / 64] >> (self.depth % 64) & 1 == 1) == curly
    }
}
