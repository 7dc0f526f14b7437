//! Why data does not hold to a schema, told in bounded time and without the data's values.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use super::meter::Meter;
use super::patterns::Weight;
use super::tape::{Tape, TapeNode};
use crate::json::{Doc, fragment};
use crate::problem::Fault;

/// At most so many faults are told.
pub(super) const MAX_FAULTS: usize = 20;
/// A schema with more ways to one value is not asked for its errors: it would build one for each way, and each level
/// of a deep document could have as many under way.
const EXPLAINABLE_PATHS: u64 = 1000;
/// About so many bytes of text a fault.
const MAX_DETAIL: usize = 300;

/// Explains one refusal.
pub(super) struct Errors<'a> {
    pub(super) label: &'a str,
    pub(super) validator: &'a Validator<Tape>,
}

impl Errors<'_> {
    /// The faults of data that is known not to hold.
    pub(super) fn explain(&self, doc: Doc<'_>, paths: u64, weight: Weight) -> Vec<Fault> {
        if paths > EXPLAINABLE_PATHS {
            return self.one("the data does not hold to the schema, which is too complex to say where");
        }
        let meter = Meter::for_explaining(doc.node_count(), weight);
        let errors = self.validator.iter_errors(TapeNode::Doc(doc, &meter));
        // An error made after the budget was spent is about values that were not looked at.
        let believed = errors.filter(|error| **error.instance() == Value::Bool(true));
        let faults: Vec<Fault> = believed.take(MAX_FAULTS).map(|error| self.fault(&error)).collect();
        if faults.is_empty() { self.one("the data does not hold to the schema, and takes too long to say where") } else { faults }
    }

    /// One fault about the whole document.
    pub(super) fn one(&self, detail: &str) -> Vec<Fault> {
        vec![Fault { schema: Some(self.label.to_owned()), pointer: "#".into(), detail: detail.to_owned() }]
    }

    fn fault(&self, error: &ValidationError<'_>) -> Fault {
        let detail = shortened(&detail(error));
        Fault { schema: Some(self.label.to_owned()), pointer: fragment(error.instance_path().as_str()), detail }
    }
}

fn detail(error: &ValidationError<'_>) -> String {
    match error.kind() {
        ValidationErrorKind::PropertyNames { error } => error.masked_with("a member's name").to_string(),
        ValidationErrorKind::AdditionalItems { limit } => format!("more than {limit} items are not allowed"),
        ValidationErrorKind::Contains => "too few or too many of the elements hold to `contains`".to_owned(),
        _ => error.masked_with("the value").to_string(),
    }
}

/// The text, cut if it is long.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().find(|(index, _)| *index >= MAX_DETAIL) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}
