//! One value on the tape.

use serde_json::{Map, Number, Value};
use simd_json::{Node, StaticNode};

use super::Pointer;

/// One JSON value inside a parsed document. Two words; copy it freely.
///
/// Looking up a key is a linear scan, since the tape has no index; strings are unescaped already.
#[derive(Clone, Copy, Debug)]
pub struct Doc<'a>(&'a [Node<'a>]);

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are JSON's own")]
pub enum Kind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

impl<'a> Doc<'a> {
    /// The value whose node comes first; what follows it is left out. `nodes` is not empty.
    pub(crate) fn new(nodes: &'a [Node<'a>]) -> Self {
        Self(&nodes[..size(&nodes[0])])
    }

    /// The nodes of this value, its own first.
    pub(crate) fn nodes(self) -> &'a [Node<'a>] {
        self.0
    }

    /// How many nodes the value has, itself and all keys and values below.
    pub fn node_count(self) -> usize {
        self.0.len()
    }

    /// What it is.
    pub fn kind(self) -> Kind {
        match self.0[0] {
            Node::String(_) => Kind::String,
            Node::Object { .. } => Kind::Object,
            Node::Array { .. } => Kind::Array,
            Node::Static(StaticNode::Null) => Kind::Null,
            Node::Static(StaticNode::Bool(_)) => Kind::Bool,
            Node::Static(_) => Kind::Number,
        }
    }

    /// Whether it is null.
    pub fn is_null(self) -> bool {
        self.kind() == Kind::Null
    }

    /// The string, unescaped.
    pub fn as_str(self) -> Option<&'a str> {
        if let Node::String(text) = self.0[0] { Some(text) } else { None }
    }

    /// True or false.
    pub fn as_bool(self) -> Option<bool> {
        if let Node::Static(StaticNode::Bool(value)) = self.0[0] { Some(value) } else { None }
    }

    /// The number, if it is written as an integer that fits.
    pub fn as_i64(self) -> Option<i64> {
        match self.0[0] {
            Node::Static(StaticNode::I64(value)) => Some(value),
            Node::Static(StaticNode::U64(value)) => i64::try_from(value).ok(),
            _ => None,
        }
    }

    /// The number, if it is written as an integer that fits.
    pub fn as_u64(self) -> Option<u64> {
        match self.0[0] {
            Node::Static(StaticNode::U64(value)) => Some(value),
            Node::Static(StaticNode::I64(value)) => u64::try_from(value).ok(),
            _ => None,
        }
    }

    /// The number, rounded if it is a large integer; always finite.
    #[expect(clippy::cast_precision_loss, reason = "what a double can hold is what the caller asks for")]
    pub fn as_f64(self) -> Option<f64> {
        match self.0[0] {
            Node::Static(StaticNode::F64(value)) => Some(value),
            Node::Static(StaticNode::I64(value)) => Some(value as f64),
            Node::Static(StaticNode::U64(value)) => Some(value as f64),
            _ => None,
        }
    }

    /// How many elements or members; 0 for anything else.
    pub fn len(self) -> usize {
        match self.0[0] {
            Node::Array { len, .. } | Node::Object { len, .. } => len,
            _ => 0,
        }
    }

    /// Whether there are no elements or members.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The members of an object in document order; none for anything else.
    pub fn members(self) -> impl Iterator<Item = (&'a str, Self)> {
        let is_object = matches!(self.0[0], Node::Object { .. });
        let mut rest = if is_object { &self.0[1..] } else { &[] };
        std::iter::from_fn(move || {
            let (Node::String(key), values) = rest.split_first()? else { return None };
            let value = Doc::new(values);
            rest = &values[value.0.len()..];
            Some((*key, value))
        })
    }

    /// The elements of an array; none for anything else.
    pub fn elements(self) -> impl Iterator<Item = Self> {
        let is_array = matches!(self.0[0], Node::Array { .. });
        let mut rest = if is_array { &self.0[1..] } else { &[] };
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let value = Doc::new(rest);
            rest = &rest[value.0.len()..];
            Some(value)
        })
    }

    /// The member of this name.
    pub fn get(self, key: &str) -> Option<Self> {
        self.members().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The element at this index.
    pub fn at(self, index: usize) -> Option<Self> {
        self.elements().nth(index)
    }

    /// The value a pointer leads to (RFC 6901 §4).
    pub fn find(self, pointer: &Pointer) -> Option<Self> {
        pointer.tokens().try_fold(self, |value, token| match value.kind() {
            Kind::Object => value.get(token.key()),
            Kind::Array => value.at(token.index()?),
            _ => None,
        })
    }

    /// How deep the value is nested: a scalar is 0, `[]` is 1.
    pub fn depth(self) -> usize {
        let mut ends: Vec<usize> = Vec::new();
        let mut deepest = 0;
        for (index, node) in self.0.iter().enumerate() {
            while ends.last().is_some_and(|end| *end <= index) {
                ends.pop();
            }
            if matches!(node, Node::Array { .. } | Node::Object { .. }) {
                ends.push(index + size(node));
                deepest = deepest.max(ends.len());
            }
        }
        deepest
    }

    /// A tree of its own; for small parts and cold paths.
    pub fn to_value(self) -> Value {
        match self.0[0] {
            Node::String(text) => Value::String(text.to_owned()),
            Node::Static(StaticNode::Null) => Value::Null,
            Node::Static(StaticNode::Bool(value)) => Value::Bool(value),
            Node::Static(StaticNode::I64(value)) => Value::from(value),
            Node::Static(StaticNode::U64(value)) => Value::from(value),
            Node::Static(StaticNode::F64(value)) => Number::from_f64(value).map_or(Value::Null, Value::Number),
            Node::Array { .. } => Value::Array(self.elements().map(Self::to_value).collect()),
            Node::Object { .. } => {
                let members = self.members().map(|(key, value)| (key.to_owned(), value.to_value()));
                Value::Object(members.collect::<Map<_, _>>())
            }
        }
    }
}

/// How many nodes the value that starts with `node` takes.
pub(crate) fn size(node: &Node<'_>) -> usize {
    match node {
        Node::Array { count, .. } | Node::Object { count, .. } => count + 1,
        _ => 1,
    }
}
