//! What an endpoint answered: the status, the wait it asks for, and the head of its body.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

/// How much of an answer's body is kept, in bytes.
pub(super) const KEPT: usize = 1024;

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
