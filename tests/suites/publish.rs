//! Publishing over HTTP: every row of interfaces §2, and the fine points on JSON data.

use anyhow::{Context, Result, ensure};
use http::Method;
use posthorn_tests::{Config, Reply, SOON, World};
use serde_json::{Value, json};

fn order() -> Value {
    let line = json!({"type": "object", "properties": {"qty": {"type": "integer"}}});
    json!({"type": "object", "required": ["qty"], "properties": {"qty": {"type": "integer"}, "lines": {"type": "array", "items": line}}})
}

/// Whether the answer is a whole problem document with this code; gives it.
fn problem(reply: &Reply, status: u16, code: &str) -> Result<Value> {
    ensure!(reply.status == status && reply.problem()? == code, "wanted {status} {code}, got {}: {}", reply.status, reply.text());
    let body = reply.json()?;
    for member in ["title", "detail"] {
        ensure!(body[member].as_str().is_some_and(|t| !t.is_empty()), "{member} is missing: {body}");
    }
    Ok(body)
}

#[tokio::test]
async fn kept_and_seen_before() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    let event = world.event("orders");
    let first = world.data.publish(&event).await?.expect(202)?;
    ensure!(first["status"] == "accepted" && first["id"] == event["id"] && first["topic"] == "orders", "{first}");
    let again = world.data.publish(&event).await?.expect(200)?;
    let mut expected = first;
    expected["status"] = "duplicate".into();
    ensure!(again == expected, "{again}");
    let mut other_source = event.clone();
    other_source["source"] = "/elsewhere".into();
    world.data.publish(&other_source).await?.expect(202)?;
    Ok(())
}

#[tokio::test]
async fn an_idempotency_key_stands_for_source_and_id_quoted_or_not() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    let first = world.publish_binary("orders", "a", &[("idempotency-key", "\"k 1\"")], "x").await?.expect(202)?;
    let again = world.publish_binary("orders", "b", &[("idempotency-key", "k 1")], "y").await?.expect(200)?;
    ensure!(again["status"] == "duplicate" && again["offset"] == first["offset"] && again["id"] == "a", "the first answer's body: {again}");
    world.publish_binary("orders", "a", &[("idempotency-key", "k2")], "x").await?.expect(202)?;
    world.topic("other", json!({})).await?;
    world.publish_binary("other", "a", &[("idempotency-key", "k 1")], "x").await?.expect(202)?;
    Ok(())
}

#[tokio::test]
async fn a_batch_answers_in_order_and_207_only_when_something_was_refused() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    let events: Vec<Value> = (0..3).map(|_| world.event("orders")).collect();
    let all = world.data.publish_batch(&events).await?.expect(202)?;
    for (event, result) in events.iter().zip(all["results"].as_array().context("results")?) {
        ensure!(result["id"] == event["id"] && result["status"] == "accepted", "{result}");
    }
    // A duplicate is no refusal.
    let again = world.data.publish_batch(&events[..1]).await?.expect(202)?;
    ensure!(again["results"][0]["status"] == "duplicate", "{again}");
    let mut bad = world.event("orders");
    bad["id"] = "".into();
    let some = world.data.publish_batch(&[world.event("orders"), world.event("nowhere"), bad, events[0].clone()]).await?.expect(207)?;
    let statuses: Vec<&str> = some["results"].as_array().context("results")?.iter().filter_map(|r| r["status"].as_str()).collect();
    ensure!(statuses == ["accepted", "refused", "refused", "duplicate"], "{some}");
    ensure!(some["results"][1]["problem"]["type"] == "urn:posthorn:problem:topic-unknown", "{some}");
    ensure!(some["results"][1]["problem"]["status"] == 404, "{some}");
    ensure!(some["results"][2]["problem"]["detail"].as_str().is_some_and(|d| d.contains("id")), "{some}");
    let none = world.data.publish_batch(&[]).await?.expect(202)?;
    ensure!(none == json!({"results": []}), "{none}");
    Ok(())
}

