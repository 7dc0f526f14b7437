//! CloudEvents SQL v1: from text to the syntax tree. What a parser cannot decide (casts, missing attributes, unknown
//! functions) is left to evaluation, as CESQL §3 wants it.

mod functions;
mod lexer;

use lexer::{Token, TokenKind};

use super::atom::Place;
use super::expr::{Arithmetic, Compare, Constant, Expr, ExprKind, Logic, Span};
use super::limits::{self, Budget, Unfit};

/// How tightly each operator binds (CESQL §3.6 and its grammar). `AND`, `OR` and `XOR` bind alike and are read from left
/// to right, as the prose says.
mod power {
    pub(super) const LOGIC: u8 = 1;
    pub(super) const COMPARE: u8 = 2;
    pub(super) const ADD: u8 = 3;
    pub(super) const MULTIPLY: u8 = 4;
    pub(super) const IN: u8 = 5;
    pub(super) const LIKE: u8 = 6;
    pub(super) const UNARY: u8 = 7;
}

/// Reads an expression.
pub(super) fn parse(source: &str) -> Result<Expr, Unfit> {
    limits::fits(source)?;
    let mut parser = Parser { tokens: lexer::tokens(source)?, next: 0, budget: Budget::default() };
    let expr = parser.expression(0)?;
    match parser.peek() {
        TokenKind::End => Ok(expr),
        other => Err(parser.unfit(format!("{} is not expected here; an operator or the end is", other.describe()))),
    }
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    next: usize,
    budget: Budget,
}

enum Infix {
    Logic(Logic),
    Compare(Compare),
    Arithmetic(Arithmetic),
    In { negated: bool },
    Like { negated: bool },
}

impl<'a> Parser<'a> {
    fn expression(&mut self, least: u8) -> Result<Expr, Unfit> {
        let mut left = self.prefix()?;
        while let Some((infix, power)) = self.infix().filter(|(_, power)| *power > least) {
            left = match infix {
                Infix::Logic(logic) => self.logic(logic, left)?,
                Infix::Compare(compare) => self.binary(left, power, |left, right| ExprKind::Compare(compare, left, right))?,
                Infix::Arithmetic(operator) => self.binary(left, power, |left, right| ExprKind::Arithmetic(operator, left, right))?,
                Infix::In { negated } => self.one_of(left, negated)?,
                Infix::Like { negated } => self.like(left, negated)?,
            };
        }
        Ok(left)
    }

    /// Literals, names, calls, parentheses and prefix operators.
    fn prefix(&mut self) -> Result<Expr, Unfit> {
        let token = self.advance();
        let span = token.span;
        match token.kind {
            TokenKind::Digits(digits) => self.integer(span, digits),
            TokenKind::Text(text) => self.literal(span, Constant::Text(text.into())),
            TokenKind::Word(word) => self.word(span, word),
            TokenKind::Symbol("(") => self.parenthesised(span),
            TokenKind::Symbol(sign @ ("-" | "+")) => self.signed(span, sign),
            other => Err(Unfit::new(
                span.start as usize,
                format!("{} is not expected here; a literal, an attribute, a function or `(` is", other.describe()),
            )),
        }
    }

    fn word(&mut self, span: Span, word: &'a str) -> Result<Expr, Unfit> {
        if *self.peek() == TokenKind::Symbol("(") && !is_keyword(word) {
            return self.call(span, word);
        }
        match keyword(word) {
            Some(Keyword::True) => self.literal(span, Constant::Bool(true)),
            Some(Keyword::False) => self.literal(span, Constant::Bool(false)),
            Some(Keyword::Not) => self.unary(span, ExprKind::Not),
            Some(Keyword::Exists) => {
                let (name, end) = self.attribute_name()?;
                self.budget.node(span.to(end), ExprKind::Exists(name))
            }
            Some(_) => Err(Unfit::new(span.start as usize, format!("`{word}` needs an expression before it"))),
            None => {
                let place = attribute(span, word)?;
                self.budget.node(span, ExprKind::Read(place))
            }
        }
    }

    fn attribute_name(&mut self) -> Result<(Place, Span), Unfit> {
        let token = self.advance();
        match token.kind {
            TokenKind::Word(word) if !is_keyword(word) => Ok((attribute(token.span, word)?, token.span)),
            TokenKind::Digits(word) => Ok((attribute(token.span, word)?, token.span)),
            other => Err(Unfit::new(token.span.start as usize, format!("{} is not an attribute's name", other.describe()))),
        }
    }

