//! What an attempt's outcome means (interfaces §5, protocols §2.2). Pure; used by the delivery engine.

use std::io;
use std::time::Duration;

use compact_str::{CompactString, format_compact};
use http::StatusCode;

use crate::egress::{Fault, Phase, Reply, SendError};

/// What to do after an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// 2xx.
    Delivered,
    /// 410: disable the subscription, never try again.
    Gone,
    /// Try again by the schedule.
    Retry {
        /// Whether the endpoint as a whole is at fault (its breaker counts this), not this one event.
        endpoint_fault: bool,
        /// Whether it failed because too much was asked of it, as far as can be seen: 429, 503, an answer that did not come in time.
        overload: bool,
        /// Wait at least this long, when the endpoint said so.
        retry_after: Option<Duration>,
        /// What happened.
        error: AttemptError,
    },
    /// The address is refused by the guard.
    Forbidden,
}

impl Verdict {
    /// What it means when the subscription delivers elsewhere by now: another attempt there, whatever was said here.
    pub(super) fn of_another_endpoint(self) -> Self {
        let again = |error| Self::Retry { endpoint_fault: false, overload: false, retry_after: None, error };
        match self {
            Self::Delivered => Self::Delivered,
            Self::Gone => again(AttemptError(CompactString::const_new("status_410"))),
            Self::Forbidden => again(AttemptError(CompactString::const_new("egress_forbidden"))),
            Self::Retry { error, .. } => again(error),
        }
    }
}

/// What happened, as attempts show it and metrics label it: a short stable text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AttemptError(CompactString);

impl AttemptError {
    /// For outcomes that no answer explains.
    pub const UNKNOWN: Self = Self(CompactString::const_new("unknown"));

    /// The text: `connect_refused`, `timeout_connect`, `status_503`, …
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for AttemptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Judges an attempt.
pub fn classify(result: &Result<Reply, SendError>) -> Verdict {
    match result {
        Ok(reply) => of_reply(reply),
        Err(error) => of_fault(&error.fault),
    }
}

fn of_reply(reply: &Reply) -> Verdict {
    let status = reply.status;
    if status.is_success() {
        return Verdict::Delivered;
    }
    if status == StatusCode::GONE {
        return Verdict::Gone;
    }
    let busy = status == StatusCode::TOO_MANY_REQUESTS;
    // Statuses of 600 and above have no class; they say nothing about the event (RFC 9110 §15 has clients read them as 5xx).
    let endpoint_fault = busy || status.as_u16() >= 500;
    let heeded = busy || status == StatusCode::SERVICE_UNAVAILABLE;
    Verdict::Retry {
        endpoint_fault,
        overload: heeded,
        retry_after: reply.retry_after.filter(|_| heeded),
        error: AttemptError(format_compact!("status_{}", status.as_u16())),
    }
}

fn of_fault(fault: &Fault) -> Verdict {
    let text = match fault {
        Fault::Forbidden(_) => return Verdict::Forbidden,
        Fault::Dns(_) => "dns",
        Fault::Connect { kind: io::ErrorKind::ConnectionRefused, .. } => "connect_refused",
        Fault::Connect { kind: io::ErrorKind::TimedOut, .. } => "timeout_connect",
        Fault::Connect { .. } => "connect",
        Fault::Tls(_) => "tls",
        Fault::Timeout(Phase::Resolve) => "timeout_dns",
        Fault::Timeout(Phase::Connect) => "timeout_connect",
        Fault::Timeout(Phase::Tls) => "timeout_tls",
        Fault::Timeout(Phase::Queue) => "timeout_queue",
        Fault::Timeout(Phase::Write | Phase::Answer | Phase::Body) => "timeout",
        Fault::Protocol(_) => "protocol",
        Fault::Closed => "closed",
        Fault::Full => "pool_full",
    };
    let overload = matches!(fault, Fault::Timeout(Phase::Write | Phase::Answer | Phase::Body));
    Verdict::Retry { endpoint_fault: true, overload, retry_after: None, error: AttemptError(CompactString::const_new(text)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: u16) -> Verdict {
        let retry_after = Some(Duration::from_secs(3));
        let status = StatusCode::from_u16(status).unwrap();
        let began = posthorn_domain::clock::Clock::system().instant();
        let (allowed_rate, body_head) = (None, bytes::Bytes::new());
        classify(&Ok(Reply { status, retry_after, allowed_rate, began, body_head, body_truncated: false }))
    }

    #[test]
    fn statuses_mean_what_the_interface_says() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(verdict(status), Verdict::Delivered, "{status}");
        }
        assert_eq!(verdict(410), Verdict::Gone);
        for (status, fault, waits) in
            [(301, false, false), (400, false, false), (415, false, false), (429, true, true), (500, true, false), (503, true, true)]
        {
            let Verdict::Retry { endpoint_fault, overload, retry_after, error } = verdict(status) else { panic!("{status}") };
            assert_eq!((endpoint_fault, retry_after.is_some(), overload), (fault, waits, waits), "{status}");
            assert_eq!(error.as_str(), format!("status_{status}"));
        }
    }

    #[test]
    fn faults_are_the_endpoints() {
        let fault = Fault::Connect { addr: "127.0.0.1:1".parse().unwrap(), kind: io::ErrorKind::ConnectionRefused };
        let verdict = classify(&Err(SendError { fault, may_have_been_sent: false }));
        let Verdict::Retry { endpoint_fault, error, .. } = verdict else { panic!("{verdict:?}") };
        assert!(endpoint_fault);
        assert_eq!(error.as_str(), "connect_refused");
    }
}
