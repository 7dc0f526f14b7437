//! Why a filter does not hold: the first assertion that failed and what it saw. Not for the hot path.

use serde_json::{Map, Value, json};

use super::atom::Place;
use super::evaluation::Fault;
use super::expr::{Expr, ExprKind, Logic};
use super::program::{Dialect, Program};
use super::view::View;
use super::{Comparison, Filter};
use crate::event::AttrKind;

/// The first assertion that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Because {
    /// The dialect's name: the member that holds the assertion.
    pub dialect: &'static str,
    /// The assertion as written: text of a `sql` or `cel` (sub-)expression, JSON in the other dialects.
    pub assertion: Value,
    /// The place that it looked at, when it is one.
    pub place: Option<Place>,
    /// The value there; `None` when it was missing, or when there is no single place.
    pub saw: Option<Value>,
    /// The error that made it fail, if one did.
    pub error: Option<Fault>,
}

impl Filter {
    /// Why the event does not pass; `None` when it does.
    pub fn explain(&self, view: &View<'_>) -> Option<Because> {
        if self.matches(view) {
            return None;
        }
        let plain = |dialect, assertion| Because { dialect, assertion, place: None, saw: None, error: None };
        Some(match self {
            Self::Topic(pattern) => Because {
                place: Some(Place::Attribute("topic".into())),
                saw: Some(view.topic.into()),
                ..plain("topic", format!("{pattern:?}").into())
            },
            Self::Exact(comparisons) => failed("exact", comparisons, view, |value, text| value == text),
            Self::Prefix(comparisons) => failed("prefix", comparisons, view, |value, text| value.starts_with(text)),
            Self::Suffix(comparisons) => failed("suffix", comparisons, view, |value, text| value.ends_with(text)),
            Self::All(filters) => return filters.iter().find_map(|filter| filter.explain(view)),
            Self::Any(filters) => match filters.as_slice() {
                [only] => return only.explain(view),
                _ => plain("any", filters.iter().map(Self::to_json).collect()),
            },
            Self::Not(inner) => plain("not", inner.to_json()),
            Self::Expr(program) => program.explain(view),
        })
    }

    /// The filter's JSON, as one could write it.
    pub fn to_json(&self) -> Value {
        let map = |comparisons: &[Comparison]| -> Value {
            comparisons.iter().map(|wanted| (wanted.attribute.to_string(), Value::from(wanted.text.as_str()))).collect::<Map<_, _>>().into()
        };
        let (dialect, body) = match self {
            Self::Topic(pattern) => ("topic", format!("{pattern:?}").into()),
            Self::Exact(comparisons) => ("exact", map(comparisons)),
            Self::Prefix(comparisons) => ("prefix", map(comparisons)),
            Self::Suffix(comparisons) => ("suffix", map(comparisons)),
            Self::All(filters) => ("all", filters.iter().map(Self::to_json).collect()),
            Self::Any(filters) => ("any", filters.iter().map(Self::to_json).collect()),
            Self::Not(inner) => ("not", inner.to_json()),
            Self::Expr(program) => (program.dialect().name(), program.text(program.expr())),
        };
        json!({ dialect: body })
    }
}

/// The first comparison that does not hold.
fn failed(dialect: &'static str, comparisons: &[Comparison], view: &View<'_>, holds: fn(&str, &str) -> bool) -> Because {
    let fails = |wanted: &&Comparison| !view.text(&wanted.attribute).is_some_and(|value| holds(value, &wanted.text));
    let wanted = comparisons.iter().find(fails);
    let place = wanted.map(|wanted| Place::Attribute(wanted.attribute.as_str().into()));
    Because {
        dialect,
        assertion: wanted.map_or(Value::Null, |wanted| json!({ wanted.attribute.as_str(): wanted.text })),
        saw: place.as_ref().and_then(|place| place.value(view)),
        place,
        error: None,
    }
}

impl Program {
    /// What decided, of an expression that does not hold: in a conjunction its first operand that is not true.
    fn explain(&self, view: &View<'_>) -> Because {
        let mut decisive = self.expr();
        while let ExprKind::Logic(Logic::And, operands) = &decisive.kind {
            let Some(operand) = operands.iter().find(|operand| !self.part(operand).is_some_and(|part| part.holds(view))) else { break };
            decisive = operand;
        }
        let error = self.part(decisive).and_then(|part| part.evaluate(view).errors.into_iter().next());
        let place = only_place(decisive);
        Because {
            dialect: self.dialect().name(),
            assertion: self.text(decisive),
            saw: place.as_ref().and_then(|place| place.value(view)),
            place,
            error,
        }
    }

    /// A part as it was written; of the data dialect as JSON with its place.
    fn text(&self, part: &Expr) -> Value {
        let text = part.span.of(self.source());
        if self.dialect() != Dialect::Data {
            return text.into();
        }
        let written = |text: &str| serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
        match only_place(part) {
            Some(Place::Data(pointer)) if part.span.start > 0 => json!({ pointer.to_string(): written(&format!("{{{text}}}")) }),
            _ => written(text),
        }
    }
}

/// The place that an expression looks at, if it is one.
fn only_place(expr: &Expr) -> Option<Place> {
    let mut places: Vec<&Place> = Vec::new();
    expr.visit(&mut |part| {
        if let ExprKind::Read(place) | ExprKind::Exists(place) = &part.kind
            && !places.contains(&place)
        {
            places.push(place);
        }
    });
    match places.as_slice() {
        [only] => Some((*only).clone()),
        _ => None,
    }
}

impl Place {
    /// The value there, as JSON.
    pub fn value(&self, view: &View<'_>) -> Option<Value> {
        match self {
            Self::Data(_) => self.doc(view).map(crate::json::Doc::to_value),
            Self::Attribute(name) => {
                let attr = view.attribute(name)?;
                Some(match attr.kind {
                    AttrKind::Boolean => Value::Bool(attr.value == "true"),
                    AttrKind::Integer => attr.value.parse::<i64>().map_or_else(|_| attr.value.into(), Value::from),
                    AttrKind::String => attr.value.into(),
                })
            }
        }
    }
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
