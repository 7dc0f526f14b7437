//! Resources declared in the configuration file. Applying them again changes nothing.

use posthorn_domain::problem::{Code, Problem};
use serde_json::Value;

use crate::api::{AddOptions, Api};
use crate::registry::Precondition;

/// What the configuration declares, each as the API would take it, with its name inside.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// With `name`.
    pub topics: Vec<Value>,
    /// With `name`; each content becomes a version, in this order.
    pub schemas: Vec<Value>,
    /// With `name`; found again by `name` and `owner`.
    pub subscriptions: Vec<Value>,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredFault {
    /// Where, such as `topics[0]/partitions`.
    pub path: String,
    /// What is wrong.
    pub detail: String,
}

/// One fault a line.
pub(crate) fn list(faults: &[DeclaredFault]) -> String {
    faults.iter().map(|fault| format!("  {}: {}", fault.path, fault.detail)).collect::<Vec<_>>().join("\n")
}

/// Schemas first, topics demand them; subscriptions last.
pub(crate) async fn apply(api: &Api, declared: Declared) -> Result<(), Vec<DeclaredFault>> {
    let mut faults = Vec::new();
    for (n, document) in declared.schemas.iter().enumerate() {
        let outcome = schema(api, document).await;
        note("schemas", n, outcome, &mut faults);
    }
    for (n, document) in declared.topics.iter().enumerate() {
        let outcome = topic(api, document).await;
        note("topics", n, outcome, &mut faults);
    }
    for (n, document) in declared.subscriptions.iter().enumerate() {
        let outcome = subscription(api, document).await;
        note("subscriptions", n, outcome, &mut faults);
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

async fn schema(api: &Api, document: &Value) -> Result<(), Problem> {
    let name = needed_name(document)?;
    api.add_version(name, document, AddOptions::default()).await.map(drop)
}

async fn topic(api: &Api, document: &Value) -> Result<(), Problem> {
    api.put_topic(needed_name(document)?, document, Precondition::None).await.map(drop)
}

async fn subscription(api: &Api, document: &Value) -> Result<(), Problem> {
    let name = needed_name(document)?;
    let owner = document.get("owner").and_then(Value::as_str).unwrap_or_default();
    let found = api.publisher.registry.read().subscription_named(name, owner).map(|id| id.to_string());
    match found {
        Some(id) => api.replace_subscription(&id, document, Precondition::None).await.map(drop),
        None => api.create_subscription(document).await.map(drop),
    }
}

fn needed_name(document: &Value) -> Result<&str, Problem> {
    let name = document.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
    name.ok_or_else(|| Problem::new(Code::InvalidRequest, "a declared resource needs a `name`"))
}

fn note(kind: &str, n: usize, outcome: Result<(), Problem>, faults: &mut Vec<DeclaredFault>) {
    let Err(problem) = outcome else { return };
    if problem.errors().is_empty() {
        faults.push(DeclaredFault { path: format!("{kind}[{n}]"), detail: problem.detail().to_owned() });
    }
    for fault in problem.errors() {
        let path = format!("{kind}[{n}]{}", fault.pointer.trim_start_matches('#'));
        faults.push(DeclaredFault { path, detail: fault.detail.clone() });
    }
}
