//! CEL's names, members, calls and macros.

use super::lexer::TokenKind;
use super::{Parser, below, names};
use crate::filter::atom::Place;
use crate::filter::expr::{Constant, Expr, ExprKind, Quantifier, Span};
use crate::filter::limits::{MAX_NAME, Unfit};
use crate::json::Pointer;

const FUNCTIONS: &str = "has, size, matches, int, uint, double, string, bool, bytes, timestamp, duration, type, dyn";
const METHODS: &str =
    "startsWith, endsWith, contains, matches, size, lowerAscii, upperAscii, trim, all, exists, exists_one, getFullYear and its like";

impl<'a> Parser<'a> {
    /// `primary ( "." name | "." name "(" … ")" | "[" … "]" )*`
    pub(super) fn member(&mut self) -> Result<Expr, Unfit> {
        let mut of = self.primary()?;
        let mut selected = false;
        loop {
            let open = self.span();
            if self.take(".") {
                let token = self.advance();
                let TokenKind::Name(name) = token.kind else {
                    return Err(Unfit::new(
                        token.span.start as usize,
                        format!("a name is expected after `.`, not {}", token.kind.describe()),
                    ));
                };
                if *self.peek() == TokenKind::Symbol("(") {
                    of = self.method(of, name, token.span)?;
                    selected = false;
                } else {
                    of = self.field(of, name, token.span)?;
                    selected = true;
                }
            } else if self.take("[") {
                self.budget.enter(open.start as usize)?;
                let key = self.expression()?;
                self.budget.leave();
                let end = self.expect("]")?;
                of = self.index(of, key, end)?;
                selected = false;
            } else {
                self.selected = selected;
                return Ok(of);
            }
        }
    }

    /// A name that nothing is before.
    pub(super) fn name(&mut self, span: Span, name: &'a str) -> Result<Expr, Unfit> {
        if *self.peek() == TokenKind::Symbol("(") && !names::is_reserved(name) {
            return self.call(span, name);
        }
        if let Some(variable) = self.variables.iter().rposition(|variable| *variable == name) {
            let variable = u16::try_from(variable).expect("macros are not deep");
            return self.budget.node(span, ExprKind::Variable(variable));
        }
        match name {
            "true" => self.literal(span, Constant::Bool(true)),
            "false" => self.literal(span, Constant::Bool(false)),
            "null" => self.literal(span, Constant::Null),
            "event" => self.budget.node(span, ExprKind::Event),
            "data" => {
                let root = "".parse::<Pointer>().map_err(|error| Unfit::new(span.start as usize, error.to_string()))?;
                self.budget.node(span, ExprKind::Read(Place::Data(root)))
            }
            "google" => self.well_known(span),
            name if names::is_type(name) => self.literal(span, Constant::Type(name.into())),
            name if names::is_reserved(name) => Err(Unfit::new(span.start as usize, format!("`{name}` is a reserved word"))),
            name => {
                let shown: String = name.chars().take(40).collect();
                Err(Unfit::new(
                    span.start as usize,
                    format!("`{shown}` is unknown; `event` and `data` are known, as in `event.type` and `data.total`"),
                ))
            }
        }
    }

    /// `google.protobuf.Timestamp` and `…Duration`, the types.
    fn well_known(&mut self, span: Span) -> Result<Expr, Unfit> {
        for name in ["protobuf", "Timestamp"] {
            self.expect(".")?;
            let token = self.advance();
            let known = match token.kind {
                TokenKind::Name("Duration") if name == "Timestamp" => {
                    return self.literal(span.to(token.span), Constant::Type("google.protobuf.Duration".into()));
                }
                TokenKind::Name(found) => found == name,
                _ => false,
            };
            if !known {
                return Err(Unfit::new(
                    token.span.start as usize,
                    "of `google`, only google.protobuf.Timestamp and google.protobuf.Duration are known",
                ));
            }
        }
        let end = self.tokens[self.next - 1].span;
        self.literal(span.to(end), Constant::Type("google.protobuf.Timestamp".into()))
    }

    fn field(&mut self, of: Expr, name: &str, at: Span) -> Result<Expr, Unfit> {
        // Other reserved words may be fields (CEL §Syntax: SELECTOR).
        if matches!(name, "in" | "true" | "false" | "null") {
            return Err(Unfit::new(at.start as usize, format!("`{name}` is no field's name; write `['{name}']`")));
        }
        let span = of.span.to(at);
        let kind = match of.kind {
            ExprKind::Event => ExprKind::Read(attribute(name, at)?),
            ExprKind::Read(Place::Data(pointer)) => match below(&pointer, &Constant::Text(name.into())) {
                Some(place) => ExprKind::Read(Place::Data(place)),
                None => return Err(Unfit::new(at.start as usize, "the place in the data is too deep")),
            },
            kind => ExprKind::Field { of: Box::new(Expr { span: of.span, kind }), name: name.into(), test: false },
        };
        self.budget.node(span, kind)
    }

    fn index(&mut self, of: Expr, key: Expr, end: Span) -> Result<Expr, Unfit> {
        let span = of.span.to(end);
        let kind = match (&of.kind, &key.kind) {
            (ExprKind::Event, ExprKind::Literal(Constant::Text(name))) => Some(ExprKind::Read(attribute(name, key.span)?)),
            (ExprKind::Read(Place::Data(pointer)), ExprKind::Literal(key)) => {
                below(pointer, key).map(|place| ExprKind::Read(Place::Data(place)))
            }
            _ => None,
        };
        self.budget.node(span, kind.unwrap_or_else(|| ExprKind::Index(Box::new(of), Box::new(key))))
    }

