//! From the log to the endpoints (DESIGN §4.5 to §4.7).
//!
//! ```text
//! log ─▶ mailbox ─▶ part ─▶ lane (tailing) ─┐
//!  └───── page reads ─────▶ lane (lagging) ─┼─▶ pick → build → sign → send → classify → settle ─▶ window, retry, dead letter
//! retry store ─────────▶ due ───────────────┘                                                          └─▶ checkpoint
//! ```
//! Every subscription lives on one shard, with its lanes, its breaker and its connections, so nothing on the way of a delivery is
//! shared or locked. A shard is one task; it owns its state, does no I/O itself, and waits for futures that do ([`work`]).
//! Nothing here imports `ingest`: the two meet in the log and in the routes.

mod ask;
mod attempt;
mod backlog;
mod batch;
mod blocking;
mod breaker;
mod budget;
mod catchup;
mod checkpoint;
mod concurrency;
mod decided;
mod door;
mod doubts;
mod feed;
mod flow;
mod gone;
mod health;
mod item;
mod keys;
mod lane;
mod mailbox;
mod maps;
pub mod outcome;
mod pages;
mod part;
#[cfg(feature = "planted")]
mod planted;
mod pull;
mod purse;
mod rate;
mod replays;
mod request;
mod rescue;
mod rest;
mod retention;
mod retry_budget;
mod service;
mod set_back;
mod settle;
mod shard;
mod share;
mod signatures;
mod spare;
mod subscriber;
mod tables;
mod tell;
mod traced;
mod window;
mod work;
mod writer;

#[doc(hidden)]
pub use blocking::Blocking;
pub use pull::{Lost, Moves, Place, Pull, Pulled, Waiting};
pub use retention::{Asked, Least, Needed, Place as LogPlace};
pub use service::{Handle, ReplayRange, Service, Setup};
pub use set_back::Ends;
pub use writer::{Writer, WriterHandle};
