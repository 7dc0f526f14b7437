//! Subscriptions in Nakadi's sense: readers of several topics, known by application, topics and consumer group.

use std::collections::{BTreeMap, BTreeSet};

use http::Response;
use http::request::Parts;
use hyper::body::Incoming;
use posthorn_domain::fields::{Faults, Fields};
use posthorn_domain::names::TopicName;
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::time::Time;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::door::Door;
use super::super::readers::document;
use super::super::reply::{self, Body};
use super::{PREFIX, cursors, refuse};
use crate::readers::Definition;
use crate::readers::group::PartKey;

/// What their readers' names start with; no user can give such a name.
const NAMES: &str = "nakadi:";
/// Event types of one subscription.
const MAX_TYPES: usize = 100;
const LISTED: usize = 20;
const MOST_LISTED: usize = 1000;

/// The name of the reader behind a subscription.
pub(super) fn name(door: &Door, id: &str) -> Result<String, Problem> {
    find(door, id).map(|(name, _)| name)
}

fn find(door: &Door, id: &str) -> Result<(String, Definition), Problem> {
    let shown: String = id.chars().take(100).collect();
    let wanted = format!("{NAMES}{shown}");
    let found = door.readers.list(|name| *name == *wanted).into_iter().next();
    found.ok_or_else(|| Problem::new(Code::NotFound, format!("there is no subscription `{shown}`")))
}

/// What a client writes.
struct Written {
    application: String,
    types: BTreeSet<TopicName>,
    group: String,
    from: String,
    cursors: Vec<Value>,
}

fn read(document: &Value) -> Result<Written, Problem> {
    let mut faults = Faults::default();
    let mut fields = Fields::of(document, "", &mut faults);
    fields.ignore(&["id", "created_at", "updated_at", "status", "authorization"]);
    let application: Option<String> = fields.need("owning_application", &mut faults);
    let types: Option<Vec<TopicName>> = fields.need("event_types", &mut faults);
    let group = fields.or("consumer_group", "default".to_owned(), &mut faults);
    let from = fields.or("read_from", "end".to_owned(), &mut faults);
    let cursors = fields.or("initial_cursors", Vec::new(), &mut faults);
    fields.done(&mut faults);
    let types: Option<BTreeSet<_>> = types.map(|types| types.into_iter().collect());
    if types.as_ref().is_some_and(|types| types.is_empty() || types.len() > MAX_TYPES) {
        faults.meaning("/event_types", format!("must name 1 to {MAX_TYPES} event types"));
    }
    for (at, text) in [("/owning_application", application.as_deref().unwrap_or("x")), ("/consumer_group", &group)] {
        if text.is_empty() || text.len() > 200 {
            faults.meaning(at, "must have 1 to 200 bytes");
        }
    }
    if !matches!(&*from, "begin" | "end" | "cursors") {
        faults.meaning("/read_from", "must be begin, end or cursors");
    }
    if (from == "cursors") == cursors.is_empty() {
        faults.meaning("/initial_cursors", "must be given with `read_from` cursors, and only then");
    }
    let written = application.zip(types).map(|(application, types)| Written { application, types, group, from, cursors });
    faults.result("the subscription", written)
}

/// Makes one, or finds the one that is there for the same application, event types and consumer group.
pub(super) async fn create(door: &Door, parts: &Parts, body: Incoming) -> Result<Response<Body>, Problem> {
    let written = read(&document(door, parts, body).await?)?;
    // One at a time, so that two who ask for the same get the same.
    let _making = door.making.lock().await;
    if let Some((name, definition)) = door.readers.list(|name| name.starts_with(NAMES)).into_iter().find(|(_, known)| is(known, &written)) {
        return Ok(reply::json(200, &shown(&name, &definition)));
    }
    let from = begin(door, &written)?;
    let now = door.clock.now();
    let extra = json!({"owning_application": written.application, "consumer_group": written.group, "read_from": written.from,
        "initial_cursors": written.cursors});
    let topics = written.types.into_iter().collect();
    let definition = Definition { topics, filters: Vec::new(), compiled: [].into(), created_at: now, updated_at: now, extra };
    let name = format!("{NAMES}{}", Uuid::now_v7().hyphenated());
    door.readers.put_from(&name, definition.clone(), &from).await?;
    Ok(reply::json(201, &shown(&name, &definition)))
}

fn is(known: &Definition, written: &Written) -> bool {
    known.extra["owning_application"] == *written.application
        && known.extra["consumer_group"] == *written.group
        && known.topics.iter().eq(written.types.iter())
}

/// The offsets at which it begins.
fn begin(door: &Door, written: &Written) -> Result<BTreeMap<PartKey, u64>, Problem> {
    let (table, mut from) = (door.live.load(), BTreeMap::new());
    for name in &written.types {
        let topic = table.topics.get(name).ok_or_else(|| refuse(format!("event type `{name}` is not known to this node")))?;
        for partition in 0..topic.log.settings().partitions {
            let bounds = topic.log.bounds(partition);
            from.insert((name.clone(), partition), if written.from == "end" { bounds.end } else { bounds.start });
        }
    }
    if written.from == "cursors" {
        let mut open: BTreeSet<PartKey> = from.keys().cloned().collect();
        for given in cursors::read(&written.cursors, "/initial_cursors")? {
            let Some(place) = from.get_mut(&given.part) else { return Err(refuse(format!("{} is of no event type here", given.document))) };
            let end = table.topics.get(&given.part.0).map_or(0, |topic| topic.log.bounds(given.part.1).end);
            let next = given.next.unwrap_or(*place);
            if !(*place..=end).contains(&next) {
                return Err(refuse(format!("the offset of {} is not kept (any more)", given.document)));
            }
            *place = next;
            open.remove(&given.part);
        }
        if let Some((topic, partition)) = open.first() {
            return Err(refuse(format!("`initial_cursors` lacks partition {partition} of `{topic}`")));
        }
    }
    Ok(from)
}

