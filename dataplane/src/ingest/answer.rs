//! What came of an event, and how the JSON doors write it (interfaces §2).

use std::sync::Arc;

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
        /// What the publisher should know.
        warnings: Warnings,
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
        /// What the publisher should know.
        warnings: Warnings,
    },
}

/// Texts for the publisher, such as the deprecation of a schema that the event was held to. Mostly none.
pub type Warnings = Vec<Arc<str>>;

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
    let (rest, warnings) = match outcome {
        Outcome::Accepted { partition, offset, warnings, .. } => {
            (format!(",\"partition\":{partition},\"offset\":{offset},\"status\":\"accepted\""), warnings.as_slice())
        }
        Outcome::Duplicate { partition, offset, .. } => {
            (format!(",\"partition\":{partition},\"offset\":{offset},\"status\":\"duplicate\""), [].as_slice())
        }
        Outcome::DeadLettered { reason, warnings, .. } => {
            (format!(",\"status\":\"dead_lettered\",\"reason\":\"{reason}\""), warnings.as_slice())
        }
    };
    out.extend_from_slice(rest.as_bytes());
    write_warnings(warnings, out);
    out.push(b'}');
}

fn write_warnings(warnings: &[Arc<str>], out: &mut Vec<u8>) {
    for (n, warning) in warnings.iter().enumerate() {
        out.extend_from_slice(if n == 0 { b",\"warnings\":[" } else { b"," });
        write_json_string(warning, out);
    }
    if !warnings.is_empty() {
        out.push(b']');
    }
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
        let accepted = Outcome::Accepted { id: "a\"b".into(), topic: topic.clone(), partition: 1, offset: 2, warnings: Vec::new() };
        assert_eq!(text(&accepted), r#"{"id":"a\"b","topic":"orders","partition":1,"offset":2,"status":"accepted"}"#);
        let warnings = vec!["schema `a:1` is deprecated: \"b\"".into(), "c".into()];
        let warned = Outcome::Accepted { id: "1".into(), topic: topic.clone(), partition: 0, offset: 3, warnings };
        let expected = r#"{"id":"1","topic":"orders","partition":0,"offset":3,"status":"accepted","warnings":["schema `a:1` is deprecated: \"b\"","c"]}"#;
        assert_eq!(text(&warned), expected);
        let letter = Outcome::DeadLettered { id: "1".into(), topic, reason: Reason::SchemaInvalid, warnings: Vec::new() };
        assert_eq!(text(&letter), r#"{"id":"1","topic":"orders","status":"dead_lettered","reason":"schema_invalid"}"#);
    }
}
