//! The command line's way to the doors: HTTP/1.1 over one kept connection a door, with limits on time and size.

pub mod body;
mod door;
mod error;
pub mod nodes;

pub use door::{Answer, Door};
pub use error::{Error, describe};
