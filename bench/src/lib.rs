//! The operations of the hot path, one by one, over real GitHub webhooks. The benchmarks time them (`cargo bench`), and the
//! binary `hot` runs one of them so that its instructions can be counted (`instructions.sh`).

mod append;
mod codec;
mod filter;
mod inputs;
pub mod route;
mod settle;

pub use inputs::{Input, inputs};

/// Runs one operation; what it needs was made before.
pub type Operation = Box<dyn FnMut()>;

type Make = fn() -> Operation;

const OPERATIONS: &[(&str, Make)] = &[
    ("decode_binary", codec::decode_binary),
    ("decode_structured", codec::decode_structured),
    ("decode_batch_10", codec::decode_batch),
    ("parse", codec::parse),
    ("validate", codec::validate),
    ("route_10_x100", || route::hundred(10)),
    ("route_1000_x100", || route::hundred(1_000)),
    ("route_100000_x100", || route::hundred(100_000)),
    ("route_1000000_x100", || route::hundred(1_000_000)),
    ("filter_exact_5", filter::exact),
    ("filter_sql_5", filter::sql),
    ("filter_cel_5", filter::cel),
    ("filter_data_3", filter::data),
    ("compile_sql_5", filter::compile_sql),
    ("compile_cel_5", filter::compile_cel),
    ("type_check_cel_5", filter::type_check_cel),
    ("sign_hmac", codec::sign_hmac),
    ("sign_ed25519", codec::sign_ed25519),
    ("encode_structured", codec::encode_structured),
    ("encode_record", codec::encode_record),
    ("frame_10", append::frame),
    ("settle_64", settle::settle),
    ("append_log_64", append::log),
    ("append_sync_64", append::sync),
];

/// What can be run.
pub fn names() -> impl Iterator<Item = &'static str> {
    OPERATIONS.iter().map(|(name, _)| *name)
}

/// Prepares an operation; `None` when there is none of this name.
pub fn operation(name: &str) -> Option<Operation> {
    OPERATIONS.iter().find(|(known, _)| *known == name).map(|(_, make)| make())
}
