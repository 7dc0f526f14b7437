//! What a reader is made with: as users write it, and as it is kept.

use std::sync::Arc;

use posthorn_domain::fields::{Faults, Fields, pointer};
use posthorn_domain::filter::Filter;
use posthorn_domain::names::{Name, TopicName};
use posthorn_domain::problem::Problem;
use posthorn_domain::time::Time;
use serde_json::{Value, json};

/// Filters of one reader.
const MAX_FILTERS: usize = 32;
/// Members that the server adds to what was written; they may be written back.
const SHOWN: [&str; 7] = ["cursor", "lag", "members", "created_at", "updated_at", "subscription", "partitions"];

/// A reader that was made here.
#[derive(Clone, Debug)]
pub struct Definition {
    /// What it reads.
    pub topics: Vec<TopicName>,
    /// All must hold; as written.
    pub filters: Vec<Value>,
    /// What they mean.
    pub compiled: Arc<[Filter]>,
    /// When it was made.
    pub created_at: Time,
    /// When it was changed.
    pub updated_at: Time,
    /// What else belongs to it, for a door that has its own words for readers.
    pub extra: Value,
}

impl Definition {
    /// Reads `{topic, filters}`.
    ///
    /// # Errors
    /// `invalid-request` or `invalid-resource`, with every fault at its place.
    pub fn parse(document: &Value, name: &str, now: Time) -> Result<Self, Problem> {
        let mut faults = Faults::default();
        let mut fields = Fields::of(document, "", &mut faults);
        fields.ignore(&SHOWN);
        let topic: Option<Name> = fields.need("topic", &mut faults);
        let filters: Vec<Value> = fields.or("filters", Vec::new(), &mut faults);
        let named: Option<String> = fields.get("name", &mut faults);
        fields.done(&mut faults);
        if named.is_some_and(|named| named != name) {
            faults.meaning("/name", "is not the name in the path; leave it out");
        }
        let compiled = compile(&filters, &mut faults);
        let topic = faults.result("the reader", topic)?;
        Ok(Self { topics: vec![topic], filters, compiled, created_at: now, updated_at: now, extra: Value::Null })
    }

    /// As it is kept.
    pub fn document(&self) -> String {
        let Self { topics, filters, created_at, updated_at, extra, .. } = self;
        json!({"topics": topics, "filters": filters, "created_at": created_at, "updated_at": updated_at, "extra": extra}).to_string()
    }

    /// Back from [`Definition::document`].
    pub fn restore(document: &str) -> Option<Self> {
        let document: Value = serde_json::from_str(document).ok()?;
        let topics = document["topics"].as_array()?.iter().map(|topic| topic.as_str()?.parse().ok()).collect::<Option<Vec<_>>>()?;
        let filters = document["filters"].as_array()?.clone();
        let mut faults = Faults::default();
        let compiled = compile(&filters, &mut faults);
        let time = |member: &str| document[member].as_str().and_then(Time::parse).unwrap_or_default();
        let (created_at, updated_at) = (time("created_at"), time("updated_at"));
        faults.is_empty().then(|| Self { topics, filters, compiled, created_at, updated_at, extra: document["extra"].clone() })
    }
}

fn compile(filters: &[Value], faults: &mut Faults) -> Arc<[Filter]> {
    if filters.len() > MAX_FILTERS {
        faults.meaning("/filters", format!("has {} entries; at most {MAX_FILTERS}", filters.len()));
    }
    filters.iter().enumerate().filter_map(|(n, filter)| Filter::parse(filter, &pointer("/filters", n), faults)).collect()
}
