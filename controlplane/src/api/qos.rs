//! What is in force for the events of a topic, and who set it: `GET /v1/topics/{name}/qos`.
//!
//! Computed from the registry by the same function that ingest uses, with the schemas chosen by the same rules.

use std::sync::Arc;

use posthorn_domain::fields::{Faults, Fields};
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::names::{SchemaName, SchemaRef, TopicName};
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::qos::{Durability, Parties, Shown, resolve};
use posthorn_domain::resource::{SchemaVersion, Topic};
use posthorn_domain::schema::named::parse_list;
use serde::Serialize;
use serde_json::Value;

use super::{Api, missing, to_value};
use crate::registry::Registry;

/// The parameters of the question.
pub(crate) const TOPIC_QOS_PARAMETERS: [&str; 3] = ["schemas", "durability", "subscription"];

/// What is in force for events of a topic that name these schemas, on their way to this subscription.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct TopicQos {
    /// The topic.
    topic: TopicName,
    /// The schemas that the event must hold to.
    schemas: Vec<String>,
    /// The subscription that was asked for.
    #[schema(value_type = Option<String>)]
    subscription: Option<SubscriptionId>,
    /// Each setting, and who set it.
    #[serde(flatten)]
    settings: Shown,
}

impl Api {
    /// `asked` has the members of [`TOPIC_QOS_PARAMETERS`]: the event's attributes `schemas` and `durability`, and a subscription.
    pub(crate) fn topic_qos(&self, topic: &str, asked: &Value) -> Result<Value, Problem> {
        let mut faults = Faults::default();
        let mut fields = Fields::of(asked, "", &mut faults);
        let named: String = fields.or("schemas", String::new(), &mut faults);
        let event_durability: Option<Durability> = fields.get("durability", &mut faults);
        let subscription: Option<SubscriptionId> = fields.get("subscription", &mut faults);
        fields.done(&mut faults);
        faults.result("the question", Some(()))?;
        let registry = self.publisher.registry.read();
        let topic = registry.topic(topic).ok_or_else(|| missing("topic", topic))?;
        let set = schema_set(&registry, topic, &named)?;
        let contract = match subscription {
            None => None,
            Some(id) => Some(registry.subscription(id).ok_or_else(|| missing("subscription", &id.to_string()))?),
        };
        let parties = Parties {
            default_durability: self.defaults.durability,
            default_max_hops: self.defaults.max_hops,
            topic: &topic.spec,
            event_durability,
            subscription: contract.as_ref().map(|contract| &contract.spec),
        };
        let references: Vec<SchemaRef> = set.iter().map(|version| version.reference()).collect();
        let settings = resolve(&parties, set.iter().map(|version| &version.spec)).shown(&references);
        let schemas = references.iter().map(ToString::to_string).collect();
        Ok(to_value(&TopicQos { topic: topic.name.clone(), schemas, subscription, settings }))
    }
}

/// What the event names, and what its topic demands beside it; a name alone is its latest version (interfaces §1).
fn schema_set(registry: &Registry, topic: &Topic, named: &str) -> Result<Vec<Arc<SchemaVersion>>, Problem> {
    let named = parse_list(named).map_err(|detail| Problem::new(Code::InvalidRequest, format!("the parameter `schemas`: {detail}")))?;
    let mut set: Vec<Arc<SchemaVersion>> = Vec::new();
    let demanded = topic.spec.schemas.iter().filter(|name| !named.iter().any(|(other, _)| *other == name.as_str()));
    let demanded: Vec<_> = demanded.map(|name| (name.as_str(), None)).collect();
    for (name, version) in named.into_iter().chain(demanded) {
        let found = find(registry, name, version)?;
        if !set.iter().any(|known| known.reference() == found.reference()) {
            set.push(found);
        }
    }
    Ok(set)
}

fn find(registry: &Registry, name: &str, version: Option<u32>) -> Result<Arc<SchemaVersion>, Problem> {
    let unknown = || Problem::new(Code::SchemaUnknown, format!("schema `{name}` is not registered"));
    let schema: SchemaName = name.parse().map_err(|_| unknown())?;
    let latest = registry.latest_version(&schema).ok_or_else(unknown)?;
    let Some(version) = version else { return Ok(latest.clone()) };
    registry.version(&schema, version).cloned().ok_or_else(|| {
        let newest = latest.version;
        let code = if version > newest { Code::SchemaVersionUnknown } else { Code::SchemaUnknown };
        let revision = registry.revision();
        let detail = format!("schema `{name}` has no version {version}; its newest is {newest}, known up to revision {revision}");
        Problem::new(code, detail).with("known_up_to", newest).with("revision", revision)
    })
}
