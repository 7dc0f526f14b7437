//! Streams of batches: of an event type from cursors that the client keeps, of a subscription from those that are committed.

use std::collections::{BTreeMap, BTreeSet};

use http::header::HeaderValue;
use http::request::Parts;
use http::{HeaderName, Response};
use hyper::body::Incoming;
use posthorn_domain::names::TopicName;
use posthorn_domain::problem::{Code, Problem};
use serde_json::Value;
use uuid::Uuid;

use super::super::door::Door;
use super::super::readers::document;
use super::super::reply::{self, Body};
use super::batches::{Batches, batches};
use super::params::Params;
use super::{STREAM_ID, cursors, refuse, subscriptions};
use crate::readers::Definition;
use crate::readers::group::PartKey;

const MEDIA: &str = "application/x-json-stream";
/// Where the client says where to go on.
const CURSORS: &str = "x-nakadi-cursors";

/// Streams an event type; the client keeps the cursors.
pub(super) async fn of_type(door: &Door, name: &str, parts: &Parts) -> Result<Response<Body>, Problem> {
    let params = Params::of_query(parts.uri.query().unwrap_or_default(), false)?;
    let topic: TopicName = name.parse().map_err(|_| crate::ingest::topic_unknown(name))?;
    let (from, only) = begin(door, &topic, parts)?;
    let now = door.clock.now();
    let definition =
        Definition { topics: vec![topic], filters: Vec::new(), compiled: [].into(), created_at: now, updated_at: now, extra: Value::Null };
    let session = door.readers.passing(definition, &from)?.streaming().only(only);
    let stream = batches(Batches::new(session, params, None, door.clock.clone()));
    Ok(reply::respond(200, MEDIA, Body::stream(stream)))
}

/// Where the stream of an event type begins: where its cursors say, else with the next event of every partition.
fn begin(door: &Door, topic: &TopicName, parts: &Parts) -> Result<(BTreeMap<PartKey, u64>, BTreeSet<PartKey>), Problem> {
    let table = door.live.load();
    let route = table.topics.get(topic).ok_or_else(|| crate::ingest::topic_unknown(topic))?;
    let count = route.log.settings().partitions;
    let Some(header) = parts.headers.get(CURSORS) else {
        let from: BTreeMap<PartKey, u64> = (0..count).map(|part| ((topic.clone(), part), route.log.bounds(part).end)).collect();
        let only = from.keys().cloned().collect();
        return Ok((from, only));
    };
    let bad = |why: &str| Problem::new(Code::InvalidRequest, format!("header `X-Nakadi-Cursors`: {why}"));
    let list: Vec<Value> = serde_json::from_slice(header.as_bytes()).map_err(|error| bad(&error.to_string()))?;
    let mut from = BTreeMap::new();
    for item in &list {
        let member = |name: &str| item[name].as_str().ok_or_else(|| bad(&format!("each cursor has a text `{name}`")));
        let partition: u32 = member("partition")?
            .parse()
            .ok()
            .filter(|part| *part < count)
            .ok_or_else(|| refuse(format!("{item}: there is no such partition")))?;
        let next = cursors::next(member("offset")?).ok_or_else(|| refuse(format!("{item}: this is no offset of ours")))?;
        let bounds = route.log.bounds(partition);
        let next = next.unwrap_or(bounds.start);
        if !(bounds.start..=bounds.end).contains(&next) {
            return Err(refuse(format!("{item}: the offset is not kept (any more)")));
        }
        if from.insert((topic.clone(), partition), next).is_some() {
            return Err(refuse(format!("{item}: the partition is named twice")));
        }
    }
    if from.is_empty() {
        return Err(refuse("header `X-Nakadi-Cursors` names no partition"));
    }
    let only = from.keys().cloned().collect();
    Ok((from, only))
}

/// Streams a subscription; the place is kept here. Parameters come by the query, or as JSON in a body.
pub(super) async fn of_subscription(door: &Door, id: &str, parts: &Parts, body: Option<Incoming>) -> Result<Response<Body>, Problem> {
    let name = subscriptions::name(door, id)?;
    let (params, wanted) = match body {
        None => (Params::of_query(parts.uri.query().unwrap_or_default(), true)?, None),
        Some(body) => asked(&document(door, parts, body).await?)?,
    };
    let states = door.readers.parts(&name).await?;
    if let Some(part) = wanted.iter().flatten().find(|part| states.iter().all(|state| state.part != **part)) {
        return Err(refuse(format!("the subscription does not read partition {} of `{}`", part.1, part.0)));
    }
    let stream = Uuid::now_v7().hyphenated().to_string();
    let mut session = door.readers.open(&name, Some(&stream))?.strictly(states.len(), params.commit_timeout);
    if let Some(wanted) = wanted {
        session.claim(wanted).await?;
    } else {
        session.check().await?;
    }
    let value = HeaderValue::from_str(&stream).map_err(|_| Problem::new(Code::Internal, "the stream has no name"))?;
    let body = Body::stream(batches(Batches::new(session, params, Some(stream), door.clock.clone())));
    let mut response = reply::respond(200, MEDIA, body);
    response.headers_mut().insert(HeaderName::from_static(STREAM_ID), value);
    Ok(response)
}

/// Parameters, and the partitions that the stream is to have.
fn asked(document: &Value) -> Result<(Params, Option<BTreeSet<PartKey>>), Problem> {
    let bad = || Problem::new(Code::InvalidRequest, "the body must be an object; `partitions` in it a list of {event_type, partition}");
    let members = document.as_object().ok_or_else(bad)?;
    let params = Params::of_json(members.iter().filter(|(name, _)| *name != "partitions"))?;
    let Some(list) = members.get("partitions").filter(|list| !list.is_null()) else { return Ok((params, None)) };
    let mut wanted = BTreeSet::new();
    for item in list.as_array().ok_or_else(bad)? {
        let topic = item["event_type"].as_str().and_then(|text| text.parse().ok()).ok_or_else(bad)?;
        let partition = item["partition"].as_str().and_then(|text| text.parse().ok()).ok_or_else(bad)?;
        wanted.insert((topic, partition));
    }
    if wanted.is_empty() { Ok((params, None)) } else { Ok((params, Some(wanted))) }
}
