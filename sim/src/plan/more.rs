//! What runs of later seeds have beside: retention, readers whose places the node keeps, subscriptions that are pulled now and then,
//! and replays. Drawn from a stream of its own, so that the seeds below mean what they always meant.

use std::time::Duration;

use posthorn_dataplane::config;
use posthorn_storage::log::TopicSettings;

use super::TYPES;
use crate::random::Random;

/// From this seed on there is more.
pub const MORE_FROM: u64 = 10_000;

/// What there is more.
pub struct More {
    /// By the topic's number.
    pub keeps: Vec<Keeps>,
    /// How often retention is looked after.
    pub check_every: Duration,
    /// Bytes that are held for subscriptions without dead letters.
    pub max_held: u64,
    /// Readers with places.
    pub readers: Vec<KeptReader>,
    /// By the subscription's number: whether it is pulled now and then.
    pub pulled: Vec<bool>,
    /// Whether events are delivered again.
    pub replays: bool,
    /// The stream of all that is done about it.
    pub random: Random,
}

/// What a topic keeps.
#[derive(Clone, Copy, Debug)]
pub struct Keeps {
    /// Seconds.
    pub age: Option<u64>,
    /// Bytes of all its partitions.
    pub bytes: Option<u64>,
}

/// A reader whose place the node keeps.
#[derive(Clone, Copy, Debug)]
pub struct KeptReader {
    /// The number of the topic that it reads.
    pub topic: usize,
    /// The only type that it wants.
    pub ty: Option<u64>,
}

/// Held without end, as far as these runs go.
const ENOUGH: u64 = 1 << 30;

impl More {
    /// Of this seed, for so many topics and subscriptions; sets limits of delivery that go with it.
    pub fn draw(seed: u64, topics: usize, subscriptions: usize, delivery: &mut config::Delivery) -> Self {
        let mut random = Random::new(seed ^ 0x6d6f_7265_6d6f_7265);
        let keeps = (0..topics).map(|_| Keeps::draw(&mut random)).collect();
        let readers = (0..random.pick(&[0, 1, 1, 2]))
            .map(|_| KeptReader { topic: random.index(topics), ty: random.percent(40).then(|| random.below(TYPES)) });
        let readers = readers.collect();
        delivery.max_retention_letters = random.pick(&[1, 5, 1000]);
        delivery.max_replays = random.pick(&[1, 3]);
        Self {
            keeps,
            check_every: Duration::from_millis(random.within(300, 4_000)),
            max_held: random.pick(&[0, 4 << 10, ENOUGH]),
            readers,
            pulled: (0..subscriptions).map(|_| random.percent(40)).collect(),
            replays: random.percent(60),
            random,
        }
    }

    /// Whether all is held that subscriptions without dead letters need.
    pub fn holds_all(&self) -> bool {
        self.max_held == ENOUGH
    }
}

impl Keeps {
    fn draw(random: &mut Random) -> Self {
        match random.below(10) {
            0..4 => Self { age: None, bytes: None },
            4..7 => Self { age: Some(random.pick(&[2, 10, 40])), bytes: None },
            _ => Self { age: None, bytes: Some(random.pick(&[2 << 10, 8 << 10, 32 << 10])) },
        }
    }

    /// Whether anything is ever deleted.
    pub fn all(&self) -> bool {
        self.age.is_none() && self.bytes.is_none()
    }

    /// Bytes in the settings of a topic: smaller than a document may say, because so are these logs.
    pub fn lay_over(&self, settings: TopicSettings) -> TopicSettings {
        match self.bytes {
            Some(bytes) => TopicSettings { retention_bytes: Some(posthorn_domain::units::Size::from_bytes(bytes)), ..settings },
            None => settings,
        }
    }
}
