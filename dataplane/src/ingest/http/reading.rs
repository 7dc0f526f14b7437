//! Reading a topic over HTTP: a page, or a stream of server-sent events.

use http::Response;
use http::header::{ACCEPT, CACHE_CONTROL, HeaderValue};
use http::request::Parts;
use posthorn_domain::problem::{Code, Problem};

use super::door::Door;
use super::reply::{self, Body};
use crate::read::{self, Query};

/// Answers a read of `topic`.
pub(super) async fn read(door: &Door, topic: &str, parts: &Parts) -> Result<Response<Body>, Problem> {
    let mut query = Query::parse(parts.uri.query().unwrap_or_default())?;
    if !wants_stream(parts) {
        let mut session = door.reader.open(topic, &query).await?;
        let slice = session.next(query.limit, query.wait).await?;
        return Ok(reply::respond(200, "application/json", Body::whole(read::write_page(&slice)).keeping(slice.held)));
    }
    if let Some(last) = parts.headers.get("last-event-id") {
        let last = last.to_str().map_err(|_| Problem::new(Code::InvalidRequest, "`last-event-id` must be a cursor"))?;
        query.cursor = Some(last.to_owned());
    }
    let session = door.reader.open(topic, &query).await?;
    let mut response = reply::respond(200, "text/event-stream", Body::stream(read::sse::stream(session)));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

pub(super) fn wants_stream(parts: &Parts) -> bool {
    let types = parts.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    types.map(|item| item.split(';').next().unwrap_or_default().trim()).any(|essence| essence.eq_ignore_ascii_case("text/event-stream"))
}
