//! Load generator, counting receiver, and the yardsticks that Posthorn is measured against.
//!
//! Everything speaks to the public doors over loopback, so it measures what a user can measure. Results are ratios
//! within one run on one machine: absolute figures differ from machine to machine, ratios far less.
//!
//! ```text
//!             raw:        generator ──────────────────────▶ receiver
//!  null, signing:         generator ──▶ bare forwarder ───▶ receiver
//!       Posthorn:         generator ──▶ posthorn serve ───▶ receiver
//! ```

pub mod child;
pub mod client;
pub mod compare;
pub mod forwarder;
pub mod generator;
pub mod measure;
pub mod posthorn;
pub mod receiver;
pub mod report;
pub mod server;
