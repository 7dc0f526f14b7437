//! A subset of CEL over two variables, `event` and `data` (protocols §4): from text to the syntax tree. Places that are
//! known beforehand (`event.type`, `data.lines[0].sku`) become places of the tree. docs/filters.md lists the subset.

mod lexer;
mod member;
mod names;
mod text;

use lexer::{Token, TokenKind};

use super::atom::Place;
use super::expr::{Arithmetic, Compare, Constant, Expr, ExprKind, Logic, Span};
use super::limits::{self, Budget, Unfit};
use crate::json::Pointer;

/// Reads an expression.
pub(super) fn parse(source: &str) -> Result<Expr, Unfit> {
    limits::fits(source)?;
    let mut parser = Parser { tokens: lexer::tokens(source)?, next: 0, budget: Budget::default(), variables: Vec::new(), selected: false };
    let expr = parser.expression()?;
    match parser.peek() {
        TokenKind::End => Ok(expr),
        other => Err(parser.unfit(format!("{} is not expected here; an operator or the end is", other.describe()))),
    }
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    next: usize,
    budget: Budget,
    /// The variables of the macros that are open, outermost first.
    variables: Vec<&'a str>,
    /// Whether the last member expression ended with `.name`, as `has` wants it.
    selected: bool,
}

impl<'a> Parser<'a> {
    /// `or ["?" or ":" expression]`
    fn expression(&mut self) -> Result<Expr, Unfit> {
        let condition = self.or()?;
        if !self.take("?") {
            return Ok(condition);
        }
        let then = self.or()?;
        self.expect(":")?;
        self.budget.enter(then.span.end as usize)?;
        let otherwise = self.expression()?;
        self.budget.leave();
        let span = condition.span.to(otherwise.span);
        self.budget.node(span, ExprKind::Conditional(Box::new(condition), Box::new(then), Box::new(otherwise)))
    }

    fn or(&mut self) -> Result<Expr, Unfit> {
        self.chain("||", Logic::Or, Self::and)
    }

    fn and(&mut self) -> Result<Expr, Unfit> {
        self.chain("&&", Logic::And, Self::relation)
    }

    /// A run of one operator is one node, so that long conjunctions are not deep.
    fn chain(&mut self, symbol: &'static str, logic: Logic, operand: fn(&mut Self) -> Result<Expr, Unfit>) -> Result<Expr, Unfit> {
        let first = operand(self)?;
        if *self.peek() != TokenKind::Symbol(symbol) {
            return Ok(first);
        }
        let start = first.span;
        let mut operands = vec![first];
        while self.take(symbol) {
            operands.push(operand(self)?);
        }
        let end = operands.last().map_or(start, |last| last.span);
        self.budget.node(start.to(end), ExprKind::Logic(logic, operands))
    }

    fn relation(&mut self) -> Result<Expr, Unfit> {
        let mut left = self.sum()?;
        loop {
            let compare = match self.peek() {
                TokenKind::Symbol("==") => Some(Compare::Equal),
                TokenKind::Symbol("!=") => Some(Compare::NotEqual),
                TokenKind::Symbol("<") => Some(Compare::Less),
                TokenKind::Symbol("<=") => Some(Compare::LessOrEqual),
                TokenKind::Symbol(">") => Some(Compare::Greater),
                TokenKind::Symbol(">=") => Some(Compare::GreaterOrEqual),
                TokenKind::Name("in") => None,
                _ => return Ok(left),
            };
            self.next += 1;
            let right = self.sum()?;
            let span = left.span.to(right.span);
            let kind = match compare {
                Some(compare) => ExprKind::Compare(compare, Box::new(left), Box::new(right)),
                None => contained(left, right),
            };
            left = self.budget.node(span, kind)?;
        }
    }

    fn sum(&mut self) -> Result<Expr, Unfit> {
        self.arithmetic(&[("+", Arithmetic::Add), ("-", Arithmetic::Subtract)], Self::product)
    }

    fn product(&mut self) -> Result<Expr, Unfit> {
        let operators = [("*", Arithmetic::Multiply), ("/", Arithmetic::Divide), ("%", Arithmetic::Remainder)];
        self.arithmetic(&operators, Self::unary)
    }

