//! Subscriptions that were written down are read on a thread of their own, while those before them get their places in the table.

use std::sync::mpsc;
use std::thread;

use posthorn_domain::filter::Filter;
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::problem::Problem;
use posthorn_domain::resource::{Glance, Packed};

/// Subscriptions that are handed over together.
const SHEAF: usize = 256;
/// Sheaves that may wait.
const SHEAVES: usize = 4;

/// A subscription, as far as it is made without looking at others.
pub(super) enum Prepared<'a> {
    /// It is packed: without its filters, and what they mean.
    Packed(SubscriptionId, Packed, Glance, Result<Vec<Filter>, Problem>),
    /// It is JSON, or what cannot be read at all.
    Json(&'a [u8]),
}

/// Reads each of `kept`, a key and what was written under it, and gives it away, in order.
pub(super) fn prepare<'k>(kept: &[(&'k str, &'k [u8])], mut give: impl FnMut(&'k str, Prepared<'k>)) {
    let (filled, sheaves) = mpsc::sync_channel(SHEAVES);
    thread::scope(|scope| {
        scope.spawn(move || {
            for some in kept.chunks(SHEAF) {
                let sheaf: Vec<_> = some.iter().map(|(key, written)| (*key, read(key, written))).collect();
                if filled.send(sheaf).is_err() {
                    // Nobody takes them any more.
                    return;
                }
            }
        });
        sheaves.into_iter().flatten().for_each(|(key, prepared)| give(key, prepared));
    });
}

fn read<'k>(key: &str, written: &'k [u8]) -> Prepared<'k> {
    let id = key.split('/').nth(1).and_then(|id| id.parse().ok());
    let (Some(packed), Some(id)) = (Packed::from_bytes(written), id) else { return Prepared::Json(written) };
    let (glance, packed) = packed.parted();
    let filters = glance.filters.compile();
    Prepared::Packed(id, packed, glance, filters)
}
