//! What Posthorn says of itself, as events on a topic of its own. Used by both planes: one keeps the topic, the other shows it.

use std::str::FromStr as _;
use std::sync::{Arc, LazyLock};

use crate::names::TopicName;
use crate::qos::Durability;
use crate::resource::{Meta, Retention, Topic, TopicSpec};
use crate::time::Time;
use crate::units::{Dur, Size};

/// The topic of operational events. Every node has it, whatever its control plane says.
pub const TOPIC: &str = "posthorn.operations";
/// Topics whose names start like this are the server's own.
pub const RESERVED: &str = "posthorn.";

/// Whether the topic is the server's own: nobody else may make it, publish to it or delete it.
pub fn is_reserved(topic: &str) -> bool {
    topic.starts_with(RESERVED)
}

/// The topic itself. It never changes, so its revision is 0.
pub fn topic() -> &'static Arc<Topic> {
    static BUILT_IN: LazyLock<Arc<Topic>> = LazyLock::new(|| Arc::new(built_in()));
    &BUILT_IN
}

fn built_in() -> Topic {
    Topic {
        name: TopicName::from_str(TOPIC).expect("a name"),
        spec: TopicSpec {
            durability: Some(Durability::Log),
            retention: Retention { age: Some(Dur::from_secs(7 * 86_400)), bytes: Some(Size::from_mib(64)) },
            // Every event has an id of its own.
            dedup_window: Dur::from_secs(0),
            ..TopicSpec::default()
        },
        meta: Meta { revision: 0, incarnation: 1, created_at: Time::ZERO, updated_at: Time::ZERO },
    }
}
