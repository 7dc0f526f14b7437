//! From bytes to the tape, with buffers that are used again and again.

use simd_json::{Buffers, Node, Tape};

use super::{Doc, JsonFault, duplicates, fault};

/// How deep a document may be nested; what other readers accept too.
pub const MAX_DEPTH: usize = 128;

/// A buffer that grew beyond this is given back after use.
const KEEP_BYTES: usize = 1 << 20;

/// Parses JSON documents one after the other. Has buffers of its own: keep one a thread.
pub struct Parser {
    /// simd-json unescapes strings in place, so it gets a copy.
    scratch: Vec<u8>,
    buffers: Buffers,
    tape: Tape<'static>,
    hashes: Vec<u64>,
}

impl Parser {
    /// With empty buffers.
    pub fn new() -> Self {
        Self { scratch: Vec::new(), buffers: buffers(), tape: Tape(Vec::new()), hashes: Vec::new() }
    }

    /// Parses one document and hands it to `use_it`.
    ///
    /// # Errors
    ///
    /// [`JsonFault`] if `data` is not one JSON value (RFC 8259) in UTF-8, has a key twice in an object, is nested more
    /// than [`MAX_DEPTH`] levels deep, or has a number that is neither a 64-bit integer nor a finite double.
    pub fn parse<R>(&mut self, data: &[u8], use_it: impl FnOnce(Doc<'_>) -> R) -> Result<R, JsonFault> {
        self.scratch.clear();
        self.scratch.extend_from_slice(data);
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let result = match simd_json::fill_tape(&mut self.scratch, &mut self.buffers, &mut tape) {
            Ok(()) => checked(&tape, &mut self.hashes).map(use_it),
            Err(error) => Err(fault::explain(&error, data)),
        };
        self.tape = tape.reset();
        self.give_back(data.len());
        result
    }

    fn give_back(&mut self, used: usize) {
        self.scratch.clear();
        self.scratch.shrink_to(KEEP_BYTES);
        self.tape.0.shrink_to(KEEP_BYTES / size_of::<Node<'_>>());
        self.hashes.clear();
        self.hashes.shrink_to(KEEP_BYTES / size_of::<u64>());
        if used > KEEP_BYTES {
            self.buffers = buffers();
        }
    }
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

fn buffers() -> Buffers {
    Buffers::with_max_depth(4096, MAX_DEPTH)
}

fn checked<'a>(tape: &'a Tape<'a>, hashes: &mut Vec<u64>) -> Result<Doc<'a>, JsonFault> {
    duplicates::check(&tape.0, hashes)?;
    if tape.0.is_empty() { Err(JsonFault::Empty) } else { Ok(Doc::new(&tape.0)) }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
