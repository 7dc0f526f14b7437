//! Publishing: a request in one of the three modes, or plain JSON, through the pipeline.

use bytes::Bytes;
use compact_str::CompactString;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response};
use hyper::body::Incoming;
use posthorn_domain::cloudevents::{self, Mode};
use posthorn_domain::event::{Event, is_json_type};
use posthorn_domain::hops::{DELIVERY_HEADER, HOPS_HEADER};
use posthorn_domain::problem::{Code, Problem};
use uuid::Uuid;

use super::body::{self, Limits};
use super::caller::Caller;
use super::door::Door;
use super::reply::{self, Body};
use crate::ingest::{Outcome, Publish, idempotency_key, relayed, write_outcome};

/// Room for what the JSON format adds around an event.
const STRUCTURED_ROOM: usize = 64 << 10;

/// Takes in what the request carries.
pub(super) async fn publish(
    door: &Door,
    topic: Option<&str>,
    caller: &Caller,
    parts: &Parts,
    body: Incoming,
) -> Result<Response<Body>, Problem> {
    let started = door.clock.instant();
    body::check_encoding(&parts.headers)?;
    let content_type = content_type(&parts.headers)?;
    let mode = cloudevents::mode(content_type)?;
    let key = key(&parts.headers)?;
    if mode == Mode::Batch && key.is_some() {
        return Err(Problem::new(
            Code::InvalidRequest,
            "`idempotency-key` is for one event; a batch's events are known by `source` and `id`",
        ));
    }
    let relayed = relayed(parts.headers.contains_key(DELIVERY_HEADER), parts.headers.get(HOPS_HEADER).map(HeaderValue::as_bytes));
    let (body, _held) = body::read(&parts.headers, body, &limits(door, mode), &door.budget).await?;
    let answer = match mode {
        Mode::Batch => Box::pin(batch(door, topic, caller, &body, relayed)).await,
        Mode::Structured | Mode::Binary => {
            let event = decode(mode, content_type, topic, caller, &parts.headers, body)?;
            one(door, topic, caller, event, key.as_deref(), relayed).await
        }
    };
    door.pipeline.metrics().seconds.record(started.elapsed());
    answer
}

/// JSON takes more room than what it means: escapes, base64.
fn limits(door: &Door, mode: Mode) -> Limits {
    let config = door.pipeline.config();
    let max_bytes = match mode {
        Mode::Binary => config.max_event_bytes,
        Mode::Structured => config.max_event_bytes.saturating_mul(2).saturating_add(STRUCTURED_ROOM),
        Mode::Batch => config.max_batch_bytes,
    };
    Limits { max_bytes, timeout: door.config.body_timeout }
}

fn content_type(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Problem::new(Code::InvalidRequest, "`content-type` is given twice"));
    }
    first.map(|value| value.to_str().map_err(|_| Problem::new(Code::InvalidRequest, "`content-type` must be ASCII"))).transpose()
}

fn key(headers: &HeaderMap) -> Result<Option<CompactString>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Problem::new(Code::InvalidRequest, "`idempotency-key` is given twice"));
    }
    first.map(|value| idempotency_key(value.as_bytes())).transpose()
}

fn decode(
    mode: Mode,
    content_type: Option<&str>,
    topic: Option<&str>,
    caller: &Caller,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Event, Problem> {
    if mode == Mode::Structured {
        return cloudevents::decode_structured(&body);
    }
    let fields = || headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    match topic {
        Some(topic) if content_type.is_some_and(is_json_type) && !cloudevents::has_ce_headers(fields()) => {
            let publisher = if caller.publisher.is_empty() { "anonymous" } else { &caller.publisher };
            let id = Uuid::now_v7().hyphenated().to_string();
            if !posthorn_domain::names::Name::is_valid(topic) {
                return Err(crate::ingest::topic_unknown(topic));
            }
            Ok(cloudevents::plain_json(body, &id, &format!("/publishers/{publisher}"), topic))
        }
        _ => cloudevents::decode_binary(fields(), body),
    }
}

async fn one(
    door: &Door,
    topic: Option<&str>,
    caller: &Caller,
    event: Event,
    key: Option<&str>,
    relayed: Option<u32>,
) -> Result<Response<Body>, Problem> {
    let direction = door.pipeline.config().default_direction;
    let publish = Publish { topic, event, publisher: &caller.publisher, idempotency_key: key, direction, relayed };
    let outcome = door.pipeline.publish(publish).await?;
    let mut out = Vec::with_capacity(160);
    write_outcome(&outcome, &mut out);
    Ok(reply::json_bytes(outcome.status(), out))
}

/// All events are begun before the first is waited for, so that one flush serves them.
async fn batch(door: &Door, topic: Option<&str>, caller: &Caller, body: &Bytes, relayed: Option<u32>) -> Result<Response<Body>, Problem> {
    let events = cloudevents::decode_batch(body, door.pipeline.config().max_batch_events)?;
    let direction = door.pipeline.config().default_direction;
    let begin =
        |event| door.pipeline.begin(Publish { topic, event, publisher: &caller.publisher, idempotency_key: None, direction, relayed });
    let begun: Vec<_> = events.into_iter().map(|event| event.map(begin)).collect();
    let mut out = b"{\"results\":[".to_vec();
    let mut refused = false;
    for (n, begun) in begun.into_iter().enumerate() {
        let result = match begun {
            Ok(begun) => door.pipeline.finish(begun).await,
            Err(problem) => {
                door.pipeline.metrics().refused.increment(1);
                Err(problem)
            }
        };
        if n > 0 {
            out.push(b',');
        }
        refused |= result.is_err();
        write_result(&result, &mut out);
    }
    out.extend_from_slice(b"]}");
    Ok(reply::json_bytes(if refused { 207 } else { 202 }, out))
}

fn write_result(result: &Result<Outcome, Problem>, out: &mut Vec<u8>) {
    match result {
        Ok(outcome) => write_outcome(outcome, out),
        Err(problem) => {
            out.extend_from_slice(b"{\"status\":\"refused\",\"problem\":");
            out.extend_from_slice(problem.to_value().to_string().as_bytes());
            out.push(b'}');
        }
    }
}
