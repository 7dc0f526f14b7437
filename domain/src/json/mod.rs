//! JSON data, parsed once to a tape; every check and every filter reads that tape.
//!
//! [`Parser`] turns bytes into a [`Doc`] and refuses what two readers could read differently: duplicate keys, numbers
//! that do not fit, documents nested too deeply. Ingest, schemas and filters use it; nothing here builds a tree.

mod doc;
mod duplicates;
mod fault;
mod parser;
mod pointer;

pub(crate) use doc::size;
pub use doc::{Doc, Kind};
pub use fault::JsonFault;
pub use parser::{MAX_DEPTH, Parser};
pub(crate) use pointer::escaped;
pub use pointer::{InvalidPointer, Pointer, fragment};

#[doc(hidden)]
pub mod fuzz;
