//! The routes that try filters and explain who gets an event, as the description has them.

use posthorn_domain::problem::Code::{self, NoNode, NotFound};

use super::routes::{Query, Route, answer};

const CHECK: &str = r#"{"type": "object", "required": ["filter"], "properties": {"filter": {"type": "object"}, "event": {"type": "object"}, "topic": {"type": "string"}, "direction": {"enum": ["incoming", "outgoing"]}}, "additionalProperties": false}"#;
const CHECKED: &str = r##"{"type": "object", "required": ["valid", "value", "type", "error", "matches", "warnings"], "properties": {"valid": {"type": "boolean"}, "value": {}, "type": {"type": ["string", "null"]}, "error": {"type": ["object", "null"], "required": ["kind", "detail"], "properties": {"kind": {"enum": ["parse", "math", "cast", "missing_function", "function_evaluation", "missing_attribute", "generic"]}, "detail": {"type": "string"}}}, "matches": {"type": ["boolean", "null"]}, "warnings": {"type": "array", "items": {"type": "object"}}}}"##;
const EXPLAIN: &str = r#"{"type": "object", "required": ["topic", "event"], "properties": {"topic": {"type": "string"}, "event": {"type": "object"}, "direction": {"enum": ["incoming", "outgoing"]}}, "additionalProperties": false}"#;
const EXPLAINED: &str = r#"{"type": "object", "required": ["topic", "matches"], "properties": {"topic": {"type": "string"}, "revision": {"type": "integer"}, "refused": {"type": ["object", "null"]}, "expires_at": {"type": ["string", "null"]}, "qos": {"type": "object"}, "partition": {"type": "integer"}, "offset": {"type": "integer"}, "event_id": {"type": "string"}, "accepted_at": {"type": "string"}, "left_off": {"type": "integer"}, "matches": {"type": "array", "items": {"type": "object", "required": ["subscription", "matched", "because"], "properties": {"subscription": {"type": "string"}, "name": {"type": "string"}, "owner": {"type": "string"}, "matched": {"type": "boolean"}, "because": {"type": ["object", "null"]}, "qos": {"type": "object"}, "delivery": {"type": "object"}}}}}}"#;
const ALL: &Query = &[("all", "boolean", "Also subscriptions whose topic cannot match.")];

/// These routes.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "post",
        path: "/v1/filters/check",
        id: "checkFilter",
        summary: "What a filter gives for an event, and whether it can ever hold on a topic",
        query: &[],
        conditional: false,
        body: Some(CHECK),
        body_required: true,
        answers: &[answer(200, "Also for a filter that is none", Some(CHECKED))],
        problems: &[Code::InvalidEvent, Code::InvalidJson, Code::TopicUnknown],
    },
    Route {
        method: "post",
        path: "/v1/explain",
        id: "explain",
        summary: "Who would get an event, and why not",
        query: ALL,
        conditional: false,
        body: Some(EXPLAIN),
        body_required: true,
        answers: &[answer(200, "Each subscription", Some(EXPLAINED))],
        problems: &[Code::InvalidEvent, Code::InvalidJson, Code::TopicUnknown, NoNode],
    },
    Route {
        method: "get",
        path: "/v1/topics/{name}/events/{partition}/{offset}/explain",
        id: "explainStored",
        summary: "Who gets a stored event, and why not",
        query: ALL,
        conditional: false,
        body: None,
        body_required: false,
        answers: &[answer(200, "Each subscription", Some(EXPLAINED))],
        problems: &[NotFound, Code::TopicUnknown, NoNode],
    },
];
