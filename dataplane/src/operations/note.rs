//! One thing worth telling, and the event that is made of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use compact_str::CompactString;
use posthorn_domain::event::{AttrKind, DataKind, Event, EventBuilder};
use posthorn_domain::ids::DeadLetterId;
use posthorn_domain::time::Time;
use serde_json::{Value, json};

use super::Sum;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A subscription was disabled.
    SubscriptionDisabled,
    /// Deliveries were given up and kept as dead letters.
    DeliveryDeadLettered,
    /// Deliveries were given up and dropped.
    DeliveryDropped,
    /// Events were refused and kept as dead letters.
    EventDeadLettered,
    /// A range of the log cannot be read any more.
    LogDamaged,
    /// Retention deleted events before a subscription could read them.
    RetentionPassed,
    /// An endpoint is only probed from now on.
    EndpointDown,
    /// An endpoint is sent to again.
    EndpointRecovered,
}

impl Kind {
    /// The event's `type`.
    pub fn event_type(self) -> &'static str {
        match self {
            Self::SubscriptionDisabled => "posthorn.subscription.disabled",
            Self::DeliveryDeadLettered => "posthorn.delivery.dead_lettered",
            Self::DeliveryDropped => "posthorn.delivery.dropped",
            Self::EventDeadLettered => "posthorn.event.dead_lettered",
            Self::LogDamaged => "posthorn.log.damaged",
            Self::RetentionPassed => "posthorn.retention.passed",
            Self::EndpointDown => "posthorn.endpoint.down",
            Self::EndpointRecovered => "posthorn.endpoint.recovered",
        }
    }
}

/// One thing worth telling. It holds names and numbers, never what a publisher or an endpoint sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// What happened.
    pub kind: Kind,
    /// To which subscription, or else on which topic.
    pub subject: CompactString,
    /// Why, as a word; empty when the kind says all.
    pub reason: CompactString,
    /// Of how many this is to be counted: deliveries, events, or 1.
    pub count: u64,
    /// Further members of the event's data.
    pub members: BTreeMap<&'static str, Value>,
}

impl Note {
    /// A note that counts as one.
    pub fn new(kind: Kind, subject: impl std::fmt::Display, reason: &str) -> Self {
        let subject = compact_str::format_compact!("{subject}");
        Self { kind, subject, reason: reason.into(), count: 1, members: BTreeMap::new() }
    }

    /// With a further member.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.members.insert(name, value.into());
        self
    }

    /// Counted as so many.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        Self { count, ..self }
    }
}

/// The event that tells of what was summed up, as node `node` says it at `now`.
pub(crate) fn event(sum: &Sum, node: &str, now: Time) -> Event {
    let Sum { note, count, since } = sum;
    let mut data = json!({"node": node, "count": count, "since": since.to_string()});
    if !note.reason.is_empty() {
        data["reason"] = note.reason.as_str().into();
    }
    for (name, value) in &note.members {
        data[*name] = value.clone();
    }
    let mut builder = EventBuilder::new(&unique(), &format!("/posthorn/nodes/{node}"), note.kind.event_type());
    builder.push("subject", AttrKind::String, &note.subject);
    builder.push("time", AttrKind::String, &now.to_string());
    builder.push("datacontenttype", AttrKind::String, "application/json");
    builder.with_data(DataKind::Json, Bytes::from(data.to_string()))
}

/// An id that no other event has.
fn unique() -> String {
    DeadLetterId::make().to_string().replacen(DeadLetterId::PREFIX, "op_", 1)
}
