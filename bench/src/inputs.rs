//! Real events, in every form in which the hot path meets them.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use posthorn_domain::cloudevents::{decode_structured, encode_header_value};
use posthorn_domain::event::Event;
use posthorn_domain::qos::{DeadLetter, Durability};
use posthorn_domain::record::Record;
use posthorn_domain::schema::CompiledSchema;
use posthorn_domain::time::Time;

/// Of GitHub's many kinds of event, those that come most often.
const KINDS: [&str; 6] = ["push", "issues", "issue_comment", "check_run", "pull_request", "workflow_job"];

/// One event.
pub struct Input {
    /// As a structured message's body.
    pub structured: Bytes,
    /// As a binary message's headers; its body is the event's data.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Decoded.
    pub event: Event,
    /// As the log keeps it.
    pub record: Record,
    /// The schema that it names.
    pub schema: Arc<CompiledSchema>,
}

/// All events of the kinds, in the order of the file.
pub fn inputs() -> Vec<Input> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/github-webhooks");
    let schemas: HashMap<&str, Arc<CompiledSchema>> = KINDS.map(|kind| (kind, Arc::new(schema(&folder, kind)))).into();
    let lines = fs::read_to_string(folder.join("events.jsonl")).expect("the events are there");
    lines.lines().filter_map(|line| input(line, &schemas)).collect()
}

/// What `each` makes of the inputs, one after the other, again and again.
pub(crate) fn in_turn<T: 'static>(inputs: Vec<T>, mut each: impl FnMut(&T) + 'static) -> Box<dyn FnMut()> {
    let mut next = 0;
    Box::new(move || {
        each(&inputs[next]);
        next = (next + 1) % inputs.len();
    })
}

fn input(line: &str, schemas: &HashMap<&str, Arc<CompiledSchema>>) -> Option<Input> {
    let structured = Bytes::copy_from_slice(line.as_bytes());
    let event = decode_structured(&structured).expect("the file holds events");
    let schema = schemas.get(event.get("topic")?.strip_prefix("github.")?)?.clone();
    let mut headers = vec![("ce-specversion".to_owned(), b"1.0".to_vec())];
    for attr in event.attrs() {
        let name = if attr.name == "datacontenttype" { "content-type".to_owned() } else { format!("ce-{}", attr.name) };
        headers.push((name, encode_header_value(attr.value).as_bytes().to_vec()));
    }
    let record = Record {
        event: event.clone(),
        publisher: "github".into(),
        idempotency_key: None,
        accepted_at: Time::from_millis(1_700_000_000_000),
        expires_at: None,
        durability: Durability::Log,
        dead_letter: DeadLetter::Allow,
        direction: posthorn_domain::direction::Direction::Incoming,
    };
    Some(Input { structured, headers, event, record, schema })
}

fn schema(folder: &Path, kind: &str) -> CompiledSchema {
    let text = fs::read(folder.join(format!("schemas/{kind}.json"))).expect("the schema is there");
    let document = serde_json::from_slice(&text).expect("the schema is JSON");
    let name = format!("github.{kind}").parse().expect("a name");
    CompiledSchema::compile(name, 1, &document, false).expect("the schema compiles")
}
