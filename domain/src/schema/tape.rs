//! The tape as a JSON representation that the validator reads directly, without building a tree.

use std::borrow::Cow;
use std::ops::Range;

use jsonschema::JsonType;
use jsonschema::json::{Array, Json, JsonNumber, Node, NodeIdentity, Object};
use serde_json::{Number, Value};
use simd_json::{Node as Slot, StaticNode};

use super::equality;
use super::meter::Meter;
use crate::json::{self, Doc, Kind};

/// The representation.
pub(super) struct Tape;

/// A value of the document, or a member's name under `propertyNames`.
#[derive(Clone, Copy)]
pub(super) enum TapeNode<'a> {
    Doc(Doc<'a>, &'a Meter),
    Name(&'a str),
}

/// An object or an array of the document.
#[derive(Clone, Copy)]
pub(super) struct Container<'a>(Doc<'a>, &'a Meter);

/// A number of the document.
pub(super) struct TapeNumber(StaticNode);

impl Json for Tape {
    type Node<'a> = TapeNode<'a>;
    type PreparedKey = Box<str>;
    type StringBuffer = ();

    /// A lookup scans the members, so one pass over the members soon costs less than several lookups.
    const KEYS_PER_LOOKUP: usize = 4;

    fn prepare_key(key: &str) -> Box<str> {
        key.into()
    }

    fn with_string_node<T>((): &mut (), string: &str, f: impl FnOnce(TapeNode<'_>) -> T) -> T {
        f(TapeNode::Name(string))
    }
}

impl<'a> TapeNode<'a> {
    /// The value, unless the budget is spent.
    fn doc(&self, steps: usize) -> Option<(Doc<'a>, &'a Meter)> {
        match *self {
            Self::Doc(doc, meter) if meter.take(steps) => Some((doc, meter)),
            _ => None,
        }
    }
}

impl<'a> Node<'a, Tape> for TapeNode<'a> {
    type Object = Container<'a>;
    type Array = Container<'a>;
    type Number = TapeNumber;

    fn as_object(&self) -> Option<Container<'a>> {
        let (doc, meter) = self.doc(1)?;
        (doc.kind() == Kind::Object).then_some(Container(doc, meter))
    }

    fn as_array(&self) -> Option<Container<'a>> {
        let (doc, meter) = self.doc(1)?;
        (doc.kind() == Kind::Array).then_some(Container(doc, meter))
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        let text = match self {
            Self::Name(name) => name,
            Self::Doc(doc, meter) => {
                // What asks for the text reads it, so its length costs too.
                let text = doc.as_str()?;
                if !meter.take_string(text.len()) {
                    return None;
                }
                text
            }
        };
        Some(Cow::Borrowed(text))
    }

    fn as_number(&self) -> Option<TapeNumber> {
        match self.doc(1)?.0.nodes()[0] {
            Slot::Static(number @ (StaticNode::I64(_) | StaticNode::U64(_) | StaticNode::F64(_))) => Some(TapeNumber(number)),
            _ => None,
        }
    }

    fn as_boolean(&self) -> Option<bool> {
        self.doc(1)?.0.as_bool()
    }

    fn is_null(&self) -> bool {
        self.json_type() == JsonType::Null
    }

    fn json_type(&self) -> JsonType {
        if matches!(self, Self::Name(_)) {
            return JsonType::String;
        }
        match self.doc(1).map(|(doc, _)| doc.kind()) {
            Some(Kind::Bool) => JsonType::Boolean,
            Some(Kind::Number) => JsonType::Number,
            Some(Kind::String) => JsonType::String,
            Some(Kind::Array) => JsonType::Array,
            Some(Kind::Object) => JsonType::Object,
            Some(Kind::Null) | None => JsonType::Null,
        }
    }

    fn equals_value(&self, expected: &Value) -> bool {
        match self {
            Self::Name(name) => expected.as_str() == Some(name),
            Self::Doc(doc, meter) => meter.take(1) && equality::equals_value(*doc, expected, meter),
        }
    }

    /// Only errors ask for it, and their texts never show values: so they get none, which spares copying the document.
    /// Instead the value says whether the error is to be believed ([`super::errors`]).
    fn to_value(&self) -> Cow<'a, Value> {
        Cow::Owned(match self {
            Self::Doc(_, meter) if meter.explains() => Value::Bool(meter.take_error()),
            Self::Doc(doc, _) => doc.to_value(),
            Self::Name(name) => Value::from(*name),
        })
    }

    fn identity(&self) -> Option<NodeIdentity> {
        match self {
            Self::Doc(doc, _) => Some(NodeIdentity::new(doc.nodes().as_ptr().addr())),
            Self::Name(name) => Some(NodeIdentity::tagged(name.as_ptr().addr(), 1)),
        }
    }
}

