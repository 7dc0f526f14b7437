//! The harness of the end-to-end suites: the real binary as a child process, a client for its doors, a receiver that can
//! misbehave, and real-world fixtures.
//!
//! Only the suites in `tests/suites/` use this crate. It speaks to Posthorn through the public doors alone, so that what
//! it can do a user can do too. Waiting is always for a condition with a deadline ([`wait::eventually`]), never for a
//! length of time.

pub mod api;
pub mod binary;
pub mod cli;
pub mod config;
pub mod fixtures;
pub mod process;
pub mod receiver;
pub mod sse;
pub mod wait;
pub mod world;

pub use api::{Api, Reply};
pub use config::Config;
pub use process::{Mode, Posthorn};
pub use receiver::{Behaviour, Received, Receiver, Watch};
pub use wait::eventually;
pub use world::{SOON, Subscribed, World};
