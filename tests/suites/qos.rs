//! What is promised for an event, by whom, and what becomes of the events that break the contract (DESIGN §5, interfaces §1, §4).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use posthorn_proto::admin::operations_client::OperationsClient;
use posthorn_proto::admin::topics_client::TopicsClient;
use posthorn_proto::admin::{RetryDeadLettersRequest, Setting, TopicQosRequest};
use posthorn_proto::broker::PublishRequest;
use posthorn_proto::broker::event_broker_client::EventBrokerClient;
use posthorn_proto::cloudevents::CloudEvent;
use posthorn_tests::{Behaviour, Config, SOON, World, eventually};
use serde_json::{Value, json};

use crate::kit::metric;

#[tokio::test]
async fn a_topics_qos_is_shown_with_who_set_each() -> Result<()> {
    let world = World::with(Config::with(json!({"ingest": {"default_durability": "log", "max_hops": 5}}))).await?;
    world.schema_version("order", json!({"schema": true, "ttl": "1h", "durability": "sync"})).await?;
    world.schema_version("customer", json!({"schema": true, "ttl": "2h", "dead_letter": "never", "on_refusal": "dead_letter"})).await?;
    world.topic("plain", json!({})).await?;
    world.topic("orders", json!({"schemas": ["order"], "durability": "log", "ttl": "1m", "on_refusal": "dead_letter"})).await?;
    let contract =
        json!({"filters": [{"topic": "plain"}], "qos": {"durability": "sync", "ordering": "key"}, "retry": {"schedule": ["7s"]}});
    let subscribed = world.subscribe("/hook", contract).await?;
    let setting = |value: Value, from: &str| json!({"value": value, "from": from});
    let shown = world.read("/v1/topics/plain/qos").await?;
    ensure!(shown["schemas"] == json!([]) && shown["subscription"].is_null() && shown["topic"] == "plain", "{shown}");
    for (name, value) in [
        ("durability", json!("log")),
        ("dead_letter", json!("allow")),
        ("on_refusal", json!("reject")),
        ("ttl", Value::Null),
        ("max_hops", json!(5)),
    ] {
        ensure!(shown[name] == setting(value, "default"), "{name}: {shown}");
    }
    let shown = world.read("/v1/topics/orders/qos").await?;
    ensure!(shown["schemas"] == json!(["order:1"]) && shown["durability"] == setting(json!("sync"), "schema order:1"), "{shown}");
    ensure!(
        shown["ttl"] == setting(json!("1h"), "schema order:1") && shown["on_refusal"] == setting(json!("dead_letter"), "topic"),
        "{shown}"
    );
    let shown = world.read("/v1/topics/orders/qos?schemas=customer:1%20order").await?;
    ensure!(shown["schemas"] == json!(["customer:1", "order:1"]), "{shown}");
    ensure!(shown["ttl"] == setting(json!("2h"), "schema customer:1"), "{shown}");
    ensure!(shown["dead_letter"] == setting(json!("never"), "schema customer:1"), "{shown}");
    ensure!(shown["on_refusal"] == setting(json!("reject"), "schema customer:1"), "{shown}");
    let shown = world.read(&format!("/v1/topics/plain/qos?durability=none&subscription={}", subscribed.id)).await?;
    ensure!(shown["durability"] == setting(json!("sync"), "subscription"), "{shown}");
    ensure!(shown["ordering"] == setting(json!("key"), "subscription"), "{shown}");
    ensure!(shown["retry"]["value"]["schedule"] == json!(["7s"]) && shown["retry"]["from"] == "subscription", "{shown}");
    let shown = world.read("/v1/topics/plain/qos?durability=none").await?;
    ensure!(shown["durability"] == setting(json!("none"), "event"), "{shown}");
    for (path, status, code) in [
        ("/v1/topics/nowhere/qos", 404, "not-found"),
        ("/v1/topics/plain/qos?schemas=nobody", 422, "schema-unknown"),
        ("/v1/topics/plain/qos?schemas=order:2", 422, "schema-version-unknown"),
        ("/v1/topics/plain/qos?schemas=order:0", 400, "invalid-request"),
        ("/v1/topics/plain/qos?durability=forever", 400, "invalid-request"),
        ("/v1/topics/plain/qos?subscription=x", 400, "invalid-request"),
        ("/v1/topics/plain/qos?other=1", 400, "invalid-request"),
    ] {
        let reply = world.control.get(path).await?;
        ensure!(reply.status == status && reply.problem()? == code, "{path}: {} {}", reply.status, reply.text());
    }
    world.control.delete(&format!("/v1/subscriptions/{}", subscribed.id)).await?.expect(204)?;
    let gone = world.control.get(&format!("/v1/topics/plain/qos?subscription={}", subscribed.id)).await?;
    ensure!(gone.status == 404 && gone.problem()? == "not-found", "{}", gone.text());
    Ok(())
}

