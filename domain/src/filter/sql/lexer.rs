//! CESQL's words (CESQL §2.2 and the grammar of its folder).

use std::borrow::Cow;

use crate::filter::expr::Span;
use crate::filter::limits::Unfit;

/// One word and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Token<'a> {
    pub(super) span: Span,
    pub(super) kind: TokenKind<'a>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind<'a> {
    /// Digits only; the parser adds the sign.
    Digits(&'a str),
    /// A keyword, an identifier or a function's name.
    Word(&'a str),
    /// A string's value.
    Text(Cow<'a, str>),
    /// `( ) , = != <> >= <= < > + - * / %`
    Symbol(&'static str),
    End,
}

const SYMBOLS: [&str; 15] = ["!=", "<>", ">=", "<=", "(", ")", ",", "=", "<", ">", "+", "-", "*", "/", "%"];

/// Splits the source into words; the last is [`TokenKind::End`].
pub(super) fn tokens(source: &str) -> Result<Vec<Token<'_>>, Unfit> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = source[at..].chars().next() {
        if first.is_ascii_whitespace() {
            at += 1;
            continue;
        }
        let (kind, len) = token(&source[at..], first, at)?;
        tokens.push(Token { span: Span::new(at, at + len), kind });
        at += len;
    }
    tokens.push(Token { span: Span::new(at, at), kind: TokenKind::End });
    Ok(tokens)
}

fn token(rest: &str, first: char, at: usize) -> Result<(TokenKind<'_>, usize), Unfit> {
    if first == '\'' || first == '"' {
        return text(rest, first, at);
    }
    if first.is_ascii_alphanumeric() || first == '_' {
        let len = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        let word = &rest[..len];
        let digits = word.bytes().all(|byte| byte.is_ascii_digit());
        return Ok((if digits { TokenKind::Digits(word) } else { TokenKind::Word(word) }, len));
    }
    match SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
        Some(symbol) => Ok((TokenKind::Symbol(symbol), symbol.len())),
        None => Err(Unfit::new(at, format!("`{}` has no meaning here", first.escape_debug()))),
    }
}

/// A string: only its own delimiter is escaped, by a backslash; every other backslash stays, and so do doubled delimiters.
fn text(rest: &str, delimiter: char, at: usize) -> Result<(TokenKind<'_>, usize), Unfit> {
    let mut value = Cow::Borrowed("");
    let mut kept = 1;
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((index, char)) = chars.next() {
        match char {
            '\\' => {
                if matches!(chars.next(), Some((_, next)) if next == delimiter) {
                    value.to_mut().push_str(&rest[kept..index]);
                    kept = index + 1;
                }
            }
            char if char == delimiter => {
                if chars.next_if(|(_, next)| *next == delimiter).is_some() {
                    continue;
                }
                let tail = &rest[kept..index];
                let value = if value.is_empty() { Cow::Borrowed(tail) } else { value + tail };
                return Ok((TokenKind::Text(value), index + 1));
            }
            _ => {}
        }
    }
    Err(Unfit::new(at, format!("the string that starts here has no closing {delimiter}")))
}

impl TokenKind<'_> {
    /// As a fault names it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Digits(text) | Self::Word(text) => format!("`{}`", text.chars().take(40).collect::<String>()),
            Self::Text(_) => "a string".to_owned(),
            Self::Symbol(symbol) => format!("`{symbol}`"),
            Self::End => "the end".to_owned(),
        }
    }
}
