//! The data plane's HTTP door over real sockets, a real log and a real state store: every row of interfaces §2, and reading (§3).
#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "ingest/duplicates.rs"]
mod duplicates;
#[path = "ingest/faults.rs"]
mod faults;
#[path = "ingest/limits.rs"]
mod limits;
#[path = "ingest/node.rs"]
mod node;
#[path = "ingest/publishing.rs"]
mod publishing;
#[path = "ingest/reading.rs"]
mod reading;
#[path = "ingest/schemas.rs"]
mod schemas;
