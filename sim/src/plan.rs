//! What a run is made of, drawn from its seed: topics, subscriptions and their endpoints, limits, and how many lives the process has.

pub mod more;
pub mod third;

use std::time::Duration;

use posthorn_dataplane::config;
use posthorn_domain::direction::Direction;
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::qos::Durability;
use serde_json::{Value, json};

use crate::random::Random;

const SECRETS: [&str; 2] = ["whsec_UMpqVxBV/1kJNTiPzVAxd26Cr5+tpMr6a2/p4hPCuGk=", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD8fGkIWtqOYg="];
/// Bytes of one read of the log.
const PAGE: usize = 256 << 10;
/// Types of events; a subscription may want one of them only.
pub const TYPES: u64 = 3;

/// The whole.
pub struct Plan {
    /// By number.
    pub topics: Vec<TopicPlan>,
    /// By number.
    pub subscriptions: Vec<Wanted>,
    /// Readers, by the number of the topic that each reads.
    pub readers: Vec<usize>,
    /// Events that are published in all.
    pub events: u32,
    /// Times that the process ends before its last life.
    pub crashes: u32,
    /// Whether it is about many events behind an endpoint that is dead, and what they cost.
    pub flood: bool,
    /// Shards of every life.
    pub shards: u16,
    /// A segment is closed at this size.
    pub segment_bytes: u64,
    /// Bytes that may wait to be written.
    pub pending_bytes: usize,
    /// The limits of delivery.
    pub delivery: config::Delivery,
    /// What only later seeds have.
    pub more: Option<more::More>,
    /// What only the newest seeds have.
    pub third: Option<third::Third>,
}

/// A topic.
pub struct TopicPlan {
    /// Its name.
    pub name: String,
    /// From 1.
    pub partitions: u32,
    ttl: Option<u64>,
}

/// A subscription.
pub struct Wanted {
    /// Its id.
    pub id: SubscriptionId,
    /// The only topic that it wants; any if none.
    pub topic: Option<usize>,
    /// The only type that it wants.
    pub ty: Option<u64>,
    /// `ordering: key`.
    pub ordered: bool,
    /// `dead_letter: never`.
    pub never: bool,
    /// Requests at a time.
    pub in_flight: u32,
    /// Whether it is made only while the process runs already.
    pub late: bool,
    /// Whether a rate is set.
    pub rated: bool,
    /// Attempts that are made at most.
    pub attempts: u32,
    /// Seconds after the first attempt behind which there is none.
    pub max_age: u64,
    /// What its endpoint is like.
    pub nature: Nature,
    spec: Value,
}

/// What of a subscription changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Which of its URLs it delivers to.
    pub url: u32,
    /// The only topic that it wants; any if none.
    pub topic: Option<usize>,
    /// The only type that it wants.
    pub ty: Option<u64>,
}

/// What an endpoint is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// Answers 200 soon.
    Healthy,
    /// Every answer may be another.
    Flaky,
    /// Takes longer than most wait.
    Slow,
    /// Well, then for a time gone or silent.
    Outages,
    /// Flaky, and now and then it answers 410.
    Leaving,
    /// Never answers.
    Dead,
}

