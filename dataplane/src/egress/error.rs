//! Why an exchange gave no answer.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use posthorn_domain::guard::Forbidden;

use super::resolver::DnsError;

/// No answer, and whether the request may have reached the endpoint nonetheless.
#[derive(Debug, thiserror::Error)]
#[error("{fault}")]
pub struct SendError {
    /// What happened.
    pub fault: Fault,
    /// Whether any of the request may have been written.
    pub may_have_been_sent: bool,
}

/// What kept the answer away.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The name has no address, or its servers do not answer.
    #[error(transparent)]
    Dns(#[from] DnsError),
    /// Every address of the name is refused by the guard; this is the first.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// No address took the connection; this is the last.
    #[error("cannot connect to {addr}: {kind}")]
    Connect {
        /// Where to.
        addr: SocketAddr,
        /// The operating system's answer.
        kind: io::ErrorKind,
    },
    /// The handshake failed, a certificate that is not trusted included.
    #[error("TLS: {0}")]
    Tls(String),
    /// The deadline passed.
    #[error("timed out while {0}")]
    Timeout(Phase),
    /// What came back is not HTTP, or breaks its rules.
    #[error("not an HTTP answer: {0}")]
    Protocol(String),
    /// The connection ended before the answer did.
    #[error("the connection was closed before the answer was complete")]
    Closed,
    /// As many sends as are allowed to wait for this endpoint are waiting already.
    #[error("too many sends wait for a connection to this endpoint")]
    Full,
}

/// How far an exchange had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for a connection.
    Queue,
    /// Looking up the name.
    Resolve,
    /// Connecting.
    Connect,
    /// In the TLS handshake.
    Tls,
    /// Writing the request.
    Write,
    /// Waiting for the status line and the headers.
    Answer,
    /// Reading the body.
    Body,
}

impl SendError {
    /// An error before anything was written.
    pub(super) fn unsent(fault: impl Into<Fault>) -> Self {
        Self { fault: fault.into(), may_have_been_sent: false }
    }

    pub(super) fn sent(fault: Fault) -> Self {
        Self { fault, may_have_been_sent: true }
    }

    pub(super) fn timeout(phase: Phase) -> Self {
        let may_have_been_sent = matches!(phase, Phase::Write | Phase::Answer | Phase::Body);
        Self { fault: Fault::Timeout(phase), may_have_been_sent }
    }
}

impl Fault {
    /// What hyper's error means. `Closed` unless hyper says that it could not understand what it read.
    pub(super) fn of_hyper(error: &hyper::Error) -> Self {
        if error.is_parse() || error.is_parse_too_large() {
            return Self::Protocol(error.to_string());
        }
        let Some(io) = io_source(error) else {
            return if error.is_closed() || error.is_canceled() || error.is_incomplete_message() || error.is_body_write_aborted() {
                Self::Closed
            } else {
                Self::Protocol(describe(error))
            };
        };
        if io.kind() == io::ErrorKind::InvalidData { Self::Tls(io.to_string()) } else { Self::Closed }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queue => "waiting for a connection",
            Self::Resolve => "looking up the name",
            Self::Connect => "connecting",
            Self::Tls => "in the TLS handshake",
            Self::Write => "writing the request",
            Self::Answer => "waiting for the answer",
            Self::Body => "reading the answer's body",
        })
    }
}

fn io_source(error: &hyper::Error) -> Option<&io::Error> {
    let mut next = std::error::Error::source(error);
    while let Some(source) = next {
        if let Some(io) = source.downcast_ref::<io::Error>() {
            return Some(io);
        }
        next = source.source();
    }
    None
}

fn describe(error: &hyper::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
