//! Schemas: which hold, what a refusal says, when it becomes a dead letter, and reading them.

use posthorn_domain::reason::Reason;
use posthorn_domain::record::Record;
use serde_json::{Value, json};

use crate::node::Node;

fn wants(member: &str) -> Value {
    json!({"schema": {"type": "object", "required": [member]}})
}

async fn node(topic: Value) -> Node {
    let mut node = Node::start().await;
    node.schema("order", 1, json!({"schema": {"$id": "https://x.example/order/1", "type": "object"}}));
    node.schema("order", 3, wants("total"));
    node.schema("customer", 1, wants("customer"));
    node.topic("orders", topic);
    node
}

#[tokio::test]
async fn every_named_schema_must_hold() {
    let node = node(json!({})).await;
    let publish = async |id: &str, schemas: &str, data: Value| node.publish(id, json!({"schemas": schemas, "data": data})).await;
    assert_eq!(publish("1", "order:3 customer:1", json!({"total": 1, "customer": 2})).await.status, 202);
    assert_eq!(publish("2", "order:1", json!({})).await.status, 202);
    let refused = publish("3", "order  customer:1", json!({})).await;
    assert_eq!(refused.problem(), (422, "schema-invalid".into()));
    let labels: Vec<_> = refused.json()["errors"].as_array().unwrap().iter().map(|fault| fault["schema"].clone()).collect();
    assert_eq!(labels, ["order:3", "customer:1"]);
    let no_data = node.publish("4", json!({"schemas": "order:1"})).await;
    assert_eq!(no_data.problem(), (422, "schema-invalid".into()));
}

#[tokio::test]
async fn what_is_not_known_is_told_apart() {
    let node = node(json!({})).await;
    let publish = async |schemas: &str| node.publish("1", json!({"schemas": schemas, "data": {}})).await;
    for bad in ["order:0", "order:x", "order:", ":1", "order:1:2", "order:01"] {
        let answer = publish(bad).await;
        assert_eq!(answer.problem(), (400, "invalid-event".into()), "{bad}");
        assert!(answer.json()["detail"].as_str().unwrap().contains("`schemas`"));
    }
    assert_eq!(publish("nope:1").await.problem(), (422, "schema-unknown".into()));
    assert_eq!(publish("order:2").await.problem(), (422, "schema-unknown".into()));
    let newer = publish("order:4").await;
    assert_eq!(newer.problem(), (422, "schema-version-unknown".into()));
    assert!(newer.headers.contains_key("retry-after"));
    assert!(newer.json()["detail"].as_str().unwrap().contains("known up to revision "));
}

#[tokio::test]
async fn dataschema_counts_when_it_names_a_registered_version() {
    let node = node(json!({})).await;
    let publish = async |id: &str, uri: &str, data: Value| node.publish(id, json!({"dataschema": uri, "data": data})).await;
    assert_eq!(publish("1", "https://x.example/order/1", json!([])).await.problem(), (422, "schema-invalid".into()));
    assert_eq!(publish("2", "https://any.example/v1/schemas/order/versions/3", json!({})).await.problem(), (422, "schema-invalid".into()));
    assert_eq!(publish("3", "https://elsewhere.example/schema", json!([])).await.status, 202);
}

#[tokio::test]
async fn a_topic_can_demand_schemas() {
    let mut node = node(json!({"schemas": ["order"]})).await;
    assert_eq!(node.publish("1", json!({"data": {}})).await.problem(), (422, "schema-invalid".into()));
    assert_eq!(node.publish("2", json!({"data": {}, "schemas": "order:1"})).await.status, 202);
    node.topic("orders", json!({"schema_required": true}));
    assert_eq!(node.publish("3", json!({"data": {}})).await.problem(), (422, "schema-required".into()));
    assert_eq!(node.publish("4", json!({"data": {}, "schemas": "order:1"})).await.status, 202);
}

#[tokio::test]
async fn a_refusal_becomes_a_dead_letter_where_it_is_to() {
    let mut node = node(json!({"on_refusal": "dead_letter"})).await;
    let answer = node.publish("1", json!({"schemas": "order", "data": {"a": 1}})).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.json(), json!({"id": "1", "topic": "orders", "status": "dead_lettered", "reason": "schema_invalid"}));
    let letters = node.letters();
    assert_eq!((letters.len(), letters[0].reason, letters[0].errors.len()), (1, Reason::SchemaInvalid, 1));
    let record = Record::decode(&letters[0].record).unwrap();
    assert_eq!((record.event.id(), &record.event.data()[..]), ("1", &b"{\"a\":1}"[..]));
    let malformed = node.publish("2", json!({"schemas": "order:0", "data": {}})).await;
    assert_eq!(malformed.status, 400);
    node.schema("strict", 1, json!({"schema": false, "dead_letter": "never"}));
    assert_eq!(node.publish("3", json!({"schemas": "strict", "data": {}})).await.status, 422);
    assert_eq!(node.letters().len(), 1);
}

#[tokio::test]
async fn schemas_are_read_at_the_data_plane_too() {
    let node = node(json!({})).await;
    let list = node.get("/v1/schemas?limit=1").await.json();
    assert_eq!((&list["items"][0]["name"], &list["next_page_token"]), (&json!("customer"), &json!("customer")));
    assert_eq!(node.get("/v1/schemas?page_token=customer").await.json()["items"][0]["versions"], json!([1, 3]));
    assert_eq!(node.get("/v1/schemas/order").await.json()["versions"], json!([1, 3]));
    let latest = node.get("/v1/schemas/order/versions/latest").await;
    assert_eq!((&latest.json()["version"], latest.headers.contains_key("etag")), (&json!(3), true));
    for path in ["/v1/schemas/nope", "/v1/schemas/order/versions/2", "/v1/schemas/order/versions/x"] {
        assert_eq!(node.get(path).await.problem(), (404, "not-found".into()));
    }
}

/// The strongest wins, a subscription's demand too, and only for the events that it gets (DESIGN §5).
#[tokio::test]
async fn a_subscription_that_demands_more_is_given_it() {
    use posthorn_domain::ids::SubscriptionId;
    use posthorn_domain::qos::Durability;
    use posthorn_domain::snapshot::ResourceKey;
    let mut node = node(json!({"durability": "none", "partitions": 1})).await;
    let id = SubscriptionId::make();
    let contract = json!({"id": id.to_string(), "filters": [{"topic": "**"}, {"exact": {"type": "wanted"}}], "qos": {"durability": "sync"},
        "endpoint": {"url": "https://partner.example/hook"},
        "signing": [{"scheme": "standard-webhooks", "secret": "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"}]});
    node.put(&[(ResourceKey::subscription(id), contract)]);
    // What is promised nothing is written with what comes after it.
    for (id, ty) in [("1", "other"), ("2", "wanted")] {
        assert_eq!(node.publish(id, json!({"type": ty})).await.status, 202);
    }
    let log = node.live.snapshot().topics["orders"].log.clone();
    let page = log.read(0, 0, 1 << 20, 10).await.unwrap();
    let kept: Vec<_> = page.records.iter().map(|stored| stored.record.durability).collect();
    assert_eq!(kept, [Durability::None, Durability::Sync]);
}
