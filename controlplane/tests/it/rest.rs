//! How the REST door treats requests, whatever they ask for.

use serde_json::{Value, json};

use crate::support::Plane;

#[tokio::test]
async fn every_described_route_is_served_and_no_other_method() {
    let plane = Plane::start().await;
    let description = plane.get("/openapi.json").await;
    assert_eq!(description.body["openapi"], "3.1.0");
    let paths = description.body["paths"].as_object().expect("paths");
    for (path, item) in paths {
        let path = path.replace("{name}", "n").replace("{version}", "1").replace("{id}", "x");
        for method in ["get", "put", "post", "delete", "patch"] {
            let answer = plane.send(&method.to_uppercase(), &path, &[("content-type", "application/json")], "").await;
            if item.get(method).is_some() {
                assert_ne!(answer.status, 405, "{method} {path}");
                assert!(!answer.body["detail"].as_str().unwrap_or_default().contains("no route"), "{method} {path}");
                assert!(
                    answer.status.as_u16() < 500 || answer.body["type"] == "urn:posthorn:problem:no-node",
                    "{method} {path}: {answer:?}"
                );
            } else {
                answer.is(405, "method-not-allowed");
                let allow = answer.header("allow").to_lowercase();
                let served = item.as_object().expect("methods").keys().all(|method| allow.contains(method.as_str()));
                assert!(served, "{method} {path}: {allow}");
            }
        }
    }
    plane.get("/v1/nothing").await.is(404, "not-found");
    plane.get("/v1/topics/a%ffb").await.is(400, "invalid-request");
}