impl Plan {
    /// The plan of this seed.
    pub fn draw(random: &mut Random) -> Self {
        let flood = random.percent(2);
        let mut topics: Vec<_> = (0..random.within(1, 3)).map(|number| TopicPlan::draw(random, number)).collect();
        let mut subscriptions: Vec<_> = (0..random.within(1, 8)).map(|number| Wanted::draw(random, number, topics.len())).collect();
        if flood {
            topics.truncate(1);
            topics[0].partitions = 1;
            subscriptions = (0..2).map(|number| Wanted::draw(random, number, 1)).collect();
            subscriptions[0].nature = Nature::Dead;
        }
        // One a topic at most: tokio wakes those who watch the same thing in an order of its own chance.
        let readers = (0..topics.len()).filter(|_| random.percent(60)).collect();
        let delivery = config::Delivery {
            allow_cidrs: Vec::new(),
            allow_http: Some(true),
            max_response_bytes: 64 << 10,
            timeout: Duration::from_secs(5),
            max_connections_per_endpoint: 4,
            max_in_flight_per_subscription: 12,
            idle_timeout: Duration::from_secs(60),
            connection_max_age: Duration::from_secs(600),
            max_tail_bytes: if flood { 16 << 10 } else { random.pick(&[2 << 10, 16 << 10, 1 << 20]) },
            max_lane_events: random.pick(&[2, 8, 100]),
            max_retries_in_memory: 1024,
            max_unstored: 100_000,
            checkpoint_interval: CHECKPOINTS,
            dns_servers: Vec::new(),
            extra_ca_file: None,
            attempts_max_bytes: 16 << 20,
            attempts_max_age: YEAR,
            dead_letter_max_age: 10 * YEAR,
            disable_after: YEAR,
            max_batch_events: 100,
            max_batch_bytes: 1 << 20,
            max_replays: 4,
            max_retention_letters: 1000,
            breaker: config::Breaker::default(),
            retry_budget: config::RetryBudget::default(),
            adaptive_concurrency: true,
            max_endpoint_hold: Duration::from_secs(3600),
            traces: Default::default(),
            operations_interval: Duration::from_secs(10),
        };
        Self {
            topics,
            subscriptions,
            readers,
            events: if flood { 2_000 } else { u32::try_from(random.within(20, 160)).unwrap_or(20) },
            crashes: if flood { 1 } else { u32::try_from(random.below(5)).unwrap_or(0) },
            flood,
            shards: random.pick(&[1, 1, 2, 3]),
            segment_bytes: random.pick(&[1 << 10, 4 << 10, 32 << 10]),
            pending_bytes: if flood { 64 << 10 } else { random.pick(&[4 << 10, 1 << 20]) },
            delivery,
            more: None,
            third: None,
        }
    }

    /// The same with what this seed has beside, if it has.
    pub fn with_more(mut self, seed: u64) -> Self {
        // Not drawn, so that seeds stay what they were: of two in three memory has so few that more is in the store only.
        self.delivery.max_retries_in_memory = [1024, 1, 6][(seed % 3) as usize];
        self.delivery.max_unstored = [100_000, 12, 2, 100_000][(seed % 4) as usize];
        self.third = (seed >= third::THIRD_FROM).then(|| third::Third::draw(seed, &mut self));
        if seed >= more::MORE_FROM {
            let mut more = more::More::draw(seed, self.topics.len(), self.subscriptions.len(), &mut self.delivery);
            if let Some(third) = &mut self.third {
                third.fit(&mut more);
            }
            self.more = Some(more);
        }
        self
    }
}

impl Plan {
    /// Bytes of records that the process may hold: what waits to be written, what waits for endpoints, one page for each lane and
    /// reader, and what has just been handed over.
    pub fn max_held(&self) -> usize {
        let partitions: usize = self.topics.iter().map(|topic| topic.partitions as usize).sum();
        let lanes = self.subscriptions.len() * partitions;
        let kept = self.more.as_ref().map_or(0, |more| more.readers.len() + self.subscriptions.len());
        let pages = (lanes + self.readers.len() + kept) * PAGE;
        self.pending_bytes + usize::from(self.shards) * self.delivery.max_tail_bytes + pages
    }
}

/// How often progress is written.
pub const CHECKPOINTS: Duration = Duration::from_millis(500);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// The limits of ingest.
pub fn ingest() -> config::Ingest {
    config::Ingest {
        max_event_bytes: 64 << 10,
        max_batch_events: 100,
        max_batch_bytes: 1 << 20,
        max_in_flight_bytes: 8 << 20,
        default_durability: Durability::Sync,
        max_hops: 8,
        traces: Default::default(),
        default_direction: Direction::Incoming,
        dedup_max_entries: 100_000,
    }
}

impl TopicPlan {
    fn draw(random: &mut Random, number: u64) -> Self {
        let ttl = random.percent(30).then(|| random.within(3, 60));
        Self { name: format!("topic-{number}"), partitions: random.pick(&[1, 1, 2, 3]), ttl }
    }

