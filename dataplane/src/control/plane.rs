//! What the client drives.

use futures_util::future::BoxFuture;
use posthorn_domain::node::Question;
use posthorn_domain::problem::Problem;
use posthorn_domain::snapshot::{Delta, Nack};
use serde_json::Value;

use super::Kept;

/// The rest of the node, as the link to the control plane sees it.
pub trait Plane: Send + Sync {
    /// Puts `delta` in force and names what could not be used; the last good version of that stays in force. `full`: the
    /// delta came out of a full snapshot. Called one at a time and never dropped half-way, except at shutdown.
    fn apply<'a>(&'a self, delta: &'a Delta, full: bool) -> BoxFuture<'a, Vec<Nack>>;

    /// Puts in force what this node kept, at its start; answers as [`Plane::apply`].
    fn restore<'a>(&'a self, kept: Kept) -> BoxFuture<'a, Vec<Nack>> {
        Box::pin(async move { self.apply(&kept.delta(), true).await })
    }

    /// Answers a question of the control plane. Several at the same time; dropped after 30 seconds.
    fn answer<'a>(&'a self, question: Question) -> BoxFuture<'a, Result<Value, Problem>>;
}
