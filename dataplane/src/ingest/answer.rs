//! What came of an event, and how the JSON doors write it (interfaces §2).

use compact_str::CompactString;
use posthorn_domain::cloudevents::write_json_string;
use posthorn_domain::names::TopicName;
use posthorn_domain::reason::Reason;

/// What came of an event that was not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the log, as durable as it was to be.
    Accepted {
        /// The event's `id`.
        id: CompactString,
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: u32,
        /// The offset in the partition.
        offset: u64,
    },
    /// It was in the log already; the members are those of the first answer.
    Duplicate {
        /// The first event's `id`.
        id: CompactString,
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: u32,
        /// The offset in the partition.
        offset: u64,
    },
    /// A schema refused it, and the QoS has it kept as a dead letter.
    DeadLettered {
        /// The event's `id`.
        id: CompactString,
        /// The topic.
        topic: TopicName,
        /// Why.
        reason: Reason,
    },
}

impl Outcome {
    /// The HTTP status of it alone.
    pub fn status(&self) -> u16 {
        match self {
            Self::Duplicate { .. } => 200,
            Self::Accepted { .. } | Self::DeadLettered { .. } => 202,
        }
    }
}

/// Appends the outcome as JSON.
pub fn write_outcome(outcome: &Outcome, out: &mut Vec<u8>) {
    let (id, topic) = match outcome {
        Outcome::Accepted { id, topic, .. } | Outcome::Duplicate { id, topic, .. } | Outcome::DeadLettered { id, topic, .. } => (id, topic),
    };
    out.extend_from_slice(b"{\"id\":");
    write_json_string(id, out);
    out.extend_from_slice(b",\"topic\":");
    write_json_string(topic, out);
    let rest = match outcome {
        Outcome::Accepted { partition, offset, .. } => format!(",\"partition\":{partition},\"offset\":{offset},\"status\":\"accepted\"}}"),
        Outcome::Duplicate { partition, offset, .. } => {
            format!(",\"partition\":{partition},\"offset\":{offset},\"status\":\"duplicate\"}}")
        }
        Outcome::DeadLettered { reason, .. } => format!(",\"status\":\"dead_lettered\",\"reason\":\"{reason}\"}}"),
    };
    out.extend_from_slice(rest.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(outcome: &Outcome) -> String {
        let mut out = Vec::new();
        write_outcome(outcome, &mut out);
        String::from_utf8(out).expect("JSON is text")
    }

    #[test]
    fn outcomes_are_written_as_the_interface_says() {
        let topic: TopicName = "orders".parse().expect("a name");
        let accepted = Outcome::Accepted { id: "a\"b".into(), topic: topic.clone(), partition: 1, offset: 2 };
        assert_eq!(text(&accepted), r#"{"id":"a\"b","topic":"orders","partition":1,"offset":2,"status":"accepted"}"#);
        let letter = Outcome::DeadLettered { id: "1".into(), topic, reason: Reason::SchemaInvalid };
        assert_eq!(text(&letter), r#"{"id":"1","topic":"orders","status":"dead_lettered","reason":"schema_invalid"}"#);
    }
}
