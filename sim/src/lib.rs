//! Deterministic simulation of the data plane's core. The real log, ingest, shards, lanes, retries, checkpoints and readers run on one
//! thread, on a simulated clock, disk, network and endpoints, all drawn from a seed; the [`oracle`] sees every acknowledgement and
//! every request and holds them against the invariants (ARCHITECTURE.md) by number. The same seed is the same run, to the last step.
//!
//! What is not simulated: the HTTP doors and client, which have suites of their own, the control plane, and fjall, in whose place
//! stands a store that forgets by the same rules.

mod actors;
mod changing;
mod check;
mod control;
pub mod disk;
mod keeping;
mod leftovers;
mod network;
mod node;
pub mod oracle;
pub mod plan;
mod pulling;
pub mod random;
mod reading;
pub mod run;
mod slowlog;
pub mod sweep;
pub mod world;
