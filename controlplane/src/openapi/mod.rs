//! The OpenAPI 3.1 description of the REST door: schemas generated from the resources' own types, routes from one table.

mod filters;
mod routes;
mod schemas;

use std::sync::LazyLock;

use bytes::Bytes;
use posthorn_domain::filter::typecheck::{Finding, Position};
use posthorn_domain::node::{Attempt, DeadLetter, Delivery, Replay, Retried, SubscriptionState};
use posthorn_domain::problem::{self, Code, Fault};
use posthorn_domain::resource::{SchemaInfo, SchemaSpec, SchemaVersion, Subscription, SubscriptionSpec, Topic, TopicSpec};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use crate::api::TopicQos;
use crate::publish::NodeView;
use routes::{Answer, Route};

#[derive(OpenApi)]
#[openapi(components(schemas(
    Topic,
    TopicSpec,
    SchemaInfo,
    SchemaSpec,
    SchemaVersion,
    Subscription,
    SubscriptionSpec,
    SubscriptionState,
    Delivery,
    Attempt,
    DeadLetter,
    Retried,
    Replay,
    TopicQos,
    NodeView,
    Fault,
    Finding,
    Position
)))]
struct Components;

/// The description, written once.
pub(crate) fn document() -> Bytes {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| build().to_string().into());
    DOCUMENT.clone()
}

/// Every route. `crate::rest::router` serves them; a test holds the two together.
fn all() -> impl Iterator<Item = &'static Route> {
    routes::ROUTES.iter().chain(schemas::ROUTES).chain(filters::ROUTES)
}

fn build() -> Value {
    let mut document = serde_json::to_value(Components::openapi()).expect("descriptions have string keys only");
    document["info"] = json!({
        "title": "Posthorn control plane",
        "version": env!("CARGO_PKG_VERSION"),
        "description": "Topics, schemas and subscriptions, deliveries and dead letters. Errors are RFC 9457 problem documents.",
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    });
    let schemas = &mut document["components"]["schemas"];
    for (name, required) in REQUIRED {
        relax(&mut schemas[*name], required);
    }
    schemas["Problem"] = problem_schema();
    let mut paths = Map::new();
    for route in all() {
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        item[route.method] = operation(route);
    }
    document["paths"] = Value::Object(paths);
    document
}

/// What a writer must give. All else has defaults, although every answer has it.
const REQUIRED: &[(&str, &[&str])] = &[
    ("TopicSpec", &[]),
    ("Retention", &[]),
    ("SchemaSpec", &["schema"]),
    ("SubscriptionSpec", &["filters", "endpoint"]),
    ("Endpoint", &["url"]),
    ("BatchLimits", &[]),
    ("Signing", &["scheme"]),
    ("Qos", &[]),
    ("RetryPolicy", &[]),
    ("Limits", &[]),
];

fn relax(schema: &mut Value, required: &[&str]) {
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("required");
        if !required.is_empty() {
            schema.insert("required".into(), json!(required));
        }
    }
}

fn problem_schema() -> Value {
    let kinds: Vec<String> = problem::ALL.iter().map(|code| format!("urn:posthorn:problem:{}", code.slug())).collect();
    json!({
        "type": "object",
        "description": "A problem document (RFC 9457). Further members belong to the type.",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "enum": kinds},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "errors": {"type": "array", "items": reference("Fault")},
        },
    })
}

fn operation(route: &Route) -> Value {
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.summary,
        "tags": [route.path.split('/').nth(2).unwrap_or("openapi")],
        "parameters": parameters(route),
        "responses": responses(route),
    });
    if let Some(body) = route.body {
        operation["requestBody"] = json!({"required": route.body_required, "content": {"application/json": {"schema": schema(body)}}});
    }
    operation
}

fn parameters(route: &Route) -> Vec<Value> {
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = in_path.map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
    let in_query = route
        .query
        .iter()
        .map(|(name, kind, description)| json!({"name": name, "in": "query", "description": description, "schema": {"type": kind}}));
    let conditional = route.conditional.then(|| {
        json!({"name": "If-Match", "in": "header", "schema": {"type": "string"},
            "description": "The `ETag` that the resource must still have; else 412."})
    });
    in_path.chain(in_query).chain(conditional).collect()
}

fn responses(route: &Route) -> Value {
    let mut responses = Map::new();
    for Answer { status, description, schema: name } in route.answers {
        let mut response = json!({"description": description});
        if let Some(name) = name {
            response["content"] = json!({"application/json": {"schema": schema(name)}});
        }
        responses.insert(status.to_string(), response);
    }
    let everywhere = [Code::InvalidRequest, Code::RequestTimeout, Code::TooLarge, Code::UnsupportedMediaType];
    let conditional = route.conditional.then_some(Code::PreconditionFailed);
    let mut by_status: std::collections::BTreeMap<u16, Vec<Code>> = std::collections::BTreeMap::new();
    for code in everywhere.into_iter().chain(conditional).chain(route.problems.iter().copied()) {
        by_status.entry(code.status()).or_default().push(code);
    }
    for (status, codes) in by_status {
        let description = codes.iter().map(|code| format!("`{}`: {}", code.slug(), code.title())).collect::<Vec<_>>().join("; ");
        let content = json!({"application/problem+json": {"schema": reference("Problem")}});
        responses.insert(status.to_string(), json!({"description": description, "content": content}));
    }
    Value::Object(responses)
}

/// A schema by the table's shorthand: a component, `[component]` for a page of it, or a JSON Schema.
fn schema(name: &str) -> Value {
    if let Some(item) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return json!({"type": "object", "required": ["items", "next_page_token"], "properties": {
            "items": {"type": "array", "items": reference(item)},
            "next_page_token": {"type": ["string", "null"]},
        }});
    }
    if name.starts_with('{') { serde_json::from_str(name).unwrap_or_default() } else { reference(name) }
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_operation_has_its_own_id() {
        let document = build();
        assert_eq!(document["openapi"], "3.1.0");
        let mut found = Vec::new();
        references(&document, &mut found);
        for reference in found {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some_and(|schema| !schema.is_null()), "{reference}");
        }
        let mut ids: Vec<_> = all().map(|route| route.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all().count());
    }

    #[test]
    fn descriptions_are_json_schemas() {
        for answer in all().flat_map(|route| route.answers) {
            assert_ne!(answer.schema.map(schema), Some(Value::Null));
        }
        assert_eq!(build()["components"]["schemas"]["SubscriptionSpec"]["required"], json!(["filters", "endpoint"]));
    }
}