impl<'a> Object<'a, Tape> for Container<'a> {
    type Node = TapeNode<'a>;
    type MemberName = &'a str;
    type MembersIter = Members<'a>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, key: &Box<str>) -> Option<TapeNode<'a>> {
        if self.1.is_spent() {
            return None;
        }
        let nodes = self.0.nodes();
        let object = nodes.as_ptr().addr();
        let start = self.1.mark(object).unwrap_or(1);
        let mut scanned = 0;
        let at = seek(nodes, start..nodes.len(), key, &mut scanned).or_else(|| seek(nodes, 1..start, key, &mut scanned));
        let enough = self.1.take(1 + scanned);
        let value_at = at.filter(|_| enough)? + 1;
        let value = Doc::new(&nodes[value_at..]);
        self.1.set_mark(object, value_at + value.node_count());
        Some(TapeNode::Doc(value, self.1))
    }

    fn members(&self) -> Members<'a> {
        Members { rest: &self.0.nodes()[1..], meter: self.1 }
    }
}

/// The index of the node of the member's name, among those in `range`, which begins with a member.
fn seek(nodes: &[Slot<'_>], range: Range<usize>, key: &str, scanned: &mut usize) -> Option<usize> {
    let mut at = range.start;
    while let Some([Slot::String(name), value, ..]) = nodes.get(at..range.end) {
        *scanned += 1;
        if *name == key {
            return Some(at);
        }
        at += 1 + json::size(value);
    }
    None
}

impl<'a> Array<'a, Tape> for Container<'a> {
    type Node = TapeNode<'a>;
    type ElementsIter = Elements<'a>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn elements(&self) -> Elements<'a> {
        Elements { rest: &self.0.nodes()[1..], meter: self.1 }
    }

    fn is_unique(&self) -> bool {
        self.1.take(2 * self.0.node_count()) && equality::is_unique(self.0)
    }
}

/// Members in document order; ends early when the budget is spent.
pub(super) struct Members<'a> {
    rest: &'a [Slot<'a>],
    meter: &'a Meter,
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a str, TapeNode<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (Slot::String(key), values) = self.rest.split_first()? else { return None };
        if !self.meter.take_name(key.len()) {
            return None;
        }
        let value = Doc::new(values);
        self.rest = &values[value.node_count()..];
        Some((key, TapeNode::Doc(value, self.meter)))
    }
}

/// Elements in order; ends early when the budget is spent.
pub(super) struct Elements<'a> {
    rest: &'a [Slot<'a>],
    meter: &'a Meter,
}

impl<'a> Iterator for Elements<'a> {
    type Item = TapeNode<'a>;

    fn next(&mut self) -> Option<TapeNode<'a>> {
        if self.rest.is_empty() || !self.meter.take(1) {
            return None;
        }
        let value = Doc::new(self.rest);
        self.rest = &self.rest[value.node_count()..];
        Some(TapeNode::Doc(value, self.meter))
    }
}

impl JsonNumber for TapeNumber {
    fn as_u64(&self) -> Option<u64> {
        match self.0 {
            StaticNode::U64(value) => Some(value),
            StaticNode::I64(value) => u64::try_from(value).ok(),
            _ => None,
        }
    }

    fn as_i64(&self) -> Option<i64> {
        match self.0 {
            StaticNode::I64(value) => Some(value),
            StaticNode::U64(value) => i64::try_from(value).ok(),
            _ => None,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "the trait asks for the nearest double")]
    fn as_f64(&self) -> Option<f64> {
        match self.0 {
            StaticNode::F64(value) => Some(value),
            StaticNode::I64(value) => Some(value as f64),
            StaticNode::U64(value) => Some(value as f64),
            _ => None,
        }
    }

    fn as_str(&self) -> Cow<'_, str> {
        Cow::Owned(self.to_number().to_string())
    }

    fn to_number(&self) -> Cow<'_, Number> {
        Cow::Owned(match self.0 {
            StaticNode::I64(value) => value.into(),
            StaticNode::U64(value) => value.into(),
            StaticNode::F64(value) => Number::from_f64(value).unwrap_or_else(|| 0.into()),
            StaticNode::Bool(_) | StaticNode::Null => 0.into(),
        })
    }

    fn is_integer(&self) -> bool {
        match self.0 {
            StaticNode::F64(value) => value.fract() == 0.0,
            _ => true,
        }
    }

    /// The literal is gone; like the validator's own representation, doubles from 2^63 on count as written whole.
    fn is_written_as_integer(&self) -> bool {
        !matches!(self.0, StaticNode::F64(value) if value.abs() < 9_223_372_036_854_775_808.0)
    }
}
