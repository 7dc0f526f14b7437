//! Whoever reads with filters passes over segments that have nothing for it (decision 28), as lanes that are behind do.

use metrics::counter;
use posthorn_domain::filter::Filter;
use posthorn_storage::log::{TopicLog, Wanted};

/// What all of these filters want at least.
pub(crate) fn wanted<'a>(filters: impl IntoIterator<Item = &'a Filter>) -> Wanted {
    Wanted::of(&filters.into_iter().flat_map(Filter::atoms).collect::<Vec<_>>())
}

/// The first offset from `from` on that has to be looked at. What is lost is never passed over, unless it is known to have been of no
/// interest.
pub(crate) fn pass(log: &dyn TopicLog, partition: u32, from: u64, wanted: &Wanted) -> u64 {
    if wanted.conditions().is_empty() {
        return from;
    }
    let (mut next, end) = (from, log.bounds(partition).end);
    // Each step ends at a segment that may have something, or at a gap between two.
    while next < end {
        let to = log.skip(partition, next, wanted).min(end);
        if to <= next {
            break;
        }
        next = to;
    }
    if next > from {
        counter!("posthorn_reader_skipped_events_total").increment(next - from);
    }
    next
}
