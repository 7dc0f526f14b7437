//! Reading request bodies: within a size, within a time, within what all requests together may hold.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use posthorn_domain::problem::{Code, Problem};

use crate::ingest::budget::{Budget, Held};

/// How a body may be.
pub(super) struct Limits {
    pub(super) max_bytes: usize,
    pub(super) timeout: Duration,
}

/// Refuses what is encoded, before anything of it is read.
pub(super) fn check_encoding(headers: &HeaderMap) -> Result<(), Problem> {
    for value in headers.get_all(CONTENT_ENCODING) {
        let plain = value.to_str().is_ok_and(|text| text.split(',').all(|coding| coding.trim().eq_ignore_ascii_case("identity")));
        if !plain {
            return Err(Problem::new(Code::UnsupportedMediaType, "`content-encoding` is not understood here: send the body as it is"));
        }
    }
    Ok(())
}

/// The whole body. What it holds of the budget lives as long as the answer is being made.
pub(super) async fn read(headers: &HeaderMap, body: Incoming, limits: &Limits, budget: &Budget) -> Result<(Bytes, Held), Problem> {
    let mut held = budget.hold();
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let expected = announced.or_else(|| body.size_hint().exact()).unwrap_or(0);
    let expected = usize::try_from(expected).ok().filter(|bytes| *bytes <= limits.max_bytes).ok_or_else(|| too_large(limits))?;
    held.grow(expected)?;
    let read = tokio::time::timeout(limits.timeout, collect(body, expected, limits, &mut held)).await;
    let bytes = read.map_err(|_| Problem::new(Code::RequestTimeout, "the body did not arrive in time; send it faster"))??;
    Ok((bytes, held))
}

/// A body in one frame, the common case, is not copied.
async fn collect(mut body: Incoming, expected: usize, limits: &Limits, held: &mut Held) -> Result<Bytes, Problem> {
    let Some(first) = next(&mut body).await? else { return Ok(Bytes::new()) };
    account(first.len(), limits, held)?;
    if body.is_end_stream() || first.len() == expected {
        return Ok(first);
    }
    let Some(second) = next(&mut body).await? else { return Ok(first) };
    let mut whole = BytesMut::with_capacity(expected.max(first.len() + second.len()));
    whole.extend_from_slice(&first);
    let mut part = Some(second);
    while let Some(bytes) = part {
        account(whole.len() + bytes.len(), limits, held)?;
        whole.extend_from_slice(&bytes);
        part = next(&mut body).await?;
    }
    Ok(whole.freeze())
}

fn account(total: usize, limits: &Limits, held: &mut Held) -> Result<(), Problem> {
    if total > limits.max_bytes {
        return Err(too_large(limits));
    }
    match total.checked_sub(held.bytes()) {
        None | Some(0) => Ok(()),
        Some(more) => held.grow(more),
    }
}

/// The next bytes; trailers carry nothing for us.
async fn next(body: &mut Incoming) -> Result<Option<Bytes>, Problem> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::new(Code::InvalidRequest, "the body ended before its end"))?;
        if let Ok(bytes) = frame.into_data() {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

fn too_large(limits: &Limits) -> Problem {
    Problem::new(Code::TooLarge, format!("the body has more than {} bytes; send less at a time", limits.max_bytes))
}