#[tokio::test]
async fn plain_json_on_the_topics_path_becomes_an_event() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    world.subscribe("/hook", json!({})).await?;
    let body = r#"{"b": 1,  "a": [1.50]}"#;
    let plain = [("content-type", "application/json")];
    let answer = world.data.send(Method::POST, "/v1/topics/orders/events", &plain, body.into()).await?.expect(202)?;
    let id = answer["id"].as_str().context("an id was made")?;
    let got = world.receiver.wait_for("/hook", 1, SOON).await?;
    ensure!(&got[0].body[..] == body.as_bytes(), "{:?}", got[0].body);
    let expected = [("ce-id", id), ("ce-type", "orders"), ("content-type", "application/json"), ("ce-topic", "orders")];
    for (name, value) in expected {
        ensure!(got[0].header(name) == value, "{name}: {}", got[0].header(name));
    }
    ensure!(got[0].header("ce-source").starts_with("/publishers/"), "{}", got[0].header("ce-source"));
    // Elsewhere it is no CloudEvent, and with some `ce-` headers it is a broken one.
    problem(&world.data.send(Method::POST, "/v1/events", &plain, body.into()).await?, 400, "invalid-event")?;
    let broken = [plain[0], ("ce-specversion", "1.0"), ("ce-id", "x")];
    let broken = problem(&world.data.send(Method::POST, "/v1/topics/orders/events", &broken, body.into()).await?, 400, "invalid-event")?;
    ensure!(broken["detail"].as_str().is_some_and(|d| d.contains("source") || d.contains("type")), "{broken}");
    Ok(())
}

#[tokio::test]
async fn the_path_wins_over_the_attribute_and_the_type_stands_in() -> Result<()> {
    let world = World::start().await?;
    for topic in ["orders", "other", "t.made"] {
        world.topic(topic, json!({})).await?;
    }
    world.subscribe("/hook", json!({})).await?;
    let event = world.event("other");
    let body = event.to_string();
    let structured = [("content-type", "application/cloudevents+json")];
    let on_path = world.data.send(Method::POST, "/v1/topics/orders/events", &structured, body.into()).await?.expect(202)?;
    ensure!(on_path["topic"] == "orders", "{on_path}");
    let got = world.receiver.wait_for("/hook", 1, SOON).await?;
    ensure!(got[0].header("ce-topic") == "orders", "{}", got[0].header("ce-topic"));
    let mut without = world.event("x");
    without.as_object_mut().context("an object")?.remove("topic");
    let by_type = world.data.publish(&without).await?.expect(202)?;
    ensure!(by_type["topic"] == "t.made", "{by_type}");
    let got = world.receiver.wait_for("/hook", 2, SOON).await?;
    ensure!(got[1].header("ce-topic") == "t.made", "{}", got[1].header("ce-topic"));
    problem(&world.data.publish(&world.event("nowhere")).await?, 404, "topic-unknown")?;
    Ok(())
}

