//! Publishes the recorded events in the three modes of the CloudEvents HTTP binding, with the data's bytes as recorded.
//!
//! The `source` ends in the mode's name, so that the three are different events; sent again they are duplicates.

use std::collections::BTreeMap;

use anyhow::Context as _;
use bytes::Bytes;
use http::Method;
use serde_json::Value;

use super::console::Console;
use super::data::{Data, Event};
use crate::client::{Answer, Door};

/// Events of one batch request.
const BATCH: usize = 50;

/// How events are written into requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// One event a request, as JSON.
    Structured,
    /// One event a request: attributes as headers, data as the body.
    Binary,
    /// Many events a request.
    Batch,
}

/// All modes.
pub(super) const MODES: [Mode; 3] = [Mode::Structured, Mode::Binary, Mode::Batch];

/// What the answers said.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) accepted: usize,
    pub(super) duplicate: usize,
    pub(super) refused: usize,
    /// Answers that were none of these.
    pub(super) other: Vec<String>,
    /// Events on which Posthorn and the independent validator are not of one mind.
    pub(super) disagreements: Vec<String>,
    /// How often each reason was given.
    pub(super) reasons: BTreeMap<String, usize>,
}

impl Mode {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Structured => "structured",
            Self::Binary => "binary",
            Self::Batch => "batch",
        }
    }

    /// The `source` under which an event goes out in this mode.
    fn source(self, event: &Event) -> String {
        format!("{}#{}", event.source, self.name())
    }
}

/// Publishes every event once.
pub(super) async fn publish(door: &Door, data: &Data, mode: Mode, console: &Console) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let size = if mode == Mode::Batch { BATCH } else { 1 };
    let mut done = 0;
    for events in data.events.chunks(size) {
        let answer = send(door, events, mode).await?;
        let results = answer.body.get("results").and_then(Value::as_array).filter(|_| mode == Mode::Batch);
        for (at, event) in events.iter().enumerate() {
            let result = results.and_then(|results| results.get(at)).unwrap_or(&answer.body);
            tally.count(event, result);
        }
        done += events.len();
        console.progress(mode.name(), done, data.events.len())?;
    }
    console.clear()?;
    Ok(tally)
}

async fn send(door: &Door, events: &[Event], mode: Mode) -> anyhow::Result<Answer> {
    let path = door.path(&["v1", "events"], &[]);
    let first = events.first().context("a request has an event")?;
    let answer = match mode {
        Mode::Structured => {
            let headers = [("content-type", "application/cloudevents+json")];
            door.send(Method::POST, &path, &headers, structured(first, mode)?.into()).await?
        }
        Mode::Batch => {
            let bodies = events.iter().map(|event| structured(event, mode)).collect::<anyhow::Result<Vec<_>>>()?;
            let headers = [("content-type", "application/cloudevents-batch+json")];
            door.send(Method::POST, &path, &headers, format!("[{}]", bodies.join(",")).into()).await?
        }
        Mode::Binary => {
            let source = mode.source(first);
            let mut headers = vec![
                ("content-type", "application/json"),
                ("ce-specversion", "1.0"),
                ("ce-id", &first.id),
                ("ce-source", &source),
                ("ce-type", &first.kind),
                ("ce-topic", &first.topic),
                ("ce-schemas", &first.schemas),
            ];
            headers.extend(first.subject.as_deref().map(|subject| ("ce-subject", subject)));
            door.send(Method::POST, &path, &headers, Bytes::copy_from_slice(first.data.get().as_bytes())).await?
        }
    };
    Ok(answer)
}

/// One event as JSON, its data spliced in as recorded.
fn structured(event: &Event, mode: Mode) -> anyhow::Result<String> {
    let mut attributes = serde_json::json!({
        "specversion": "1.0", "id": event.id, "source": mode.source(event), "type": event.kind,
        "topic": event.topic, "schemas": event.schemas, "datacontenttype": "application/json",
    });
    if let Some(subject) = &event.subject {
        attributes["subject"] = subject.as_str().into();
    }
    let text = attributes.to_string();
    let open = text.strip_suffix('}').context("an object ends in a brace")?;
    Ok(format!("{open},\"data\":{}}}", event.data.get()))
}

impl Tally {
    fn count(&mut self, event: &Event, result: &Value) {
        let problem = result.get("problem").unwrap_or(result);
        let slug = problem.get("type").and_then(Value::as_str).and_then(|kind| kind.strip_prefix("urn:posthorn:problem:"));
        let taken = match result.get("status").and_then(Value::as_str) {
            Some("accepted") => {
                self.accepted += 1;
                true
            }
            Some("duplicate") => {
                self.duplicate += 1;
                true
            }
            _ if slug == Some("schema-invalid") => {
                self.refused += 1;
                *self.reasons.entry(reason(problem)).or_default() += 1;
                false
            }
            _ => return self.other.push(format!("{}: {result}", event.id)),
        };
        if taken != event.valid {
            self.disagreements.push(event.id.clone());
        }
    }
}

/// The first fault of a refusal, without what is particular to one event.
fn reason(problem: &Value) -> String {
    let first = problem.get("errors").and_then(|errors| errors.get(0));
    let text = |name: &str| first.and_then(|fault| fault.get(name)).and_then(Value::as_str);
    text("detail").or_else(|| problem.get("detail").and_then(Value::as_str)).unwrap_or("no reason given").to_owned()
}
