//! CEL's words (CEL §Syntax).

use crate::filter::expr::{Constant, Double, Span};
use crate::filter::limits::Unfit;

use super::text;

/// One word and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Token<'a> {
    pub(super) span: Span,
    pub(super) kind: TokenKind<'a>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind<'a> {
    Name(&'a str),
    Literal(Constant),
    /// An integer's digits, decimal or `0x…`: the parser adds the sign.
    Digits(&'a str),
    Symbol(&'static str),
    End,
}

const SYMBOLS: [&str; 24] =
    ["==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", ".", ",", "(", ")", "[", "]", "{", "}"];

/// Splits the source into words; the last is [`TokenKind::End`].
pub(super) fn tokens(source: &str) -> Result<Vec<Token<'_>>, Unfit> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = source[at..].chars().next() {
        let rest = &source[at..];
        if matches!(first, '\t' | '\n' | '\x0c' | '\r' | ' ') {
            at += 1;
        } else if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else {
            let (kind, len) = token(rest, first, at)?;
            tokens.push(Token { span: Span::new(at, at + len), kind });
            at += len;
        }
    }
    tokens.push(Token { span: Span::new(at, at), kind: TokenKind::End });
    Ok(tokens)
}

fn token(rest: &str, first: char, at: usize) -> Result<(TokenKind<'_>, usize), Unfit> {
    if let Some(literal) = text::literal(rest, at)? {
        return Ok((TokenKind::Literal(literal.constant), literal.len));
    }
    let fraction = first == '.' && rest[1..].starts_with(|char: char| char.is_ascii_digit());
    if first.is_ascii_digit() || fraction {
        return number(rest, at);
    }
    if first.is_ascii_alphabetic() || first == '_' {
        let len = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        return Ok((TokenKind::Name(&rest[..len]), len));
    }
    match SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
        Some(symbol) => Ok((TokenKind::Symbol(symbol), symbol.len())),
        None => Err(Unfit::new(at, format!("`{}` has no meaning here", first.escape_debug()))),
    }
}

fn number(rest: &str, at: usize) -> Result<(TokenKind<'_>, usize), Unfit> {
    let bytes = rest.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let hex = rest.starts_with("0x") || rest.starts_with("0X");
    let mut len = if hex { 2 + bytes[2..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count() } else { digits(0) };
    let mut is_double = false;
    if !hex && bytes.get(len) == Some(&b'.') && digits(len + 1) > 0 {
        len += 1 + digits(len + 1);
        is_double = true;
    }
    if !hex && matches!(bytes.get(len), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(len + 1), Some(b'+' | b'-')));
        let exponent = digits((len + 1 + sign).min(bytes.len()));
        if exponent > 0 {
            len += 1 + sign + exponent;
            is_double = true;
        }
    }
    let text = &rest[..len];
    let is_uint = !is_double && matches!(bytes.get(len), Some(b'u' | b'U'));
    let end = len + usize::from(is_uint);
    if bytes.get(end).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
        return Err(Unfit::new(at + end, "a number ends before a letter or a blank is needed here"));
    }
    let kind = if is_double {
        let value = text.parse().ok().filter(|value: &f64| value.is_finite());
        TokenKind::Literal(Constant::Double(Double(value.ok_or_else(|| Unfit::new(at, "the number is out of range"))?)))
    } else if is_uint {
        let value = unsigned(text).ok_or_else(|| Unfit::new(at, "unsigned integers have 64 bits"))?;
        TokenKind::Literal(Constant::Uint(value))
    } else {
        TokenKind::Digits(text)
    };
    Ok((kind, end))
}

/// The value of decimal or hexadecimal digits.
pub(super) fn unsigned(digits: &str) -> Option<u64> {
    match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => digits.parse().ok(),
    }
}

impl TokenKind<'_> {
    /// As a fault names it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Name(text) | Self::Digits(text) => format!("`{}`", text.chars().take(40).collect::<String>()),
            Self::Literal(_) => "a literal".to_owned(),
            Self::Symbol(symbol) => format!("`{symbol}`"),
            Self::End => "the end".to_owned(),
        }
    }
}
