//! Which subscriptions want an event, and by which rules it is taken in: the snapshot, compiled.
//!
//! [`Table`] is immutable; a change makes a new one that shares all that did not change. [`Live`] is how everyone sees the
//! newest. An event is decided by one table from its first byte to its answer, so it sees one revision.

mod build;
mod index;
mod live;
mod look;
mod restore;
mod subscription;
mod subscriptions;
mod table;

pub use build::{Applied, Builder};
pub use index::{Editor, Filters, Index, Known};
pub use live::Live;
pub use look::look;
pub use restore::Kept;
pub use subscription::{Signer, SubscriptionRoute};
pub use subscriptions::Subscriptions;
pub use table::{Changes, Map, SchemaFacts, SchemaRoute, Table, TopicRoute};