    /// `name(…)`
    fn call(&mut self, span: Span, name: &'a str) -> Result<Expr, Unfit> {
        if name == "has" {
            return self.has(span);
        }
        let open = self.expect("(")?;
        let (mut arguments, end) = self.several(open, ")", Self::expression)?;
        let span = span.to(end);
        if name == "matches" && arguments.len() == 2 {
            let pattern = arguments.pop().map(|pattern| literal_text(&pattern)).transpose()?.unwrap_or_default();
            let text = arguments.remove(0);
            return self.budget.node(span, ExprKind::Matches(Box::new(text), pattern));
        }
        let Some(function) = names::function(name) else {
            let shown: String = name.chars().take(40).collect();
            return Err(Unfit::new(span.start as usize, format!("there is no function `{shown}`; {FUNCTIONS} are")));
        };
        if arguments.len() != 1 {
            return Err(Unfit::new(span.start as usize, format!("`{name}` takes one argument, not {}", arguments.len())));
        }
        self.budget.node(span, ExprKind::Call(function, arguments))
    }

    /// `has(a.b)`: whether `a` has the field.
    fn has(&mut self, span: Span) -> Result<Expr, Unfit> {
        let open = self.expect("(")?;
        self.budget.enter(open.start as usize)?;
        self.selected = false;
        let mut argument = self.expression()?;
        self.budget.leave();
        let span = span.to(self.expect(")")?);
        argument.span = span;
        argument.kind = match argument.kind {
            ExprKind::Read(place) if self.selected => ExprKind::Exists(place),
            ExprKind::Field { of, name, .. } if self.selected => ExprKind::Field { of, name, test: true },
            _ => {
                return Err(Unfit::new(
                    open.start as usize,
                    "`has` takes a field, as in `has(data.total)`; for other keys write `'key' in data`",
                ));
            }
        };
        self.selected = false;
        Ok(argument)
    }

    /// `of.name(…)`
    fn method(&mut self, of: Expr, name: &'a str, at: Span) -> Result<Expr, Unfit> {
        if let Some(quantifier) = names::quantifier(name) {
            return self.quantified(of, quantifier);
        }
        let method = names::method(name);
        if method.is_none() && name != "matches" {
            let shown: String = name.chars().take(40).collect();
            let more = if matches!(name, "map" | "filter") { "; map and filter are left out" } else { "" };
            return Err(Unfit::new(at.start as usize, format!("there is no method `{shown}`; {METHODS} are{more}")));
        }
        let open = self.expect("(")?;
        let (mut arguments, end) = self.several(open, ")", Self::expression)?;
        let span = of.span.to(end);
        let takes = method.map_or(1, |(_, takes)| takes);
        if arguments.len() != takes {
            return Err(Unfit::new(at.start as usize, format!("`{name}` takes {takes} arguments, not {}", arguments.len())));
        }
        match method {
            None => {
                let pattern = literal_text(&arguments[0])?;
                self.budget.node(span, ExprKind::Matches(Box::new(of), pattern))
            }
            Some((function, _)) => {
                arguments.insert(0, of);
                self.budget.node(span, ExprKind::Call(function, arguments))
            }
        }
    }

    /// `of.all(variable, predicate)` and its like.
    fn quantified(&mut self, over: Expr, quantifier: Quantifier) -> Result<Expr, Unfit> {
        let open = self.expect("(")?;
        self.budget.enter(open.start as usize)?;
        let token = self.advance();
        let TokenKind::Name(name) = token.kind else {
            return Err(Unfit::new(token.span.start as usize, "the variable's name is expected here, as in `lines.all(line, …)`"));
        };
        if names::is_reserved(name) || ["true", "false", "null"].contains(&name) || name.len() > MAX_NAME {
            return Err(Unfit::new(token.span.start as usize, "this is no variable's name"));
        }
        self.expect(",")?;
        let variable = u16::try_from(self.variables.len()).expect("macros are not deep");
        self.variables.push(name);
        let predicate = self.expression()?;
        self.variables.pop();
        self.budget.leave();
        let span = over.span.to(self.expect(")")?);
        let kind = ExprKind::Quantified { quantifier, variable, over: Box::new(over), predicate: Box::new(predicate) };
        self.budget.node(span, kind)
    }
}

fn literal_text(expr: &Expr) -> Result<Box<str>, Unfit> {
    match &expr.kind {
        ExprKind::Literal(Constant::Text(text)) => Ok(text.clone()),
        _ => Err(Unfit::new(expr.span.start as usize, "the pattern of `matches` must be a string literal")),
    }
}

/// An attribute of the event by its name.
fn attribute(name: &str, at: Span) -> Result<Place, Unfit> {
    let fits = !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if name == "data" {
        return Err(Unfit::new(at.start as usize, "the data is a variable of its own: write `data`, not `event.data`"));
    }
    if !fits {
        return Err(Unfit::new(at.start as usize, "attribute names are lower-case letters and digits"));
    }
    Ok(Place::Attribute(name.into()))
}
