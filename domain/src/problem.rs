//! Problems as RFC 9457 writes them: one table of codes for every door, and the document that carries one.
//!
//! `type` is `urn:posthorn:problem:{code}`; HTTP and gRPC statuses come from the table alone.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $slug:literal, $status:literal, $grpc:ident, $title:literal;)+) => {
        /// What went wrong, as users and tools tell it apart.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $variant),+ }

        /// Every code, for the documentation and its test.
        pub const ALL: &[Code] = &[$(Code::$variant),+];

        impl Code {
            /// The last part of the problem's `type`.
            pub const fn slug(self) -> &'static str {
                match self { $(Self::$variant => $slug),+ }
            }

            /// The HTTP status.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status),+ }
            }

            /// The gRPC status code's name.
            pub const fn grpc(self) -> Grpc {
                match self { $(Self::$variant => Grpc::$grpc),+ }
            }

            /// The problem's `title`.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }
        }
    };
}

/// The gRPC status codes in use, named here so that this crate needs no gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are gRPC's own")]
pub enum Grpc {
    InvalidArgument,
    NotFound,
    AlreadyExists,
    Aborted,
    FailedPrecondition,
    ResourceExhausted,
    Unauthenticated,
    PermissionDenied,
    Unavailable,
    Internal,
    OutOfRange,
}

codes! {
    /// Not a CloudEvent, or an attribute that breaks a rule.
    InvalidEvent = "invalid-event", 400, InvalidArgument, "The request is not a valid CloudEvent";
    /// The data is not JSON although its content type says so, or is JSON that Posthorn refuses (duplicate keys, depth, numbers).
    InvalidJson = "invalid-json", 400, InvalidArgument, "The data is not acceptable JSON";
    /// A request that is malformed: a parameter, a header, a member.
    InvalidRequest = "invalid-request", 400, InvalidArgument, "The request is malformed";
    /// A well-formed request whose values cannot be accepted.
    InvalidResource = "invalid-resource", 422, InvalidArgument, "The resource cannot be accepted";
    /// No credentials, or bad ones.
    Unauthenticated = "unauthenticated", 401, Unauthenticated, "Credentials are missing or not valid";
    /// Known, but not allowed.
    InsufficientScope = "insufficient_scope", 403, PermissionDenied, "The credentials do not allow this";
    /// No such route or resource.
    NotFound = "not-found", 404, NotFound, "There is no such resource";
    /// The topic is not known to this node.
    TopicUnknown = "topic-unknown", 404, NotFound, "The topic is not known";
    /// The method is not allowed on this path.
    MethodNotAllowed = "method-not-allowed", 405, InvalidArgument, "The method is not allowed here";
    /// The client was too slow to send its request.
    RequestTimeout = "request-timeout", 408, InvalidArgument, "The request took too long to arrive";
    /// It exists already.
    AlreadyExists = "already-exists", 409, AlreadyExists, "It exists already";
    /// It is in use by something else.
    InUse = "in-use", 409, FailedPrecondition, "It is in use";
    /// The schema version does not fit the earlier ones.
    SchemaIncompatible = "schema-incompatible", 409, FailedPrecondition, "The schema is not compatible";
    /// A schema version that no longer names what filters read.
    FilterReferences = "filter-references", 409, FailedPrecondition, "Filters read what the schema no longer names";
    /// The cursor points below what is kept.
    CursorExpired = "cursor-expired", 410, OutOfRange, "The cursor is below what the topic still keeps";
    /// `If-Match` names a revision that is not the current one.
    PreconditionFailed = "precondition-failed", 412, Aborted, "The resource was changed meanwhile";
    /// The event, the batch or the body is too large.
    TooLarge = "too-large", 413, ResourceExhausted, "The request is too large";
    /// The media type or the content encoding is not understood.
    UnsupportedMediaType = "unsupported-media-type", 415, InvalidArgument, "The media type is not supported";
    /// A schema refuses the data.
    SchemaInvalid = "schema-invalid", 422, InvalidArgument, "The data does not hold to its schema";
    /// The event names a schema that is not registered.
    SchemaUnknown = "schema-unknown", 422, InvalidArgument, "The schema is not known";
    /// The event names a version that is newer than this node knows.
    SchemaVersionUnknown = "schema-version-unknown", 422, FailedPrecondition, "The schema version is not known";
    /// The topic demands a schema and the event names none.
    SchemaRequired = "schema-required", 422, InvalidArgument, "The topic requires a schema";
    /// The event's time to live had passed when it arrived.
    Expired = "expired", 422, FailedPrecondition, "The event has expired";
    /// The event came through more Posthorns than it may.
    TooManyHops = "too-many-hops", 422, FailedPrecondition, "The event came through too many hops";
    /// A filter that no event can pass.
    FilterNeverMatches = "filter-never-matches", 422, InvalidArgument, "The filter can never match";
    /// Too many requests, or too much in flight.
    RateLimited = "rate-limited", 429, ResourceExhausted, "Too much at once";
    /// Headers are too large.
    HeadersTooLarge = "headers-too-large", 431, ResourceExhausted, "The request's headers are too large";
    /// A fault of ours.
    Internal = "internal", 500, Internal, "Posthorn failed";
    /// The log or the state store cannot take more just now.
    Unavailable = "unavailable", 503, Unavailable, "Not available just now";
    /// The node is shutting down.
    Draining = "draining", 503, Unavailable, "The node is shutting down";
    /// No data plane is connected that could answer.
    NoNode = "no-node", 503, Unavailable, "No data plane is connected";
}