#[tokio::test]
async fn malformed_requests_are_refused_with_their_place() {
    let plane = Plane::start().await;
    let json = [("content-type", "application/json")];
    let answer = plane.send("PUT", "/v1/topics/a", &json, "{\n \"partitions\": }").await;
    assert!(answer.is(400, "invalid-request").body["detail"].as_str().expect("text").contains("line 2 column 16"));
    let answer = plane.send("PUT", "/v1/topics/a", &json, r#"{"ttl": "1s", "ttl": "2s"}"#).await;
    assert!(answer.is(400, "invalid-request").body["detail"].as_str().expect("text").contains("duplicate member `ttl`"));
    plane.send("PUT", "/v1/topics/a", &json, "").await.is(400, "invalid-request");
    plane.send("PUT", "/v1/topics/a", &[("content-type", "text/plain")], "{}").await.is(415, "unsupported-media-type");
    plane.send("PUT", "/v1/topics/a", &[("content-encoding", "gzip")], "{}").await.is(415, "unsupported-media-type");
    plane.send("PUT", "/v1/topics/a", &json, " ".repeat(2 << 20)).await.is(413, "too-large");
    plane.get("/v1/topics?limt=3").await.is(400, "invalid-request");
    plane.get("/v1/topics?limit=0").await.is(400, "invalid-request");
    plane.get("/v1/topics?limit=3&limit=4").await.is(400, "invalid-request");
    plane.get("/v1/topics?page_token=%21").await.is(400, "invalid-request");
    let answer = plane.call("PUT", "/v1/topics/a", json!({"partitions": "x", "tll": "1s", "retention": {"age": 1}})).await;
    assert_eq!(answer.is(400, "invalid-request").pointers(), ["#/partitions", "#/retention/age", "#/tll"]);
    plane.send("PUT", "/v1/topics/a", &[("content-type", "application/merge-patch+json")], "{}").await.is(201, "");
    plane.send("PUT", "/v1/topics/b", &[], "{}").await.is(201, "");
}

#[tokio::test]
async fn writes_hold_to_their_preconditions() {
    let plane = Plane::start().await;
    let json = ("content-type", "application/json");
    plane.send("PUT", "/v1/topics/a", &[json, ("if-match", "\"1\"")], "{}").await.is(412, "precondition-failed");
    let made = plane.send("PUT", "/v1/topics/a", &[json, ("if-none-match", "*")], "{}").await;
    assert_eq!(made.is(201, "").header("etag"), "\"1\"");
    assert_eq!(made.header("location"), "/v1/topics/a");
    let refused = plane.send("PUT", "/v1/topics/a", &[json, ("if-none-match", "*")], "{}").await;
    assert_eq!(refused.is(412, "precondition-failed").header("etag"), "\"1\"");
    for (n, tag) in ["\"1\"", "W/\"2\"", "3", "*"].into_iter().enumerate() {
        let body = json!({"partitions": n + 2}).to_string();
        plane.send("PUT", "/v1/topics/a", &[json, ("if-match", tag)], body).await.is(200, "");
    }
    let stale = plane.send("DELETE", "/v1/topics/a", &[("if-match", "\"1\", \"2\"")], "").await;
    assert_eq!(stale.is(412, "precondition-failed").header("etag"), "\"5\"");
    plane.send("DELETE", "/v1/topics/a", &[("if-match", "\"4\", \"5\"")], "").await.is(204, "");
    plane.get("/v1/topics/a").await.is(404, "not-found");
}

#[tokio::test]
async fn lists_go_page_by_page() {
    let plane = Plane::start().await;
    for n in 0..5 {
        plane.call("PUT", &format!("/v1/topics/t{n}"), json!({})).await.is(201, "");
    }
    let (mut names, mut token) = (Vec::new(), String::new());
    loop {
        let page = plane.get(&format!("/v1/topics?limit=2&page_token={token}")).await;
        for item in page.is(200, "").body["items"].as_array().expect("items") {
            names.push(item["name"].as_str().expect("a name").to_owned());
        }
        let Some(next) = page.body["next_page_token"].as_str() else { break };
        next.clone_into(&mut token);
    }
    assert_eq!(names, ["t0", "t1", "t2", "t3", "t4"]);
}

/// Values that have broken parsers before, at every member of every document.
#[tokio::test]
async fn no_document_makes_the_server_fail() {
    let plane = Plane::start().await;
    let made = plane.subscribe("orders", json!({})).await;
    let subscription = made.is(201, "").body.clone();
    let path = made.header("location").to_owned();
    let topic = plane.call("PUT", "/v1/topics/a", json!({"retention": {"age": "1d"}})).await.body;
    let schema = json!({"schema": {"type": "object"}, "ttl": "1s", "durability": "sync", "dead_letter": "allow", "on_refusal": "reject"});
    let targets = [
        ("PUT", "/v1/topics/a".to_owned(), topic),
        ("POST", "/v1/schemas/s/versions".to_owned(), schema),
        ("PUT", "/v1/schemas/s".to_owned(), json!({"compatibility": "none"})),
        ("PUT", path.clone(), subscription.clone()),
        ("POST", "/v1/subscriptions".to_owned(), subscription),
        ("POST", format!("{path}/rotate-secret"), json!({"overlap": "1h"})),
        ("POST", format!("{path}/replay"), json!({"from": "earliest", "to": "latest"})),
        ("POST", "/v1/dead-letters/retry".to_owned(), json!({"topic": "a", "subscription": "x", "reason": "y"})),
    ];
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let nasty = [
        json!(null),
        json!(-1),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("\u{0}\u{202e}"),
        json!("9".repeat(5000)),
        json!([]),
        json!({}),
        deep,
    ];
    for (method, path, document) in targets {
        for place in places(&document, "") {
            for value in &nasty {
                let mut faulty = document.clone();
                *faulty.pointer_mut(&place).expect("a place") = value.clone();
                let answer = plane.call(method, &path, faulty).await;
                let failed = answer.status.as_u16() >= 500 && answer.body["type"] != "urn:posthorn:problem:no-node";
                assert!(!failed, "{method} {path} {place} = {value}: {answer:?}");
            }
        }
    }
}

fn places(document: &Value, at: &str) -> Vec<String> {
    let inside: Vec<(String, &Value)> = match document {
        Value::Object(map) => map.iter().map(|(name, value)| (format!("{at}/{name}"), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(n, value)| (format!("{at}/{n}"), value)).collect(),
        _ => Vec::new(),
    };
    std::iter::once(at.to_owned()).chain(inside.into_iter().flat_map(|(at, value)| places(value, &at))).collect()
}
