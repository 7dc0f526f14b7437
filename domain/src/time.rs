//! Wall-clock time in whole milliseconds, the resolution that the log, the retry schedule and the API share.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds since 1970-01-01T00:00:00Z. Written as RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The start of the epoch.
    pub const ZERO: Self = Self(0);
    /// Later than any time that can be written.
    pub const MAX: Self = Self(253_402_207_200_000);

    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, as `webhook-timestamp` wants it.
    pub const fn unix_seconds(self) -> u64 {
        self.0 / 1000
    }

    /// This time plus `delay`; stops at [`Time::MAX`].
    pub fn after(self, delay: Duration) -> Self {
        let delay = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(delay)).min(Self::MAX)
    }

    /// This time minus `span`; stops at the epoch.
    pub fn before(self, span: Duration) -> Self {
        let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(span))
    }

    /// How long after `earlier` this is; zero when it is not.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Reads RFC 3339 (any offset, lower-case `t` and `z`). `None` when the text is none, or is before the epoch.
    /// Leap seconds are read as the second before.
    pub fn parse(text: &str) -> Option<Self> {
        let stamp = rfc3339(text)?;
        u64::try_from(stamp.as_millisecond()).ok().map(Self)
    }
}

/// Reads RFC 3339 (any offset, lower-case `t` and `z`), also before the epoch.
pub(crate) fn rfc3339(text: &str) -> Option<jiff::Timestamp> {
    let bytes = text.as_bytes();
    // jiff is more lenient than RFC 3339 §5.6 (it takes `T24`, missing seconds, blanks); hold it to the grammar.
    let shaped = bytes.len() >= 20
        && matches!(bytes.get(10), Some(b'T' | b't'))
        && bytes.get(13) == Some(&b':')
        && bytes.get(16) == Some(&b':')
        && (bytes.ends_with(b"Z") || bytes.ends_with(b"z") || has_offset(bytes));
    if !shaped {
        return None;
    }
    text.to_ascii_uppercase().parse().ok()
}

fn has_offset(bytes: &[u8]) -> bool {
    let Some(tail) = bytes.len().checked_sub(6).and_then(|at| bytes.get(at..)) else { return false };
    matches!(tail, [b'+' | b'-', a, b, b':', c, d] if [a, b, c, d].iter().all(|d| d.is_ascii_digit()))
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = i64::try_from(self.0).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_millisecond(millis) {
            Ok(stamp) => write!(f, "{stamp:.3}"),
            Err(_) => f.write_str("9999-12-30T22:00:00.000Z"),
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::read(deserializer, |text| Self::parse(text).ok_or_else(|| format!("`{text}` is not an RFC 3339 time")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_offsets_and_writes_utc() {
        let time = Time::parse("2018-04-26T14:48:09+02:00").expect("valid");
        assert_eq!(time.to_string(), "2018-04-26T12:48:09.000Z");
        assert_eq!(Time::parse("2018-04-26t12:48:09.5z").expect("valid").to_string(), "2018-04-26T12:48:09.500Z");
    }

    #[test]
    fn refuses_what_rfc_3339_does_not_have() {
        for text in ["", "2018-04-26", "2018-04-26 14:48:09Z", "2018-04-26T14:48Z", "2018-04-26T14:48:09", "2018-13-26T14:48:09Z"] {
            assert_eq!(Time::parse(text), None, "{text}");
        }
    }
}