    /// As the control plane sends it, with an age in seconds at which events are deleted.
    pub fn document(&self, age: Option<u64>) -> Value {
        let mut document = json!({"name": self.name, "partitions": self.partitions, "retention": {"age": "90d"}, "dedup_window": "2d"});
        if let Some(age) = age {
            document["retention"]["age"] = json!(format!("{age}s"));
        }
        if let Some(ttl) = self.ttl {
            document["ttl"] = json!(format!("{ttl}s"));
        }
        document
    }
}

impl Wanted {
    fn draw(random: &mut Random, number: u64, topics: usize) -> Self {
        let mut bytes = [7; 16];
        // The last bytes choose the shard.
        bytes[8..].copy_from_slice(&random.draw().to_be_bytes());
        let id = SubscriptionId::from_bytes(bytes);
        let topic = random.percent(80).then(|| random.index(topics));
        let ty = random.percent(40).then(|| random.below(TYPES));
        let (ordered, never, rated, late) = (random.percent(50), random.percent(25), random.percent(15), random.percent(20));
        let schedule: Vec<u64> = (0..random.within(0, 5)).map(|_| random.pick(&[0, 1, 2, 5, 20, 60])).collect();
        let max_age = random.pick(&[30, 600, 86_400]);
        let nature = random.pick(&[Nature::Healthy, Nature::Flaky, Nature::Flaky, Nature::Slow, Nature::Outages, Nature::Leaving]);
        let in_flight = random.pick(&[1, 2, 4, 16]);
        let mut limits = json!({"in_flight": in_flight});
        if rated {
            limits["rate"] = json!(random.pick(&[2.0, 20.0]));
        }
        let spec = json!({
            "endpoint": {
                "url": format!("http://hook-{number}.example/"),
                "format": random.pick(&["binary", "structured", "batch", "data"]),
                "timeout": random.pick(&["1s", "3s", "10s"]),
            },
            "signing": [{"scheme": "standard-webhooks", "secret": random.pick(&SECRETS)}],
            "qos": {
                "ordering": if ordered { "key" } else { "none" },
                "dead_letter": if never { "never" } else { "allow" },
            },
            "retry": {
                "schedule": schedule.iter().map(|seconds| format!("{seconds}s")).collect::<Vec<_>>(),
                "jitter": 0.2,
                "max_age": format!("{max_age}s"),
            },
            "limits": limits,
            "start": "earliest",
            "created_at": "2026-01-01T00:00:00Z",
            "updated_at": "2026-01-01T00:00:00Z",
        });
        let attempts = u32::try_from(schedule.len()).unwrap_or(0) + 1;
        Self { id, topic, ty, ordered, never, in_flight, late, rated, attempts, max_age, nature, spec }
    }

    /// What it is before anything of it changes.
    pub fn version(&self) -> Version {
        Version { url: 0, topic: self.topic, ty: self.ty }
    }

    /// As the control plane sends it, with this status.
    pub fn document(&self, version: Version, status: &str, pulled: bool) -> Value {
        let mut document = self.spec.clone();
        document["filters"] = Value::Array(version.filters());
        if version.url > 0 {
            let url = format!("{}v{}", document["endpoint"]["url"].as_str().unwrap_or_default(), version.url);
            document["endpoint"]["url"] = json!(url);
        }
        if pulled {
            document["mode"] = json!("pull");
        }
        document["id"] = json!(self.id.to_string());
        document["status"] = json!(status);
        document
    }
}

impl Version {
    /// Whether it wants events of this topic and type.
    pub fn wants(&self, topic: usize, ty: u64) -> bool {
        self.topic.is_none_or(|wanted| wanted == topic) && self.ty.is_none_or(|wanted| wanted == ty)
    }

    fn filters(&self) -> Vec<Value> {
        let mut filters = Vec::new();
        filters.extend(self.topic.map(|topic| json!({"topic": format!("topic-{topic}")})));
        filters.extend(self.ty.map(|ty| json!({"exact": {"type": format!("type.{ty}")}})));
        if filters.is_empty() {
            filters.push(json!({"prefix": {"type": "type."}}));
        }
        filters
    }
}
