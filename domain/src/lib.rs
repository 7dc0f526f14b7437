//! The words of Posthorn as types (ids, events, resources, filters, schemas, cursors) and the pure logic on them.
//!
//! Everything here is free of I/O, of clocks other than [`clock::Clock`], and of async code. Both planes, the storage
//! crate and the command line import this crate; it imports none of them.

pub mod clock;
pub mod cloudevents;
pub mod direction;
pub mod event;
pub mod fields;
pub mod filter;
pub mod guard;
pub mod hops;
pub mod ids;
pub mod json;
pub mod names;
pub mod node;
pub mod operations;
pub mod position;
pub mod problem;
pub mod qos;
pub mod reason;
pub mod record;
pub mod resource;
pub mod schema;
pub mod sealing;
pub mod secret;
pub mod signing;
pub mod snapshot;
mod text;
pub mod time;
pub mod units;