    fn arithmetic(
        &mut self,
        operators: &[(&'static str, Arithmetic)],
        operand: fn(&mut Self) -> Result<Expr, Unfit>,
    ) -> Result<Expr, Unfit> {
        let mut left = operand(self)?;
        while let Some((_, operator)) = operators.iter().find(|(symbol, _)| *self.peek() == TokenKind::Symbol(symbol)) {
            self.next += 1;
            let right = operand(self)?;
            let span = left.span.to(right.span);
            left = self.budget.node(span, ExprKind::Arithmetic(*operator, Box::new(left), Box::new(right)))?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expr, Unfit> {
        let span = self.span();
        let kind: fn(Box<Expr>) -> ExprKind = match self.peek() {
            TokenKind::Symbol("!") => ExprKind::Not,
            TokenKind::Symbol("-") if !self.is_sign() => ExprKind::Negate,
            _ => return self.member(),
        };
        self.next += 1;
        self.budget.enter(span.start as usize)?;
        let operand = self.unary()?;
        self.budget.leave();
        self.budget.node(span.to(operand.span), kind(Box::new(operand)))
    }

    /// `-` directly before a number belongs to it, so that the least integer can be written.
    fn is_sign(&self) -> bool {
        let here = self.span();
        let Some(next) = self.tokens.get(self.next + 1) else { return false };
        let number = matches!(next.kind, TokenKind::Digits(_) | TokenKind::Literal(Constant::Double(_)));
        *self.peek() == TokenKind::Symbol("-") && number && next.span.start == here.end
    }

    /// Literals, names, calls, parentheses, lists and maps.
    fn primary(&mut self) -> Result<Expr, Unfit> {
        let negative = self.is_sign();
        let sign = self.span();
        self.next += usize::from(negative);
        let token = self.advance();
        let span = if negative { sign.to(token.span) } else { token.span };
        match token.kind {
            TokenKind::Digits(digits) => {
                let value =
                    lexer::unsigned(digits).map(i128::from).and_then(|value| i64::try_from(if negative { -value } else { value }).ok());
                let value = value.ok_or_else(|| Unfit::new(span.start as usize, "integers have 64 bits"))?;
                self.literal(span, Constant::Int(value))
            }
            TokenKind::Literal(Constant::Double(mut value)) => {
                value.0 = if negative { -value.0 } else { value.0 };
                self.literal(span, Constant::Double(value))
            }
            TokenKind::Literal(constant) => self.literal(span, constant),
            TokenKind::Name(name) => self.name(span, name),
            TokenKind::Symbol("(") => {
                self.budget.enter(span.start as usize)?;
                let mut inner = self.expression()?;
                self.budget.leave();
                inner.span = span.to(self.expect(")")?);
                Ok(inner)
            }
            TokenKind::Symbol("[") => {
                let (elements, end) = self.several(span, "]", Self::expression)?;
                self.budget.node(span.to(end), ExprKind::List(elements))
            }
            TokenKind::Symbol("{") => {
                let (entries, end) = self.several(span, "}", Self::entry)?;
                self.budget.node(span.to(end), ExprKind::Map(entries))
            }
            other => {
                Err(Unfit::new(span.start as usize, format!("{} is not expected here; a literal, a name or `(` is", other.describe())))
            }
        }
    }

    fn entry(&mut self) -> Result<(Expr, Expr), Unfit> {
        let key = self.expression()?;
        self.expect(":")?;
        Ok((key, self.expression()?))
    }

    /// Parts between commas, one after the last too, up to `close`.
    fn several<T>(&mut self, open: Span, close: &'static str, part: fn(&mut Self) -> Result<T, Unfit>) -> Result<(Vec<T>, Span), Unfit> {
        self.budget.enter(open.start as usize)?;
        let mut parts = Vec::new();
        while *self.peek() != TokenKind::Symbol(close) {
            parts.push(part(self)?);
            if !self.take(",") {
                break;
            }
        }
        self.budget.leave();
        Ok((parts, self.expect(close)?))
    }

    fn literal(&mut self, span: Span, constant: Constant) -> Result<Expr, Unfit> {
        self.budget.node(span, ExprKind::Literal(constant))
    }

    fn peek(&self) -> &TokenKind<'a> {
        &self.tokens[self.next].kind
    }

    fn span(&self) -> Span {
        self.tokens[self.next].span
    }

    /// Takes the next token; the end is never passed.
    fn advance(&mut self) -> Token<'a> {
        let token = self.tokens[self.next].clone();
        if token.kind != TokenKind::End {
            self.next += 1;
        }
        token
    }

    fn take(&mut self, symbol: &'static str) -> bool {
        let is_it = *self.peek() == TokenKind::Symbol(symbol);
        self.next += usize::from(is_it);
        is_it
    }

    fn expect(&mut self, symbol: &'static str) -> Result<Span, Unfit> {
        let token = self.advance();
        if token.kind == TokenKind::Symbol(symbol) {
            return Ok(token.span);
        }
        Err(Unfit::new(token.span.start as usize, format!("`{symbol}` is expected here, not {}", token.kind.describe())))
    }

    fn unfit(&self, detail: String) -> Unfit {
        Unfit::new(self.span().start as usize, detail)
    }
}

/// `left in right`; of the event it asks whether it has the attribute.
fn contained(left: Expr, right: Expr) -> ExprKind {
    match (&left.kind, &right.kind) {
        (ExprKind::Literal(Constant::Text(name)), ExprKind::Event) => ExprKind::Exists(Place::Attribute(name.clone())),
        _ => ExprKind::In(Box::new(left), Box::new(right)),
    }
}

/// The place of a member of the data, when a name or a number leads there and could not mean the other.
fn below(pointer: &Pointer, key: &Constant) -> Option<Pointer> {
    match key {
        Constant::Text(name) => pointer.join(name).filter(|place| place.tokens().last().is_some_and(|token| token.index().is_none())),
        Constant::Int(index) => u32::try_from(*index).ok().and_then(|index| pointer.join(&index.to_string())),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
