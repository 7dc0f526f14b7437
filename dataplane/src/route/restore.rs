//! Resources that were written down are read on a thread of their own, while those before them get their places in the table.

use std::sync::mpsc;
use std::thread;

use posthorn_domain::filter::Filter;
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::problem::Problem;
use posthorn_domain::resource::{Glance, Packed};
use posthorn_domain::snapshot::Resource;

use super::build::written_down;

/// Resources that are handed over together.
const SHEAF: usize = 256;
/// Sheaves that may wait.
const SHEAVES: usize = 4;

/// A version of a resource that a node had in force, as it was written down.
pub trait Kept {
    /// The resource's key.
    fn key(&self) -> &str;

    /// The JSON that it came as, or a packed subscription.
    fn version(&self) -> &[u8];
}

/// A resource, as far as it is made without looking at others.
pub(super) enum Prepared {
    /// A packed subscription: without its filters, and what they mean.
    Packed(SubscriptionId, Packed, Glance, Result<Vec<Filter>, Problem>),
    /// Any other.
    Json(Result<Resource, Problem>),
}

/// Reads each of `kept` and gives it away under its key, in order.
pub(super) fn prepare<K: Kept>(mut kept: impl Iterator<Item = K> + Send, mut give: impl FnMut(String, Prepared)) {
    let (filled, sheaves) = mpsc::sync_channel(SHEAVES);
    thread::scope(|scope| {
        scope.spawn(move || {
            loop {
                let sheaf: Vec<_> = kept.by_ref().take(SHEAF).map(|one| (one.key().to_owned(), read(&one))).collect();
                if sheaf.is_empty() || filled.send(sheaf).is_err() {
                    // That were all, or nobody takes them any more.
                    return;
                }
            }
        });
        sheaves.into_iter().flatten().for_each(|(key, prepared)| give(key, prepared));
    });
}

fn read(kept: &impl Kept) -> Prepared {
    let id = kept.key().strip_prefix("subscriptions/").and_then(|id| id.parse().ok());
    let packed = id.and_then(|id| Some((id, Packed::from_bytes(kept.version())?)));
    let Some((id, packed)) = packed else { return Prepared::Json(written_down(kept.version())) };
    let (glance, packed) = packed.parted();
    let filters = glance.filters.compile();
    Prepared::Packed(id, packed, glance, filters)
}
