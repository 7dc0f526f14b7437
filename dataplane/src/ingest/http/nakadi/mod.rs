//! Streams for clients of Nakadi (protocols §11), at `/v1/compat/nakadi`. An event type is a topic, an event a structured CloudEvent,
//! a subscription a reader whose name nobody else can give, a stream a member of it.

mod batches;
mod cursors;
mod params;
mod publish;
mod stream;
mod subscriptions;

use http::request::Parts;
use http::{Method, Response};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use posthorn_domain::problem::{Code, Problem};

use super::caller::Caller;
use super::door::Door;
use super::reply::{self, Body};

/// What every path starts with.
pub(super) const PREFIX: &str = "/v1/compat/nakadi/";
/// The header that names a stream.
const STREAM_ID: &str = "x-nakadi-streamid";

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Ask<'a> {
    TypeEvents(&'a str),
    Subscriptions,
    Subscription(&'a str),
    Events(&'a str),
    Cursors(&'a str),
    Stats(&'a str),
}

/// Who may ask what; the one place where that is decided. Without authentication everyone may everything.
#[expect(clippy::unnecessary_wraps, reason = "as long as there is nothing to prove")]
fn authorise(_caller: &Caller, _ask: &Ask<'_>) -> Result<(), Problem> {
    Ok(())
}

/// Answers a request whose path, behind the prefix, is `path`.
pub(super) async fn answer(door: &Door, path: &str, caller: &Caller, parts: &Parts, body: Incoming) -> Result<Response<Body>, Problem> {
    let path = percent_decode_str(path).decode_utf8().map_err(|_| nothing())?;
    let ask = Ask::of(&path).ok_or_else(nothing)?;
    authorise(caller, &ask)?;
    let reads = parts.method == Method::GET || parts.method == Method::HEAD;
    let posts = parts.method == Method::POST;
    match ask {
        _ if parts.method == Method::OPTIONS => Ok(reply::options(ask.allow())),
        Ask::TypeEvents(name) if posts => publish::publish(door, name, caller, parts, body).await,
        Ask::TypeEvents(name) if reads => stream::of_type(door, name, parts).await,
        Ask::Subscriptions if posts => subscriptions::create(door, parts, body).await,
        Ask::Subscriptions if reads => subscriptions::list(door, parts),
        Ask::Subscription(id) if reads => subscriptions::get(door, id),
        Ask::Subscription(id) if parts.method == Method::PUT => subscriptions::put(door, id, parts, body).await,
        Ask::Subscription(id) if parts.method == Method::DELETE => subscriptions::delete(door, id).await,
        Ask::Events(id) if reads => stream::of_subscription(door, id, parts, None).await,
        Ask::Events(id) if posts => stream::of_subscription(door, id, parts, Some(body)).await,
        Ask::Cursors(id) if reads => cursors::get(door, id).await,
        Ask::Cursors(id) if posts => cursors::commit(door, id, parts, body).await,
        Ask::Cursors(id) if parts.method == Method::PATCH => cursors::reset(door, id, parts, body).await,
        Ask::Stats(id) if reads => subscriptions::stats(door, id).await,
        ask => Ok(reply::not_allowed(ask.allow())),
    }
}

impl<'a> Ask<'a> {
    fn of(path: &'a str) -> Option<Self> {
        let mut parts = path.split('/');
        Some(match [parts.next(), parts.next(), parts.next(), parts.next()] {
            [Some("event-types"), Some(name), Some("events"), None] => Self::TypeEvents(name),
            [Some("subscriptions"), None, ..] => Self::Subscriptions,
            [Some("subscriptions"), Some(id), None, _] => Self::Subscription(id),
            [Some("subscriptions"), Some(id), Some("events"), None] => Self::Events(id),
            [Some("subscriptions"), Some(id), Some("cursors"), None] => Self::Cursors(id),
            [Some("subscriptions"), Some(id), Some("stats"), None] => Self::Stats(id),
            _ => return None,
        })
    }

    fn allow(&self) -> &'static str {
        match self {
            Self::TypeEvents(_) | Self::Subscriptions | Self::Events(_) => "GET, HEAD, POST, OPTIONS",
            Self::Subscription(_) => "GET, HEAD, PUT, DELETE, OPTIONS",
            Self::Cursors(_) => "GET, HEAD, POST, PATCH, OPTIONS",
            Self::Stats(_) => "GET, HEAD, OPTIONS",
        }
    }
}

fn nothing() -> Problem {
    Problem::new(Code::NotFound, "there is nothing at this path")
}

/// A value that is well-formed and cannot be accepted.
fn refuse(detail: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidResource, detail)
}
