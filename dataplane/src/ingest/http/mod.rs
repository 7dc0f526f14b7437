//! The HTTP door of the data plane: publishing, reading, schemas (interfaces §2, §3). HTTP/1.1 and HTTP/2 in the clear on one port.
//!
//! ```text
//! accept ─▶ connection ─▶ door ─▶ routes ─▶ publish | reading | schemas | explaining
//! ```
//! [`accept_loop`] runs once, [`shard_http`] once a shard; all share one [`Door`].

mod accept;
mod activity;
mod body;
mod caller;
mod connection;
mod door;
mod explaining;
mod nakadi;
mod publish;
mod readers;
mod reading;
mod reply;
mod routes;
mod schemas;

pub use accept::{Accepted, ShardSink, accept_loop, shard};
pub use caller::{Caller, authenticate};
pub use connection::{serve_connection, shard_http};
pub use door::Door;
pub use reply::Body;
