//! Problems as gRPC tells them: a code of the one table, and `google.rpc.BadRequest` for the faults (interfaces §8).

use posthorn_domain::problem::{Fault, Grpc, Problem};
use posthorn_proto::rpc;
use prost::Message;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";

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
    let mut details = Vec::new();
    if !problem.errors().is_empty() {
        let violations = rpc::BadRequest { field_violations: problem.errors().iter().map(violation).collect() };
        details.push(prost_types::Any { type_url: BAD_REQUEST.into(), value: violations.encode_to_vec() });
    }
    rpc::Status { code: code(problem) as i32, message: problem.detail().to_owned(), details }
}

fn violation(fault: &Fault) -> rpc::bad_request::FieldViolation {
    rpc::bad_request::FieldViolation { field: fault.pointer.clone(), description: fault.detail.clone() }
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
