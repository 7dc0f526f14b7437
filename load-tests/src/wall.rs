//! The one place of this crate that asks the machine for the time of day: events carry it between processes.

use std::time::UNIX_EPOCH;

/// Microseconds since 1970.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a harness on its own: it has no clock to be given")]
pub fn micros() -> u64 {
    let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
