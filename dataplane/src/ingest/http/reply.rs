//! Answers: one body type for what is known and what comes bit by bit.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body::{Frame, SizeHint};
use posthorn_domain::problem::{Code, Problem};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use super::activity::Running;

/// The body of an answer.
pub struct Body {
    kind: Kind,
    /// Tells the connection that it is still in use.
    _running: Option<Running>,
    /// What it may hold of the bytes that all answers of its kind may hold.
    _held: Option<OwnedSemaphorePermit>,
}

enum Kind {
    Whole(Bytes),
    Stream(Pin<Box<dyn Stream<Item = Bytes> + Send>>),
}

impl Body {
    /// All of it.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self { kind: Kind::Whole(bytes.into()), _running: None, _held: None }
    }

    /// The same, and the connection counts as used until it is gone.
    pub(super) fn holding(self, running: Running) -> Self {
        Self { _running: Some(running), ..self }
    }

    /// The same, and this is kept until it is gone.
    pub(super) fn keeping(self, held: Option<OwnedSemaphorePermit>) -> Self {
        Self { _held: held, ..self }
    }

    /// As it comes.
    pub fn stream(stream: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        Self { kind: Kind::Stream(Box::pin(stream)), _running: None, _held: None }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.kind {
            Kind::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Stream(stream) => stream.as_mut().poll_next(context).map(|next| next.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.kind, Kind::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Stream(_) => SizeHint::default(),
        }
    }
}

/// JSON that is written already.
pub(super) fn json_bytes(status: u16, bytes: impl Into<Bytes>) -> Response<Body> {
    respond(status, "application/json", Body::whole(bytes))
}

/// A value as JSON.
pub(super) fn json(status: u16, value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => json_bytes(status, bytes),
        Err(error) => problem(&Problem::new(Code::Internal, format!("the answer could not be written: {error}"))),
    }
}

/// A problem document (RFC 9457 §3).
pub(super) fn problem(problem: &Problem) -> Response<Body> {
    let body = Body::whole(problem.to_value().to_string());
    let mut response = respond(problem.status(), "application/problem+json", body);
    if let Some(seconds) = problem.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The method is not one of `allow`.
pub(super) fn not_allowed(allow: &'static str) -> Response<Body> {
    let mut response = problem(&Problem::new(Code::MethodNotAllowed, format!("use one of: {allow}")));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// What the reader has is what there is.
pub(super) fn not_modified() -> Response<Body> {
    let mut response = Response::new(Body::whole(Bytes::new()));
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

/// What may be done here, for OPTIONS.
pub(super) fn options(allow: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::whole(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

pub(super) fn respond(status: u16, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
