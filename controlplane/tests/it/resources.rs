//! The rules of topics, schemas and subscriptions through the REST door.

use serde_json::{Value, json};

use crate::support::Plane;

#[tokio::test]
async fn topics_hold_to_their_rules() {
    let plane = Plane::start().await;
    let refused = plane.call("PUT", "/v1/topics/orders", json!({"schemas": ["order"]})).await;
    assert_eq!(refused.is(422, "invalid-resource").pointers(), ["#/schemas/0"]);
    let made = plane.call("PUT", "/v1/topics/orders", json!({"partitions": 4, "ttl": "24h"})).await;
    assert_eq!(made.is(201, "").body["revision"], 1);
    assert_eq!(made.body["ttl"], "1d");
    let again = plane.call("PUT", "/v1/topics/orders", made.body.clone()).await;
    assert_eq!(again.is(200, "").body, made.body, "what was read can be written back and changes nothing");
    let refused = plane.call("PUT", "/v1/topics/orders", json!({"partitions": 2})).await;
    assert_eq!(refused.is(422, "invalid-resource").pointers(), ["#/partitions"]);
    let grown = plane.call("PUT", "/v1/topics/orders", json!({"partitions": 8})).await;
    assert_eq!((grown.is(200, "").body["revision"].clone(), grown.body["created_at"].clone()), (json!(2), made.body["created_at"].clone()));
    plane.call("PUT", "/v1/topics/a%20b", json!({})).await.is(400, "invalid-request");

    let bound = plane.subscribe("orders", json!({})).await.is(201, "").body["id"].clone();
    plane.subscribe("**", json!({})).await.is(201, "");
    let refused = plane.call("DELETE", "/v1/topics/orders", Value::Null).await;
    assert_eq!(refused.is(409, "in-use").body["used_by"], json!([bound]));
    plane.send("DELETE", "/v1/topics/orders?force=true", &[], "").await.is(204, "");
    plane.send("DELETE", "/v1/topics/orders", &[], "").await.is(404, "not-found");
}

#[tokio::test]
async fn schema_versions_are_numbered_once() {
    let plane = Plane::start().await;
    let path = "/v1/schemas/order/versions";
    let refused = plane.call("POST", path, json!({"schema": {"properties": {"a": {"type": "nope"}}}})).await;
    assert!(refused.is(422, "invalid-resource").pointers()[0].starts_with("#/schema/properties/a"), "{}", refused.body);
    let dry = plane.call("POST", &format!("{path}?dry_run=true"), json!({"schema": true})).await;
    assert_eq!(dry.is(200, "").body, json!({"compatible": true, "counterexample": null, "sample": null}));
    plane.get("/v1/schemas/order").await.is(404, "not-found");
    let first = plane.call("POST", path, json!({"schema": {"type": "object", "minProperties": 1}})).await;
    assert_eq!(first.is(201, "").header("location"), "/v1/schemas/order/versions/1");
    let same = plane.call("POST", path, json!({"schema": {"minProperties": 1, "type": "object"}})).await;
    assert_eq!(same.is(200, "").body, first.body);
    plane.call("POST", path, json!({"schema": {"type": "object", "minProperties": 1}, "ttl": "1h"})).await.is(201, "");
    assert_eq!(plane.get(&format!("{path}/latest")).await.is(200, "").body["version"], 2);
    assert_eq!(plane.get("/v1/schemas/order").await.is(200, "").body["versions"], json!([1, 2]));
    assert_eq!(plane.get(path).await.is(200, "").body["items"][1]["version"], 2);

    plane.call("PUT", "/v1/topics/orders", json!({"schemas": ["order"]})).await.is(201, "");
    let refused = plane.send("DELETE", &format!("{path}/2"), &[], "").await;
    assert_eq!(refused.is(409, "in-use").body["used_by"], json!(["topics/orders"]));
    plane.call("PUT", "/v1/topics/orders", json!({})).await.is(200, "");
    plane.send("DELETE", &format!("{path}/2"), &[], "").await.is(204, "");
    let third = plane.call("POST", path, json!({"schema": false})).await;
    assert_eq!(third.is(201, "").body["version"], 3, "a number is not used twice");
    let refused = plane.call("PUT", "/v1/schemas/order", json!({"compatibility": "sideways"})).await;
    assert_eq!(refused.is(422, "invalid-resource").pointers(), ["#/compatibility"]);
    plane.call("PUT", "/v1/schemas/order", json!({"compatibility": "none"})).await.is(200, "");
}

