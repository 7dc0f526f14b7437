//! Which way an event goes: from outside to us, or from us to others (interfaces §8).

use std::fmt;
use std::str::FromStr;

/// The direction of an event, part of its context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// For subscribers inside.
    #[default]
    Incoming,
    /// For subscribers outside.
    Outgoing,
}

/// Text that is no direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a direction is `incoming` or `outgoing`")]
pub struct InvalidDirection;

impl Direction {
    /// As filters and documents write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Outgoing => "outgoing",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Direction {
    type Err = InvalidDirection;

    fn from_str(text: &str) -> Result<Self, InvalidDirection> {
        match text {
            "incoming" => Ok(Self::Incoming),
            "outgoing" => Ok(Self::Outgoing),
            _ => Err(InvalidDirection),
        }
    }
}