#[tokio::test]
async fn a_demand_that_a_topic_cannot_meet_is_refused_with_the_reason() -> Result<()> {
    let world = World::start().await?;
    world.schema_version("order", json!({"schema": true, "durability": "sync"})).await?;
    world.topic("fleeting", json!({"durability": "none"})).await?;
    world.topic("open", json!({})).await?;
    world.topic("orders", json!({"durability": "none", "schemas": ["order"]})).await?;
    for (topic, demand, met) in [
        ("fleeting", "sync", false),
        ("fleeting", "log", false),
        ("fleeting", "none", true),
        ("open", "sync", true),
        ("orders", "sync", true),
        ("later", "sync", true),
    ] {
        let contract =
            json!({"filters": [{"topic": topic}], "endpoint": {"url": world.receiver.url("/hook")}, "qos": {"durability": demand}});
        let reply = world.control.post("/v1/subscriptions", &contract).await?;
        if met {
            reply.expect(201).context(topic)?;
        } else {
            let problem = reply.expect(422).context(topic)?;
            ensure!(problem["errors"][0]["pointer"] == "#/qos/durability", "{problem}");
            ensure!(problem["errors"][0]["detail"].as_str().is_some_and(|text| text.contains(topic) && text.contains(demand)), "{problem}");
        }
    }
    Ok(())
}

/// The event's schemas decide how long it lives, the greatest of them; a lane that was behind asks again before it sends (I13).
#[tokio::test]
async fn what_expired_behind_a_paused_lane_is_never_sent() -> Result<()> {
    let world = World::start().await?;
    world.schema_version("brief", json!({"schema": true, "ttl": "300ms"})).await?;
    world.schema_version("long", json!({"schema": true, "ttl": "1h"})).await?;
    world.topic("orders", json!({"ttl": "300ms"})).await?;
    let subscribed = world.subscribe("/hook", json!({})).await?;
    let paused = world.control.post(&format!("/v1/subscriptions/{}/pause", subscribed.id), &Value::Null).await?;
    world.written(&paused).await?;
    let gone = [json!({}), json!({"schemas": "brief"})];
    let stays = [json!({"schemas": "brief long"}), json!({"schemas": "long", "expirytime": "2100-01-01T00:00:00Z"})];
    let mut ids = [Vec::new(), Vec::new()];
    for (n, events) in [&gone, &stays].into_iter().enumerate() {
        for more in events {
            let mut event = more.clone();
            event["data"] = json!(1);
            ids[n].push(world.publish_with("orders", event).await?);
        }
    }
    let until = tokio::time::Instant::now() + Duration::from_millis(500);
    eventually("the times to live pass", SOON, || std::future::ready((tokio::time::Instant::now() >= until).then_some(()))).await?;
    let resumed = world.control.post(&format!("/v1/subscriptions/{}/resume", subscribed.id), &Value::Null).await?;
    world.written(&resumed).await?;
    let letters = world.listed("/v1/dead-letters?reason=expired", 2, |_| true).await?;
    let mut expired: Vec<&str> = letters.iter().filter_map(|letter| letter["event"]["id"].as_str()).collect();
    expired.sort_unstable();
    ensure!(expired == ids[0], "{expired:?}");
    let got = world.receiver.wait_for("/hook", 2, SOON).await?;
    let mut sent: Vec<String> = got.iter().map(posthorn_tests::Received::event_id).collect::<Result<_>>()?;
    sent.sort();
    ensure!(sent == ids[1], "{sent:?}");
    Ok(())
}

