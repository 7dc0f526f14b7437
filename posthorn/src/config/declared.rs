//! Checks declared resources by themselves, so that `config check` finds what a start would refuse. What depends on other
//! resources (a schema that does not exist, say) only the control plane knows, when it applies them.

use posthorn_domain::guard::Guard;
use posthorn_domain::names::TopicName;
use posthorn_domain::problem::Problem;
use posthorn_domain::resource::{SchemaSpec, SubscriptionSpec, TopicSpec};
use serde_json::Value;

use super::raw::RawConfig;

/// Every fault: its place in the configuration, such as `topics[0].partitions`, and what is wrong.
pub(super) fn faults(raw: &RawConfig) -> Vec<(String, String)> {
    let guard = Guard::new(raw.delivery.allow_cidrs.clone(), raw.delivery.allow_http);
    let mut found = Vec::new();
    check("topics", &raw.topics, topic, &mut found);
    check("schemas", &raw.schemas, |document| SchemaSpec::parse(document).map(drop), &mut found);
    check("subscriptions", &raw.subscriptions, |document| SubscriptionSpec::parse(document, &guard).map(drop), &mut found);
    found
}

fn topic(document: &Value) -> Result<(), Problem> {
    // Without a name or with a wrong one that is the fault; another check says so.
    let Some(Ok(name)) = document["name"].as_str().map(str::parse::<TopicName>) else { return Ok(()) };
    TopicSpec::parse(document, &name).map(drop)
}

fn check(list: &str, items: &[Value], parse: impl Fn(&Value) -> Result<(), Problem>, found: &mut Vec<(String, String)>) {
    // What is no mapping was found before.
    for (index, item) in items.iter().enumerate().filter(|(_, item)| item.is_object()) {
        let Err(problem) = parse(item) else { continue };
        if problem.errors().is_empty() {
            found.push((format!("{list}[{index}]"), problem.detail().to_owned()));
        }
        let place = |pointer: &str| format!("{list}[{index}]{}", pointer.trim_start_matches('#').replace('/', "."));
        found.extend(problem.errors().iter().map(|fault| (place(&fault.pointer), fault.detail.clone())));
    }
}
