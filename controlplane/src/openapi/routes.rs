//! The routes as the description has them. `crate::rest::router` serves them; a test holds the two together.

use posthorn_domain::problem::Code::{self, InUse, InvalidResource, NoNode, NotFound, Unavailable};

/// One operation.
pub(super) struct Route {
    /// Lower case.
    pub(super) method: &'static str,
    /// With `{parameters}`.
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    /// Name, JSON type, description.
    pub(super) query: &'static [(&'static str, &'static str, &'static str)],
    pub(super) conditional: bool,
    pub(super) body: Option<&'static str>,
    pub(super) body_required: bool,
    pub(super) answers: &'static [Answer],
    pub(super) problems: &'static [Code],
}

/// A good answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) description: &'static str,
    /// A component, `[component]` for a page, or a JSON Schema.
    pub(super) schema: Option<&'static str>,
}

pub(super) const fn answer(status: u16, description: &'static str, schema: Option<&'static str>) -> Answer {
    Answer { status, description, schema }
}

pub(super) type Query = [(&'static str, &'static str, &'static str)];

const LIMIT: (&str, &str, &str) = ("limit", "integer", "How many items at most, 1 to 1000; 100 when absent.");
const TOKEN: (&str, &str, &str) = ("page_token", "string", "The `next_page_token` of the page before.");
pub(super) const PAGE: &Query = &[LIMIT, TOKEN];
const SUBSCRIPTION: (&str, &str, &str) = ("subscription", "string", "Of this subscription.");
const TOPIC: (&str, &str, &str) = ("topic", "string", "On this topic.");
const REASON: (&str, &str, &str) = ("reason", "string", "With this reason.");
const DEAD: &Query = &[TOPIC, SUBSCRIPTION, REASON];
const DEAD_PAGE: &Query = &[LIMIT, TOKEN, TOPIC, SUBSCRIPTION, REASON];
const DELIVERY_PAGE: &Query = &[
    LIMIT,
    TOKEN,
    SUBSCRIPTION,
    TOPIC,
    ("status", "string", "waiting, in_flight, delivered, dead_lettered or dropped."),
    ("event_id", "string", "Of the event with this `id`."),
];
const TOPIC_QOS: &Query = &[
    ("schemas", "string", "Schemas that the event names, as its attribute `schemas` lists them."),
    ("durability", "string", "The event's attribute `durability`."),
    ("subscription", "string", "The subscription that it is asked for."),
];
const FORCE: &Query = &[("force", "boolean", "Also while subscriptions get events of this topic only.")];

const DEAD_FILTER: &str = r#"{"type": "object", "properties": {"topic": {"type": "string"}, "subscription": {"type": "string"}, "reason": {"type": "string"}, "validate_with": {"type": "string"}}, "additionalProperties": false}"#;
const VALIDATE_WITH: &str = r#"{"type": "object", "properties": {"validate_with": {"type": "string"}}, "additionalProperties": false}"#;
const RETRIED: &str = r#"{"type": "object", "required": ["retried"], "properties": {"retried": {"type": "integer"}}}"#;
const DELETED: &str = r#"{"type": "object", "required": ["deleted"], "properties": {"deleted": {"type": "integer"}}}"#;
const OVERLAP: &str =
    r#"{"type": "object", "properties": {"overlap": {"type": "string", "default": "1d"}}, "additionalProperties": false}"#;
const REPLAY: &str = r#"{"type": "object", "required": ["from"], "properties": {"from": {"type": "string"}, "to": {"type": ["string", "null"]}}, "additionalProperties": false}"#;
const REPLAYING: &str =
    r#"{"type": "object", "required": ["replay", "events"], "properties": {"replay": {"type": "string"}, "events": {"type": "integer"}}}"#;
const NODES: &str = r##"{"type": "array", "items": {"$ref": "#/components/schemas/NodeView"}}"##;
const ANY: &str = r#"{"type": "object"}"#;

/// Every route but those of schemas.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "get",
        path: "/openapi.json",
        id: "describe",
        summary: "This description",
        query: &[],
        conditional: false,
        body: None,
        body_required: false,
        answers: &[answer(200, "The description", Some(ANY))],
        problems: &[],
    },
    Route {
        method: "get",
        path: "/v1/topics",
        id: "listTopics",
        summary: "List topics by name",
        query: PAGE,
        conditional: false,
        body: None,
        body_required: false,
        answers: &[answer(200, "A page", Some("[Topic]"))],
        problems: &[],
    },
    Route {
        method: "get",
        path: "/v1/topics/{name}",
        id: "getTopic",
        summary: "Read a topic",
        query: &[],
        conditional: false,
        body: None,
        body_required: false,
        answers: &[answer(200, "The topic", Some("Topic"))],
        problems: &[NotFound],
    },
    Route {
        method: "put",
        path: "/v1/topics/{name}",
        id: "putTopic",
        summary: "Make or replace a topic",
        query: &[],
        conditional: true,
        body: Some("TopicSpec"),
        body_required: true,
        answers: &[answer(200, "Changed, or unchanged at its revision", Some("Topic")), answer(201, "Made", Some("Topic"))],
        problems: &[InvalidResource, Unavailable],
    },
    Route {
        method: "delete",
        path: "/v1/topics/{name}",
        id: "deleteTopic",
        summary: "Delete a topic",
        query: FORCE,
        conditional: true,
        body: None,
        body_required: false,
        answers: &[answer(204, "Gone", None)],
        problems: &[NotFound, InUse, Unavailable],
    },
    Route {
        method: "get",
        path: "/v1/topics/{name}/qos",
        id: "getTopicQos",
        summary: "What is in force for events of a topic, and who set it",
        query: TOPIC_QOS,
        conditional: false,
        body: None,
        body_required: false,
        answers: &[answer(200, "Each setting", Some("TopicQos"))],
        problems: &[NotFound, Code::SchemaUnknown, Code::SchemaVersionUnknown],
    },
    Route {
        method: "get",
        path: "/v1/subscriptions",
        id: "listSubscriptions",
        summary: "List subscriptions, oldest first",
        query: PAGE,
        conditional: false,
        body: None,
        body_required: false,
        answers: &[answer(200, "A page", Some("[Subscription]"))],
        problems: &[],
    },
    Route {
        method: "post",
        path: "/v1/subscriptions",
        id: "createSubscription",
        summary: "Make a subscription; secrets that were made are shown this once",
        query: &[],
        conditional: false,
        body: Some("SubscriptionSpec"),
        body_required: true,
        answers: &[answer(201, "Made", Some("Subscription"))],
        problems: &[Code::FilterNeverMatches, InvalidResource, Unavailable],
    },
    Route {
        method: "get",
        path: "/v1/subscriptions/{id}",
        id: "getSubscription",
        summary: "Read a subscription, with `state` when a data plane can tell",
        query: &[],
        conditional: false,
        body: None,
        body_required: false,
        answers: &[answer(200, "The subscription", Some("Subscription"))],
        problems: &[NotFound],
    },
    Route {
        method: "put",
        path: "/v1/subscriptions/{id}",
        id: "putSubscription",
        summary: "Replace what its owner decides",
        query: &[],
        conditional: true,
        body: Some("SubscriptionSpec"),
        body_required: true,
        answers: &[answer(200, "Changed or unchanged", Some("Subscription"))],
        problems: &[Code::FilterNeverMatches, NotFound, InvalidResource, Unavailable],
    },
    Route {
        method: "delete",
        path: "/v1/subscriptions/{id}",
        id: "deleteSubscription",
        summary: "Delete a subscription",
        query: &[],
        conditional: true,
        body: None,
        body_required: false,
        answers: &[answer(204, "Gone", None)],
        problems: &[NotFound, Unavailable],
    },
    Route {
        method: "post",
        path: "/v1/subscriptions/{id}/pause",
        id: "pauseSubscription",
        summary: "Stop delivering; it keeps its place",
        query: &[],
        conditional: true,
        body: None,
        body_required: false,
        answers: &[answer(200, "Paused", Some("Subscription"))],
        problems: &[NotFound, Unavailable],
    },
    Route {
        method: "post",
        path: "/v1/subscriptions/{id}/resume",
        id: "resumeSubscription",
        summary: "Deliver again",
        query: &[],
        conditional: true,
        body: None,
        body_required: false,
        answers: &[answer(200, "Active", Some("Subscription"))],
        problems: &[NotFound, Unavailable],
    },
    Route {
        method: "post",
        path: "/v1/subscriptions/{id}/verify",
        id: "verifySubscription",
        summary: "Verify the endpoint; not supported by this version",
        query: &[],
        conditional: false,
        body: None,
        body_required: false,
        answers: &[],
        problems: &[NotFound, InvalidResource],
    },
    Route {
        method: "post",
        path: "/v1/subscriptions/{id}/test",
        id: "testSubscription",
        summary: "Send a test event",
        query: &[],
        conditional: false,
        body: None,
        body_required: false,
        answers: &[answer(200, "The attempt", Some("Attempt"))],
        problems: &[NotFound, NoNode],
    },
    Route {
        method: "post",
        path: "/v1/subscriptions/{id}/replay",
        id: "replaySubscription",
        summary: "Deliver a range again",
        query: &[],
        conditional: false,
        body: Some(REPLAY),
        body_required: true,
        answers: &[answer(202, "Begun", Some(REPLAYING))],
        problems: &[NotFound, InvalidResource, NoNode],
    },
    Route {
        method: "post",
        path: "/v1/subscriptions/{id}/rotate-secret",
        id: "rotateSecret",
        summary: "Make new secrets, shown this once; the old ones go on signing for a while",
        query: &[],
        conditional: true,
        body: Some(OVERLAP),
        body_required: false,
        answers: &[answer(200, "Rotated", Some("Subscription"))],
        problems: &[NotFound, InvalidResource, Unavailable],
    },
    Route {
        method: "get",
        path: "/v1/deliveries",
        id: "listDeliveries",
        summary: "List deliveries, newest first",
        query: DELIVERY_PAGE,
        conditional: false,
        body: None,
        body_required: false,
        answers: &[answer(200, "A page", Some("[Delivery]"))],
        problems: &[NoNode],
    },
    Route {
        method: "get",
        path: "/v1/deliveries/{id}",
        id: "getDelivery",
        summary: "Read a delivery with its attempts",
        query: &[],
        conditional: false,
        body: None,
        body_required: false,
        answers: &[answer(200, "The delivery", Some("Delivery"))],
        problems: &[NotFound, NoNode],
    },
    Route {
        method: "get",
        path: "/v1/dead-letters",
        id: "listDeadLetters",
        summary: "List dead letters, newest first",
        query: DEAD_PAGE,
        conditional: false,
        body: None,
        body_required: false,
        answers: &[answer(200, "A page", Some("[DeadLetter]"))],
        problems: &[NoNode],
    },
    Route {
        method: "delete",
        path: "/v1/dead-letters",
        id: "purgeDeadLetters",
        summary: "Forget all that fit; without parameters all",
        query: DEAD,
        conditional: false,
        body: None,
        body_required: false,
        answers: &[answer(200, "How many", Some(DELETED))],
        problems: &[NoNode],
    },
    Route {
        method: "post",
        path: "/v1/dead-letters/retry",
        id: "retryDeadLetters",
        summary: "Try all that fit again; without members all",
        query: &[],
        conditional: false,
        body: Some(DEAD_FILTER),
        body_required: false,
        answers: &[answer(202, "How many", Some("Retried"))],
        problems: &[Code::SchemaUnknown, Code::SchemaVersionUnknown, NoNode],
    },
    Route {
        method: "get",
        path: "/v1/dead-letters/{id}",
        id: "getDeadLetter",
        summary: "Read a dead letter",
        query: &[],
        conditional: false,
        body: None,
        body_required: false,
        answers: &[answer(200, "The dead letter", Some("DeadLetter"))],
        problems: &[NotFound, NoNode],
    },
    Route {
        method: "delete",
        path: "/v1/dead-letters/{id}",
        id: "deleteDeadLetter",
        summary: "Forget a dead letter",
        query: &[],
        conditional: false,
        body: None,
        body_required: false,
        answers: &[answer(204, "Gone", None)],
        problems: &[NotFound, NoNode],
    },
    Route {
        method: "post",
        path: "/v1/dead-letters/{id}/retry",
        id: "retryDeadLetter",
        summary: "Try a dead letter again",
        query: &[],
        conditional: false,
        body: Some(VALIDATE_WITH),
        body_required: false,
        answers: &[answer(202, "Begun", Some(RETRIED))],
        problems: &[NotFound, Code::SchemaInvalid, Code::SchemaUnknown, Code::SchemaVersionUnknown, NoNode],
    },
    Route {
        method: "get",
        path: "/v1/nodes",
        id: "listNodes",
        summary: "The connected data planes and how far they are",
        query: &[],
        conditional: false,
        body: None,
        body_required: false,
        answers: &[answer(200, "By id", Some(NODES))],
        problems: &[],
    },
];
