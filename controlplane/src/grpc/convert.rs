//! Between admin messages and the documents of the REST API.

use posthorn_domain::fields::{Faults, pointer};
use posthorn_domain::problem::Problem;
use posthorn_proto::admin;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tonic::Status;

use super::status;

/// A document as a message. Members that the message does not have are left out.
pub(super) fn message<T: DeserializeOwned>(document: Value) -> Result<T, Status> {
    serde_json::from_value(document).map_err(|error| {
        tracing::error!(%error, "a document does not fit its message");
        Status::internal("the answer does not fit its message")
    })
}

/// A message as a document; absent members are null, which reads like absent.
fn document(message: &impl Serialize) -> Value {
    serde_json::to_value(message).unwrap_or_default()
}

/// A topic as its owner writes it.
pub(super) fn topic_document(topic: &admin::Topic) -> Value {
    document(topic)
}

/// A filter or other plain message.
pub(super) fn plain(message: &impl Serialize) -> Value {
    document(message)
}

/// A schema version as its owner writes it.
pub(super) fn version_document(version: &admin::SchemaVersion) -> Result<Value, Status> {
    let mut faults = Faults::default();
    let mut written = document(version);
    written["schema"] = embedded(&version.schema, "/schema", &mut faults);
    refuse(faults, "the schema")?;
    remove(&mut written, "warnings");
    Ok(written)
}

/// A subscription as its owner writes it.
pub(super) fn subscription_document(subscription: &admin::Subscription) -> Result<Value, Status> {
    let mut faults = Faults::default();
    let mut written = document(subscription);
    let filters = subscription.filters.iter().enumerate().map(|(n, text)| embedded(text, &pointer("/filters", n), &mut faults));
    written["filters"] = filters.collect();
    refuse(faults, "the subscription")?;
    if subscription.signing.is_empty() {
        written["signing"] = Value::Null;
    }
    if let Some(retry) = &subscription.retry {
        if retry.schedule.is_empty() && retry.never != Some(true) {
            written["retry"]["schedule"] = Value::Null;
        }
        remove(&mut written["retry"], "never");
    }
    remove(&mut written, "state");
    remove(&mut written, "warnings");
    Ok(written)
}

fn refuse(faults: Faults, what: &str) -> Result<(), Status> {
    faults.result(what, Some(())).map_err(|problem: Problem| status::of(&problem))
}

fn embedded(text: &str, at: &str, faults: &mut Faults) -> Value {
    crate::rest::strict_json(text.as_bytes()).unwrap_or_else(|problem| {
        faults.shape(at, problem.detail());
        Value::Null
    })
}

fn remove(document: &mut Value, member: &str) {
    if let Some(map) = document.as_object_mut() {
        map.remove(member);
    }
}

/// A schema version as a message.
pub(super) fn version_message(mut document: Value) -> Result<admin::SchemaVersion, Status> {
    texts(&mut document, "schema");
    message(document)
}

/// A subscription as a message.
pub(super) fn subscription_message(mut document: Value) -> Result<admin::Subscription, Status> {
    each_text(&mut document, "filters");
    message(document)
}

/// A dead letter as a message.
pub(super) fn dead_letter_message(mut document: Value) -> Result<admin::DeadLetter, Status> {
    texts(&mut document, "event");
    each_text(&mut document, "errors");
    message(document)
}

/// What came of trying dead letters again as a message.
pub(super) fn retried_message(mut document: Value) -> Result<admin::RetriedResponse, Status> {
    for example in document.get_mut("examples").and_then(Value::as_array_mut).into_iter().flatten() {
        each_text(example, "errors");
    }
    message(document)
}

/// What is in force for a topic as a message.
pub(super) fn qos_message(mut document: Value) -> Result<admin::TopicQos, Status> {
    for setting in document.as_object_mut().into_iter().flatten().map(|(_, member)| member).filter(|member| member.is_object()) {
        texts(setting, "value");
    }
    message(document)
}

/// The question whether a filter holds, as a document.
pub(super) fn check_document(request: &admin::CheckFilterRequest) -> Result<Value, Status> {
    let mut faults = Faults::default();
    let filter = embedded(&request.filter, "/filter", &mut faults);
    let event = request.event.as_ref().map_or(Value::Null, |event| embedded(event, "/event", &mut faults));
    refuse(faults, "the question")?;
    Ok(json!({"filter": filter, "event": event, "topic": request.topic, "direction": request.direction}))
}

/// The question who gets an event, as a document.
pub(super) fn explain_document(request: &admin::ExplainRequest) -> Result<Value, Status> {
    let mut faults = Faults::default();
    let event = embedded(&request.event, "/event", &mut faults);
    refuse(faults, "the question")?;
    Ok(json!({"topic": request.topic, "event": event, "direction": request.direction}))
}

/// What a filter gives, as a message.
pub(super) fn checked_message(mut document: Value) -> Result<admin::CheckFilterResponse, Status> {
    if document["type"].is_string() {
        texts(&mut document, "value");
    }
    message(document)
}

/// Who gets an event, as a message.
pub(super) fn explained_message(mut document: Value) -> Result<admin::Explanation, Status> {
    let some = |document: &mut Value, members: &[&str]| {
        for member in members {
            if document.get(*member).is_some_and(|value| !value.is_null()) {
                texts(document, member);
            }
        }
    };
    some(&mut document, &["refused", "qos"]);
    for entry in document.get_mut("matches").and_then(Value::as_array_mut).into_iter().flatten() {
        some(entry, &["because", "qos", "delivery"]);
    }
    message(document)
}

/// A page of `{"items", "next_page_token"}`.
pub(super) fn items<T>(mut page: Value, convert: impl Fn(Value) -> Result<T, Status>) -> Result<(Vec<T>, Option<String>), Status> {
    // A page may come from a node as it is, so nothing is taken for granted.
    let items = page.get_mut("items").map(Value::take);
    let items = if let Some(Value::Array(items)) = items { items } else { Vec::new() };
    let next = page["next_page_token"].as_str().map(str::to_owned);
    Ok((items.into_iter().map(convert).collect::<Result<_, _>>()?, next))
}

/// Writes the member as JSON text.
pub(super) fn texts(document: &mut Value, member: &str) {
    if let Some(value) = document.get_mut(member) {
        *value = json!(value.to_string());
    }
}

fn each_text(document: &mut Value, member: &str) {
    for value in document.get_mut(member).and_then(Value::as_array_mut).into_iter().flatten() {
        *value = json!(value.to_string());
    }
}
