//! Why a filter can never hold, in words, with the name that was probably meant.

use super::nearest::nearest;
use super::path::{Path, Step};
use super::shape::Shape;
use super::values::{Kinds, Possible};
use crate::filter::expr::{Expr, Span};

/// Values that are told.
const SHOWN: usize = 8;

/// Why an expression can never be true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Why {
    /// The part of the expression.
    pub(super) span: Option<Span>,
    /// The place in the data that it looks at.
    pub(super) path: Option<String>,
    /// The property that was probably meant.
    pub(super) nearest: Option<String>,
    /// In words.
    pub(super) detail: String,
    /// Where in the filter's document; known to the walk over filters.
    pub(super) pointer: Option<String>,
}

impl Why {
    pub(super) fn at(expr: &Expr, detail: impl Into<String>) -> Self {
        Self { span: Some(expr.span), ..Self::new(detail) }
    }

    pub(super) fn new(detail: impl Into<String>) -> Self {
        Self { span: None, path: None, nearest: None, detail: detail.into(), pointer: None }
    }
}

/// The place cannot be there.
pub(super) fn missing(expr: &Expr, shape: &Shape<'_>, path: &Path) -> Why {
    let (mut detail, mut found) = ("there can be no data that holds to the schema".to_owned(), None);
    for (length, step) in path.0.iter().enumerate() {
        if shape.at(&path.0[..=length]).is_there() {
            continue;
        }
        let parent = &path.0[..length];
        let name = if length == 0 { "the data".to_owned() } else { format!("`{}`", Path(parent.to_vec())) };
        let kinds = shape.at(parent).kinds;
        (detail, found) = match step {
            Step::Key(key, index) if kinds.has(Kinds::OBJECT) || (index.is_some() && kinds.has(Kinds::ARRAY)) => {
                let found = nearest(key, &shape.names(parent));
                let key: String = key.chars().take(100).collect();
                let meant = found.map_or_else(String::new, |found| format!("; `{found}` is the nearest"));
                (format!("{name} can have no member `{key}`{meant}"), found)
            }
            _ if kinds.is_empty() => continue,
            _ => (format!("{name} is {kinds}, which has no members"), None),
        };
        break;
    }
    Why { path: Some(path.to_string()), nearest: found.map(str::to_owned), ..Why::at(expr, detail) }
}

/// The value at the place cannot be what is wanted.
pub(super) fn unfit(expr: &Expr, path: &Path, possible: &Possible<'_>, use_of_it: &str) -> Why {
    let name = if path.0.is_empty() { "the data".to_owned() } else { format!("`{path}`") };
    let detail = format!("{name} is {}; {use_of_it}", describe(possible));
    Why { path: Some(path.to_string()), ..Why::at(expr, detail) }
}

/// An attribute cannot be what is wanted.
pub(super) fn attribute(expr: &Expr, name: &str, topic: Option<&str>) -> Why {
    Why::at(expr, about(name, topic))
}

/// What is known of an attribute, in words.
pub(super) fn about(name: &str, topic: Option<&str>) -> String {
    match (name, topic) {
        ("specversion", _) => "`specversion` is \"1.0\" in every event".into(),
        ("direction", _) => "`direction` is \"incoming\" or \"outgoing\"".into(),
        ("topic", Some(topic)) => format!("`topic` is \"{topic}\" here"),
        _ => format!("`{name}` is in every event, a string that is not empty"),
    }
}

fn describe(possible: &Possible<'_>) -> String {
    if let Some(values) = &possible.values {
        let more = if values.len() > SHOWN { ", …" } else { "" };
        let shown: Vec<String> = values.iter().take(SHOWN).map(|value| value.to_string().chars().take(60).collect()).collect();
        let one_of = if values.len() == 1 { "always" } else { "one of" };
        return format!("{one_of} {}{more}", shown.join(", "));
    }
    let mut text = possible.kinds.to_string();
    if possible.kinds.has(Kinds::NUMBER) {
        let range = possible.numbers;
        if range.whole {
            text = text.replace("a number", "an integer");
        }
        let end = |open: bool, inside: &str, outside: &str| if open { outside.to_owned() } else { inside.to_owned() };
        if range.low.is_finite() {
            text.push_str(&format!(" {} {}", end(range.low_open, "from", "above"), range.low));
        }
        if range.high.is_finite() {
            text.push_str(&format!(" {} {}", end(range.high_open, "up to", "below"), range.high));
        }
    }
    if possible.kinds == Kinds::TEXT {
        match possible.lengths {
            (0, u64::MAX) => {}
            (least, u64::MAX) => text.push_str(&format!(" of at least {least} characters")),
            (least, most) => text.push_str(&format!(" of {least} to {most} characters")),
        }
    }
    text
}
