//! One partition as one shard sees it: how far its events were handed to the lanes.

use std::sync::Arc;

use posthorn_domain::time::Time;

use crate::route::TopicRoute;

/// The partition.
pub(super) struct Part {
    pub(super) topic: Arc<TopicRoute>,
    pub(super) partition: u32,
    /// The next offset to hand to lanes.
    pub(super) fed: u64,
    /// Whether a read of the log is under way, because records were missed.
    pub(super) reading: bool,
    /// Events below have been given up to retention.
    pub(super) passed: u64,
    /// When the last event that was fed had been taken in.
    pub(super) last_at: Time,
}

impl Part {
    /// Whether there are events that were not fed yet.
    pub(super) fn is_behind(&self) -> bool {
        self.fed < self.topic.log.bounds(self.partition).end
    }
}
