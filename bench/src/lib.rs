//! The operations of the hot path, one by one, over real GitHub webhooks. The benchmarks time them (`cargo bench`), and the
//! binary `hot` runs one of them so that its instructions can be counted (`instructions.sh`).

mod append;
mod codec;
mod filter;
mod inputs;
pub mod route;
mod settle;
mod shard;

pub use inputs::{Input, inputs};

/// Runs one operation; what it needs was made before.
pub type Operation = Box<dyn FnMut()>;

type Make = fn() -> Operation;

/// Name, how many of what one run is, and how it is made.
const OPERATIONS: &[(&str, u32, &str, Make)] = &[
    ("decode_binary", 1, "event", codec::decode_binary),
    ("decode_structured", 1, "event", codec::decode_structured),
    ("decode_batch_10", 10, "event", codec::decode_batch),
    ("parse", 1, "event", codec::parse),
    ("validate", 1, "event", codec::validate),
    ("route_10_x100", 100, "event", || route::hundred(10)),
    ("route_1000_x100", 100, "event", || route::hundred(1_000)),
    ("route_100000_x100", 100, "event", || route::hundred(100_000)),
    ("route_1000000_x100", 100, "event", || route::hundred(1_000_000)),
    ("filter_exact_5", 100, "evaluation", filter::exact),
    ("filter_sql_5", 100, "evaluation", filter::sql),
    ("filter_cel_5", 100, "evaluation", filter::cel),
    ("filter_data_3", 100, "evaluation", filter::data),
    ("compile_sql_5", 1, "filter", filter::compile_sql),
    ("compile_cel_5", 1, "filter", filter::compile_cel),
    ("type_check_cel_5", 1, "filter", filter::type_check_cel),
    ("sign_hmac", 1, "signature", codec::sign_hmac),
    ("sign_ed25519", 1, "signature", codec::sign_ed25519),
    ("encode_structured", 1, "event", codec::encode_structured),
    ("encode_record", 1, "event", codec::encode_record),
    ("frame_10", 10, "event", append::frame),
    ("read_frame_10", 10, "event", append::read_frame),
    ("deliver_x100", 100, "delivery", shard::deliver),
    ("attempts_64", 64, "attempt", settle::attempts),
    ("settle_64", 64, "lane", settle::settle),
    ("append_log_64", 64, "event", append::log),
    ("append_sync_64", 64, "event", append::sync),
];

/// What can be run.
pub fn names() -> impl Iterator<Item = &'static str> {
    OPERATIONS.iter().map(|(name, ..)| *name)
}

/// The same, each with how many of what one run is.
pub fn units() -> impl Iterator<Item = (&'static str, u32, &'static str)> {
    OPERATIONS.iter().map(|(name, count, unit, _)| (*name, *count, *unit))
}

/// Prepares an operation; `None` when there is none of this name.
pub fn operation(name: &str) -> Option<Operation> {
    OPERATIONS.iter().find(|(known, ..)| *known == name).map(|(.., make)| make())
}