#[tokio::test]
async fn secrets_are_shown_once() {
    let plane = Plane::start().await;
    let made = plane
        .subscribe(
            "orders",
            json!({"endpoint": {"url": "https://partner.example/hook",
        "auth": [{"type": "basic", "username": "u", "password": "hunter2-hunter2"}]}}),
        )
        .await;
    let secret = made.is(201, "").body["signing"][0]["secret"].as_str().expect("shown").to_owned();
    assert!(secret.starts_with("whsec_"));
    let path = made.header("location").to_owned();
    let read = plane.get(&path).await;
    assert_eq!(read.is(200, "").body["signing"][0]["secret"], "********");
    for body in [&made.body, &read.body] {
        assert!(!body.to_string().contains("hunter2-hunter2"));
    }
    let kept = plane.call("PUT", &path, read.body.clone()).await;
    assert_eq!(kept.is(200, "").body["revision"], made.body["revision"], "written back as it was read, nothing changes");

    let own = plane.subscribe("orders", json!({"signing": [{"scheme": "standard-webhooks", "key": "ed25519"}]})).await;
    assert!(own.is(201, "").body["signing"][0]["secret"].as_str().expect("shown").starts_with("whsk_"));
    let public = own.body["signing"][0]["public_key"].clone();
    assert!(public.as_str().expect("shown").starts_with("whpk_"));
    let path = own.header("location").to_owned();
    assert_eq!(plane.get(&path).await.body["signing"][0]["public_key"], public);

    let given = plane.subscribe("orders", json!({"signing": [{"scheme": "standard-webhooks", "secret": secret}]})).await;
    assert_eq!(given.is(201, "").body["signing"][0]["secret"], "********", "who gave it knows it");
    let refused = plane.subscribe("orders", json!({"signing": [{"scheme": "standard-webhooks", "secret": "********"}]})).await;
    assert_eq!(refused.is(422, "invalid-resource").pointers(), ["#/signing/0/secret"]);
}

#[tokio::test]
async fn secrets_rotate_with_an_overlap() {
    let plane = Plane::start().await;
    let made = plane.subscribe("orders", json!({})).await;
    let path = made.is(201, "").header("location").to_owned();
    let rotated = plane.call("POST", &format!("{path}/rotate-secret"), json!({"overlap": "24h"})).await;
    let fresh = rotated.is(200, "").body["signing"][0]["secret"].as_str().expect("shown").to_owned();
    assert_ne!(fresh, made.body["signing"][0]["secret"]);
    assert_eq!(rotated.body["signing"][0]["previous"][0]["secret"], "********");
    let read = plane.get(&path).await.body;
    assert_eq!(read["signing"][0]["secret"], "********");
    plane.call("PUT", &path, read).await.is(200, "");
    plane.call("POST", &format!("{path}/rotate-secret"), json!({"overlap": "90d"})).await.is(422, "invalid-resource");
    let at_once = plane.call("POST", &format!("{path}/rotate-secret"), json!({"overlap": "0s"})).await;
    assert_eq!(at_once.is(200, "").body["signing"][0].get("previous"), None);
    plane.send("POST", &format!("{path}/rotate-secret"), &[], "").await.is(200, "");
}

#[tokio::test]
async fn subscriptions_live_and_die() {
    let plane = Plane::start().await;
    plane.call("PUT", "/v1/topics/memory", json!({"durability": "none"})).await.is(201, "");
    let refused = plane.subscribe("memory", json!({"qos": {"durability": "sync"}})).await;
    assert_eq!(refused.is(422, "invalid-resource").pointers(), ["#/qos/durability"]);
    plane.subscribe("**", json!({"qos": {"durability": "sync", "ordering": "key"}})).await.is(422, "invalid-resource");
    plane.call("PUT", "/v1/topics/disk", json!({"durability": "sync"})).await.is(201, "");
    plane.subscribe("**", json!({"qos": {"durability": "sync", "ordering": "key"}})).await.is(201, "");
    plane.subscribe("later", json!({"qos": {"durability": "sync"}})).await.is(201, "");

    let faulty = plane
        .call("POST", "/v1/subscriptions", json!({"filters": [], "endpoint": {"url": "http://127.0.0.1/x"}, "limits": {"in_flight": 0}}))
        .await;
    assert_eq!(faulty.is(422, "invalid-resource").pointers().len(), 3, "{}", faulty.body);

    let made = plane.subscribe("orders", json!({"name": "acme", "start": "earliest"})).await;
    let path = made.is(201, "").header("location").to_owned();
    assert_eq!(plane.send("POST", &format!("{path}/pause"), &[], "").await.is(200, "").body["status"], "paused");
    let replaced =
        plane.subscribe_at(&path, json!({"filters": [{"topic": "else"}], "endpoint": {"url": "https://partner.example/b"}})).await;
    assert_eq!((&replaced["status"], &replaced["start"], &replaced["name"]), (&json!("paused"), &json!("earliest"), &json!("")));
    assert_eq!(plane.send("POST", &format!("{path}/resume"), &[], "").await.is(200, "").body["status"], "active");
    let unchanged = plane.send("POST", &format!("{path}/resume"), &[], "").await;
    assert_eq!(unchanged.is(200, "").header("etag"), plane.get(&path).await.header("etag"));
    plane.send("POST", &format!("{path}/verify"), &[], "").await.is(422, "invalid-resource");
    for action in ["test", "replay"] {
        plane.call("POST", &format!("{path}/{action}"), json!({"from": "earliest"})).await.is(503, "no-node");
    }
    plane.get("/v1/deliveries?status=nope").await.is(400, "invalid-request");
    plane.get("/v1/dead-letters").await.is(503, "no-node");
    plane.send("DELETE", &path, &[], "").await.is(204, "");
    plane.get(&path).await.is(404, "not-found");
    plane.get("/v1/subscriptions/sub_1").await.is(404, "not-found");
}

impl Plane {
    async fn subscribe_at(&self, path: &str, document: Value) -> Value {
        self.call("PUT", path, document).await.is(200, "").body.clone()
    }
}