#[tokio::test]
async fn headers_are_decoded_once_and_encoded_again() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    world.subscribe("/hook", json!({"endpoint": {"format": "structured"}})).await?;
    world.subscribe("/binary", json!({})).await?;
    let vectors: Vec<Value> = serde_json::from_str(include_str!("../vectors/cloudevents-headers.json"))?;
    let mut sent = 0;
    for (n, vector) in vectors.iter().enumerate() {
        let decodes = vector["scheme"] == "cloudevents-http-header-decode";
        let (header, value) = if decodes { ("header_value", "expected") } else { ("expected", "value") };
        let header = vector[header].as_str().context("a header")?;
        let reply = world.publish_binary("orders", &format!("v{n}"), &[("ce-subject", header)], "x").await?;
        if vector["expected_valid"] == false {
            let refused = problem(&reply, 400, "invalid-event")?;
            ensure!(refused["detail"].as_str().is_some_and(|d| d.contains("subject")), "{refused}");
            continue;
        }
        reply.expect(202)?;
        sent += 1;
        let got = world.receiver.wait_for("/hook", sent, SOON).await?;
        let event: Value = serde_json::from_slice(&got.last().context("one")?.body)?;
        ensure!(event["subject"] == vector[value], "{header}: {}", event["subject"]);
        if !decodes {
            let got = world.receiver.wait_for("/binary", sent, SOON).await?;
            ensure!(got.last().context("one")?.header("ce-subject") == header, "{header}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn json_data_is_checked_with_and_without_schema() -> Result<()> {
    let world = World::start().await?;
    world.schema("any", json!(true)).await?;
    world.topic("plain", json!({})).await?;
    world.topic("checked", json!({"schemas": ["any"]})).await?;
    let deep = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
    let bad = [
        r#"{"a": 1, "a": 2}"#.to_owned(),
        r#"{"o": {"a": 1, "\u0061": 2}}"#.to_owned(),
        deep(129),
        "18446744073709551616".to_owned(),
        "-9223372036854775809".to_owned(),
        "1e999".to_owned(),
        "{".to_owned(),
        "01".to_owned(),
        "[1,]".to_owned(),
        "NaN".to_owned(),
        "\"\\ud800\"".to_owned(),
        "1 2".to_owned(),
        "\u{feff}1".to_owned(),
        String::new(),
    ];
    let good = [
        deep(128),
        "18446744073709551615".to_owned(),
        "-9223372036854775808".to_owned(),
        "1e308".to_owned(),
        "null".to_owned(),
        " 1 ".to_owned(),
    ];
    for topic in ["plain", "checked"] {
        for media in ["application/json", "application/problem+json; charset=utf-8"] {
            for (n, data) in bad.iter().enumerate() {
                // No body at all may be taken for no data.
                if data.is_empty() && topic == "plain" {
                    continue;
                }
                let reply = world.publish_binary(topic, &format!("bad{n}"), &[("content-type", media)], data.clone()).await?;
                ensure!((400..=422).contains(&reply.status.as_u16()), "{topic} {data:.40}: {} {}", reply.status, reply.text());
                if !data.is_empty() {
                    let said = problem(&reply, 400, "invalid-json").with_context(|| format!("{topic} {data:.40}"))?;
                    let place = |d: &str| d.contains('#') || d.chars().any(|c| c.is_ascii_digit());
                    ensure!(said["detail"].as_str().is_some_and(place), "no byte offset and no pointer: {said}");
                }
            }
            for (n, data) in good.iter().enumerate() {
                let id = format!("{topic}{media}{n}").replace(' ', "");
                let reply = world.publish_binary(topic, &id, &[("content-type", media)], data.clone()).await?;
                reply.expect(202).with_context(|| format!("{topic} {data:.40}"))?;
            }
        }
    }
    // Not JSON: passes where no schema asks for JSON.
    world.publish_binary("plain", "text", &[("content-type", "text/plain")], "{").await?.expect(202)?;
    Ok(())
}

#[tokio::test]
async fn duplicate_keys_of_a_structured_event_are_refused_wherever_they_are() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    let event = |more: &str| format!(r#"{{"specversion":"1.0","id":"d","source":"/t","type":"t","topic":"orders",{more}}}"#);
    for more in [r#""id":"e""#, r#""data":{"x":1,"x":1}"#, r#""x":"1","x":"2""#, r#""data":1,"data":2"#] {
        let reply = world.data.publish_bytes("application/cloudevents+json", event(more)).await?;
        ensure!(reply.status == 400, "{more}: {} {}", reply.status, reply.text());
        reply.problem()?;
    }
    Ok(())
}

#[tokio::test]
async fn sizes_media_types_and_encodings() -> Result<()> {
    let config = Config::with(json!({"ingest": {"max_event_bytes": "4KiB", "max_batch_events": 3, "max_batch_bytes": "8KiB"}}));
    let world = World::with(config).await?;
    world.topic("orders", json!({})).await?;
    let text = [("content-type", "text/plain")];
    world.publish_binary("orders", "fits", &text, "x".repeat(3000)).await?.expect(202)?;
    problem(&world.publish_binary("orders", "large", &text, "x".repeat(5000)).await?, 413, "too-large")?;
    let four: Vec<Value> = (0..4).map(|_| world.event("orders")).collect();
    problem(&world.data.publish_batch(&four).await?, 413, "too-large")?;
    let mut wide = world.event("orders");
    wide["data"] = "x".repeat(9000).into();
    problem(&world.data.publish_batch(&[wide.clone()]).await?, 413, "too-large")?;
    wide["data"] = "x".repeat(5000).into();
    let one = world.data.publish_batch(&[world.event("orders"), wide]).await?.expect(207)?;
    ensure!(one["results"][1]["problem"]["status"] == 413, "{one}");
    for encoding in ["gzip", "br", "identity, gzip"] {
        let reply = world.publish_binary("orders", "enc", &[("content-encoding", encoding), text[0]], "x").await?;
        problem(&reply, 415, "unsupported-media-type").context(encoding)?;
    }
    world.publish_binary("orders", "enc", &[("content-encoding", "identity"), text[0]], "x").await?.expect(202)?;
    let avro = world.data.publish_bytes("application/cloudevents+avro", "x").await?;
    problem(&avro, 415, "unsupported-media-type")?;
    Ok(())
}

#[tokio::test]
async fn http_2_without_tls_is_spoken_on_the_same_port() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    let event = world.event("orders");
    let first = world.data.clone().h2c().publish(&event).await?.expect(202)?;
    let again = world.data.publish(&event).await?.expect(200)?;
    ensure!(first["offset"] == again["offset"]);
    problem(&world.data.clone().h2c().publish(&world.event("nowhere")).await?, 404, "topic-unknown")?;
    Ok(())
}

#[tokio::test]
async fn schemas_are_named_in_every_way_the_contract_knows() -> Result<()> {
    let world = World::start().await?;
    world.schema("order", order()).await?;
    world.schema("order", json!({"type": "object", "required": ["qty", "v2"]})).await?;
    let id = "https://acme.example/customer.json";
    world.schema("customer", json!({"$id": id, "type": "object", "required": ["customer"]})).await?;
    world.topic("open", json!({})).await?;
    world.topic("strict", json!({"schema_required": true})).await?;
    world.topic("demanding", json!({"schemas": ["order"]})).await?;
    let by_path = world.control.url("/v1/schemas/order/versions/1");
    let cases = [
        // topic, attributes, data, status, code
        ("open", json!({"schemas": "order:1"}), json!({"qty": 1}), 202, ""),
        ("open", json!({"schemas": "order:1"}), json!({"qty": "1"}), 422, "schema-invalid"),
        ("open", json!({"schemas": "order"}), json!({"qty": 1}), 422, "schema-invalid"),
        ("open", json!({"schemas": "order"}), json!({"qty": 1, "v2": 1}), 202, ""),
        ("open", json!({"schemas": "order:1 customer:1"}), json!({"qty": 1}), 422, "schema-invalid"),
        ("open", json!({"schemas": "order:1 customer:1"}), json!({"qty": 1, "customer": 1}), 202, ""),
        ("open", json!({"schemas": "order:3"}), json!({"qty": 1}), 422, "schema-version-unknown"),
        ("open", json!({"schemas": "nobody:1"}), json!({}), 422, "schema-unknown"),
        ("open", json!({"schemas": "order:0"}), json!({"qty": 1}), 400, "invalid-event"),
        ("open", json!({"schemas": "order:x"}), json!({"qty": 1}), 400, "invalid-event"),
        ("open", json!({"schemas": ":1"}), json!({"qty": 1}), 400, "invalid-event"),
        ("open", json!({"dataschema": id}), json!({}), 422, "schema-invalid"),
        ("open", json!({"dataschema": id}), json!({"customer": 1}), 202, ""),
        ("open", json!({"dataschema": by_path}), json!({}), 422, "schema-invalid"),
        ("open", json!({"dataschema": by_path}), json!({"qty": 1}), 202, ""),
        ("open", json!({"dataschema": "https://elsewhere.example/x"}), json!(1), 202, ""),
        ("strict", json!({}), json!({"qty": 1, "v2": 1}), 422, "schema-required"),
        ("strict", json!({"schemas": "order:1"}), json!({"qty": 1}), 202, ""),
        ("demanding", json!({}), json!({"qty": 1}), 422, "schema-invalid"),
        ("demanding", json!({}), json!({"qty": 1, "v2": 1}), 202, ""),
        ("demanding", json!({"schemas": "order:1"}), json!({"qty": 1}), 202, ""),
    ];
    for (topic, attributes, data, status, code) in cases {
        let mut event = world.event(topic);
        event.as_object_mut().context("an object")?.extend(attributes.as_object().context("an object")?.clone());
        event["data"] = data;
        let reply = world.data.publish(&event).await?;
        ensure!(reply.status == status, "{event}: wanted {status} {code}, got {} {}", reply.status, reply.text());
        if status != 202 {
            problem(&reply, status, code).with_context(|| event.to_string())?;
        }
    }
    // Data that is no JSON cannot hold to a schema.
    let reply = world.publish_binary("open", "xml", &[("ce-schemas", "order:1"), ("content-type", "text/xml")], "<a/>").await?;
    ensure!(reply.status.is_client_error(), "{}: {}", reply.status, reply.text());
    Ok(())
}

#[tokio::test]
async fn schema_errors_name_schema_and_place_and_are_at_most_twenty() -> Result<()> {
    let world = World::start().await?;
    world.schema("order", order()).await?;
    world.topic("orders", json!({"schemas": ["order"]})).await?;
    let mut event = world.event("orders");
    event["data"] = json!({"qty": 1, "lines": [{"qty": "x"}]});
    let said = problem(&world.data.publish(&event).await?, 422, "schema-invalid")?;
    ensure!(said["errors"][0]["pointer"] == "#/lines/0/qty" && said["errors"][0]["schema"] == "order:1", "{said}");
    event["data"] = json!({"qty": 1, "lines": vec![json!({"qty": "x"}); 50]});
    let said = problem(&world.data.publish(&event).await?, 422, "schema-invalid")?;
    ensure!(said["errors"].as_array().is_some_and(|e| e.len() == 20), "{said}");
    Ok(())
}

#[tokio::test]
async fn durability_and_expiry_attributes() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({"durability": "none"})).await?;
    world.subscribe("/hook", json!({})).await?;
    for durability in ["none", "log", "sync"] {
        world.publish_with("orders", json!({"durability": durability})).await?;
    }
    world.receiver.wait_for_unique("/hook", 3, SOON).await?;
    let mut event = world.event("orders");
    event["durability"] = "forever".into();
    let said = problem(&world.data.publish(&event).await?, 400, "invalid-event")?;
    ensure!(said["detail"].as_str().is_some_and(|d| d.contains("durability")), "{said}");
    let mut event = world.event("orders");
    event["expirytime"] = "2020-01-01T00:00:00Z".into();
    problem(&world.data.publish(&event).await?, 422, "expired")?;
    event["expirytime"] = "2999-01-01T00:00:00+02:00".into();
    world.data.publish(&event).await?.expect(202)?;
    event["expirytime"] = "tomorrow".into();
    let said = problem(&world.data.publish(&event).await?, 400, "invalid-event")?;
    ensure!(said["detail"].as_str().is_some_and(|d| d.contains("expirytime")), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_refused_event_may_be_answered_as_dead_lettered() -> Result<()> {
    let world = World::start().await?;
    world.schema_version("order", json!({"schema": order(), "on_refusal": "dead_letter"})).await?;
    world.topic("orders", json!({"schemas": ["order"]})).await?;
    world.topic("lenient", json!({"schema_required": true, "on_refusal": "dead_letter"})).await?;
    let mut event = world.event("orders");
    event["data"] = json!({});
    let answer = world.data.publish(&event).await?.expect(202)?;
    ensure!(answer["status"] == "dead_lettered" && answer["reason"] == "schema_invalid", "{answer}");
    ensure!(answer.get("offset").is_none() && answer.get("partition").is_none(), "without a position: {answer}");
    let answer = world.data.publish(&world.event("lenient")).await?.expect(202)?;
    ensure!(answer["status"] == "dead_lettered" && answer["reason"] == "schema_required", "{answer}");
    let letters = world.listed("/v1/dead-letters", 2, |l| l["subscription"].is_null() && l["delivery"].is_null()).await?;
    ensure!(letters.iter().any(|l| l["event"]["id"] == event["id"] && l["event"]["data"] == json!({})), "{letters:?}");
    // A batch with a dead-lettered event has no refusal.
    let mut event = world.event("orders");
    event["data"] = json!({});
    let batch = world.data.publish_batch(&[event]).await?.expect(202)?;
    ensure!(batch["results"][0]["status"] == "dead_lettered", "{batch}");
    Ok(())
}

#[tokio::test]
async fn too_much_at_once_is_refused_with_a_time_to_come_back() -> Result<()> {
    // An event larger than all that may be worked on at once can never be admitted; one that fits can.
    let world = World::with(Config::with(
        json!({"ingest": {"max_event_bytes": "64KiB", "max_batch_bytes": "64KiB", "max_in_flight_bytes": "64KiB"}}),
    ))
    .await?;
    world.topic("orders", json!({})).await?;
    let calls = (0..64).map(|n| {
        let (data, body) = (world.data.clone(), "x".repeat(60_000));
        async move {
            let id = format!("n{n}");
            let headers = [("ce-specversion", "1.0"), ("ce-id", id.as_str()), ("ce-source", "/t"), ("ce-type", "t")];
            data.send(Method::POST, "/v1/topics/orders/events", &headers, body.into()).await
        }
    });
    let mut kept = 0;
    for reply in futures_util::future::join_all(calls).await {
        let reply = reply?;
        match reply.status.as_u16() {
            202 => kept += 1,
            429 | 503 => {
                reply.problem()?;
                ensure!(reply.headers.contains_key("retry-after"), "{:?}", reply.headers);
            }
            _ => anyhow::bail!("{}: {}", reply.status, reply.text()),
        }
    }
    ensure!(kept > 0);
    Ok(())
}

#[tokio::test]
async fn an_old_time_is_history_and_no_expiry() -> Result<()> {
    let world = World::start().await?;
    world.topic("short", json!({"ttl": "24h"})).await?;
    world.publish_with("short", json!({"time": "2001-01-01T00:00:00Z"})).await?;
    Ok(())
}
