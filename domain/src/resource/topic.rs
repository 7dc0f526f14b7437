//! Topics.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::{Meta, SERVER_OWNED};
use crate::fields::{Faults, Fields, pointer};
use crate::names::{SchemaName, TopicName};
use crate::problem::Problem;
use crate::qos::{Durability, OnRefusal};
use crate::units::{Dur, Size};

/// A topic as the control plane keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Topic {
    /// Its name.
    pub name: TopicName,
    /// What its owner wrote.
    #[serde(flatten)]
    pub spec: TopicSpec,
    /// What the control plane knows of it.
    #[serde(flatten)]
    pub meta: Meta,
}

/// What the owner of a topic decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TopicSpec {
    /// Number of partitions, 1 to 256. It can grow, not shrink.
    pub partitions: u32,
    /// Schemas that every event must hold to, latest version unless the event names one.
    pub schemas: Vec<SchemaName>,
    /// Whether an event must name a schema.
    pub schema_required: bool,
    /// What a publisher hears of a refused event.
    pub on_refusal: OnRefusal,
    /// The least durability of its events; the server's default when absent.
    pub durability: Option<Durability>,
    /// Time to live of events whose schemas set none.
    pub ttl: Option<Dur>,
    /// How much is kept.
    pub retention: Retention,
    /// How long an event's id is remembered for duplicates.
    pub dedup_window: Dur,
    /// Through how many Posthorns an event may have come; the server's default when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_hops: Option<u32>,
}

/// How much of a topic is kept; whole segments are deleted once they are outside either limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Retention {
    /// By age.
    pub age: Option<Dur>,
    /// By bytes, over all partitions.
    pub bytes: Option<Size>,
}

/// The highest hop limit.
pub const MAX_HOPS: u32 = 1000;
const DAY: u64 = 86_400;

impl Default for TopicSpec {
    fn default() -> Self {
        Self {
            partitions: 1,
            schemas: Vec::new(),
            schema_required: false,
            on_refusal: OnRefusal::Reject,
            durability: None,
            ttl: None,
            retention: Retention { age: Some(Dur::from_secs(7 * DAY)), bytes: None },
            dedup_window: Dur::from_secs(600),
            max_hops: None,
        }
    }
}

impl TopicSpec {
    /// Reads what a user wrote for the topic `name`. A member `name` may be there and must agree.
    pub fn parse(document: &Value, name: &TopicName) -> Result<Self, Problem> {
        let mut faults = Faults::default();
        let mut fields = Fields::of(document, "", &mut faults);
        fields.ignore(&SERVER_OWNED);
        if let Some(given) = fields.get::<String>("name", &mut faults)
            && given != name.as_str()
        {
            faults.meaning("/name", format!("is `{given}`, but the path says `{name}`"));
        }
        if name.starts_with("posthorn.") {
            faults.meaning("/name", "names that start with `posthorn.` are the server's own");
        }
        let default = Self::default();
        let spec = Self {
            partitions: fields.or("partitions", default.partitions, &mut faults),
            schemas: fields.or("schemas", Vec::new(), &mut faults),
            schema_required: fields.or("schema_required", false, &mut faults),
            on_refusal: fields.or("on_refusal", default.on_refusal, &mut faults),
            durability: fields.get("durability", &mut faults),
            ttl: fields.get("ttl", &mut faults),
            retention: {
                let given = fields.has("retention");
                let mut inner = fields.nested("retention", &mut faults);
                let read = Retention { age: inner.get("age", &mut faults), bytes: inner.get("bytes", &mut faults) };
                inner.done(&mut faults);
                if given { read } else { default.retention }
            },
            dedup_window: fields.or("dedup_window", default.dedup_window, &mut faults),
            max_hops: fields.get("max_hops", &mut faults),
        };
        fields.done(&mut faults);
        spec.check(&mut faults);
        faults.result("the topic", Some(spec))
    }

    fn check(&self, faults: &mut Faults) {
        if !(1..=256).contains(&self.partitions) {
            faults.meaning("/partitions", "must be from 1 to 256");
        }
        if self.schemas.len() > 16 {
            faults.meaning("/schemas", "a topic may demand at most 16 schemas");
        }
        let mut seen = BTreeSet::new();
        for (n, schema) in self.schemas.iter().enumerate() {
            if !seen.insert(schema) {
                faults.meaning(&pointer("/schemas", n), format!("`{schema}` is listed twice"));
            }
        }
        if self.ttl == Some(Dur::from_millis(0)) {
            faults.meaning("/ttl", "must be longer than zero; leave it out for events that do not expire");
        }
        if self.retention.age.is_some_and(|age| age < Dur::from_secs(1)) {
            faults.meaning("/retention/age", "must be at least 1s");
        }
        if self.retention.bytes.is_some_and(|bytes| bytes < Size::from_bytes(1 << 20)) {
            faults.meaning("/retention/bytes", "must be at least 1MiB");
        }
        if self.max_hops.is_some_and(|hops| hops > MAX_HOPS) {
            faults.meaning("/max_hops", format!("must be at most {MAX_HOPS}"));
        }
        if self.dedup_window > Dur::from_secs(7 * DAY) {
            faults.meaning("/dedup_window", "must be at most 7d");
        }
    }
}
