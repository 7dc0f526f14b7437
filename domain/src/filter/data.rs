//! The `data` dialect (interfaces §9): `{"/total": {"gt": 100}, "/lines/0/sku": {"prefix": "A-"}}`. For people who want no
//! language; it becomes the same tree.

use serde_json::{Map, Value};

use super::atom::Place;
use super::expr::{Compare, Constant, Double, Expr, ExprKind, Function, Logic, Span};
use super::limits::{Budget, MAX_SOURCE, Unfit};
use super::regexp::Regexp;
use crate::fields::{Faults, pointer};
use crate::json::Pointer;

const OPERATORS: &str = "eq, ne, lt, le, gt, ge, in, exists, prefix, suffix, regex";

/// Reads the assertions; gives their JSON in one line, which the tree's spans are places in.
pub(super) fn parse(body: &Value, at: &str, faults: &mut Faults) -> Option<(String, Expr)> {
    let Some(places) = body.as_object().filter(|places| !places.is_empty()) else {
        faults.shape(at, "must be an object that names at least one place by its JSON pointer, like `{\"/total\": {\"gt\": 100}}`");
        return None;
    };
    let mut reader = Reader { source: String::from("{"), assertions: Vec::new(), budget: Budget::default(), faults };
    for (n, (text, operators)) in places.iter().enumerate() {
        if n > 0 {
            reader.source.push(',');
        }
        reader.place(text, operators, &pointer(at, text))?;
    }
    reader.source.push('}');
    let (source, assertions) = (reader.source, reader.assertions);
    if source.len() > MAX_SOURCE {
        faults.meaning(at, format!("has {} bytes; at most {MAX_SOURCE} are allowed", source.len()));
        return None;
    }
    let span = Span::new(0, source.len());
    Some((source, Expr { span, kind: ExprKind::Logic(Logic::And, assertions) }))
}

struct Reader<'f> {
    source: String,
    assertions: Vec<Expr>,
    budget: Budget,
    faults: &'f mut Faults,
}

impl Reader<'_> {
    fn place(&mut self, text: &str, operators: &Value, at: &str) -> Option<()> {
        let place = match text.parse::<Pointer>() {
            Ok(pointer) => Place::Data(pointer),
            Err(error) => {
                self.faults.meaning(at, error.to_string());
                return None;
            }
        };
        let Some(operators) = operators.as_object().filter(|operators| !operators.is_empty()) else {
            self.faults.shape(at, format!("must be an object of at least one of {OPERATORS}"));
            return None;
        };
        self.source.push_str(&Value::from(text).to_string());
        self.source.push_str(":{");
        for (n, (operator, operand)) in operators.iter().enumerate() {
            if n > 0 {
                self.source.push(',');
            }
            self.assertion(&place, operator, operand, &pointer(at, operator))?;
        }
        self.source.push('}');
        Some(())
    }

    fn assertion(&mut self, place: &Place, operator: &str, operand: &Value, at: &str) -> Option<()> {
        let start = self.source.len();
        self.source.push_str(&format!("\"{operator}\":{operand}"));
        // Longer sources are refused at the end; spans only have to be numbers until then.
        let span = Span::new(start.min(MAX_SOURCE), self.source.len().min(MAX_SOURCE));
        match self.kind(place, operator, operand, span) {
            Ok(kind) => {
                self.assertions.push(Expr { span, kind });
                Some(())
            }
            Err(detail) => {
                self.faults.meaning(at, detail);
                None
            }
        }
    }

    fn kind(&mut self, place: &Place, operator: &str, operand: &Value, span: Span) -> Result<ExprKind, String> {
        self.budget.count(2, 0).map_err(|unfit| unfit.detail)?;
        let read = Box::new(Expr { span, kind: ExprKind::Read(place.clone()) });
        let mut value = || self.value(operand, span).map(Box::new).map_err(|unfit| unfit.detail);
        Ok(match operator {
            "eq" => ExprKind::Compare(Compare::Equal, read, value()?),
            "ne" => ExprKind::Compare(Compare::NotEqual, read, value()?),
            "lt" | "le" | "gt" | "ge" if !operand.is_number() && !operand.is_string() => {
                return Err("must be a number or a string".to_owned());
            }
            "lt" => ExprKind::Compare(Compare::Less, read, value()?),
            "le" => ExprKind::Compare(Compare::LessOrEqual, read, value()?),
            "gt" => ExprKind::Compare(Compare::Greater, read, value()?),
            "ge" => ExprKind::Compare(Compare::GreaterOrEqual, read, value()?),
            "in" => {
                let elements =
                    operand.as_array().filter(|elements| !elements.is_empty()).ok_or("must be an array of at least one value")?;
                let elements = elements.iter().map(|element| self.value(element, span)).collect::<Result<_, _>>();
                ExprKind::OneOf(read, elements.map_err(|unfit| unfit.detail)?)
            }
            "exists" => {
                let exists = ExprKind::Exists(place.clone());
                match operand.as_bool().ok_or("must be true or false")? {
                    true => exists,
                    false => ExprKind::Not(Box::new(Expr { span, kind: exists })),
                }
            }
            "prefix" | "suffix" => {
                operand.as_str().filter(|text| !text.is_empty()).ok_or("must be a string that is not empty")?;
                let function = if operator == "prefix" { Function::StartsWith } else { Function::EndsWith };
                ExprKind::Call(function, vec![*read, *value()?])
            }
            "regex" => {
                let pattern = operand.as_str().ok_or("must be a string, a regular expression")?;
                Regexp::new(pattern)?;
                ExprKind::Matches(read, pattern.into())
            }
            _ => return Err(format!("is not an operator; {OPERATORS} are")),
        })
    }

    /// A JSON value as an expression. It came through a parser, so it is not nested without end.
    fn value(&mut self, value: &Value, span: Span) -> Result<Expr, Unfit> {
        let constant = match value {
            Value::Array(elements) => {
                self.budget.enter(0)?;
                let elements = elements.iter().map(|element| self.value(element, span)).collect::<Result<_, _>>()?;
                self.budget.leave();
                return self.budget.node(span, ExprKind::List(elements));
            }
            Value::Object(members) => return self.object(members, span),
            Value::Null => Constant::Null,
            Value::Bool(value) => Constant::Bool(*value),
            Value::String(text) => Constant::Text(text.as_str().into()),
            Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(value), _) => Constant::Int(value),
                (None, Some(value)) => Constant::Uint(value),
                (None, None) => Constant::Double(Double(number.as_f64().unwrap_or(f64::NAN))),
            },
        };
        self.budget.node(span, ExprKind::Literal(constant))
    }

    fn object(&mut self, members: &Map<String, Value>, span: Span) -> Result<Expr, Unfit> {
        self.budget.enter(0)?;
        let mut entries = Vec::with_capacity(members.len());
        for (key, value) in members {
            let key = self.budget.node(span, ExprKind::Literal(Constant::Text(key.as_str().into())))?;
            entries.push((key, self.value(value, span)?));
        }
        self.budget.leave();
        self.budget.node(span, ExprKind::Map(entries))
    }
}

#[cfg(test)]
#[path = "data_tests.rs"]
mod tests;
