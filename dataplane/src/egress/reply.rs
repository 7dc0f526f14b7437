//! What an endpoint answered: the status, the wait it asks for, and the head of its body.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;

use super::allowed_rate::AllowedRate;

/// How much of an answer's body is kept, in bytes.
pub(super) const KEPT: usize = 1024;

/// An answer whose body was read to its end, or to the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status; never 1xx.
    pub status: StatusCode,
    /// What `Retry-After` asks for, counted from now.
    pub retry_after: Option<Duration>,
    /// What `WebHook-Allowed-Rate` allows.
    pub allowed_rate: Option<AllowedRate>,
    /// When the request had its connection: what came before was not the endpoint's.
    pub began: Instant,
    /// The first kibibyte of the body.
    pub body_head: Bytes,
    /// Whether the body went on past the limit and was left unread.
    pub body_truncated: bool,
}