fn shown(name: &str, definition: &Definition) -> Value {
    let Definition { topics, created_at, updated_at, extra, .. } = definition;
    let mut shown = json!({
        "id": name.strip_prefix(NAMES).unwrap_or(name),
        "owning_application": extra["owning_application"],
        "event_types": topics,
        "consumer_group": extra["consumer_group"],
        "read_from": extra["read_from"],
        "created_at": created_at,
        "updated_at": updated_at,
    });
    if extra["read_from"] == "cursors" {
        shown["initial_cursors"] = extra["initial_cursors"].clone();
    }
    shown
}

/// One.
pub(super) fn get(door: &Door, id: &str) -> Result<Response<Body>, Problem> {
    let (name, definition) = find(door, id)?;
    Ok(reply::json(200, &shown(&name, &definition)))
}

/// What makes a subscription cannot be changed; writing it back is taken.
pub(super) async fn put(door: &Door, id: &str, parts: &Parts, body: Incoming) -> Result<Response<Body>, Problem> {
    let (_, definition) = find(door, id)?;
    let written = read(&document(door, parts, body).await?)?;
    if !is(&definition, &written) {
        return Err(refuse("application, event types and consumer group of a subscription cannot be changed; make another"));
    }
    Ok(cursors::nothing())
}

/// Forgets one and its cursors; its streams end.
pub(super) async fn delete(door: &Door, id: &str) -> Result<Response<Body>, Problem> {
    door.readers.delete(&name(door, id)?).await?;
    Ok(cursors::nothing())
}

/// All, by application and event types where they are named.
pub(super) fn list(door: &Door, parts: &Parts) -> Result<Response<Body>, Problem> {
    let (mut application, mut types, mut offset, mut limit) = (None, Vec::new(), 0, LISTED);
    for (name, value) in url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
        let number = |most: usize| {
            let number = value.parse().ok().filter(|number| *number <= most);
            number.ok_or_else(|| Problem::new(Code::InvalidRequest, format!("parameter `{name}` must be a number up to {most}")))
        };
        match &*name {
            "owning_application" => application = Some(value.into_owned()),
            "event_type" => types.push(value.into_owned()),
            "offset" => offset = number(usize::MAX)?,
            "limit" => limit = number(MOST_LISTED)?.max(1),
            _ => {
                let shown: String = name.chars().take(100).collect();
                return Err(Problem::new(Code::InvalidRequest, format!("parameter `{shown}` is not known here")));
            }
        }
    }
    let mut all = door.readers.list(|name| name.starts_with(NAMES));
    all.retain(|(_, known)| application.as_ref().is_none_or(|wanted| known.extra["owning_application"] == **wanted));
    all.retain(|(_, known)| types.iter().all(|wanted| known.topics.iter().any(|topic| **topic == **wanted)));
    let items: Vec<Value> = all.iter().skip(offset).take(limit).map(|(name, known)| shown(name, known)).collect();
    let mut links = json!({});
    if offset.saturating_add(limit) < all.len() {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(application.iter().map(|application| ("owning_application", application)));
        query.extend_pairs(types.iter().map(|event_type| ("event_type", event_type)));
        query.append_pair("offset", &(offset + limit).to_string()).append_pair("limit", &limit.to_string());
        links["next"] = json!({"href": format!("{PREFIX}subscriptions?{}", query.finish())});
    }
    Ok(reply::json(200, &json!({"items": items, "_links": links})))
}

/// Who reads what, and how far behind.
pub(super) async fn stats(door: &Door, id: &str) -> Result<Response<Body>, Problem> {
    let name = name(door, id)?;
    let now = door.clock.now();
    let mut types: BTreeMap<TopicName, Vec<Value>> = BTreeMap::new();
    for state in door.readers.parts(&name).await? {
        let (condition, stream) = match &state.holder {
            None => ("unassigned", ""),
            Some((stream, true)) => ("reassigning", &**stream),
            Some((stream, false)) => ("assigned", &**stream),
        };
        let partition = json!({
            "partition": state.part.1.to_string(),
            "state": condition,
            "unconsumed_events": state.bounds.end.saturating_sub(state.next.max(state.bounds.start)),
            "consumer_lag_seconds": state.oldest.map_or(0, |oldest: Time| now.since(oldest).as_secs()),
            "stream_id": stream,
        });
        types.entry(state.part.0).or_default().push(partition);
    }
    let items: Vec<Value> = types.into_iter().map(|(topic, partitions)| json!({"event_type": topic, "partitions": partitions})).collect();
    Ok(reply::json(200, &json!({"items": items})))
}
