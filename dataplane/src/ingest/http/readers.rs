//! Readers over HTTP (interfaces §3): what they are, their events as pages or as a stream, their cursors.

use http::header::{CACHE_CONTROL, HeaderValue};
use http::request::Parts;
use http::{Method, Response};
use hyper::body::Incoming;
use posthorn_domain::fields::{Faults, Fields};
use posthorn_domain::names::Name;
use posthorn_domain::problem::{Code, Problem};
use serde_json::{Value, json};

use super::body::{self, Limits};
use super::caller::Caller;
use super::door::Door;
use super::reading::wants_stream;
use super::reply::{self, Body};
use crate::read::query;
use crate::readers::{self, Definition, Readers};

/// Bytes of a request's body.
const MAX_BODY: usize = 256 << 10;
/// Readers in one page of the list.
const MAX_LISTED: usize = 1000;
const LISTED: usize = 100;

/// A question or an order about a reader.
#[derive(Clone, Copy)]
pub(super) enum Ask<'a> {
    /// All of them.
    List,
    /// One.
    One(&'a str),
    /// Its events.
    Events(&'a str),
    /// Its place.
    Cursor(&'a str),
}

/// Who may ask what; the one place where that is decided. Without authentication everyone may everything.
#[expect(clippy::unnecessary_wraps, reason = "as long as there is nothing to prove")]
fn authorise(_caller: &Caller, _ask: Ask<'_>) -> Result<(), Problem> {
    Ok(())
}

/// Answers it.
pub(super) async fn answer(door: &Door, ask: Ask<'_>, caller: &Caller, parts: &Parts, body: Incoming) -> Result<Response<Body>, Problem> {
    authorise(caller, ask)?;
    let reads = parts.method == Method::GET || parts.method == Method::HEAD;
    let readers = &door.readers;
    let query = parts.uri.query().unwrap_or_default();
    match ask {
        Ask::List if reads => list(readers, query).await,
        Ask::One(name) if reads => Ok(reply::json(200, &readers.show(name).await?)),
        Ask::One(name) if parts.method == Method::PUT => {
            readers::check_name(name)?;
            let definition = Definition::parse(&document(door, parts, body).await?, name, door.clock.now())?;
            let made = readers.put(name, definition).await?;
            Ok(reply::json(if made { 201 } else { 200 }, &readers.show(name).await?))
        }
        Ask::One(name) if parts.method == Method::DELETE => {
            readers.delete(name).await?;
            let mut response = Response::new(Body::whole(bytes::Bytes::new()));
            *response.status_mut() = http::StatusCode::NO_CONTENT;
            Ok(response)
        }
        Ask::Events(name) if reads => events(readers, name, parts).await,
        Ask::Cursor(name) if parts.method == Method::POST => {
            let member = member(parts)?;
            let cursor = cursor(&document(door, parts, body).await?)?;
            let committed = readers.commit(name, member.as_deref(), &cursor).await?;
            Ok(reply::json(200, &json!({"cursor": committed.cursor})))
        }
        _ => Ok(reply::not_allowed(ask.allow())),
    }
}

impl Ask<'_> {
    /// Its methods, as `Allow` lists them.
    pub(super) fn allow(self) -> &'static str {
        match self {
            Self::List | Self::Events(_) => "GET, HEAD, OPTIONS",
            Self::One(_) => "GET, HEAD, PUT, DELETE, OPTIONS",
            Self::Cursor(_) => "POST, OPTIONS",
        }
    }
}

