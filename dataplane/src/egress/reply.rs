//! What an endpoint answered: the status, the wait it asks for, and the head of its body.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use posthorn_domain::time::Time;

use super::error::{Fault, SendError};
use super::retry_after::retry_after;

/// How much of an answer's body is kept, in bytes.
const KEPT: usize = 1024;

/// An answer whose body was read to its end, or to the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status; never 1xx.
    pub status: StatusCode,
    /// What `Retry-After` asks for, counted from now.
    pub retry_after: Option<Duration>,
    /// The first kibibyte of the body.
    pub body_head: Bytes,
    /// Whether the body went on past the limit and was left unread.
    pub body_truncated: bool,
}

/// Reads the body to its end or to `limit` bytes.
pub(super) async fn read(response: Response<Incoming>, limit: usize, now: Time) -> Result<Reply, SendError> {
    let (head, mut body) = response.into_parts();
    if head.status.is_informational() {
        return Err(SendError::sent(Fault::Protocol("101 without having been asked".into())));
    }
    let mut kept = BytesMut::new();
    let mut seen = 0usize;
    let mut body_truncated = false;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| SendError::sent(Fault::of_hyper(&error)))?;
        let Some(data) = frame.data_ref() else { continue };
        kept.extend_from_slice(&data[..data.len().min(KEPT.saturating_sub(kept.len()))]);
        seen = seen.saturating_add(data.len());
        if seen > limit {
            body_truncated = true;
            break;
        }
    }
    Ok(Reply { status: head.status, retry_after: retry_after(&head.headers, now), body_head: kept.freeze(), body_truncated })
}
