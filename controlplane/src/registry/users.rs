//! Who needs a schema version, so that it cannot be deleted under them.

use std::sync::Arc;

use posthorn_domain::names::SchemaName;
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::resource::SchemaVersion;
use posthorn_domain::snapshot::ResourceKey;
use serde_json::Value;

use super::Registry;

/// So many users are named when something cannot be deleted.
pub(super) const NAMED: usize = 20;

impl Registry {
    /// Refuses to delete these versions of one schema while topics, other schemas or subscriptions need them.
    pub(super) fn refuse_if_used(&self, name: &SchemaName, versions: &[&Arc<SchemaVersion>]) -> Result<(), Problem> {
        let mut users = self.topics_that_demand(name);
        users.extend(self.versions_that_refer(versions));
        users.extend(self.subscriptions_that_name(versions));
        if users.is_empty() {
            return Ok(());
        }
        let shown: Vec<&str> = users.iter().take(NAMED).map(String::as_str).collect();
        let detail = format!(
            "the schema `{name}` is used by {}{}: take it off the `schemas` of topics, delete the versions that refer to it and the \
             subscriptions that name it first",
            shown.join(", "),
            if users.len() > NAMED { format!(" and {} more", users.len() - NAMED) } else { String::new() },
        );
        users.truncate(NAMED);
        Err(Problem::new(Code::InUse, detail).with("used_by", users))
    }

    fn topics_that_demand(&self, name: &SchemaName) -> Vec<String> {
        self.topics_with_schema(name).iter().map(|topic| ResourceKey::topic(topic).as_str().to_owned()).collect()
    }

    fn versions_that_refer<'r>(&'r self, versions: &'r [&Arc<SchemaVersion>]) -> impl Iterator<Item = String> + 'r {
        let own = |one: &Arc<SchemaVersion>| versions.iter().any(|version| version.reference() == one.reference());
        let refers = |one: &Arc<SchemaVersion>| versions.iter().any(|version| one.references.values().any(|to| *to == version.reference()));
        let others = self.versions.values().filter(move |one| !own(one) && refers(one));
        others.map(|one| ResourceKey::schema(&one.name, one.version).as_str().to_owned())
    }

    /// Subscriptions whose filters ask for events that name one of the versions.
    fn subscriptions_that_name<'r>(&'r self, versions: &[&Arc<SchemaVersion>]) -> impl Iterator<Item = String> + 'r {
        let names: Vec<String> = versions.iter().flat_map(|version| names_of(version)).collect();
        let named = move |filter: &Value| names.iter().any(|name| names_it(filter, name));
        let using = self.all_subscriptions().filter(move |subscription| subscription.spec.filters.values().iter().any(&named));
        using.map(|subscription| ResourceKey::subscription(subscription.id).as_str().to_owned())
    }
}

/// What an event's `schemas` or `dataschema` would say to name the version.
fn names_of(version: &SchemaVersion) -> Vec<String> {
    let path = format!("/v1/schemas/{}/versions/{}", version.name, version.version);
    [version.reference().to_string(), path].into_iter().chain(version.spec.id().map(str::to_owned)).collect()
}

/// Whether the filter compares `schemas` or `dataschema` with a text that names it.
fn names_it(filter: &Value, name: &str) -> bool {
    match filter {
        Value::Array(items) => items.iter().any(|item| names_it(item, name)),
        Value::Object(members) => members.iter().any(|(member, value)| match (member.as_str(), value) {
            ("schemas", Value::String(text)) => text.split_ascii_whitespace().any(|item| item == name),
            ("dataschema", Value::String(text)) => text.trim_end_matches('#').ends_with(name),
            _ => names_it(value, name),
        }),
        _ => false,
    }
}
