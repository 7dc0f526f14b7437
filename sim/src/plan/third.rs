//! What runs of the newest seeds have beside all the others have: resources that change while deliveries wait, topics that are deleted
//! and made again, a disk that cannot be read for a while, and events that may not become dead letters. Drawn from a stream of its own,
//! so that the seeds below mean what they always meant.

use posthorn_domain::snapshot::{Document, Resource, ResourceKey};
use serde_json::json;

use super::{Plan, TYPES, Version, Wanted};
use crate::random::Random;

/// From this seed on there is all of it.
pub const THIRD_FROM: u64 = 20_000;
/// Subscriptions that are made in the place of deleted ones, at most.
const HEIRS: u64 = 2;

/// What there is.
pub struct Third {
    /// By the subscription's number: whether its URL and filter change.
    pub changes: Vec<bool>,
    /// By the topic's number: whether it is deleted and made again. Not where somebody reads it.
    pub remade: Vec<bool>,
    /// Whether the disk fails when it is read.
    pub unreadable: bool,
    /// The stream of all that is done about it.
    pub random: Random,
    seed: u64,
    /// Of a hundred events, those whose schema forbids dead letters.
    strict: u64,
}

impl Third {
    /// Of this seed; adds subscriptions that are made late. To be drawn before what depends on their number.
    pub fn draw(seed: u64, plan: &mut Plan) -> Self {
        let mut random = Random::new(seed ^ 0x7468_6972_6474_6869);
        let topics = plan.topics.len();
        for _ in 0..random.within(0, HEIRS) {
            let number = plan.subscriptions.len() as u64;
            plan.subscriptions.push(Wanted { late: true, ..Wanted::draw(&mut random, number, topics) });
        }
        let (changes, remade) = (random.percent(70), random.percent(60));
        Self {
            changes: plan.subscriptions.iter().map(|_| changes && random.percent(60)).collect(),
            remade: (0..topics).map(|topic| remade && random.percent(60) && !plan.readers.contains(&topic)).collect(),
            unreadable: random.percent(50),
            strict: random.pick(&[0, 0, 20, 60]),
            random,
            seed,
        }
    }

    /// Fits it to what else there is: topics that are read are not made again, and what changes is not pulled.
    pub fn fit(&mut self, more: &mut super::more::More) {
        more.readers.iter().for_each(|reader| self.remade[reader.topic] = false);
        more.pulled.iter_mut().zip(&self.changes).for_each(|(pulled, changes)| *pulled &= !changes);
    }

    /// Whether the event of this number names the schema that forbids dead letters.
    pub fn is_strict(&self, event: usize) -> bool {
        Random::new(self.seed ^ (event as u64) << 20).percent(self.strict)
    }
}

/// The name of the schema that forbids dead letters.
pub const STRICT: &str = "strict";

/// That schema, as the control plane sends it.
pub fn strict() -> (ResourceKey, Resource) {
    let document = json!({
        "name": STRICT, "version": 1, "schema": {"type": "object"}, "dead_letter": "never", "references": [],
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
    });
    let resource = Resource { revision: 1, incarnation: 1, document: Document::of(&document), secrets: Default::default() };
    (ResourceKey::schema(STRICT, 1), resource)
}

impl Version {
    /// The same at another URL.
    pub fn moved(self) -> Self {
        Self { url: self.url + 1, ..self }
    }

    /// The same with another filter.
    pub fn filtered(self, random: &mut Random, topics: usize) -> Self {
        let topic = if random.percent(30) { random.percent(80).then(|| random.index(topics)) } else { self.topic };
        Self { topic, ty: random.percent(70).then(|| random.below(TYPES)), ..self }
    }
}
