//! Problems as gRPC statuses with `google.rpc.BadRequest` details.

use posthorn_domain::problem::{Grpc, Problem};
use posthorn_proto::rpc;
use prost::Message as _;
use tonic::{Code, Status};

/// The status: its message starts with the problem's code, its details list the faults.
pub(super) fn of(problem: &Problem) -> Status {
    let code = code(problem.code().grpc());
    let message = problem.to_string();
    let violations: Vec<_> = problem
        .errors()
        .iter()
        .map(|fault| rpc::bad_request::FieldViolation { field: fault.pointer.clone(), description: fault.detail.clone() })
        .collect();
    if violations.is_empty() {
        return Status::new(code, message);
    }
    let details = prost_types::Any {
        type_url: "type.googleapis.com/google.rpc.BadRequest".into(),
        value: rpc::BadRequest { field_violations: violations }.encode_to_vec(),
    };
    let status = rpc::Status { code: code as i32, message: message.clone(), details: vec![details] };
    Status::with_details(code, message, status.encode_to_vec().into())
}

fn code(grpc: Grpc) -> Code {
    match grpc {
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
