//! JSON Schemas, compiled once at registration and asked about every event's data.
//!
//! Drafts 4, 6, 7, 2019-09 and 2020-12. Schemas come from tenants, so each is held to limits before it is compiled
//! (`complexity`), and each check has a budget of steps (`meter`); a check that runs out of it fails.

mod bundle;
mod compile;
mod complexity;
mod draft;
mod equality;
mod errors;
mod meter;
pub mod named;
mod patterns;
mod references;
mod rewrite;
mod tape;

pub use bundle::{Bundle, Library, MAX_DOCUMENTS, Registered, Wanted, pins, uri_of};
pub use compile::CompiledSchema;
pub use complexity::{MAX_DEPTH, MAX_PATHS, MAX_SCHEMA_BYTES};
pub use draft::Dialect;
pub use references::Graph;

#[cfg(test)]
mod tests;
