//! CEL's macros while they run.

use std::rc::Rc;

use simd_json::Node;

use super::value::Value;
use super::why::Error;
use crate::filter::expr::Quantifier;
use crate::json::{Doc, Kind};

/// One macro on its way through a list's elements or a map's keys.
pub(super) struct Loop<'a> {
    quantifier: Quantifier,
    variable: usize,
    rest: Rest<'a>,
    /// How many elements fitted, for `exists_one`.
    fitted: usize,
    /// `all` met false, `exists` true.
    decided: bool,
    /// The first error; what decides wins over it.
    error: Option<Error>,
}

/// What is still to come.
enum Rest<'a> {
    Elements(&'a [Node<'a>]),
    Keys(&'a [Node<'a>]),
    List(Rc<[Value<'a>]>, usize),
    MapKeys(Rc<[(Value<'a>, Value<'a>)]>, usize),
    Names(std::vec::IntoIter<&'a str>),
}

impl<'a> Loop<'a> {
    /// Over this value, which comes back when it is neither list nor map.
    pub(super) fn over(quantifier: Quantifier, variable: usize, over: Value<'a>) -> Result<Self, Value<'a>> {
        let rest = match over {
            Value::Doc(doc) if doc.kind() == Kind::Array => Rest::Elements(&doc.nodes()[1..]),
            Value::Doc(doc) => Rest::Keys(&doc.nodes()[1..]),
            Value::List(list) => Rest::List(list, 0),
            Value::Map(map) => Rest::MapKeys(map, 0),
            Value::Event(view) => Rest::Names(view.names().collect::<Vec<_>>().into_iter()),
            other => return Err(other),
        };
        Ok(Self { quantifier, variable, rest, fitted: 0, decided: false, error: None })
    }

    pub(super) fn variable(&self) -> usize {
        self.variable
    }

    /// The next element or key.
    pub(super) fn advance(&mut self) -> Option<Value<'a>> {
        match &mut self.rest {
            Rest::Elements(rest) => {
                let value = Doc::new((!rest.is_empty()).then_some(*rest)?);
                *rest = &rest[value.nodes().len()..];
                Some(Value::of_doc(value))
            }
            Rest::Keys(rest) => {
                let (Node::String(key), values) = rest.split_first()? else { return None };
                *rest = &values[Doc::new(values).nodes().len()..];
                Some(Value::Text(key))
            }
            Rest::List(list, next) => {
                *next += 1;
                list.get(*next - 1).cloned()
            }
            Rest::MapKeys(map, next) => {
                *next += 1;
                map.get(*next - 1).map(|(key, _)| key.clone())
            }
            Rest::Names(names) => names.next().map(Value::Text),
        }
    }

    /// Takes what the predicate gave for one element; whether the macro is decided.
    pub(super) fn decide(&mut self, verdict: &Value<'a>) -> bool {
        match (self.quantifier, verdict) {
            (Quantifier::All, Value::Bool(false)) | (Quantifier::Exists, Value::Bool(true)) => self.decided = true,
            (Quantifier::ExistsOne, Value::Bool(true)) => self.fitted += 1,
            (_, Value::Error(error)) => {
                self.error.get_or_insert(*error);
                return self.quantifier == Quantifier::ExistsOne;
            }
            _ => {}
        }
        self.decided
    }

    /// What the macro gives.
    pub(super) fn outcome(&self) -> Value<'a> {
        match (self.quantifier, self.error) {
            (Quantifier::All, _) if self.decided => Value::Bool(false),
            (Quantifier::Exists, _) if self.decided => Value::Bool(true),
            (_, Some(error)) => Value::Error(error),
            (Quantifier::All, None) => Value::Bool(true),
            (Quantifier::Exists, None) => Value::Bool(false),
            (Quantifier::ExistsOne, None) => Value::Bool(self.fitted == 1),
        }
    }
}
