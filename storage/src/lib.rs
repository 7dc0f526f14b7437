//! The stores behind both planes: the topic log and the delivery state, each behind a trait with several implementations.

pub mod log;
