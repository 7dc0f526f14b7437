//! The data plane: takes events in, keeps them, fans them out, lets them be read.
//!
//! ```text
//! ingest ─▶ storage::log ─▶ delivery ─▶ egress
//!    └──────── route ──────────┘            control ─▶ route
//!              read ─▶ storage::log
//! ```
//! `ingest` and `delivery` never import each other: they meet in the log and in the routes. `control` brings snapshots and
//! meets the rest in `route`. `app` alone knows every part.

pub mod admin;
pub mod answers;
pub mod app;
pub mod broker;
pub mod config;
pub mod control;
pub mod delivery;
pub mod egress;
pub mod explain;
pub mod ingest;
pub mod operations;
pub mod read;
pub mod readers;
pub mod route;
pub mod telemetry;
pub mod trace;
