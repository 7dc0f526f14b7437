//! Publishing to an event type: a list of events, all checked before the first is kept (protocols §11.4).

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use hyper::body::Incoming;
use posthorn_domain::cloudevents::{decode_structured, plain_json};
use posthorn_domain::event::{AttrKind, DataKind, Event, EventBuilder};
use posthorn_domain::json::Parser;
use posthorn_domain::problem::{Code, Problem};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::body::{self, Limits};
use super::super::caller::Caller;
use super::super::door::Door;
use super::super::reply::{self, Body};
use crate::ingest::{Publish, foresee};
use crate::route::{Table, TopicRoute};

/// One event of the list, and what came of it.
struct One {
    eid: String,
    event: Result<Event, Problem>,
}

/// Takes in a list of events: CloudEvents in the JSON format, or any other objects as the data of events whose type is the event type's name.
pub(super) async fn publish(door: &Door, name: &str, caller: &Caller, parts: &Parts, body: Incoming) -> Result<Response<Body>, Problem> {
    body::check_encoding(&parts.headers)?;
    let config = door.pipeline.config();
    let limits = Limits { max_bytes: config.max_batch_bytes, timeout: door.config.body_timeout };
    let (body, _held) = body::read(&parts.headers, body, &limits, &door.budget).await?;
    let table = door.live.snapshot();
    let route = table.topics.get(name).cloned().ok_or_else(|| crate::ingest::topic_unknown(name))?;
    let items: Vec<&RawValue> = serde_json::from_slice(&body)
        .map_err(|error| Problem::new(Code::InvalidRequest, format!("the body must be a list of events: {error}")))?;
    if items.len() > config.max_batch_events {
        let detail = format!("the batch has {} events; at most {} are taken", items.len(), config.max_batch_events);
        return Err(Problem::new(Code::TooLarge, detail));
    }
    let mut all: Vec<One> = items.into_iter().map(|item| decode(item, name, caller)).collect();
    for one in &mut all {
        if let Ok(event) = &one.event
            && let Err(problem) = check(door, &table, &route, event)
        {
            one.event = Err(problem);
        }
    }
    if all.iter().any(|one| one.event.is_err()) {
        let shown: Vec<Value> = all.iter().map(|one| result(&one.eid, "validating", one.event.as_ref().err(), "aborted")).collect();
        return Ok(reply::json(422, &shown));
    }
    let direction = config.default_direction;
    let mut begun = Vec::new();
    for One { eid, event } in all {
        let event = event?;
        let publish = Publish { topic: Some(name), event, publisher: &caller.publisher, idempotency_key: None, direction, relayed: None };
        begun.push((eid, door.pipeline.begin(publish)));
    }
    let (mut shown, mut failed) = (Vec::new(), false);
    for (eid, begun) in begun {
        let outcome = door.pipeline.finish(begun).await;
        failed |= outcome.is_err();
        shown.push(result(&eid, "publishing", outcome.as_ref().err(), "submitted"));
    }
    if failed { Ok(reply::json(207, &shown)) } else { Ok(reply::respond(200, "application/json", Body::whole(Bytes::new()))) }
}

fn decode(item: &RawValue, name: &str, caller: &Caller) -> One {
    let bytes = Bytes::copy_from_slice(item.get().as_bytes());
    let document: Value = serde_json::from_str(item.get()).unwrap_or_default();
    if document.get("specversion").is_some() {
        let eid = document["id"].as_str().unwrap_or_default().to_owned();
        return One { eid, event: decode_structured(&bytes) };
    }
    let metadata = &document["metadata"];
    let eid = metadata["eid"].as_str().map_or_else(|| Uuid::now_v7().hyphenated().to_string(), str::to_owned);
    if !document.is_object() {
        let problem = Problem::new(Code::InvalidEvent, "an event is an object");
        return One { eid, event: Err(problem) };
    }
    let publisher = if caller.publisher.is_empty() { "anonymous" } else { &caller.publisher };
    let source = format!("/publishers/{publisher}");
    let Some(time) = metadata["occurred_at"].as_str() else { return One { event: Ok(plain_json(bytes, &eid, &source, name)), eid } };
    if posthorn_domain::time::Time::parse(time).is_none() {
        let problem = Problem::new(Code::InvalidEvent, "`metadata.occurred_at` is not an RFC 3339 time");
        return One { eid, event: Err(problem) };
    }
    let mut builder = EventBuilder::new(&eid, &source, name);
    builder.push("datacontenttype", AttrKind::String, "application/json");
    builder.push("time", AttrKind::String, time);
    One { event: Ok(builder.with_data(DataKind::Json, bytes)), eid }
}

/// Whether it would be kept.
fn check(door: &Door, table: &Table, route: &TopicRoute, event: &Event) -> Result<(), Problem> {
    let (config, now) = (door.pipeline.config(), door.clock.now());
    if event.size() > config.max_event_bytes {
        return Err(Problem::new(
            Code::TooLarge,
            format!("the event takes {} bytes; at most {} are taken", event.size(), config.max_event_bytes),
        ));
    }
    let event = event.with_attr("topic", &route.topic.name);
    if event.data_kind() == DataKind::Json {
        let checked = Parser::new().parse(event.data(), |doc| foresee(table, route, &event, Some(doc), config, now));
        checked.map_err(Problem::from)?.map(drop)
    } else {
        foresee(table, route, &event, None, config, now).map(drop)
    }
}

/// What came of one event; what did not fail had `otherwise`.
fn result(eid: &str, step: &str, problem: Option<&Problem>, otherwise: &str) -> Value {
    let (status, detail) = problem.map_or((otherwise, ""), |problem| ("failed", problem.detail()));
    json!({"eid": eid, "publishing_status": status, "step": if status == "aborted" { "none" } else { step }, "detail": detail})
}
