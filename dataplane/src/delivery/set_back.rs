//! Places that the log does not reach are set back to its end, and that is on the disk before anything is appended (DESIGN §7). After a
//! loss of power the state may have kept what the log has lost: the next events get the lost offsets, and whoever stood above them
//! would pass them over, in this life or, were it not written down, in a later one. Pure.

use std::collections::HashMap;

use posthorn_domain::names::TopicName;
use posthorn_storage::state::{Batch, Loaded, Readers};

/// Where partitions end, by topic, incarnation and number; those that are not in it are empty.
pub type Ends = HashMap<(TopicName, u64, u32), u64>;

/// Sets back what was loaded, and puts into `batch` what changes by it. How many rows that are.
pub(super) fn set_back(loaded: &mut Loaded, readers: &mut Readers, ends: &Ends, batch: &mut Batch) -> usize {
    let end = |topic: &TopicName, incarnation, partition| ends.get(&(topic.clone(), incarnation, partition)).copied().unwrap_or(0);
    let mut count = 0;
    for base in &mut loaded.bases {
        let end = end(&base.topic, base.incarnation, base.partition);
        if base.offset > end {
            base.offset = end;
            batch.put_base(base.clone());
            count += 1;
        }
    }
    for lane in &mut loaded.lanes {
        let end = end(&lane.topic, lane.incarnation, lane.partition);
        if lane.next > end || lane.settled.iter().any(|offset| *offset >= end) || lane.until.is_some_and(|until| until > end) {
            lane.next = lane.next.min(end);
            lane.settled.retain(|offset| *offset < end);
            lane.until = lane.until.map(|until| until.min(end));
            batch.put_lane(lane.clone());
            count += 1;
        }
    }
    for cursor in &mut readers.cursors {
        let end = end(&cursor.topic, cursor.incarnation, cursor.partition);
        if cursor.next > end {
            cursor.next = end;
            batch.put_cursor(cursor.clone());
            count += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use posthorn_domain::ids::SubscriptionId;
    use posthorn_storage::state::{Base, LaneState, ReaderCursor};

    use super::*;

    #[test]
    fn nobody_stands_above_the_end() {
        let (topic, subscription): (TopicName, _) = ("orders".parse().unwrap(), SubscriptionId::make());
        let base = |shards, offset| Base { topic: topic.clone(), incarnation: 1, partition: 0, shard: 0, shards, offset };
        let lane = |incarnation, next, settled: &[u64], until| LaneState {
            subscription,
            topic: topic.clone(),
            incarnation,
            partition: 0,
            replay: None,
            next,
            settled: settled.to_vec(),
            until,
        };
        let cursor = |next| ReaderCursor { reader: "r".into(), topic: topic.clone(), incarnation: 1, partition: 0, next };
        let mut loaded = Loaded {
            bases: vec![base(1, 9), base(2, 5)],
            lanes: vec![lane(1, 3, &[4, 6], None), lane(1, 8, &[], Some(9)), lane(1, 2, &[4], Some(5)), lane(2, 1, &[], None)],
            ..Loaded::default()
        };
        let mut readers = Readers { cursors: vec![cursor(5), cursor(6)], ..Readers::default() };
        let ends = Ends::from([((topic.clone(), 1, 0), 5)]);
        let mut batch = Batch::new();
        assert_eq!(set_back(&mut loaded, &mut readers, &ends, &mut batch), 5);
        assert_eq!(loaded.bases, [base(1, 5), base(2, 5)]);
        assert_eq!(loaded.lanes, [lane(1, 3, &[4], None), lane(1, 5, &[], Some(5)), lane(1, 2, &[4], Some(5)), lane(2, 0, &[], None)]);
        assert_eq!(readers.cursors, [cursor(5), cursor(5)]);
        assert_eq!(batch.into_ops().len(), 5);
        assert_eq!(set_back(&mut loaded, &mut readers, &ends, &mut Batch::new()), 0);
    }
}
