//! Events that were seen before: one after the other, at the same time, by key, and after a restart.

use posthorn_dataplane::ingest::rebuild;
use posthorn_domain::clock::Clock;
use serde_json::json;

use crate::node::{Node, event};

const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");

async fn node() -> Node {
    let mut node = Node::start().await;
    node.topic("orders", json!({}));
    node
}

#[tokio::test]
async fn a_duplicate_gets_the_first_answer() {
    let node = node().await;
    let first = node.publish("1", json!({})).await;
    let mut body = first.json();
    body["status"] = "duplicate".into();
    let again = node.publish("1", json!({})).await;
    assert_eq!((first.status, again.status, again.json()), (202, 200, body));
    assert_eq!(node.publish("1", json!({"source": "/other"})).await.status, 202);
    assert_eq!(node.read("orders", "").await["events"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn of_many_at_once_one_is_kept() {
    let node = node().await;
    let answers = futures_util::future::join_all((0..20).map(|_| node.publish("1", json!({"durability": "sync"})))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 202).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 19);
    assert!(answers.iter().all(|answer| answer.json()["offset"] == 0));
    assert_eq!(node.read("orders", "").await["events"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_idempotency_key_stands_in_for_source_and_id() {
    let node = node().await;
    let post = async |id: &str, key: &str| {
        node.post("/v1/events", &[STRUCTURED, ("idempotency-key", key)], event(id, json!({})).to_string()).await
    };
    assert_eq!(post("1", "\"k\"").await.status, 202);
    let again = post("2", "k").await;
    assert_eq!((again.status, &again.json()["id"]), (200, &json!("1")));
    assert_eq!(post("1", "other").await.status, 202);
    assert_eq!(post("1", "\"\"").await.problem(), (400, "invalid-request".into()));
}

#[tokio::test]
async fn without_a_window_all_are_kept() {
    let mut node = node().await;
    node.topic("orders", json!({"dedup_window": "0s"}));
    assert_eq!(node.publish("1", json!({})).await.status, 202);
    assert_eq!(node.publish("1", json!({})).await.status, 202);
    assert!(node.dedup.is_empty());
}

#[tokio::test]
async fn what_was_refused_may_come_again() {
    let node = node().await;
    let late = json!({"expirytime": "2020-01-01T00:00:00Z"});
    assert_eq!(node.publish("1", late.clone()).await.status, 422);
    assert_eq!(node.publish("1", json!({})).await.status, 202);
    assert_eq!(node.publish("1", late).await.status, 200, "accepted is accepted");
}

#[tokio::test]
async fn the_window_outlives_a_restart() {
    let mut node = node().await;
    node.topic("orders", json!({"partitions": 3}));
    for n in 0..10 {
        assert_eq!(node.publish(&n.to_string(), json!({})).await.status, 202);
    }
    // A second table filled from the same log stands for the restarted process.
    let table = node.live.snapshot();
    let dedup = posthorn_dataplane::ingest::Dedup::new(1000, Default::default());
    let count = rebuild(&dedup, &table.topics["orders"], Clock::system().now()).await.unwrap();
    assert_eq!((count, dedup.len()), (10, 10));
}
