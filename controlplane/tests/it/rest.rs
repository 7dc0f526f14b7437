//! How the REST door treats requests, whatever they ask for.

use serde_json::json;

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
