//! The resources of the control plane (interfaces §4): what users write, with every rule on it checked in one place.
//!
//! Each type is read from JSON by `parse`, which reports all faults with pointers, and written by serde with its secrets
//! redacted. Secrets are reached by pointer ([`Subscription::secrets`]) so that stores and snapshots can carry them apart.

mod batch;
mod endpoint;
mod mention;
mod packed;
mod plain;
mod quick;
mod schema;
mod short;
mod subscription;
#[cfg(test)]
mod tests;
mod topic;
mod words;
mod written;

pub use batch::{BatchLimits, MAX_BATCH_BYTES, MAX_BATCH_EVENTS, MAX_BATCH_WAIT};
pub use endpoint::{Auth, Endpoint, Format};
pub use mention::Mention;
pub use packed::{Glance, Packed};
pub use schema::{Compatibility, SchemaInfo, SchemaSpec, SchemaVersion, UnknownMode, parse_deprecation};
pub use subscription::{Key, Limits, Mode, OldSecret, Qos, RetryPolicy, Scheme, Signing, Start, Status, Subscription, SubscriptionSpec};
pub use topic::{MAX_HOPS, Retention, Topic, TopicSpec};
pub use written::WrittenFilters;

use serde::Serialize;

use crate::time::Time;

/// What the control plane keeps beside every resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Meta {
    /// The revision that last changed it; also its `ETag`.
    pub revision: u64,
    /// The revision that made it: tells two lives of one name apart.
    #[serde(skip)]
    pub incarnation: u64,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Time,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Time,
}

/// Members that the server owns: a reader may write them back, and they are ignored.
pub(crate) const SERVER_OWNED: [&str; 4] = ["revision", "created_at", "updated_at", "id"];
