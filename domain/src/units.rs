//! Durations (`"250ms"`, `"24h"`) and sizes (`"64KiB"`, or a number of bytes) as the API and the configuration write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration in whole milliseconds, written with one unit: `ms`, `s`, `m`, `h` or `d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dur(u64);

/// A number of bytes, written as an integer or with one unit: `B`, `KiB`, `MiB`, `GiB` or `TiB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

/// Text that is no duration or no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {wanted}")]
pub struct InvalidUnit {
    text: String,
    wanted: &'static str,
}

const DUR_UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
const SIZE_UNITS: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
/// Ten thousand days: long enough for every purpose, short enough to add to any time.
const DUR_MAX: u64 = 10_000 * 86_400_000;

impl Dur {
    /// From milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// From seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs * 1000)
    }

    /// In milliseconds.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// As the standard library's type.
    pub const fn std(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl Size {
    /// From bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// From mebibytes.
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// In bytes, as an index; stops at the largest that fits.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for Dur {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        scaled(text, &DUR_UNITS).filter(|millis| *millis <= DUR_MAX).map(Self).ok_or_else(|| InvalidUnit {
            text: text.into(),
            wanted: "a duration such as \"250ms\", \"10s\", \"5m\", \"24h\" or \"7d\" (at most 10000d)",
        })
    }
}

impl FromStr for Size {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        text.parse()
            .ok()
            .or_else(|| scaled(text, &SIZE_UNITS))
            .map(Self)
            .ok_or_else(|| InvalidUnit { text: text.into(), wanted: "a size such as 65536, \"64KiB\" or \"10GiB\"" })
    }
}

/// `<integer><unit>` in units of `units`; the longest unit that fits wins, so `ms` is not `s`.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn largest(value: u64, units: &'static [(&'static str, u64)]) -> (u64, &'static str) {
    let exact = units.iter().find(|(_, factor)| value != 0 && value.is_multiple_of(*factor));
    exact.map_or((value, units[units.len() - 1].0), |(name, factor)| (value / factor, name))
}

impl fmt::Display for Dur {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = largest(self.0, &DUR_UNITS);
        write!(f, "{number}{unit}")
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = largest(self.0, &SIZE_UNITS);
        write!(f, "{number}{unit}")
    }
}

impl Serialize for Dur {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Dur {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::read(deserializer, str::parse)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes or a size such as \"64KiB\"")
            }

            fn visit_u64<E: serde::de::Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(bytes))
            }

            fn visit_i64<E: serde::de::Error>(self, bytes: i64) -> Result<Size, E> {
                u64::try_from(bytes).map(Size).map_err(|_| E::custom("a size is not negative"))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

macro_rules! string_schema {
    ($type:ty, $name:literal, $example:literal, $pattern:literal) => {
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": ["string", "integer"], "pattern": $pattern, "examples": [$example]})
            }
        }

        impl utoipa::PartialSchema for $type {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .pattern(Some($pattern))
                    .examples([serde_json::json!($example)])
                    .into()
            }
        }

        impl utoipa::ToSchema for $type {
            fn name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }
        }
    };
}

string_schema!(Dur, "Duration", "10s", "^[0-9]+(ms|s|m|h|d)$");
string_schema!(Size, "Size", "64KiB", "^[0-9]+(B|KiB|MiB|GiB|TiB)?$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_their_meaning() {
        for (text, millis) in [("250ms", 250), ("10s", 10_000), ("5m", 300_000), ("24h", 86_400_000), ("7d", 604_800_000), ("0s", 0)] {
            assert_eq!(text.parse::<Dur>().map(Dur::millis), Ok(millis), "{text}");
        }
        assert_eq!("24h".parse::<Dur>().expect("valid").to_string(), "1d");
        for text in ["", "10", "s", "-1s", "1.5s", "10 s", "10001d", "99999999999999999999s"] {
            assert!(text.parse::<Dur>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_keep_their_meaning() {
        for (text, bytes) in [("64KiB", 65_536), ("10GiB", 10 << 30), ("17", 17), ("0", 0)] {
            assert_eq!(text.parse::<Size>().map(Size::bytes), Ok(bytes), "{text}");
        }
        assert!("64kb".parse::<Size>().is_err());
        assert_eq!(serde_json::from_str::<Size>("1024").expect("valid").to_string(), "1KiB");
    }
}
