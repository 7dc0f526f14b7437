//! Identifiers: those that are made (prefixed UUIDv7) and those that are derived from an event (`msg_…`, `dlv_…`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;
use uuid::Uuid;

/// Text that is not an identifier of the kind asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an id of the form {prefix}…")]
pub struct InvalidId {
    text: String,
    prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// What its text starts with.
            pub const PREFIX: &'static str = $prefix;

            /// From its 16 bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// Its 16 bytes, as stores keep them.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// Its text, written into `room`.
            pub fn write_to<'a>(&self, room: &'a mut [u8; 40]) -> &'a str {
                let (prefix, rest) = room.split_at_mut(Self::PREFIX.len());
                prefix.copy_from_slice(Self::PREFIX.as_bytes());
                Uuid::from_bytes(self.0).simple().encode_lower(rest);
                let length = Self::PREFIX.len() + 32;
                std::str::from_utf8(&room[..length]).expect("the prefix and hexadecimal digits")
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, Uuid::from_bytes(self.0).simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix($prefix)
                    .filter(|hex| hex.len() == 32)
                    .and_then(|hex| Uuid::try_parse(hex).ok())
                    .map(|uuid| Self(uuid.into_bytes()))
                    .ok_or_else(|| InvalidId { text: text.into(), prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::text::read(deserializer, str::parse)
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .pattern(Some(concat!("^", $prefix, "[0-9a-f]{32}$")))
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {}
    };
}

id!(
    /// A subscription.
    SubscriptionId, "sub_"
);
id!(
    /// A dead letter.
    DeadLetterId, "dl_"
);
id!(
    /// An event, wherever it is: the same after a crash, on another node, and for a publisher's late re-send. Never stored.
    MessageId, "msg_"
);
id!(
    /// One event on its way to one subscription.
    DeliveryId, "dlv_"
);
id!(
    /// A replay of a range of a topic to one subscription.
    ReplayId, "rpl_"
);

impl SubscriptionId {
    /// A new one, later than all made before in this process.
    pub fn make() -> Self {
        Self(Uuid::now_v7().into_bytes())
    }
}

impl DeadLetterId {
    /// A new one, later than all made before in this process.
    pub fn make() -> Self {
        Self(Uuid::now_v7().into_bytes())
    }
}

impl ReplayId {
    /// A new one.
    pub fn make() -> Self {
        Self(Uuid::now_v7().into_bytes())
    }
}

impl MessageId {
    /// The id of the event with this `source` and `id`, from this publisher, on this topic.
    pub fn of_event(topic: &str, publisher: &str, source: &str, id: &str) -> Self {
        Self(digest(b"posthorn/message/1", [topic, publisher, source, id]))
    }

    /// The id of the event that was published with an `Idempotency-Key`.
    pub fn of_key(topic: &str, publisher: &str, key: &str) -> Self {
        Self(digest(b"posthorn/message-key/1", [topic, publisher, key]))
    }

    /// The id of a batch of events that travel in one request.
    pub fn of_batch(members: impl Iterator<Item = Self>) -> Self {
        let members: Vec<Self> = members.collect();
        let ids = members.iter().map(|member| member.0.as_slice());
        Self(first16(&std::iter::once(b"posthorn/batch/1".as_slice()).chain(ids).collect::<Vec<_>>()))
    }
}

impl DeliveryId {
    /// The delivery of `message` to `subscription`.
    pub fn of(subscription: SubscriptionId, message: MessageId) -> Self {
        Self(first16(&[b"posthorn/delivery/1", &subscription.0, &message.0]))
    }

    /// The delivery of `message` within a replay: a delivery of its own, beside the first one.
    pub fn of_replay(replay: ReplayId, message: MessageId) -> Self {
        Self(first16(&[b"posthorn/replay/1", &replay.0, &message.0]))
    }
}

/// Of the parts, each with its length before it so that no two lists collide.
fn digest<const N: usize>(domain: &[u8], parts: [&str; N]) -> [u8; 16] {
    let lengths = parts.map(|part| (part.len() as u64).to_le_bytes());
    let parts = lengths.iter().zip(&parts).flat_map(|(length, part)| [length.as_slice(), part.as_bytes()]);
    first16(&std::iter::once(domain).chain(parts).collect::<SmallVec<[&[u8]; 9]>>())
}

/// The first 16 bytes of SHA-256 over the pieces, gathered first: the hash takes a whole block at once faster than many pieces.
fn first16(pieces: &[&[u8]]) -> [u8; 16] {
    let mut gathered = SmallVec::<[u8; 256]>::new();
    pieces.iter().for_each(|piece| gathered.extend_from_slice(piece));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&ring::digest::digest(&ring::digest::SHA256, &gathered).as_ref()[..16]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_other_kinds_are_refused() {
        let id = SubscriptionId::make();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().parse::<DeadLetterId>().is_err());
        assert!("sub_1".parse::<SubscriptionId>().is_err());
    }

    #[test]
    fn derived_ids_keep_their_parts_apart() {
        let whole = MessageId::of_event("t", "p", "ab", "c");
        assert_ne!(whole, MessageId::of_event("t", "p", "a", "bc"));
        assert_eq!(whole, MessageId::of_event("t", "p", "ab", "c"));
        assert_ne!(MessageId::of_key("t", "p", "k"), MessageId::of_event("t", "p", "k", ""));
    }
}
