//! Entry for fuzz targets: any text through every parser, and what comes of it through every evaluation. Panics when a
//! promise is broken.

use serde_json::Value;

use super::program::Program;
use super::view::View;
use super::{Filter, limits};
use crate::event::{AttrKind, EventBuilder};
use crate::fields::Faults;
use crate::json::{Doc, Parser};

const DATA: &[u8] = br#"{"n": 7, "s": "abc", "t": true, "z": null, "list": [1, 2.5, "x", {"k": [1]}], "m": {"a": {"b": -1}}, "0": 0}"#;

/// Reads the text as CESQL, as CEL and, if it is JSON, as a filter; bytes that are no text are passed over.
///
/// # Panics
///
/// If failing fast and complete evaluation disagree, a condition of a filter that holds does not, or a filter that fails is
/// not explained.
pub fn filters(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for program in [Program::sql(text), Program::cel(text)] {
        match program {
            Ok(program) => check(&Filter::Expr(program.into())),
            Err(refusal) => assert!(refusal.at <= text.len() && text.is_char_boundary(refusal.at) && !refusal.detail.is_empty()),
        }
    }
    let Ok(json) = serde_json::from_str::<Value>(text) else { return };
    let mut faults = Faults::default();
    match Filter::parse(&json, "/filter", &mut faults) {
        Some(filter) => check(&filter),
        None => assert!(!faults.is_empty(), "refused without a fault: {json}"),
    }
}

fn check(filter: &Filter) {
    let mut builder = EventBuilder::new("id-1", "/source", "order.created");
    builder.push("subject", AttrKind::String, "10");
    builder.push("n", AttrKind::Integer, "-7");
    builder.push("flag", AttrKind::Boolean, "true");
    builder.push("time", AttrKind::String, "2026-08-22T10:30:00Z");
    let event = builder.build();
    let view = View::new("orders", &event);
    agree(filter, &view);
    let parsed = Parser::new().parse(DATA, |doc: Doc<'_>| agree(filter, &View { data: Some(doc), ..view }));
    parsed.expect("the data is JSON");
}

fn agree(filter: &Filter, view: &View<'_>) {
    let holds = filter.matches(view);
    assert_eq!(filter.explain(view).is_none(), holds, "explained wrongly: {filter:?}");
    assert!(!holds || filter.atoms().iter().all(|atom| atom.holds(view)), "holds without {:?}: {filter:?}", filter.atoms());
    if let Filter::Expr(program) = filter {
        assert_eq!(program.evaluate(view).passes(), holds, "the modes differ: {}", program.source());
        assert!(program.source().len() <= limits::MAX_SOURCE);
    }
}