    fn parenthesised(&mut self, open: Span) -> Result<Expr, Unfit> {
        self.budget.enter(open.start as usize)?;
        let mut inner = self.expression(0)?;
        self.budget.leave();
        inner.span = open.to(self.expect(")")?);
        Ok(inner)
    }

    /// `-` directly before digits is a sign, so that the least integer can be written; else it is the operator.
    fn signed(&mut self, span: Span, sign: &'static str) -> Result<Expr, Unfit> {
        let next = &self.tokens[self.next];
        if let TokenKind::Digits(digits) = next.kind
            && next.span.start == span.end
        {
            let span = span.to(next.span);
            self.next += 1;
            return self.integer(span, if sign == "-" { format!("-{digits}") } else { digits.to_owned() });
        }
        if sign == "+" {
            return Err(Unfit::new(span.start as usize, "`+` is a sign only directly before digits"));
        }
        self.unary(span, ExprKind::Negate)
    }

    fn unary(&mut self, span: Span, kind: fn(Box<Expr>) -> ExprKind) -> Result<Expr, Unfit> {
        self.budget.enter(span.start as usize)?;
        let operand = self.expression(power::UNARY)?;
        self.budget.leave();
        self.budget.node(span.to(operand.span), kind(Box::new(operand)))
    }

    fn integer(&mut self, span: Span, digits: impl AsRef<str>) -> Result<Expr, Unfit> {
        let value: i32 = digits
            .as_ref()
            .parse()
            .map_err(|_| Unfit::new(span.start as usize, "integers have 32 bits: from -2147483648 to 2147483647"))?;
        self.literal(span, Constant::Int(value.into()))
    }

    fn literal(&mut self, span: Span, constant: Constant) -> Result<Expr, Unfit> {
        self.budget.node(span, ExprKind::Literal(constant))
    }

    fn call(&mut self, span: Span, name: &str) -> Result<Expr, Unfit> {
        if name.len() > limits::MAX_NAME {
            return Err(Unfit::new(span.start as usize, format!("a function's name has at most {} bytes", limits::MAX_NAME)));
        }
        let (arguments, end) = self.arguments(true)?;
        let kind = match functions::find(name, arguments.len()) {
            Some(function) => ExprKind::Call(function, arguments),
            None => ExprKind::UnknownCall(name.to_ascii_uppercase().into(), arguments),
        };
        self.budget.node(span.to(end), kind)
    }

    /// `( expression, … )`
    fn arguments(&mut self, may_be_empty: bool) -> Result<(Vec<Expr>, Span), Unfit> {
        let open = self.expect("(")?;
        let mut arguments = Vec::new();
        if may_be_empty && *self.peek() == TokenKind::Symbol(")") {
            return Ok((arguments, self.advance().span));
        }
        self.budget.enter(open.start as usize)?;
        loop {
            arguments.push(self.expression(0)?);
            if *self.peek() != TokenKind::Symbol(",") {
                break;
            }
            self.next += 1;
        }
        self.budget.leave();
        Ok((arguments, self.expect(")")?))
    }

