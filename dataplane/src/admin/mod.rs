//! The admin door: `/live /ready /metrics /config`. Made by `app` alone; it asks the node through [`Health`] and changes nothing.

mod door;
mod metrics;
mod tasks;

pub use door::{Admin, Health, Setup};
pub use metrics::{InstallError, install, upkeep};
pub use tasks::Tasks;
