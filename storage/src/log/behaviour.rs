//! What every implementation of [`Log`] must do, to be run against each of them.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use parking_lot::Mutex;
use posthorn_domain::event::{DataKind, EventBuilder};
use posthorn_domain::names::TopicName;
use posthorn_domain::qos::{DeadLetter, Durability};
use posthorn_domain::record::{Record, Stored};
use posthorn_domain::time::Time;

use super::{Log, LogError, TailSink, TopicLog, TopicSettings};

/// What the sink was told: partition, offset and the event's id.
#[derive(Debug, Default)]
pub struct Told(Mutex<Vec<(u32, u64, String)>>);

impl TailSink for Told {
    fn durable(&self, _: &TopicName, partition: u32, records: Vec<Arc<Stored>>) {
        let told = records.iter().map(|stored| (partition, stored.offset, stored.record.event.id().to_owned()));
        self.0.lock().extend(told);
    }
}

impl Told {
    /// All so far.
    pub fn all(&self) -> Vec<(u32, u64, String)> {
        self.0.lock().clone()
    }
}

/// A record with this id, accepted at `millis`.
pub fn record(id: &str, millis: u64) -> Record {
    Record {
        event: EventBuilder::new(id, "/s", "t").with_data(DataKind::Json, Bytes::from_static(b"{\"a\":1}")),
        publisher: "acme".into(),
        idempotency_key: None,
        accepted_at: Time::from_millis(millis),
        expires_at: None,
        durability: Durability::Sync,
        dead_letter: DeadLetter::Allow,
        direction: posthorn_domain::direction::Direction::Incoming,
    }
}

/// Settings without retention.
pub fn settings(incarnation: u64, partitions: u32) -> TopicSettings {
    TopicSettings { incarnation, partitions, retention_age: None, retention_bytes: None }
}

/// Every record of a partition, page by page, as offset and id.
pub async fn read_all(topic: &dyn TopicLog, partition: u32) -> Vec<(u64, String)> {
    let mut next = topic.bounds(partition).start;
    let mut all = Vec::new();
    loop {
        let page = topic.read(partition, next, 1000, 7).await.expect("readable");
        if page.next == next {
            return all;
        }
        next = page.next;
        all.extend(page.records.iter().map(|stored| (stored.offset, stored.record.event.id().to_owned())));
    }
}

/// The whole suite on a log that has no topics yet and tells `told`. Panics on the first fault.
pub async fn run(log: &dyn Log, told: &Told) {
    appends_read_back(log, told).await;
    times_find_offsets(log).await;
    incarnations_and_partitions(log).await;
}

async fn appends_read_back(log: &dyn Log, told: &Told) {
    let topic = log.open(&name("orders"), settings(1, 2)).expect("opens");
    let kinds = [Durability::Sync, Durability::Log, Durability::None];
    let appends = (0..300).map(|n| topic.append(n % 2, record(&n.to_string(), 1), None, kinds[n as usize % 3]));
    let offsets: Vec<u64> = join_all(appends).await.into_iter().map(|offset| offset.expect("kept")).collect();
    // `none` answers early: a synced one behind it says that all are there.
    for partition in 0..2 {
        topic.append(partition, record("end", 1), None, Durability::Sync).await.expect("kept");
        let read = read_all(&*topic, partition).await;
        let mut wanted: Vec<(u64, String)> =
            (0..300u32).filter(|n| n % 2 == partition).map(|n| (offsets[n as usize], n.to_string())).collect();
        wanted.push((150, "end".into()));
        assert_eq!(read, wanted);
        let seen: Vec<_> = told.all().into_iter().filter(|(at, ..)| *at == partition).map(|(_, offset, id)| (offset, id)).collect();
        assert_eq!(seen, wanted, "the sink hears all, in order");
        assert_eq!(topic.bounds(partition).end, 151);
    }
    assert!(topic.read(0, 151, 10, 10).await.expect("the end is readable").records.is_empty());
    assert_eq!(topic.read(7, 0, 10, 10).await.err(), Some(LogError::NoPartition(7)));
}

async fn times_find_offsets(log: &dyn Log) {
    let topic = log.open(&name("times"), settings(1, 1)).expect("opens");
    for (n, millis) in [10, 30, 20, 40].into_iter().enumerate() {
        topic.append(0, record(&n.to_string(), millis), None, Durability::Log).await.expect("kept");
    }
    for (millis, offset) in [(0, 0), (10, 0), (11, 1), (31, 3), (41, 4)] {
        assert_eq!(topic.offset_at(0, Time::from_millis(millis)).await, Ok(offset), "{millis}");
    }
}

async fn incarnations_and_partitions(log: &dyn Log) {
    let topic = log.open(&name("lives"), settings(1, 2)).expect("opens");
    topic.append(1, record("a", 1), None, Durability::Sync).await.expect("kept");
    assert!(matches!(log.open(&name("lives"), settings(1, 1)), Err(LogError::FewerPartitions { have: 2, wanted: 1 })));
    let topic = log.open(&name("lives"), settings(1, 3)).expect("grows");
    assert_eq!(topic.append(2, record("b", 1), None, Durability::Sync).await, Ok(0));
    assert_eq!(read_all(&*topic, 1).await.len(), 1, "growing keeps what is there");
    let new = log.open(&name("lives"), settings(2, 1)).expect("begins anew");
    assert_eq!(new.bounds(0).end, 0);
    assert_eq!(topic.append(0, record("c", 1), None, Durability::Sync).await, Err(LogError::Removed));
    log.remove(&name("lives")).expect("removes");
    assert!(log.topics().iter().all(|(topic, _)| *topic != name("lives")));
}

fn name(text: &str) -> TopicName {
    text.parse().expect("a name")
}
