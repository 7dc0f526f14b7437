//! Delivery: lanes, attempts and what their outcomes mean.

pub mod outcome;
