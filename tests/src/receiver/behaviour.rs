//! What an endpoint may do.

use std::time::Duration;

/// How a path of the receiver treats a request.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// 200 with an empty body.
    Ok,
    /// This status with an empty body.
    Status(u16),
    /// This status with these headers and this body.
    Answer {
        /// The status.
        status: u16,
        /// Further headers; `content-length` is added.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
    /// The first `n` requests get this status, later ones 200.
    FailFirst {
        /// How many fail.
        n: u64,
        /// With which status.
        status: u16,
    },
    /// The n-th request gets the n-th behaviour; the last one holds for all that follow.
    Sequence(Vec<Self>),
    /// Waits this long, then goes on as the other.
    Delay(Duration, Box<Self>),
    /// Reads the request and never answers.
    Hang,
    /// Closes the connection with a TCP reset instead of an answer.
    Reset,
    /// Closes the connection in good order instead of an answer.
    Close,
    /// Answers with bytes that are not HTTP.
    Garbage,
    /// A whole answer, its head sent byte by byte with this pause between two.
    SlowHeaders(Duration),
    /// A quick head, then a body of 1,000 bytes with this pause between two.
    SlowBody(Duration),
    /// 200 with a body of so many bytes, as fast as it is read.
    Body(u64),
    /// A body without end, as fast as it is read.
    EndlessBody,
    /// A header section without end.
    EndlessHeaders,
    /// 302 towards this URL.
    Redirect(String),
    /// This many interim answers (103), then 200.
    Interim(usize),
    /// This status with `Retry-After` as it stands here: seconds or an HTTP date (RFC 9110 §10.2.3).
    RetryAfter {
        /// 429 or 503.
        status: u16,
        /// The header's value.
        value: String,
    },
    /// 410: the endpoint wants no more.
    Gone,
    /// 200, and the connection is closed after it (`connection: close`).
    OkThenClose,
}

impl Behaviour {
    /// What the request with this number (from 0) gets: resolves what depends on the count.
    pub(super) fn at(&self, number: u64) -> Self {
        match self {
            Self::FailFirst { n, status } if number < *n => Self::Status(*status),
            Self::FailFirst { .. } => Self::Ok,
            Self::Sequence(steps) => {
                let index = usize::try_from(number).unwrap_or(usize::MAX).min(steps.len().saturating_sub(1));
                steps.get(index).map_or(Self::Ok, |step| step.at(number))
            }
            other => other.clone(),
        }
    }
}
