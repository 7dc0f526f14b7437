//! The three modes, plain JSON, batches, and what is refused.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::node::{Node, event};

const BINARY: [(&str, &str); 5] =
    [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t"), ("content-type", "application/json")];
const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");
const BATCH: (&str, &str) = ("content-type", "application/cloudevents-batch+json");

async fn node() -> Node {
    let mut node = Node::start().await;
    node.topic("orders", json!({}));
    node
}

#[tokio::test]
async fn the_three_modes_keep_the_same_bytes() {
    let node = node().await;
    let data = "{ \"a\" :\t1.50,\"b\":\"\\u00e9\" }";
    let whole = |id: &str| {
        format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t","datacontenttype":"application/json","data":{data}}}"#)
    };
    let path = "/v1/topics/orders/events";
    let binary = node.post(path, &BINARY, data).await;
    assert_eq!(binary.status, 202);
    assert_eq!(binary.json(), json!({"id": "1", "topic": "orders", "partition": 0, "offset": 0, "status": "accepted"}));
    assert_eq!(node.post(path, &[STRUCTURED], whole("2")).await.json()["offset"], 1);
    let batch = node.post(path, &[BATCH], format!("[{}]", whole("3"))).await;
    assert_eq!((batch.status, &batch.json()["results"][0]["offset"]), (202, &json!(2)));
    let page = node.get("/v1/topics/orders/events").await;
    let text = std::str::from_utf8(&page.body).unwrap();
    assert_eq!(text.matches(&format!("\"data\":{data}}}")).count(), 3, "{text}");
    let page = page.json();
    for (n, entry) in page["events"].as_array().unwrap().iter().enumerate() {
        let mut shown = entry["event"].clone();
        assert_eq!(shown["id"], (n + 1).to_string());
        shown["id"] = "1".into();
        let mut first = page["events"][0]["event"].clone();
        first["id"] = "1".into();
        assert_eq!((&shown["topic"], shown.clone()), (&json!("orders"), first));
    }
}

#[tokio::test]
async fn a_topic_is_named_by_path_then_attribute_then_type() {
    let mut node = node().await;
    node.topic("other", json!({}));
    node.topic("t", json!({}));
    let structured = |members: Value| event("1", members).to_string();
    let by_path = node.post("/v1/topics/other/events", &[STRUCTURED], structured(json!({}))).await;
    assert_eq!(by_path.json()["topic"], "other");
    assert_eq!(node.publish("1", json!({})).await.json()["topic"], "orders");
    let by_type = node.post("/v1/events", &BINARY, "1").await;
    assert_eq!(by_type.json()["topic"], "t");
    let unknown = node.publish("1", json!({"topic": "nope"})).await;
    assert_eq!(unknown.problem(), (404, "topic-unknown".into()));
}

#[tokio::test]
async fn plain_json_on_a_topics_path_becomes_an_event() {
    let node = node().await;
    let answer = node.post("/v1/topics/orders/events", &[("content-type", "application/json; charset=utf-8")], "[1]").await;
    assert_eq!(answer.status, 202, "{:?}", answer.body);
    let shown = node.read("orders", "").await["events"][0]["event"].clone();
    assert_eq!((&shown["source"], &shown["type"], &shown["data"]), (&json!("/publishers/anonymous"), &json!("orders"), &json!([1])));
    assert_eq!(shown["id"], answer.json()["id"]);
    let elsewhere = node.post("/v1/events", &[("content-type", "application/json")], "[1]").await;
    assert_eq!(elsewhere.problem(), (400, "invalid-event".into()));
}

#[tokio::test]
async fn what_is_no_event_or_no_json_is_told() {
    let node = node().await;
    let no_id = node.post("/v1/topics/orders/events", &BINARY[2..], "1").await;
    assert_eq!(no_id.problem(), (400, "invalid-event".into()));
    for (data, hint) in [("{\"a\":}", "byte 5"), ("{\"a\":1,\"a\":2}", "twice"), ("1e999", "byte"), ("", "")] {
        let answer = node.post("/v1/topics/orders/events", &BINARY, data).await;
        if data.is_empty() {
            assert_eq!(answer.status, 202, "no data is no JSON to check");
            continue;
        }
        assert_eq!(answer.problem(), (400, "invalid-json".into()));
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(hint), "{detail}");
    }
    let bad = node.publish("2", json!({"durability": "disk"})).await;
    assert_eq!(bad.problem(), (400, "invalid-event".into()));
    let late = node.publish("3", json!({"expirytime": "2020-01-01T00:00:00Z"})).await;
    assert_eq!(late.problem(), (422, "expired".into()));
}

#[tokio::test]
async fn a_batch_answers_in_order_and_says_what_was_refused() {
    let node = node().await;
    let all = json!([event("1", json!({})), event("2", json!({})), event("1", json!({}))]);
    let answer = node.post("/v1/events", &[BATCH], all.to_string()).await;
    assert_eq!(answer.status, 202);
    let statuses: Vec<_> = answer.json()["results"].as_array().unwrap().iter().map(|result| result["status"].clone()).collect();
    assert_eq!(statuses, ["accepted", "accepted", "duplicate"]);
    let some = json!([event("3", json!({"topic": "nope"})), {"id": "4"}, event("5", json!({}))]);
    let answer = node.post("/v1/events", &[BATCH], some.to_string()).await;
    assert_eq!(answer.status, 207);
    let results = answer.json()["results"].clone();
    assert_eq!((&results[0]["status"], &results[0]["problem"]["status"]), (&json!("refused"), &json!(404)));
    assert_eq!((&results[1]["problem"]["status"], &results[2]["status"]), (&json!(400), &json!("accepted")));
    let empty = node.post("/v1/events", &[BATCH], "[]").await;
    assert_eq!((empty.status, empty.json()), (202, json!({"results": []})));
    let broken = node.post("/v1/events", &[BATCH], "{}").await;
    assert_eq!(broken.problem(), (400, "invalid-json".into()));
}

#[tokio::test]
async fn paths_and_methods_are_held_to() {
    let node = node().await;
    assert_eq!(node.get("/v1/nothing").await.problem(), (404, "not-found".into()));
    assert_eq!(node.post("/v1/sources/github", &[], Bytes::new()).await.problem(), (404, "not-found".into()));
    let wrong = node.get("/v1/events").await;
    assert_eq!((wrong.problem(), &wrong.headers["allow"]), ((405, "method-not-allowed".into()), &"POST, OPTIONS".parse().unwrap()));
    let options = http::Request::builder().method("OPTIONS").uri("/v1/events").body(http_body_util::Full::default()).unwrap();
    assert_eq!(node.request(options).await.status, 204);
}

#[tokio::test]
async fn a_draining_node_says_so() {
    let node = node().await;
    node.pipeline.drain();
    let answer = node.publish("1", json!({})).await;
    assert_eq!(answer.problem(), (503, "draining".into()));
    assert!(answer.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn keyed_events_share_a_partition() {
    let mut node = node().await;
    node.topic("wide", json!({"partitions": 8}));
    let mut partitions = Vec::new();
    for n in 0..4 {
        partitions.push(node.publish(&n.to_string(), json!({"topic": "wide", "subject": "k"})).await.json()["partition"].clone());
    }
    partitions.dedup();
    assert_eq!(partitions.len(), 1);
}
