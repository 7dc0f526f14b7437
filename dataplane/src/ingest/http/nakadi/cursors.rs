//! Cursors: text for the offset of the event before the next one, and commits by them.

use std::hash::{BuildHasher as _, Hasher as _};

use http::Response;
use http::request::Parts;
use hyper::body::Incoming;
use posthorn_domain::fields::{Faults, Fields, pointer};
use posthorn_domain::problem::Problem;
use serde_json::{Value, json};

use super::super::door::Door;
use super::super::readers::document;
use super::super::reply::{self, Body};
use super::{STREAM_ID, refuse, subscriptions};
use crate::readers::Commit;
use crate::readers::group::PartKey;

/// Before the first event that is kept.
pub(super) const BEGIN: &str = "begin";
/// Cursors in one request.
const MOST: usize = 1000;

/// The cursor of the last event before `next`.
pub(super) fn text(next: u64) -> String {
    next.checked_sub(1).map_or_else(|| BEGIN.to_owned(), |offset| offset.to_string())
}

/// What a cursor of this stream carries, so that one of another stream is not taken for it.
pub(super) fn token(stream: &str, part: &PartKey, offset: &str) -> String {
    let mut hasher = foldhash::quality::FixedState::with_seed(0x6e61_6b61_6469).build_hasher();
    hasher.write(format!("{stream}/{}/{}/{offset}", part.0, part.1).as_bytes());
    format!("{:016x}", hasher.finish())
}

/// A cursor as a client gave it, with what it was found to be.
pub(super) struct Given {
    pub(super) part: PartKey,
    /// The offset behind it; none for `begin`.
    pub(super) next: Option<u64>,
    token: Option<String>,
    pub(super) document: Value,
}

/// Reads a list of cursors.
pub(super) fn read(items: &[Value], at: &str) -> Result<Vec<Given>, Problem> {
    if items.len() > MOST {
        return Err(refuse(format!("at most {MOST} cursors at once")));
    }
    let mut faults = Faults::default();
    let mut given = Vec::new();
    for (n, item) in items.iter().enumerate() {
        let at = pointer(at, n);
        let mut fields = Fields::of(item, &at, &mut faults);
        let topic = fields.need("event_type", &mut faults);
        let partition: Option<String> = fields.need("partition", &mut faults);
        let offset: Option<String> = fields.need("offset", &mut faults);
        let token = fields.get("cursor_token", &mut faults);
        fields.done(&mut faults);
        let number =
            partition.and_then(|text| text.parse().map_err(|_| faults.meaning(&pointer(&at, "partition"), "is no partition")).ok());
        let next = offset.and_then(|text| next(&text).ok_or_else(|| faults.meaning(&pointer(&at, "offset"), "is no offset of ours")).ok());
        if let (Some(topic), Some(partition), Some(next)) = (topic, number, next) {
            given.push(Given { part: (topic, partition), next, token, document: item.clone() });
        }
    }
    faults.result("the list of cursors", Some(given))
}

/// The offset behind the one that is named; `Some(None)` for the beginning.
pub(super) fn next(text: &str) -> Option<Option<u64>> {
    if text.eq_ignore_ascii_case(BEGIN) {
        return Some(None);
    }
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse::<u64>().ok().filter(|_| digits)?.checked_add(1).map(Some)
}

/// Where the subscription stands.
pub(super) async fn get(door: &Door, id: &str) -> Result<Response<Body>, Problem> {
    let name = subscriptions::name(door, id)?;
    let shown = door.readers.parts(&name).await?.into_iter().map(|state| {
        let offset = text(state.next);
        json!({"partition": state.part.1.to_string(), "offset": offset, "event_type": state.part.0, "cursor_token": token(id, &state.part, &offset)})
    });
    Ok(reply::json(200, &json!({"items": shown.collect::<Vec<_>>()})))
}

/// Commits cursors that were sent on a stream: everything before them is done.
pub(super) async fn commit(door: &Door, id: &str, parts: &Parts, body: Incoming) -> Result<Response<Body>, Problem> {
    let name = subscriptions::name(door, id)?;
    let stream = parts.headers.get(STREAM_ID).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let stream = stream.ok_or_else(|| refuse("header `X-Nakadi-StreamId` must name the stream that the cursors came on"))?;
    let given = items(&document(door, parts, body).await?)?;
    let foreign = |given: &&Given| {
        let offset = text(given.next.unwrap_or(0));
        given.token.as_ref().is_none_or(|sent| *sent != token(&stream, &given.part, &offset))
    };
    if let Some(given) = given.iter().find(foreign) {
        return Err(refuse(format!("the cursor {} did not come on this stream", given.document)));
    }
    let places: Vec<_> = given.iter().map(|given| (given.part.clone(), given.next.unwrap_or(0))).collect();
    let results = door.readers.commit_parts(&name, &stream, &places).await?;
    if results.iter().all(|result| *result == Commit::Committed) {
        return Ok(nothing());
    }
    let shown = given.iter().zip(results).map(
        |(given, result)| json!({"cursor": given.document, "result": if result == Commit::Committed { "committed" } else { "outdated" }}),
    );
    Ok(reply::json(200, &json!({"items": shown.collect::<Vec<_>>()})))
}

/// Puts the subscription elsewhere; its streams end.
pub(super) async fn reset(door: &Door, id: &str, parts: &Parts, body: Incoming) -> Result<Response<Body>, Problem> {
    let name = subscriptions::name(door, id)?;
    let given = items(&document(door, parts, body).await?)?;
    let mut places = Vec::new();
    let states = door.readers.parts(&name).await?;
    for Given { part, next, document, .. } in given {
        let Some(state) = states.iter().find(|state| state.part == part) else {
            return Err(refuse(format!("the subscription does not read the partition of {document}")));
        };
        let next = next.unwrap_or(state.bounds.start);
        if !(state.bounds.start..=state.bounds.end).contains(&next) {
            return Err(refuse(format!("the offset of {document} is not kept (any more)")));
        }
        places.push((part, next));
    }
    door.readers.reset(&name, &places).await?;
    Ok(nothing())
}

fn items(document: &Value) -> Result<Vec<Given>, Problem> {
    let mut faults = Faults::default();
    let mut fields = Fields::of(document, "", &mut faults);
    let items: Option<Vec<Value>> = fields.need("items", &mut faults);
    fields.done(&mut faults);
    read(&faults.result("the request", items)?, "/items")
}

/// 204.
pub(super) fn nothing() -> Response<Body> {
    let mut response = Response::new(Body::whole(bytes::Bytes::new()));
    *response.status_mut() = http::StatusCode::NO_CONTENT;
    response
}