async fn list(readers: &Readers, query: &str) -> Result<Response<Body>, Problem> {
    let (mut limit, mut after) = (LISTED, String::new());
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "limit" => limit = query::limit(&value)?.min(MAX_LISTED),
            "page_token" => after = value.into_owned(),
            _ => return Err(unknown_parameter(&name, "limit, page_token")),
        }
    }
    let all = readers.list(|name| Name::is_valid(name) && *name > *after);
    let (mut items, more) = (Vec::new(), all.len() > limit);
    for (name, _) in all.into_iter().take(limit) {
        // One whose topic is gone is shown by its name alone; one that went meanwhile is not shown.
        match readers.show(&name).await {
            Ok(shown) => items.push(shown),
            Err(problem) if problem.code() == Code::NotFound => {}
            Err(_) => items.push(json!({"name": name})),
        }
    }
    let next = items.last().filter(|_| more).map_or(Value::Null, |item| item["name"].clone());
    Ok(reply::json(200, &json!({"items": items, "next_page_token": next})))
}

async fn events(readers: &Readers, name: &str, parts: &Parts) -> Result<Response<Body>, Problem> {
    let (mut limit, mut wait, mut cursor) = (LISTED, std::time::Duration::ZERO, None);
    let mut seen = Vec::new();
    for (name, value) in url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
        if seen.contains(&name) {
            return Err(Problem::new(Code::InvalidRequest, format!("parameter `{}` is given twice", shown(&name))));
        }
        match &*name {
            "limit" => limit = query::limit(&value)?,
            "wait" => wait = query::wait(&value)?,
            "cursor" => cursor = Some(value.into_owned()),
            "member" => {}
            _ => return Err(unknown_parameter(&name, "limit, wait, cursor, member")),
        }
        seen.push(name);
    }
    let member = member(parts)?;
    let mut session = readers.open(name, member.as_deref())?;
    let streams = wants_stream(parts);
    if let Some(last) = parts.headers.get("last-event-id").filter(|_| streams) {
        let last = last.to_str().map_err(|_| Problem::new(Code::InvalidRequest, "`last-event-id` must be a cursor"))?;
        cursor = Some(last.to_owned());
    }
    if let Some(cursor) = cursor {
        session.from(&cursor).await?;
    }
    if !streams {
        let page = session.next(limit, wait).await?;
        let body = readers::write_page(&page, member.is_some());
        return Ok(reply::respond(200, "application/json", Body::whole(body).keeping(page.held)));
    }
    session.check().await?;
    let mut response = reply::respond(200, "text/event-stream", Body::stream(readers::stream(session)));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The member's name, by the query or by a header.
fn member(parts: &Parts) -> Result<Option<String>, Problem> {
    let query = parts.uri.query().unwrap_or_default();
    let named = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "member").map(|(_, value)| value.into_owned());
    let header = parts.headers.get("posthorn-member").map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let Some(member) = named.or(header) else { return Ok(None) };
    if Name::is_valid(&member) {
        return Ok(Some(member));
    }
    let detail = "`member` must be 1 to 200 of letters, digits, `.`, `_` and `-`, starting with a letter or digit";
    Err(Problem::new(Code::InvalidRequest, detail))
}

fn cursor(document: &Value) -> Result<String, Problem> {
    let mut faults = Faults::default();
    let mut fields = Fields::of(document, "", &mut faults);
    let cursor: Option<String> = fields.need("cursor", &mut faults);
    fields.done(&mut faults);
    faults.result("the commit", cursor)
}

/// The body as JSON.
pub(super) async fn document(door: &Door, parts: &Parts, body: Incoming) -> Result<Value, Problem> {
    body::check_encoding(&parts.headers)?;
    let limits = Limits { max_bytes: MAX_BODY, timeout: door.config.body_timeout };
    let (body, _held) = body::read(&parts.headers, body, &limits, &door.budget).await?;
    serde_json::from_slice(&body).map_err(|error| Problem::new(Code::InvalidRequest, format!("the body is not JSON: {error}")))
}

fn unknown_parameter(name: &str, known: &str) -> Problem {
    Problem::new(Code::InvalidRequest, format!("parameter `{}` is not known here; known are {known}", shown(name)))
}

fn shown(name: &str) -> String {
    name.chars().take(100).collect()
}
