//! Taking events in, whatever door they come through: admit, check against schemas, keep, answer (DESIGN §4.1–4.3).
//!
//! [`Pipeline`] knows no door. [`http`] is one; others hand it [`Publish`] values just the same. It meets delivery only in
//! the log and in the routes.

mod admit;
mod answer;
mod budget;
mod dedup;
mod foresee;
mod hops;
pub mod http;
mod key;
mod letters;
mod pipeline;
mod qos;
mod rebuild;
mod schemas;
mod traced;

pub use answer::{Outcome, Warnings, write_outcome};
pub use budget::Budget;
pub(crate) use budget::Held;
pub use dedup::{Claim, Claimed, Dedup, First};
pub(crate) use foresee::foresee;
pub(crate) use hops::relayed;
pub use key::idempotency_key;
pub use letters::DeadLetterSink;
pub(crate) use pipeline::topic_unknown;
pub use pipeline::{Begun, Parts, Pipeline, Publish};
pub use qos::explained as qos_of;
pub use rebuild::rebuild;
