//! What is wrong with a configuration, as the operator reads it: all of it, each with its place.

use std::fmt;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The file, at this line (from 1; 0 when not known).
    File(u64),
    /// This environment variable.
    Environment(String),
    /// Neither: a default, or a rule over several keys.
    None,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key's path, `delivery.allow_cidrs`; empty for the whole file.
    pub key: String,
    /// Where it was given.
    pub origin: Origin,
    /// What is wrong and what to do.
    pub detail: String,
}

/// All faults of a configuration. Exit code 64.
#[derive(Debug, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = if self.key.is_empty() { "configuration" } else { &self.key };
        match &self.origin {
            Origin::File(line) if *line > 0 => write!(f, "{key} (line {line}): {}", self.detail),
            Origin::Environment(name) => write!(f, "{key} (environment {name}): {}", self.detail),
            Origin::File(_) | Origin::None => write!(f, "{key}: {}", self.detail),
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        writeln!(f, "the configuration has {count} fault{}:", if count == 1 { "" } else { "s" })?;
        self.0.iter().try_for_each(|fault| writeln!(f, "  {fault}"))
    }
}
