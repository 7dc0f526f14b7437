//! What an expression may have, and how a text that is none is refused.

use super::expr::{Expr, ExprKind, Span};

/// Longest source, in bytes.
pub(super) const MAX_SOURCE: usize = 8 << 10;
/// Most parts: literals, names, operators, calls.
pub(super) const MAX_NODES: usize = 256;
/// Deepest nesting of parentheses, calls, prefix operators and macros.
pub(super) const MAX_DEPTH: usize = 32;
/// Longest name of a function or variable.
pub(super) const MAX_NAME: usize = 128;

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {detail}")]
pub struct Refusal {
    /// The place in the source, in bytes.
    pub at: usize,
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// What is wrong and what was expected.
    pub detail: String,
}

/// What a parser has used up.
#[derive(Debug, Default)]
pub(super) struct Budget {
    nodes: usize,
    depth: usize,
}

/// A refusal without its line yet; parsers make these.
#[derive(Debug)]
pub(super) struct Unfit {
    pub(super) at: usize,
    pub(super) detail: String,
}

impl Unfit {
    pub(super) fn new(at: usize, detail: impl Into<String>) -> Self {
        Self { at, detail: detail.into() }
    }

    /// With line and column.
    pub(super) fn within(self, source: &str) -> Refusal {
        let at = source.floor_char_boundary(self.at.min(source.len()));
        let before = &source[..at];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Refusal { at, line: 1 + before.matches('\n').count(), column: 1 + before[start..].chars().count(), detail: self.detail }
    }
}

impl Budget {
    /// A new part of the expression.
    pub(super) fn node(&mut self, span: Span, kind: ExprKind) -> Result<Expr, Unfit> {
        self.count(1, span.start as usize)?;
        Ok(Expr { span, kind })
    }

    /// Counts parts.
    pub(super) fn count(&mut self, nodes: usize, at: usize) -> Result<(), Unfit> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return Err(Unfit::new(at, format!("the expression has more than {MAX_NODES} parts; split it into several filters")));
        }
        Ok(())
    }

    /// One level deeper, until [`Budget::leave`].
    pub(super) fn enter(&mut self, at: usize) -> Result<(), Unfit> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Unfit::new(at, format!("the expression is nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(())
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }
}

/// Refuses a source that is too long.
pub(super) fn fits(source: &str) -> Result<(), Unfit> {
    if source.len() > MAX_SOURCE {
        return Err(Unfit::new(MAX_SOURCE, format!("the expression has {} bytes; at most {MAX_SOURCE} are allowed", source.len())));
    }
    Ok(())
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Self {
        let short = |at: usize| u32::try_from(at).expect("sources are short");
        Self { start: short(start), end: short(end) }
    }

    /// From the start of this to the end of `other`.
    pub(super) fn to(self, other: Self) -> Self {
        Self { start: self.start, end: other.end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_lines_and_characters() {
        let refusal = Unfit::new(8, "x").within("é\nab\ncdé");
        assert_eq!((refusal.at, refusal.line, refusal.column), (8, 3, 3));
        assert_eq!(Unfit::new(99, "x").within("ab").column, 3);
        assert_eq!(Unfit::new(0, "x").within("").to_string(), "line 1, column 1: x");
    }
}
