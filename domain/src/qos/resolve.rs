//! Which setting is in force where several parties have a say (DESIGN §5): one pure function, used by ingest for every event
//! and by whoever explains what ingest does. docs/decisions/0020 has the table in words.
//!
//! | setting | strongest |
//! |---|---|
//! | `durability` | the greatest of schemas, topic, event and subscription; the server's default where none of them says |
//! | `dead_letter` | `never`, when a schema or the subscription says so; else `allow` |
//! | `on_refusal` | `dead_letter`, when the topic or a schema says so and no schema forbids dead letters; else `reject` |
//! | `ttl` | the greatest of the schemas; else the topic's; else none. The event's `expirytime` may only shorten it |
//! | `ordering`, `retry` | the subscription's own; nobody else has a say |
//! | `max_hops` | the topic's; else the server's |

use serde::Serialize;

use super::{DeadLetter, Durability, OnRefusal, Ordering};
use crate::names::SchemaRef;
use crate::resource::{RetryPolicy, SchemaSpec, SubscriptionSpec, TopicSpec};
use crate::units::Dur;

/// Who has a say beside the schemas.
#[derive(Clone, Copy, Debug)]
pub struct Parties<'a> {
    /// The server's default durability, `ingest.default_durability`.
    pub default_durability: Durability,
    /// The server's hop limit, `ingest.max_hops`.
    pub default_max_hops: u32,
    /// The topic.
    pub topic: &'a TopicSpec,
    /// The event's `durability` attribute.
    pub event_durability: Option<Durability>,
    /// The subscription, where the question is about one.
    pub subscription: Option<&'a SubscriptionSpec>,
}

/// Who set what is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody: it is the server's default.
    Default,
    /// The schema at this place of the set.
    Schema(usize),
    /// The topic.
    Topic,
    /// The event.
    Event,
    /// The subscription.
    Subscription,
}

/// A setting and who set it; the first of several who say the same, in the order of [`Origin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided<T> {
    /// What is in force.
    pub value: T,
    /// Who set it.
    pub from: Origin,
}

/// What is in force for one schema set, topic, event and subscription.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved<'a> {
    /// What an acknowledgement promises.
    pub durability: Decided<Durability>,
    /// Whether what cannot be delivered is kept.
    pub dead_letter: Decided<DeadLetter>,
    /// What the publisher of a refused event hears.
    pub on_refusal: Decided<OnRefusal>,
    /// How long an event lives.
    pub ttl: Decided<Option<Dur>>,
    /// In which order the subscription sees events.
    pub ordering: Decided<Ordering>,
    /// When a failed delivery is tried again; `None` is the server's own schedule, as long as no subscription is asked about.
    pub retry: Decided<Option<&'a RetryPolicy>>,
    /// Through how many Posthorns an event may have come.
    pub max_hops: Decided<u32>,
}

/// Decides.
pub fn resolve<'a, 's>(parties: &Parties<'a>, schemas: impl Iterator<Item = &'s SchemaSpec> + Clone) -> Resolved<'a> {
    let Parties { default_durability, default_max_hops, topic, event_durability, subscription } = *parties;
    let numbered = || schemas.clone().enumerate().map(|(n, spec)| (Origin::Schema(n), spec));
    let durabilities = numbered()
        .filter_map(|(from, spec)| Some((from, spec.durability?)))
        .chain(topic.durability.map(|value| (Origin::Topic, value)))
        .chain(event_durability.map(|value| (Origin::Event, value)))
        .chain(subscription.and_then(|spec| spec.qos.durability).map(|value| (Origin::Subscription, value)));
    let schemas_letter = numbered().find(|(_, spec)| spec.dead_letter == DeadLetter::Never).map(|(from, _)| from);
    let contract_letter = subscription.filter(|spec| spec.qos.dead_letter == DeadLetter::Never).map(|_| Origin::Subscription);
    Resolved {
        durability: strongest(durabilities).unwrap_or(Decided { value: default_durability, from: Origin::Default }),
        dead_letter: match schemas_letter.or(contract_letter) {
            Some(from) => Decided { value: DeadLetter::Never, from },
            None => Decided { value: DeadLetter::Allow, from: Origin::Default },
        },
        on_refusal: on_refusal(topic, numbered(), schemas_letter),
        ttl: strongest(numbered().filter_map(|(from, spec)| Some((from, spec.ttl?)))).map_or_else(
            || match topic.ttl {
                None => Decided { value: None, from: Origin::Default },
                ttl => Decided { value: ttl, from: Origin::Topic },
            },
            |Decided { value, from }| Decided { value: Some(value), from },
        ),
        ordering: subscription.map_or(Decided { value: Ordering::None, from: Origin::Default }, |spec| Decided {
            value: spec.qos.ordering,
            from: Origin::Subscription,
        }),
        retry: subscription.map_or(Decided { value: None, from: Origin::Default }, |spec| Decided {
            value: Some(&spec.retry),
            from: Origin::Subscription,
        }),
        max_hops: topic
            .max_hops
            .map_or(Decided { value: default_max_hops, from: Origin::Default }, |value| Decided { value, from: Origin::Topic }),
    }
}

