//! Quality-of-service settings (DESIGN §5); [`resolve`] decides between those who set them.

mod resolve;

pub use resolve::{Decided, Origin, Parties, Resolved, Shown, resolve};

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

macro_rules! setting {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? } default $default:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema, schemars::JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every value as it is written.
            pub const NAMES: &'static [&'static str] = &[$($text),+];

            /// As it is written.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl Default for $name {
            fn default() -> Self { Self::$default }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.as_str()) }
        }

        impl FromStr for $name {
            type Err = UnknownSetting;

            fn from_str(text: &str) -> Result<Self, UnknownSetting> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(UnknownSetting { text: text.chars().take(64).collect(), names: Self::NAMES }),
                }
            }
        }
    };
}

/// Text that names no value of a setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not one of {}", names.join(", "))]
pub struct UnknownSetting {
    text: String,
    names: &'static [&'static str],
}

setting!(
    /// What an acknowledgement promises. Ordered: the greater is the stronger.
    Durability {
        /// In memory only: a kill may lose it.
        None = "none",
        /// In the log: survives a kill of the process.
        Log = "log",
        /// On the disk: survives a power loss.
        Sync = "sync",
    } default Sync
);
setting!(
    /// Whether what cannot be delivered may be kept as a dead letter. `never` is the stronger.
    DeadLetter {
        /// Kept.
        Allow = "allow",
        /// Dropped, and counted.
        Never = "never",
    } default Allow
);
setting!(
    /// What a publisher hears of an event that its schema refuses. `dead_letter` is used where any schema or the topic says so.
    OnRefusal {
        /// A failure.
        Reject = "reject",
        /// A success that says `dead_lettered`.
        DeadLetter = "dead_letter",
    } default Reject
);
setting!(
    /// In which order a subscription sees events.
    Ordering {
        /// As they come.
        None = "none",
        /// Events of one key (`partitionkey`, else `subject`) in log order.
        Key = "key",
    } default None
);
