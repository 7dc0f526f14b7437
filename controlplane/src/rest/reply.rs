//! Responses, good and bad.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, LOCATION, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use posthorn_domain::problem::{Code, Problem};
use serde_json::Value;

use crate::api::Answer;
use crate::registry::{Outcome, etag};

/// A good response.
pub(super) enum Reply {
    /// A resource: 201 when it was made, else 200, with its `ETag`.
    Resource { answer: Answer, location: Option<String> },
    /// 200 with its `ETag`, to be kept by whoever asks again; 304 when the reader has it.
    Public { answer: Answer, known: bool },
    /// 200 with this document.
    Ok(Value),
    /// 202: begun, not done.
    Accepted(Value),
    /// 204.
    Nothing,
    /// 200 with a document that is kept written.
    Document(Bytes),
}

/// A bad one.
pub(super) struct Refusal(Problem);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl Reply {
    /// 200 with this document.
    pub(super) fn ok(document: Value) -> Self {
        Self::Ok(document)
    }

    /// A resource; `location` is where a new one can be read.
    pub(super) fn resource(answer: Answer, location: impl FnOnce(&Value) -> String) -> Self {
        let location = (answer.outcome == Outcome::Created).then(|| location(&answer.body));
        Self::Resource { answer, location }
    }

    /// A resource without secrets that readers may keep; `known` are the entity tags that they have.
    pub(super) fn public(answer: Answer, known: &[u64]) -> Self {
        let known = answer.revision.is_some_and(|revision| known.contains(&revision));
        Self::Public { answer, known }
    }

    /// A resource that was there before.
    pub(super) fn existing(answer: Answer) -> Self {
        Self::Resource { answer, location: None }
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        match self {
            Self::Ok(document) => json(StatusCode::OK, &document),
            Self::Accepted(document) => json(StatusCode::ACCEPTED, &document),
            Self::Nothing => StatusCode::NO_CONTENT.into_response(),
            Self::Document(bytes) => written(StatusCode::OK, "application/json", bytes),
            Self::Public { answer, known } => {
                let mut response = if known { StatusCode::NOT_MODIFIED.into_response() } else { json(StatusCode::OK, &answer.body) };
                set(&mut response, ETAG, answer.revision.map(etag));
                response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
                response
            }
            Self::Resource { answer, location } => {
                let status = if location.is_some() { StatusCode::CREATED } else { StatusCode::OK };
                let mut response = json(status, &answer.body);
                set(&mut response, ETAG, answer.revision.map(etag));
                set(&mut response, LOCATION, location);
                // Resources hold what is nobody else's business, at times a secret that is shown once.
                response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                response
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(problem) = self;
        let status = StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let document = problem.to_value();
        let mut response = written(status, "application/problem+json", document.to_string().into());
        set(&mut response, RETRY_AFTER, problem.retry_after().map(|seconds| seconds.to_string()));
        if problem.code() == Code::PreconditionFailed {
            set(&mut response, ETAG, document["etag"].as_str().map(str::to_owned));
        }
        response
    }
}

fn json(status: StatusCode, document: &Value) -> Response {
    written(status, "application/json", document.to_string().into())
}

fn written(status: StatusCode, media_type: &'static str, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

fn set(response: &mut Response, name: HeaderName, value: Option<String>) {
    if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
        response.headers_mut().insert(name, value);
    }
}
