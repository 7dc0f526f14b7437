//! The link to the control plane: takes snapshots in, answers questions, reports endpoints that are gone (DESIGN §3 I7, I8).
//!
//! Only `app` makes a [`Client`]; what a snapshot means is known to the [`Plane`] alone. The last good snapshot is kept on
//! disk ([`cache`]), so that a node starts with the control plane gone.

mod answers;
mod backoff;
pub mod cache;
mod client;
mod held;
mod kept;
mod old;
mod plane;
mod push;
mod saver;
mod session;
mod stamps;

pub use client::{Client, ControlError, Setup, Status};
pub use kept::{Good, Kept, Row};
pub use plane::Plane;
