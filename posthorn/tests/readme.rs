//! The README's tables hold what the code has: every key, problem, reason and metric. And its tour is what a shell can run.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::process::Command;

use posthorn_domain::guard::Guard;
use posthorn_domain::resource::{SubscriptionSpec, TopicSpec};
use posthorn_domain::{problem, reason};
use serde_json::Value;

const README: &str = include_str!("../../README.md");

/// The rows of the README's tables that start with `name` as code.
fn row(name: &str) -> Option<&'static str> {
    README.lines().find(|line| line.starts_with(&format!("| `{name}` |")))
}

#[test]
fn every_key_of_the_configuration_is_in_the_readme() {
    let output = Command::new(env!("CARGO_BIN_EXE_posthorn")).args(["config", "schema"]).output().unwrap();
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut keys = Vec::new();
    gather(&schema, &schema, "", &mut keys);
    assert!(keys.len() > 40, "{keys:?}");
    let missing: Vec<_> = keys.iter().filter(|key| row(key).is_none()).collect();
    assert!(missing.is_empty(), "not in the README: {missing:?}");
}

/// The paths of all leaves.
fn gather(schema: &Value, node: &Value, path: &str, keys: &mut Vec<String>) {
    let target = node.get("$ref").and_then(Value::as_str).and_then(|reference| schema.pointer(reference.trim_start_matches('#')));
    let properties = target.unwrap_or(node).get("properties").and_then(Value::as_object);
    let Some(properties) = properties else { return keys.push(path.to_owned()) };
    for (name, member) in properties {
        let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        gather(schema, member, &below, keys);
    }
}

#[test]
fn every_problem_is_in_the_readme_with_its_status() {
    for code in problem::ALL {
        let row = row(code.slug()).unwrap_or_else(|| panic!("{} is not in the README", code.slug()));
        assert!(row.starts_with(&format!("| `{}` | {} |", code.slug(), code.status())), "{row}");
        assert_eq!(row.matches(" | ").count(), 4, "{row}");
    }
}

#[test]
fn every_reason_is_in_the_readme() {
    for reason in reason::ALL {
        assert!(row(reason.as_str()).is_some(), "{reason} is not in the README");
    }
}

#[test]
fn every_metric_is_in_the_readme_and_no_other() {
    let sources = [include_str!("../../dataplane/src/telemetry.rs"), include_str!("../../controlplane/src/publish/mod.rs")];
    let more = [include_str!("../../controlplane/src/publish/nodes.rs"), include_str!("../../controlplane/src/publish/session.rs")];
    let operations = [include_str!("../../dataplane/src/app/operations.rs"), include_str!("../../dataplane/src/operations/mod.rs")];
    let delivery = [include_str!("../../dataplane/src/delivery/tell.rs"), include_str!("../../dataplane/src/app/retention.rs")];
    let reading = [include_str!("../../dataplane/src/read/pass.rs"), include_str!("../../dataplane/src/admin/tasks.rs")];
    let named = |text: &'static str| text.split('"').filter(|part| is_metric(part));
    let mut known: Vec<_> = sources.into_iter().chain(more).chain(operations).chain(delivery).chain(reading).flat_map(named).collect();
    known.sort_unstable();
    known.dedup();
    assert!(known.len() > 20);
    for metric in &known {
        assert!(row(metric).is_some(), "{metric} is not in the README");
    }
    let listed = README.lines().filter_map(|line| line.strip_prefix("| `posthorn_")?.split('`').next());
    for metric in listed {
        assert!(known.contains(&format!("posthorn_{metric}").as_str()), "posthorn_{metric} is in the README only");
    }
}

#[test]
fn the_resources_of_the_readme_are_accepted() {
    let chapter = README.split("## Resources").nth(1).unwrap().split("\n## ").next().unwrap();
    let blocks: Vec<Value> =
        chapter.split("```json\n").skip(1).map(|block| serde_json::from_str(block.split("```").next().unwrap()).unwrap()).collect();
    let [topic, schema, subscription] = blocks.as_slice() else { panic!("three examples") };
    assert!(schema["schema"].is_object());
    TopicSpec::parse(topic, &"orders".parse().unwrap()).unwrap();
    SubscriptionSpec::parse(subscription, &Guard::default()).unwrap();
}

fn is_metric(text: &str) -> bool {
    let rest = text.strip_prefix("posthorn_").unwrap_or_default();
    !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}