/// The greatest; of equals the first.
fn strongest<T: Ord + Copy>(said: impl Iterator<Item = (Origin, T)>) -> Option<Decided<T>> {
    said.fold(None, |best: Option<Decided<T>>, (from, value)| match best {
        Some(best) if best.value >= value => Some(best),
        _ => Some(Decided { value, from }),
    })
}

/// A refusal is kept where anyone says so and no schema forbids it; a subscription never sees a refused event.
fn on_refusal<'s>(
    topic: &TopicSpec,
    schemas: impl Iterator<Item = (Origin, &'s SchemaSpec)>,
    forbidden_by: Option<Origin>,
) -> Decided<OnRefusal> {
    let (mut by_schema, mut rejected_by) = (None, None);
    for (from, spec) in schemas {
        let by = if spec.on_refusal == Some(OnRefusal::DeadLetter) { &mut by_schema } else { &mut rejected_by };
        *by = by.or(spec.on_refusal.map(|_| from));
    }
    let by_topic = (topic.on_refusal == OnRefusal::DeadLetter).then_some(Origin::Topic);
    match (by_schema.or(by_topic), forbidden_by) {
        (Some(from), None) => Decided { value: OnRefusal::DeadLetter, from },
        (Some(_), Some(from)) => Decided { value: OnRefusal::Reject, from },
        (None, _) => Decided { value: OnRefusal::Reject, from: rejected_by.unwrap_or(Origin::Default) },
    }
}

impl Origin {
    /// `default`, `topic`, `event`, `subscription`, or `schema order:3`; `schemas` is the set that was resolved.
    pub fn label(self, schemas: &[SchemaRef]) -> String {
        match self {
            Self::Default => "default".into(),
            Self::Topic => "topic".into(),
            Self::Event => "event".into(),
            Self::Subscription => "subscription".into(),
            Self::Schema(n) => schemas.get(n).map_or_else(|| "schema".into(), |schema| format!("schema {schema}")),
        }
    }
}

/// What is in force, as the API shows it: each setting as `{"value", "from"}`.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Shown {
    /// What an acknowledgement promises.
    #[schema(value_type = Object)]
    pub durability: Setting<Durability>,
    /// Whether what cannot be delivered is kept.
    #[schema(value_type = Object)]
    pub dead_letter: Setting<DeadLetter>,
    /// What the publisher of a refused event hears.
    #[schema(value_type = Object)]
    pub on_refusal: Setting<OnRefusal>,
    /// How long an event lives; null when it does not expire.
    #[schema(value_type = Object)]
    pub ttl: Setting<Option<Dur>>,
    /// In which order the subscription sees events.
    #[schema(value_type = Object)]
    pub ordering: Setting<Ordering>,
    /// When a failed delivery is tried again.
    #[schema(value_type = Object)]
    pub retry: Setting<RetryPolicy>,
    /// Through how many Posthorns an event may have come.
    #[schema(value_type = Object)]
    pub max_hops: Setting<u32>,
}

/// A setting as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting<T> {
    /// What is in force.
    pub value: T,
    /// `default`, `topic`, `schema order:3`, `event` or `subscription`.
    pub from: String,
}

impl Resolved<'_> {
    /// As the API shows it; `schemas` is the set that was resolved, in its order.
    pub fn shown(&self, schemas: &[SchemaRef]) -> Shown {
        Shown {
            durability: setting(self.durability, schemas),
            dead_letter: setting(self.dead_letter, schemas),
            on_refusal: setting(self.on_refusal, schemas),
            ttl: setting(self.ttl, schemas),
            ordering: setting(self.ordering, schemas),
            retry: Setting { value: self.retry.value.cloned().unwrap_or_default(), from: self.retry.from.label(schemas) },
            max_hops: setting(self.max_hops, schemas),
        }
    }
}

fn setting<T>(decided: Decided<T>, schemas: &[SchemaRef]) -> Setting<T> {
    Setting { value: decided.value, from: decided.from.label(schemas) }
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
