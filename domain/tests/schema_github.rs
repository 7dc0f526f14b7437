//! Real GitHub events against GitHub's own schemas: an independent validator's verdicts, and the faults' form.

use std::collections::HashMap;

use posthorn_domain::json::Parser;
use posthorn_domain::schema::CompiledSchema;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Event {
    id: String,
    schemas: String,
    data: Box<RawValue>,
}

#[derive(Deserialize)]
struct Verdict {
    id: String,
    valid: bool,
}

fn file(name: &str) -> String {
    let path = format!("{}/../tests/data/github-webhooks/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn schema(reference: &str, assert_formats: bool) -> CompiledSchema {
    let (name, version) = reference.split_once(':').expect("name:version");
    let event = name.strip_prefix("github.").expect("a GitHub event");
    let document: Value = serde_json::from_str(&file(&format!("schemas/{event}.json"))).expect("JSON");
    CompiledSchema::compile(name.parse().expect("a name"), version.parse().expect("a number"), &document, assert_formats)
        .unwrap_or_else(|faults| panic!("{reference}: {faults:?}"))
}

fn events() -> Vec<Event> {
    file("events.jsonl").lines().map(|line| serde_json::from_str(line).expect("an event")).collect()
}

#[test]
fn the_verdicts_are_those_of_another_validator() {
    let verdicts: Vec<Verdict> = file("verdicts.jsonl").lines().map(|line| serde_json::from_str(line).expect("a verdict")).collect();
    let expected: HashMap<&str, bool> = verdicts.iter().map(|verdict| (verdict.id.as_str(), verdict.valid)).collect();
    let mut schemas: HashMap<String, CompiledSchema> = HashMap::new();
    let mut parser = Parser::new();
    let (mut valid, mut invalid) = (0, 0);
    for event in events() {
        let compiled = schemas.entry(event.schemas.clone()).or_insert_with(|| schema(&event.schemas, false));
        let (holds, faults) =
            parser.parse(event.data.get().as_bytes(), |doc| (compiled.is_valid(doc), compiled.errors(doc, &event.schemas))).expect("JSON");
        assert_eq!(holds, expected[event.id.as_str()], "{} {}", event.schemas, event.id);
        assert_eq!(holds, faults.is_empty());
        assert!(faults.len() <= 20 && faults.iter().all(|fault| fault.pointer.starts_with('#') && fault.detail.len() < 310));
        if holds { valid += 1 } else { invalid += 1 }
    }
    assert_eq!((valid, invalid), (277, 52));
}

#[test]
fn asserted_formats_change_three_verdicts() {
    let mut parser = Parser::new();
    let mut changed: Vec<(String, bool)> = Vec::new();
    for event in events().into_iter().filter(|event| ["github.check_run:1", "github.deployment_status:1"].contains(&&*event.schemas)) {
        let mut valid = |asserted| {
            let compiled = schema(&event.schemas, asserted);
            parser.parse(event.data.get().as_bytes(), |doc| compiled.is_valid(doc)).expect("JSON")
        };
        let (without, with) = (valid(false), valid(true));
        if without != with {
            changed.push((event.schemas, with));
        }
    }
    // Two time stamps have a blank for the `T`; one `oneOf` tells its branches apart by format alone.
    let expected = [("github.check_run:1", false), ("github.check_run:1", false), ("github.deployment_status:1", true)];
    assert_eq!(changed, expected.map(|(schema, valid)| (schema.to_owned(), valid)));
}
