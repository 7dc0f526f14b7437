//! What the folder keeps, and what it must never hold.

use std::path::Path;
use std::sync::Arc;

use posthorn_controlplane::{ControlPlane, Declared, OpenError};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Plane, config};

fn contains(folder: &Path, needle: &str) -> bool {
    std::fs::read_dir(folder).expect("a folder").any(|entry| {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            return contains(&path, needle);
        }
        std::fs::read(&path).expect("a file").windows(needle.len()).any(|window| window == needle.as_bytes())
    })
}

#[tokio::test]
async fn everything_comes_back_and_no_secret_lies_open() {
    let plane = Plane::start().await;
    plane.call("POST", "/v1/schemas/order/versions", json!({"schema": {"type": "object"}})).await.is(201, "");
    plane.call("PUT", "/v1/topics/orders", json!({"schemas": ["order"], "retention": {"bytes": "2MiB"}})).await.is(201, "");
    plane.call("PUT", "/v1/topics/gone", json!({})).await.is(201, "");
    plane.send("DELETE", "/v1/topics/gone", &[], "").await.is(204, "");
    let made = plane
        .subscribe(
            "orders",
            json!({"name": "find-me", "endpoint": {"url": "https://partner.example/hook",
        "auth": [{"type": "basic", "username": "u", "password": "hunter2-hunter2"}]}}),
        )
        .await;
    let path = made.is(201, "").header("location").to_owned();
    let rotated = plane.call("POST", &format!("{path}/rotate-secret"), json!({"overlap": "1h"})).await;
    let paths = ["/v1/topics", "/v1/schemas", "/v1/schemas/order/versions", "/v1/subscriptions"];
    let mut before = Vec::new();
    for path in paths {
        before.push(plane.get(path).await.body);
    }
    let folder = plane.stop().await;

    assert!(contains(folder.path(), "2MiB"), "the search finds what is there");
    for secret in [&made.body["signing"][0]["secret"], &rotated.body["signing"][0]["secret"]] {
        let text = secret.as_str().expect("shown").trim_start_matches("whsec_").to_owned();
        assert!(!contains(folder.path(), &text));
    }
    assert!(!contains(folder.path(), "hunter2-hunter2"));

    let plane = Plane::start_in(folder).await;
    let mut after: Vec<Value> = Vec::new();
    for path in paths {
        after.push(plane.get(path).await.body);
    }
    assert_eq!(after, before);
    let next = plane.call("PUT", "/v1/topics/next", json!({})).await;
    assert_eq!(next.is(201, "").body["revision"], 7, "revisions go on");
}

#[tokio::test]
async fn another_key_does_not_open_the_secrets() {
    let plane = Plane::start().await;
    plane.subscribe("orders", json!({})).await.is(201, "");
    let folder = plane.stop().await;
    let mut config = config(folder.path());
    config.sealing_key = Arc::new(posthorn_domain::sealing::SealingKey::generate().expect("a key"));
    let Err(OpenError::Store(error)) = ControlPlane::open(config).await else { panic!("opened") };
    assert!(error.to_string().contains("sealed with key"), "{error}");
}

#[tokio::test]
async fn declared_resources_are_applied_once_and_faults_are_told_together() {
    let folder = Arc::new(TempDir::new().expect("a folder"));
    let declared = Declared {
        schemas: vec![json!({"name": "order", "schema": {"type": "object"}})],
        topics: vec![json!({"name": "orders", "schemas": ["order"]})],
        subscriptions: vec![
            json!({"name": "acme", "owner": "acme", "filters": [{"topic": "orders"}], "endpoint": {"url": "https://a.example/"}}),
        ],
    };
    let plane = Plane::declaring(folder.clone(), declared.clone()).await.expect("opens");
    let before = plane.get("/v1/subscriptions").await.body;
    plane.stop().await;
    let plane = Plane::declaring(folder.clone(), declared).await.expect("opens again");
    assert_eq!(plane.get("/v1/subscriptions").await.body, before);
    plane.stop().await;
    let faulty =
        Declared { topics: vec![json!({"name": "a", "partitions": 0, "tll": 1}), json!({"partitions": 1})], ..Declared::default() };
    let Err(OpenError::Declared(faults)) = Plane::declaring(folder, faulty).await else { panic!("opened") };
    let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(paths, ["topics[0]/tll", "topics[0]/partitions", "topics[1]"]);
}
