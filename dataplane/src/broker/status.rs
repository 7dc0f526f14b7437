//! Problems as gRPC tells them: a code of the one table, and `google.rpc.BadRequest` for the faults (interfaces §8).

use posthorn_domain::problem::{Code as Kind, Fault, Grpc, Problem};
use posthorn_proto::rpc;
use prost::Message;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";
const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
/// The `domain` of an `ErrorInfo`.
const DOMAIN: &str = "posthorn";

/// The status that ends a call.
pub(super) fn to_status(problem: &Problem) -> Status {
    let details = to_rpc(problem).encode_to_vec();
    let mut status = Status::with_details(code(problem), problem.detail(), details.into());
    if let Some(seconds) = problem.retry_after() {
        status.metadata_mut().insert("retry-after", MetadataValue::from(seconds));
    }
    status
}

/// The status of one result among several.
pub(super) fn to_rpc(problem: &Problem) -> rpc::Status {
    let mut details = Vec::with_capacity(3);
    let field_violations = violations(problem);
    if !field_violations.is_empty() {
        details.push(any(BAD_REQUEST, &rpc::BadRequest { field_violations }));
    }
    details.push(any(ERROR_INFO, &error_info(problem)));
    if let Some(seconds) = problem.retry_after() {
        let retry_delay = Some(prost_types::Duration { seconds: i64::from(seconds), nanos: 0 });
        details.push(any(RETRY_INFO, &rpc::RetryInfo { retry_delay }));
    }
    rpc::Status { code: code(problem) as i32, message: problem.detail().to_owned(), details }
}

/// The transport says `OUT_OF_RANGE` of a message above its limit; the contract says `RESOURCE_EXHAUSTED`.
pub(super) fn too_large(status: Status) -> Status {
    if status.code() == Code::OutOfRange { Status::resource_exhausted(status.message()) } else { status }
}

fn any(type_url: &str, message: &impl Message) -> prost_types::Any {
    prost_types::Any { type_url: type_url.into(), value: message.encode_to_vec() }
}

/// What HTTP tells by the problem's `type` and its further members.
fn error_info(problem: &Problem) -> rpc::ErrorInfo {
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let metadata = problem.extra().iter().map(|(member, value)| (member.clone(), text(value))).collect();
    rpc::ErrorInfo { reason: problem.code().slug().into(), domain: DOMAIN.into(), metadata }
}

/// One for each fault; a request that is itself at fault has at least one.
fn violations(problem: &Problem) -> Vec<rpc::bad_request::FieldViolation> {
    let faults: Vec<_> = problem.errors().iter().map(violation).collect();
    match (faults.is_empty(), field(problem)) {
        (true, Some(field)) => vec![rpc::bad_request::FieldViolation { field: field.into(), description: problem.detail().into() }],
        _ => faults,
    }
}

fn violation(fault: &Fault) -> rpc::bad_request::FieldViolation {
    let description = match &fault.schema {
        Some(schema) => format!("`{schema}`: {}", fault.detail),
        None => fault.detail.clone(),
    };
    rpc::bad_request::FieldViolation { field: fault.pointer.clone(), description }
}

/// The part of the request that is at fault, where no fault names one.
fn field(problem: &Problem) -> Option<&str> {
    match problem.code() {
        Kind::InvalidEvent | Kind::InvalidRequest => Some(problem.detail().split('`').nth(1).unwrap_or("event")),
        Kind::InvalidJson | Kind::SchemaInvalid => Some("data"),
        Kind::SchemaUnknown | Kind::SchemaVersionUnknown | Kind::SchemaRequired => Some("schemas"),
        Kind::Expired => Some("expirytime"),
        Kind::TooManyHops => Some("hops"),
        _ => None,
    }
}

fn code(problem: &Problem) -> Code {
    match problem.code().grpc() {
        Grpc::InvalidArgument => Code::InvalidArgument,
        Grpc::NotFound => Code::NotFound,
        Grpc::AlreadyExists => Code::AlreadyExists,
        Grpc::Aborted => Code::Aborted,
        Grpc::FailedPrecondition => Code::FailedPrecondition,
        Grpc::ResourceExhausted => Code::ResourceExhausted,
        Grpc::Unauthenticated => Code::Unauthenticated,
        Grpc::PermissionDenied => Code::PermissionDenied,
        Grpc::Unavailable => Code::Unavailable,
        Grpc::Internal => Code::Internal,
        Grpc::OutOfRange => Code::OutOfRange,
    }
}