#[tokio::test]
async fn a_corrected_schema_is_tried_on_dead_letters() -> Result<()> {
    let world = World::start().await?;
    let total = |kind: &str| json!({"type": "object", "required": ["total"], "properties": {"total": {"type": kind}}});
    world.schema_version("order", json!({"schema": total("integer")})).await?;
    world.schema("customer", json!({"required": ["customer"]})).await?;
    world.topic("orders", json!({"on_refusal": "dead_letter"})).await?;
    world.subscribe("/hook", json!({})).await?;
    for (id, schemas, data) in [
        ("good", "order:1 customer", json!({"total": 1.5, "customer": "a"})),
        ("typo", "oder:1", json!({"total": 2.5})),
        ("bad", "order:1", json!({"total": "x", "customer": 1})),
        ("other", "order:1 customer", json!({"total": 1.5})),
    ] {
        let event =
            json!({"specversion": "1.0", "id": id, "source": "/s", "type": "t", "topic": "orders", "schemas": schemas, "data": data});
        ensure!(world.data.publish(&event).await?.expect(202)?["status"] == "dead_lettered", "{id}");
    }
    let letters = world.listed("/v1/dead-letters?topic=orders", 4, |letter| letter["accepted_at"].is_string()).await?;
    let letter = letters.iter().find(|letter| letter["event"]["id"] == "bad").context("the letter")?;
    ensure!(letter["errors"][0]["schema"] == "order:1" && letter["errors"][0]["pointer"] == "#/total", "{letter}");
    ensure!(letter["event"]["data"] == json!({"total": "x", "customer": 1}) && letter["direction"] == "incoming", "{letter}");
    world.schema_version("order", json!({"schema": total("number")})).await?;
    let control = &world.control;
    let retry = |body: Value| async move { control.post("/v1/dead-letters/retry", &body).await };
    let done = retry(json!({"topic": "orders", "validate_with": "order:2"})).await?.expect(202)?;
    ensure!(done["retried"] == 2 && done["refused"] == 2 && done["errors"] == 2 && done["skipped"] == 0, "{done}");
    let example =
        done["examples"].as_array().and_then(|all| all.iter().find(|example| example["id"] == letter["id"])).context("an example")?;
    ensure!(example["errors"][0]["schema"] == "order:2" && example["errors"][0]["pointer"] == "#/total", "{example}");
    let got = world.receiver.wait_for("/hook", 2, SOON).await?;
    for request in &got {
        let wanted = if request.event_id()? == "good" { "customer%20order:2" } else { "order:2" };
        ensure!(request.header("ce-schemas") == wanted, "{request:?}");
    }
    let left = world.listed("/v1/dead-letters?topic=orders", 2, |_| true).await?;
    ensure!(left.iter().all(|letter| letter["event"]["id"] == "bad" || letter["event"]["id"] == "other"), "{left:?}");
    // One by its id; the answer is the refusal itself.
    let path = format!("/v1/dead-letters/{}/retry", letter["id"].as_str().context("an id")?);
    let refused = world.control.post(&path, &json!({"validate_with": "order:2"})).await?;
    ensure!(refused.status == 422 && refused.problem()? == "schema-invalid", "{}", refused.text());
    world.schema_version("order", json!({"schema": true})).await?;
    world.control.post(&path, &json!({"validate_with": "order"})).await?.expect(202)?;
    for (list, status, code) in [
        ("nobody", 422, "schema-unknown"),
        ("order:9", 422, "schema-version-unknown"),
        ("order:0", 400, "invalid-request"),
        ("", 400, "invalid-request"),
    ] {
        let reply = retry(json!({"validate_with": list})).await?;
        ensure!(reply.status == status && reply.problem()? == code, "{list}: {} {}", reply.status, reply.text());
    }
    Ok(())
}

