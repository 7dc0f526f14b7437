//! placeholder

pub mod delivery;
pub mod egress;
