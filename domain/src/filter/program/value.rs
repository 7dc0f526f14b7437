//! Values on the way: borrowed from event, data and program where they can be.

use std::rc::Rc;

use simd_json::{Node, StaticNode};

use super::why::Error;
use crate::event::{Attr, AttrKind};
use crate::filter::expr::Constant;
use crate::filter::number::Number;
use crate::filter::view::View;
use crate::json::{Doc, Kind};

/// One value. CESQL uses `Bool`, `Int` and texts; the rest is CEL's.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    /// A number of the data: a double in CEL's eyes, but exact.
    Number(Number),
    Text(&'a str),
    Owned(Rc<str>),
    Bytes(Rc<[u8]>),
    /// An array or an object of the data.
    Doc(Doc<'a>),
    /// The event as a map of its attributes.
    Event(&'a View<'a>),
    List(Rc<[Self]>),
    Map(Rc<[(Self, Self)]>),
    Timestamp(jiff::Timestamp),
    /// In nanoseconds.
    Duration(i64),
    Type(&'a str),
    /// CEL: an error on its way.
    Error(Error),
    /// CESQL: what stands in for a result that has errors.
    Failed(Box<Self>),
}

impl<'a> Value<'a> {
    pub(super) fn of_constant(constant: &'a Constant) -> Self {
        match constant {
            Constant::Null => Self::Null,
            Constant::Bool(value) => Self::Bool(*value),
            Constant::Int(value) => Self::Int(*value),
            Constant::Uint(value) => Self::Uint(*value),
            Constant::Double(value) => Self::Double(value.0),
            Constant::Text(text) => Self::Text(text),
            Constant::Bytes(bytes) => Self::Bytes(Rc::from(&**bytes)),
            Constant::Type(name) => Self::Type(name),
        }
    }

    /// An attribute in its own type; what CloudEvents writes as strings is one.
    pub(super) fn of_attribute(attr: Attr<'a>) -> Self {
        match attr.kind {
            AttrKind::String => Self::Text(attr.value),
            AttrKind::Boolean => Self::Bool(attr.value == "true"),
            AttrKind::Integer => attr.value.parse().map_or(Self::Text(attr.value), Self::Int),
        }
    }

    pub(super) fn of_doc(doc: Doc<'a>) -> Self {
        match doc.nodes()[0] {
            Node::String(text) => Self::Text(text),
            Node::Static(StaticNode::Bool(value)) => Self::Bool(value),
            Node::Static(StaticNode::Null) => Self::Null,
            Node::Static(_) => Number::of(doc).map_or(Self::Double(f64::NAN), Self::Number),
            Node::Array { .. } | Node::Object { .. } => Self::Doc(doc),
        }
    }

    pub(super) fn owned(text: impl Into<Rc<str>>) -> Self {
        Self::Owned(text.into())
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Owned(text) => Some(text),
            _ => None,
        }
    }

    /// A number of any type, but NaN.
    pub(super) fn as_number(&self) -> Option<Number> {
        match self {
            Self::Int(value) => Some((*value).into()),
            Self::Uint(value) => Some((*value).into()),
            Self::Double(value) => Number::from_f64(*value),
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// A double, or a number of the data.
    pub(super) fn as_double(&self) -> Option<f64> {
        match self {
            Self::Double(value) => Some(*value),
            Self::Number(number) => Some(number.as_f64()),
            _ => None,
        }
    }

    /// CEL's name of the type.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) | Self::Number(_) => "double",
            Self::Text(_) | Self::Owned(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Doc(doc) if doc.kind() == Kind::Array => "list",
            Self::List(_) => "list",
            Self::Doc(_) | Self::Map(_) | Self::Event(_) => "map",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Type(_) => "type",
            Self::Error(_) | Self::Failed(_) => "error",
        }
    }
}