    /// The operator that comes next, if one does.
    fn infix(&self) -> Option<(Infix, u8)> {
        let negated = |word: &TokenKind<'_>| match word {
            TokenKind::Word(word) => keyword(word),
            _ => None,
        };
        Some(match self.peek() {
            TokenKind::Symbol(symbol) => symbol_operator(symbol)?,
            TokenKind::Word(word) => match keyword(word)? {
                Keyword::Logic(logic) => (Infix::Logic(logic), power::LOGIC),
                Keyword::In => (Infix::In { negated: false }, power::IN),
                Keyword::Like => (Infix::Like { negated: false }, power::LIKE),
                Keyword::Not => match negated(&self.tokens.get(self.next + 1)?.kind)? {
                    Keyword::In => (Infix::In { negated: true }, power::IN),
                    Keyword::Like => (Infix::Like { negated: true }, power::LIKE),
                    _ => return None,
                },
                _ => return None,
            },
            _ => return None,
        })
    }

    fn binary(&mut self, left: Expr, power: u8, kind: impl FnOnce(Box<Expr>, Box<Expr>) -> ExprKind) -> Result<Expr, Unfit> {
        self.next += 1;
        let right = self.expression(power)?;
        self.budget.node(left.span.to(right.span), kind(Box::new(left), Box::new(right)))
    }

    /// A run of one operator is one node, so that long conjunctions are not deep.
    fn logic(&mut self, logic: Logic, left: Expr) -> Result<Expr, Unfit> {
        let start = left.span;
        let mut operands = vec![left];
        while matches!(self.infix(), Some((Infix::Logic(next), _)) if next == logic) {
            self.next += 1;
            operands.push(self.expression(power::LOGIC)?);
        }
        let end = operands.last().map_or(start, |last| last.span);
        self.budget.node(start.to(end), ExprKind::Logic(logic, operands))
    }

    fn one_of(&mut self, left: Expr, negated: bool) -> Result<Expr, Unfit> {
        self.next += if negated { 2 } else { 1 };
        let (elements, end) = self.arguments(false)?;
        let span = left.span.to(end);
        self.negated(negated, span, ExprKind::OneOf(Box::new(left), elements))
    }

    fn like(&mut self, left: Expr, negated: bool) -> Result<Expr, Unfit> {
        self.next += if negated { 2 } else { 1 };
        let token = self.advance();
        let TokenKind::Text(pattern) = token.kind else {
            return Err(Unfit::new(token.span.start as usize, "the pattern of LIKE must be a string literal"));
        };
        let span = left.span.to(token.span);
        self.negated(negated, span, ExprKind::Like(Box::new(left), pattern.into()))
    }

    fn negated(&mut self, negated: bool, span: Span, kind: ExprKind) -> Result<Expr, Unfit> {
        let expr = self.budget.node(span, kind)?;
        if negated { self.budget.node(span, ExprKind::Not(Box::new(expr))) } else { Ok(expr) }
    }

    fn peek(&self) -> &TokenKind<'a> {
        &self.tokens[self.next].kind
    }

    /// Takes the next token; the end is never passed.
    fn advance(&mut self) -> Token<'a> {
        let token = self.tokens[self.next].clone();
        if token.kind != TokenKind::End {
            self.next += 1;
        }
        token
    }

    fn expect(&mut self, symbol: &'static str) -> Result<Span, Unfit> {
        let token = self.advance();
        if token.kind == TokenKind::Symbol(symbol) {
            return Ok(token.span);
        }
        Err(Unfit::new(token.span.start as usize, format!("`{symbol}` is expected here, not {}", token.kind.describe())))
    }

    fn unfit(&self, detail: String) -> Unfit {
        Unfit::new(self.tokens[self.next].span.start as usize, detail)
    }
}

fn symbol_operator(symbol: &str) -> Option<(Infix, u8)> {
    let compare = |compare| (Infix::Compare(compare), power::COMPARE);
    Some(match symbol {
        "=" => compare(Compare::Equal),
        "!=" | "<>" => compare(Compare::NotEqual),
        "<" => compare(Compare::Less),
        "<=" => compare(Compare::LessOrEqual),
        ">" => compare(Compare::Greater),
        ">=" => compare(Compare::GreaterOrEqual),
        "+" => (Infix::Arithmetic(Arithmetic::Add), power::ADD),
        "-" => (Infix::Arithmetic(Arithmetic::Subtract), power::ADD),
        "*" => (Infix::Arithmetic(Arithmetic::Multiply), power::MULTIPLY),
        "/" => (Infix::Arithmetic(Arithmetic::Divide), power::MULTIPLY),
        "%" => (Infix::Arithmetic(Arithmetic::Remainder), power::MULTIPLY),
        _ => return None,
    })
}

enum Keyword {
    True,
    False,
    Not,
    Exists,
    In,
    Like,
    Logic(Logic),
}

/// Keywords are the same in every case (CESQL §2).
fn keyword(word: &str) -> Option<Keyword> {
    Some(match word.to_ascii_uppercase().as_str() {
        "TRUE" => Keyword::True,
        "FALSE" => Keyword::False,
        "NOT" => Keyword::Not,
        "EXISTS" => Keyword::Exists,
        "IN" => Keyword::In,
        "LIKE" => Keyword::Like,
        "AND" => Keyword::Logic(Logic::And),
        "OR" => Keyword::Logic(Logic::Or),
        "XOR" => Keyword::Logic(Logic::Xor),
        _ => return None,
    })
}

fn is_keyword(word: &str) -> bool {
    keyword(word).is_some()
}

/// An attribute by its name in any case; attribute names are lower-case.
fn attribute(span: Span, word: &str) -> Result<Place, Unfit> {
    if word.len() > limits::MAX_NAME || !word.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(Unfit::new(span.start as usize, "attribute names are letters and digits, at most 128"));
    }
    Ok(Place::Attribute(word.to_ascii_lowercase().into()))
}

#[cfg(test)]
mod tests;
