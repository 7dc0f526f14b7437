//! Where Posthorn keeps things: the topic log, the delivery state, the attempts, and the key that seals secrets.

pub mod attempts;
pub mod database;
pub mod keyfile;
pub mod log;
#[cfg(feature = "planted")]
pub mod planted;
pub mod state;
