//! Why something was not delivered: one enum for all dead letters and drops. The README has the table for operators.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why an event became a dead letter (or was dropped, where QoS forbids dead letters).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reason {
    /// Every attempt of the schedule failed.
    AttemptsExhausted = 1,
    /// The subscription's `retry.max_age` passed before an attempt succeeded.
    MaxAge = 2,
    /// The event's time to live, or its `expirytime`, passed.
    Expired = 3,
    /// The endpoint's address is in a range that must not be connected to.
    EgressForbidden = 4,
    /// The endpoint answered 410: it is gone, and the subscription was disabled.
    EndpointGone = 5,
    /// A schema refused the event when it was published.
    SchemaInvalid = 6,
    /// The event named a schema, or a version of one, that is not registered.
    SchemaUnknown = 7,
    /// The topic demands a schema and the event named none.
    SchemaRequired = 8,
    /// The log was damaged where the event stood.
    LogDamaged = 9,
    /// Retention deleted the event before it could be delivered.
    RetentionPassed = 10,
    /// The event is larger than what the subscription's endpoint may be sent.
    TooLarge = 11,
    /// The event came through more Posthorns than the topic allows.
    TooManyHops = 12,
}

/// All reasons, for the API's documentation and the README's table.
pub const ALL: [Reason; 12] = [
    Reason::AttemptsExhausted,
    Reason::MaxAge,
    Reason::Expired,
    Reason::EgressForbidden,
    Reason::EndpointGone,
    Reason::SchemaInvalid,
    Reason::SchemaUnknown,
    Reason::SchemaRequired,
    Reason::LogDamaged,
    Reason::RetentionPassed,
    Reason::TooLarge,
    Reason::TooManyHops,
];

impl Reason {
    /// The stable text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::MaxAge => "max_age",
            Self::Expired => "expired",
            Self::EgressForbidden => "egress_forbidden",
            Self::EndpointGone => "endpoint_gone",
            Self::SchemaInvalid => "schema_invalid",
            Self::SchemaUnknown => "schema_unknown",
            Self::SchemaRequired => "schema_required",
            Self::LogDamaged => "log_damaged",
            Self::RetentionPassed => "retention_passed",
            Self::TooLarge => "too_large",
            Self::TooManyHops => "too_many_hops",
        }
    }

    /// As stores keep it.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Back from [`Reason::code`].
    pub fn from_code(code: u8) -> Option<Self> {
        ALL.into_iter().find(|reason| reason.code() == code)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        ALL.into_iter().find(|reason| reason.as_str() == text).ok_or_else(|| UnknownReason(text.chars().take(64).collect()))
    }
}

/// Text that names no reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a dead-letter reason")]
pub struct UnknownReason(String);

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl utoipa::PartialSchema for Reason {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .enum_values(Some(ALL.map(Self::as_str)))
            .into()
    }
}

impl utoipa::ToSchema for Reason {}