fn message(id: &str) -> PublishRequest {
    let event = CloudEvent { id: id.into(), source: "/s".into(), spec_version: "1.0".into(), r#type: "t".into(), ..CloudEvent::default() };
    PublishRequest { topic: "orders".into(), event: Some(event), idempotency_key: String::new() }
}

#[tokio::test]
async fn filters_see_the_direction_that_the_door_gave() -> Result<()> {
    let world = World::with(Config::with(json!({"ingest": {"default_direction": "outgoing"}}))).await?;
    world.topic("orders", json!({})).await?;
    let towards = |direction: &str| json!({"filters": [{"topic": "orders"}, {"exact": {"direction": direction}}]});
    let inside = world.subscribe("/inside", towards("incoming")).await?;
    world.subscribe("/outside", towards("outgoing")).await?;
    // What is behind reads from the log, and must know it still.
    let paused = world.control.post(&format!("/v1/subscriptions/{}/pause", inside.id), &Value::Null).await?;
    world.written(&paused).await?;
    let mut broker = EventBrokerClient::connect(world.posthorn.broker_url()).await?;
    broker.handle_incoming_event(message("in")).await?;
    broker.handle_incoming_message(message("old-name")).await?;
    broker.send_outgoing_event(message("out")).await?;
    world.data.publish(&json!({"specversion": "1.0", "id": "http", "source": "/s", "type": "t", "topic": "orders"})).await?.expect(202)?;
    let resumed = world.control.post(&format!("/v1/subscriptions/{}/resume", inside.id), &Value::Null).await?;
    world.written(&resumed).await?;
    for (path, wanted) in [("/inside", ["in", "old-name"]), ("/outside", ["http", "out"])] {
        let mut got: Vec<String> =
            world.receiver.wait_for(path, 2, SOON).await?.iter().map(posthorn_tests::Received::event_id).collect::<Result<_>>()?;
        got.sort();
        ensure!(got == wanted, "{path}: {got:?}");
    }
    Ok(())
}

/// Not reachable: dropped or kept by the strongest of schema and contract, and counted either way.
#[tokio::test]
async fn what_cannot_be_delivered_is_dropped_or_kept_and_counted() -> Result<()> {
    let world = World::start().await?;
    world.schema_version("fleeting", json!({"schema": true, "dead_letter": "never"})).await?;
    world.topic("orders", json!({})).await?;
    let once = json!({"retry": {"schedule": []}});
    world.subscribe("/kept", once.clone()).await?;
    world.subscribe("/dropped", json!({"retry": {"schedule": []}, "qos": {"dead_letter": "never"}})).await?;
    world.receiver.on("/kept", Behaviour::Status(400));
    world.receiver.on("/dropped", Behaviour::Status(400));
    world.publish("orders", json!(1)).await?;
    world.publish_with("orders", json!({"schemas": "fleeting", "data": 2})).await?;
    world.listed("/v1/deliveries?status=dropped", 3, |_| true).await?;
    let letters = world.listed("/v1/dead-letters", 1, |_| true).await?;
    ensure!(letters[0]["event"]["data"] == 1, "{letters:?}");
    let text = world.posthorn.admin().get("/metrics").await?.text();
    for line in ["posthorn_deliveries_ended_total{outcome=\"dead_lettered\"} 1", "posthorn_deliveries_ended_total{outcome=\"dropped\"} 3"] {
        ensure!(text.lines().any(|metric| metric == line), "{line} is not in {text}");
    }
    ensure!(metric(&world.posthorn, "posthorn_ingest_events_total").await? >= 2.0);
    Ok(())
}

/// The control plane's gRPC says the same as its REST, and the command line shows it.
#[tokio::test]
async fn the_same_over_grpc_and_on_the_command_line() -> Result<()> {
    let world = World::start().await?;
    world.schema_version("order", json!({"schema": false, "ttl": "1h"})).await?;
    world.topic("orders", json!({"max_hops": 2, "on_refusal": "dead_letter"})).await?;
    let url = world.posthorn.url_of_control();
    let asked = TopicQosRequest { name: "orders".into(), schemas: Some("order".into()), ..TopicQosRequest::default() };
    let shown = TopicsClient::connect(url.clone()).await?.get_topic_qos(asked).await?.into_inner();
    let setting = |value: &str, from: &str| Some(Setting { value: value.into(), from: from.into() });
    ensure!(shown.schemas == ["order:1"] && shown.ttl == setting("\"1h\"", "schema order:1"), "{shown:?}");
    ensure!(shown.max_hops == setting("2", "topic") && shown.durability == setting("\"sync\"", "default"), "{shown:?}");
    let event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "topic": "orders", "schemas": "order", "data": 1});
    ensure!(world.data.publish(&event).await?.expect(202)?["status"] == "dead_lettered");
    let mut operations = OperationsClient::connect(url.clone()).await?;
    let with = |list: &str| RetryDeadLettersRequest { validate_with: Some(list.into()), ..RetryDeadLettersRequest::default() };
    let done = operations.retry_dead_letters(with("order:1")).await?.into_inner();
    ensure!((done.retried, done.refused, done.errors) == (0, 1, 1) && done.examples[0].errors[0].contains("order:1"), "{done:?}");
    world.schema("order", json!({"type": "integer"})).await?;
    let environment = [("POSTHORN_CONTROL_URL", url.as_str())];
    let run = async |line: &str| {
        let words: Vec<&str> = line.split(' ').chain(["-o", "json"]).collect();
        let done = posthorn_tests::cli::run(&words, &environment, "").await?;
        serde_json::from_str::<Value>(&done.stdout).with_context(|| format!("{done:?}"))
    };
    let qos = run("topic qos orders --schemas order:2").await?;
    ensure!(qos["ttl"] == json!({"value": null, "from": "default"}), "{qos}");
    let done = run("dead-letter retry --topic orders --validate-with order:2").await?;
    ensure!(done["retried"] == 1, "{done}");
    Ok(())
}
