//! Type check: whether filters can ever hold on a topic, given the schemas that its events must hold to (issue of
//! contracts §1; decision 0017).
//!
//! [`check`] is asked by the control plane before a subscription is taken and by `filters/check`. It refuses only what
//! cannot be true of any event: sets of possible values (`values`) are read off the schemas (`shape`) and the filters are
//! walked with them (`truth`). Whatever is not understood counts as possible. What an open schema allows but does not name
//! gives a [`Warning`]. [`reads_dropped`] tells which places that filters read a new version of a schema no longer names.

mod attribute;
mod compare;
mod filters;
mod nearest;
mod path;
mod places;
mod shape;
#[cfg(test)]
mod tests;
mod truth;
mod values;
mod why;

use serde::Serialize;
use serde_json::Value;

use super::Filter;
use nearest::nearest;
use places::{Read, reads};
use shape::Shape;

/// Versions of one schema that are looked at; with more nothing is refused.
const MAX_VERSIONS: usize = 64;

/// A schema that every event of the topic must hold to, in one of its versions.
#[derive(Clone, Debug)]
pub struct Demand<'s> {
    /// Its name.
    pub name: &'s str,
    /// Its versions with their documents, newest first.
    pub versions: Vec<(u32, &'s Value)>,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Why the filters can never hold together; empty when they can.
    pub never: Vec<Finding>,
    /// Places that no schema names although it allows them.
    pub warnings: Vec<Finding>,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Finding {
    /// Which filter, counted from 0.
    pub filter: usize,
    /// Where in the document: `#/filters/0/data/~1total`.
    pub pointer: String,
    /// Where in the expression's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// The place in the data, a JSON pointer with `*` for any element.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The property that was probably meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest: Option<String>,
    /// The schema, `name:version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// In words.
    pub detail: String,
}

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Position {
    /// Bytes before it.
    pub offset: usize,
    /// Its line, from 1.
    pub line: usize,
    /// Its character in the line, from 1.
    pub column: usize,
}

impl Position {
    /// The place of a byte.
    pub fn of(source: &str, offset: usize) -> Self {
        let before = source.get(..offset).unwrap_or(source);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self { offset, line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

/// Whether all these filters (`at` is where they stand in the document: `/filters`) can hold of an event on `topic` whose
/// data holds to one version of each demanded schema. Without a topic only what no event can be is found.
pub fn check(filters: &[Filter], at: &str, topic: Option<&str>, demands: &[Demand<'_>]) -> Findings {
    let mut findings = Findings::default();
    if demands.is_empty() {
        findings.never.extend(filters::first_never(filters, at, topic, None));
        return findings;
    }
    for demand in demands {
        findings.never.extend(never(filters, at, topic, demand));
    }
    if findings.never.is_empty() {
        findings.warnings = warnings(filters, at, demands);
    }
    findings
}

/// Why no version lets the filters hold; told of the newest.
fn never(filters: &[Filter], at: &str, topic: Option<&str>, demand: &Demand<'_>) -> Option<Finding> {
    if demand.versions.is_empty() || demand.versions.len() > MAX_VERSIONS {
        return filters::first_never(filters, at, topic, None);
    }
    let mut newest = None;
    for (version, document) in &demand.versions {
        let found = filters::first_never(filters, at, topic, Some(&Shape::new(document)))?;
        newest.get_or_insert(Finding { schema: Some(format!("{}:{version}", demand.name)), ..found });
    }
    newest
}

/// Places that the filters read and no version names.
fn warnings(filters: &[Filter], at: &str, demands: &[Demand<'_>]) -> Vec<Finding> {
    let shapes: Vec<Shape<'_>> =
        demands.iter().flat_map(|demand| demand.versions.iter().take(MAX_VERSIONS)).map(|(_, document)| Shape::new(document)).collect();
    let mut found: Vec<Finding> = Vec::new();
    for read in reads(filters, at) {
        let Some(parent) = unnamed(&read, &shapes) else { continue };
        let names: Vec<&str> = shapes.iter().flat_map(|shape| shape.names(&read.path.0[..parent])).collect();
        let key = match read.path.0.get(parent) {
            Some(path::Step::Key(key, _)) => &**key,
            _ => continue,
        };
        let Some(nearest) = nearest(key, &names) else { continue };
        let place = read.path.to_string();
        if found.iter().any(|finding| finding.path.as_ref() == Some(&place)) {
            continue;
        }
        let schemas: Vec<&str> = demands.iter().map(|demand| demand.name).collect();
        let detail =
            format!("no version of `{}` names `{place}`, although it may be there; `{nearest}` is the nearest", schemas.join("`, `"));
        found.push(Finding { path: Some(place), nearest: Some(nearest.to_owned()), ..read.finding(detail) });
    }
    found
}

/// The number of steps that are named, when not all are, by any schema.
fn unnamed(read: &Read, shapes: &[Shape<'_>]) -> Option<usize> {
    let named = |path: &[path::Step]| {
        shapes.iter().any(|shape| {
            let possible = shape.at(path);
            possible.is_there() && possible.named
        })
    };
    // What is named at its end is named on the way.
    if named(&read.path.0) { None } else { (0..read.path.0.len()).find(|&length| !named(&read.path.0[..=length])) }
}

/// The places that the filters read, that `before` (a version of the schema) names, and that `after` does not name any
/// more or does not allow.
pub fn reads_dropped(filters: &[Filter], before: &Value, after: &Value) -> Vec<String> {
    let (before, after) = (Shape::new(before), Shape::new(after));
    let named = |shape: &Shape<'_>, read: &Read| {
        let possible = shape.at(&read.path.0);
        possible.is_there() && possible.named
    };
    let mut dropped: Vec<String> =
        reads(filters, "").iter().filter(|read| named(&before, read) && !named(&after, read)).map(|read| read.path.to_string()).collect();
    dropped.sort_unstable();
    dropped.dedup();
    dropped
}
