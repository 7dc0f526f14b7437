//! The log as the parts of the node see it: reads take time, and whoever writes is told of appends.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use posthorn_domain::names::TopicName;
use posthorn_domain::qos::Durability;
use posthorn_domain::record::{Hint, Record};
use posthorn_domain::time::Time;
use posthorn_storage::log::segments::SegmentLog;
use posthorn_storage::log::{Appending, Bounds, Health, Log, LogError, Page, TopicLog, TopicSettings, Wanted};
use tokio::sync::Notify;

use crate::node::number_of;
use crate::plan::more::Keeps;
use crate::random::Random;
use crate::world::World;

/// The log.
pub(crate) struct SlowLog {
    log: Arc<SegmentLog>,
    shared: Arc<Shared>,
}

struct Shared {
    world: Arc<World>,
    appended: Arc<Notify>,
    random: Mutex<Random>,
}

struct SlowTopic {
    keeps: Option<Keeps>,
    topic: Arc<dyn TopicLog>,
    shared: Arc<Shared>,
}

impl SlowLog {
    /// Around this log; notifies `appended`.
    pub(crate) fn new(log: Arc<SegmentLog>, world: Arc<World>, appended: Arc<Notify>, random: Random) -> Self {
        Self { log, shared: Arc::new(Shared { world, appended, random: Mutex::new(random) }) }
    }
}

impl Shared {
    /// What the topic keeps, in runs that have such things.
    fn keeps(&self, topic: &TopicName) -> Option<Keeps> {
        self.world.plan.more.as_ref().zip(number_of(topic)).map(|(more, number)| more.keeps[number])
    }

    async fn take_time(&self) {
        let millis = {
            let mut random = self.random.lock();
            if random.percent(50) { 0 } else { random.within(0, 20) }
        };
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
}

impl Log for SlowLog {
    fn open(&self, topic: &TopicName, settings: TopicSettings) -> Result<Arc<dyn TopicLog>, LogError> {
        let keeps = self.shared.keeps(topic);
        let topic = self.log.open(topic, keeps.map_or(settings, |keeps| keeps.lay_over(settings)))?;
        Ok(Arc::new(SlowTopic { topic, keeps, shared: Arc::clone(&self.shared) }))
    }

    fn remove(&self, topic: &TopicName) -> Result<(), LogError> {
        self.log.remove(topic)
    }

    fn topics(&self) -> Vec<(TopicName, u64)> {
        self.log.topics()
    }

    fn health(&self) -> Health {
        self.log.health()
    }
}

impl TopicLog for SlowTopic {
    fn append(&self, partition: u32, record: Record, hint: Option<Hint>, durability: Durability) -> Appending {
        let appending = self.topic.append(partition, record, hint, durability);
        self.shared.appended.notify_one();
        appending
    }

    fn read(&self, partition: u32, from: u64, max_bytes: usize, max_records: usize) -> BoxFuture<'_, Result<Page, LogError>> {
        async move {
            self.shared.take_time().await;
            let page = self.topic.read(partition, from, max_bytes, max_records).await;
            if let Ok(page) = &page {
                self.shared.world.oracle.lock().hold(&page.records);
            }
            page
        }
        .boxed()
    }

    fn skip(&self, partition: u32, from: u64, wanted: &Wanted) -> u64 {
        if self.keeps.is_some() { self.topic.skip(partition, from, wanted) } else { from }
    }

    fn bounds(&self, partition: u32) -> Bounds {
        self.topic.bounds(partition)
    }

    fn offset_at(&self, partition: u32, time: Time) -> BoxFuture<'_, Result<u64, LogError>> {
        async move {
            self.shared.take_time().await;
            self.topic.offset_at(partition, time).await
        }
        .boxed()
    }

    fn settings(&self) -> TopicSettings {
        self.topic.settings()
    }

    fn set_retention(&self, settings: TopicSettings) {
        self.topic.set_retention(self.keeps.map_or(settings, |keeps| keeps.lay_over(settings)));
    }
}
