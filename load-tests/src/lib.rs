//! A load harness for gateways that deliver events as webhooks: an open-loop generator, a programmable receiver, yardsticks, and
//! scenarios as files. Everything speaks to public doors, so it measures what a user can measure, of any gateway; results are
//! ratios within one run on one machine.
//!
//! ```text
//!             raw:        generator ──────────────────────▶ receiver
//!  null, signing:         generator ──▶ bare forwarder ───▶ receiver
//!       Posthorn:         generator ──▶ posthorn serve ───▶ receiver
//!        another:         generator ──▶ what you run ─────▶ receiver
//! ```
//!
//! [`scenario`] reads what to do, [`run`] does it, [`report`] shows what was found. docs/load-tests.md tells how to use it.

pub mod child;
pub mod client;
pub mod connection;
pub mod cores;
pub mod dial;
pub mod distribution;
pub mod doors;
pub mod events;
pub mod fields;
pub mod forwarder;
pub mod generator;
pub mod keys;
pub mod latency;
pub mod mark;
pub mod outlet;
pub mod payload;
pub mod receiver;
pub mod report;
pub mod rng;
pub mod run;
pub mod scenario;
pub mod schedule;
pub mod server;
pub mod soak;
pub mod usage;
pub mod wall;