/// One fault among possibly several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Fault {
    /// The schema that refuses, `name:version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Where in the document: a JSON pointer in URI-fragment form, `#/lines/0/qty`.
    pub pointer: String,
    /// What is wrong and what to do.
    pub detail: String,
}

/// A problem document. Boxed inside, so that `Result<_, Problem>` stays small.
#[derive(Clone, PartialEq)]
pub struct Problem(Box<Inner>);

#[derive(Clone, PartialEq)]
struct Inner {
    code: Code,
    detail: String,
    errors: Vec<Fault>,
    retry_after: Option<u32>,
    extra: Map<String, Value>,
}

impl Problem {
    /// A problem of this kind; `detail` says what is wrong with this request and what to do.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Box::new(Inner { code, detail: detail.into(), errors: Vec::new(), retry_after: None, extra: Map::new() }))
    }

    /// With a list of faults.
    pub fn with_errors(mut self, errors: Vec<Fault>) -> Self {
        self.0.errors = errors;
        self
    }

    /// With seconds after which to try again.
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    /// With an extension member (RFC 9457 §3.2).
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.0.extra.insert(member.to_owned(), value.into());
        self
    }

    /// Which kind.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.0.code.status()
    }

    /// What is wrong with this request.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The faults.
    pub fn errors(&self) -> &[Fault] {
        &self.0.errors
    }

    /// Seconds after which to try again.
    pub fn retry_after(&self) -> Option<u32> {
        self.0.retry_after
    }

    /// The extension members.
    pub fn extra(&self) -> &Map<String, Value> {
        &self.0.extra
    }

    /// The `type` member.
    pub fn type_uri(&self) -> String {
        format!("urn:posthorn:problem:{}", self.0.code.slug())
    }

    /// The document.
    pub fn to_value(&self) -> Value {
        let mut document = self.0.extra.clone();
        document.insert("type".into(), self.type_uri().into());
        document.insert("title".into(), self.0.code.title().into());
        document.insert("status".into(), self.status().into());
        document.insert("detail".into(), self.0.detail.clone().into());
        if !self.0.errors.is_empty() {
            let errors = serde_json::to_value(&self.0.errors).expect("faults are plain strings");
            document.insert("errors".into(), errors);
        }
        Value::Object(document)
    }

    /// Back from [`Problem::to_value`], as when another process answered with it. `None` when it is not one of ours.
    pub fn from_value(document: &Value) -> Option<Self> {
        let slug = document.get("type")?.as_str()?.strip_prefix("urn:posthorn:problem:")?;
        let code = ALL.iter().copied().find(|code| code.slug() == slug)?;
        let text = |value: &Value, member: &str| value.get(member).and_then(Value::as_str).map(str::to_owned);
        let mut problem = Self::new(code, text(document, "detail").unwrap_or_default());
        for error in document.get("errors").and_then(Value::as_array).into_iter().flatten() {
            problem.0.errors.push(Fault {
                schema: text(error, "schema"),
                pointer: text(error, "pointer").unwrap_or_default(),
                detail: text(error, "detail").unwrap_or_default(),
            });
        }
        for (member, value) in document.as_object().into_iter().flatten() {
            if !matches!(member.as_str(), "type" | "title" | "status" | "detail" | "errors") {
                problem.0.extra.insert(member.clone(), value.clone());
            }
        }
        Some(problem)
    }
}

impl Serialize for Problem {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_value().serialize(serializer)
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_value())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code.slug(), self.0.detail)
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_survives_the_wire() {
        let fault = Fault { schema: Some("order:3".into()), pointer: "#/a".into(), detail: "no".into() };
        let problem = Problem::new(Code::SchemaInvalid, "one fault").with_errors(vec![fault]).with("earliest", "c1AA");
        assert_eq!(Problem::from_value(&problem.to_value()), Some(problem));
    }

    #[test]
    fn codes_are_told_apart() {
        let mut slugs: Vec<_> = ALL.iter().map(|code| code.slug()).collect();
        slugs.sort_unstable();
        slugs.dedup();
        assert_eq!(slugs.len(), ALL.len());
    }
}
