//! Who gets an event, who does not, and why (interfaces §4, §9: `explain`), over REST on both planes, gRPC and the command line.

use anyhow::{Context, Result, ensure};
use posthorn_proto::admin::operations_client::OperationsClient;
use posthorn_proto::admin::{ExplainRequest, ExplainStoredRequest};
use posthorn_tests::{SOON, World, cli, eventually};
use serde_json::{Value, json};
use tonic::Code;

async fn subscribe(world: &World, name: &str, filters: Value) -> Result<String> {
    Ok(world.subscribe(&format!("/{name}"), json!({"name": name, "filters": filters})).await?.id)
}

fn of<'a>(answer: &'a Value, subscription: &str) -> &'a Value {
    let entries = answer["matches"].as_array().map_or(&[][..], Vec::as_slice);
    entries.iter().find(|entry| entry["subscription"] == subscription).unwrap_or(&Value::Null)
}

async fn explain(world: &World, event: &Value, query: &str) -> Result<Value> {
    world.control.post(&format!("/v1/explain{query}"), &json!({"topic": "orders", "event": event})).await?.expect(200)
}

#[tokio::test]
async fn the_first_failing_assertion_is_told_with_what_it_saw() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    let topic = || json!({"topic": "orders"});
    let all = subscribe(&world, "all", json!([topic()])).await?;
    let sql = subscribe(&world, "sql", json!([topic(), {"sql": "amount > 10"}])).await?;
    let exact = subscribe(&world, "exact", json!([topic(), {"exact": {"type": "t.made"}}, {"exact": {"type": "other"}}])).await?;
    let data = subscribe(&world, "data", json!([topic(), {"data": {"/total": {"gt": 100}}}])).await?;
    let missing = subscribe(&world, "missing", json!([topic(), {"sql": "tenant = 'acme'"}])).await?;
    let cel = subscribe(&world, "cel", json!([topic(), {"cel": "data.total > 100.0"}])).await?;
    let elsewhere = subscribe(&world, "elsewhere", json!([{"topic": "invoices"}])).await?;
    let mut event = world.event("orders");
    event["amount"] = 7.into();
    event["data"] = json!({"total": 50});
    let answer = explain(&world, &event, "").await?;
    ensure!(of(&answer, &all)["matched"] == true && of(&answer, &all)["because"].is_null(), "{answer}");
    let because = &of(&answer, &sql)["because"];
    ensure!(of(&answer, &sql)["matched"] == false, "{answer}");
    ensure!(because["filter"] == 1 && because["sql"] == "amount > 10" && because["saw"] == 7, "{because}");
    let because = &of(&answer, &exact)["because"];
    ensure!(because["filter"] == 2 && because["exact"] == json!({"type": "other"}) && because["saw"] == "t.made", "{because}");
    let because = &of(&answer, &data)["because"];
    ensure!(because["filter"] == 1 && because["path"] == "/total" && because["saw"] == 50, "{because}");
    ensure!(because["data"] == json!({"/total": {"gt": 100}}), "{because}");
    let because = &of(&answer, &missing)["because"];
    ensure!(because["missing"] == true && because["attribute"] == "tenant" && because["saw"].is_null(), "{because}");
    ensure!(because["error"]["kind"] == "missing_attribute", "{because}");
    let because = &of(&answer, &cel)["because"];
    ensure!(because["filter"] == 1 && because["cel"] == "data.total > 100.0" && because["saw"].as_f64() == Some(50.0), "{because}");
    ensure!(of(&answer, &elsewhere).is_null(), "its topic cannot match: {answer}");
    let because = explain(&world, &event, "?all=true").await?;
    let because = &of(&because, &elsewhere)["because"];
    ensure!(because["filter"] == 0 && because["topic"] == "invoices" && because["saw"] == "orders", "{because}");
    // What was said is what happens.
    event["amount"] = 12.into();
    event["data"] = json!({"total": 500});
    let answer = explain(&world, &event, "").await?;
    for (id, path) in [(&sql, "/sql"), (&data, "/data"), (&cel, "/cel")] {
        ensure!(of(&answer, id)["matched"] == true, "{path}: {answer}");
    }
    world.data.publish(&event).await?.expect(202)?;
    for path in ["/all", "/sql", "/data", "/cel"] {
        world.receiver.wait_for(path, 1, SOON).await.with_context(|| path.to_owned())?;
    }
    ensure!(world.receiver.received("/exact").is_empty() && world.receiver.received("/missing").is_empty());
    Ok(())
}

#[tokio::test]
async fn what_else_keeps_an_event_back_is_told() -> Result<()> {
    let world = World::start().await?;
    world.schema("order", json!({"type": "object", "required": ["total"]})).await?;
    world.topic("orders", json!({"schemas": ["order"], "durability": "log", "ttl": "1h"})).await?;
    let paused = subscribe(&world, "paused", json!([{"topic": "orders"}])).await?;
    let active = subscribe(&world, "active", json!([{"topic": "orders"}])).await?;
    let disabled = world.subscribe("/disabled", json!({"filters": [{"topic": "orders"}], "status": "disabled"})).await?.id;
    let reply = world.control.post(&format!("/v1/subscriptions/{paused}/pause"), &json!({})).await?;
    world.written(&reply).await?;
    let mut event = world.event("orders");
    event["data"] = json!({"total": 1});
    let answer = explain(&world, &event, "").await?;
    ensure!(of(&answer, &paused)["matched"] == false && of(&answer, &paused)["because"]["status"] == "paused", "{answer}");
    ensure!(of(&answer, &disabled)["because"]["status"] == "disabled" && of(&answer, &active)["matched"] == true, "{answer}");
    ensure!(answer["qos"]["durability"] == json!({"value": "log", "from": "topic"}), "{answer}");
    ensure!(answer["refused"].is_null() && answer["expires_at"].is_string(), "{answer}");
    event["expirytime"] = "2020-01-01T00:00:00Z".into();
    let answer = explain(&world, &event, "").await?;
    ensure!(of(&answer, &active)["matched"] == false && answer["refused"]["type"] == "urn:posthorn:problem:expired", "{answer}");
    ensure!(of(&answer, &active)["because"].to_string().contains("expired"), "{answer}");
    event["expirytime"] = Value::Null;
    event["data"] = json!({});
    let answer = explain(&world, &event, "").await?;
    let because = &of(&answer, &active)["because"];
    ensure!(because["refused"] == "schema-invalid" && because["errors"][0]["schema"] == "order:1", "{answer}");
    Ok(())
}

#[tokio::test]
async fn a_stored_event_is_explained_at_both_doors_with_its_deliveries() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({"ttl": "6s"})).await?;
    let early = subscribe(&world, "early", json!([{"topic": "orders"}])).await?;
    let picky = subscribe(&world, "picky", json!([{"topic": "orders"}, {"sql": "amount > 10"}])).await?;
    let mut event = world.event("orders");
    event["amount"] = 7.into();
    event["id"] = "4711".into();
    let kept = world.data.publish(&event).await?.expect(202)?;
    world.receiver.wait_for("/early", 1, SOON).await?;
    let late = subscribe(&world, "late", json!([{"topic": "orders"}])).await?;
    let path = format!("/v1/topics/orders/events/{}/{}/explain", kept["partition"], kept["offset"]);
    let told = eventually("the delivery is on record", SOON, || async {
        let answer = world.control.get(&path).await.ok()?.expect(200).ok()?;
        (of(&answer, &early)["delivery"]["status"] == "delivered").then_some(answer)
    })
    .await?;
    ensure!(of(&told, &early)["matched"] == true && told["event_id"] == "4711" && told["offset"] == kept["offset"], "{told}");
    ensure!(of(&told, &picky)["because"]["saw"] == 7 && of(&told, &picky).get("delivery").is_none(), "{told}");
    ensure!(of(&told, &late)["matched"] == false && of(&told, &late)["because"]["start"].is_string(), "{told}");
    let delivery = of(&told, &early)["delivery"]["id"].as_str().context("an id")?.to_owned();
    ensure!(world.read(&format!("/v1/deliveries/{delivery}")).await?["event_id"] == "4711");
    let same = world.data.get(&path).await?.expect(200)?;
    ensure!(same["matches"] == told["matches"], "{same}\n{told}");
    for (path, status) in [
        ("/v1/topics/orders/events/0/99/explain", 404),
        ("/v1/topics/orders/events/9/0/explain", 404),
        ("/v1/topics/nowhere/events/0/0/explain", 404),
        ("/v1/topics/orders/events/0/-1/explain", 400),
        ("/v1/topics/orders/events/x/0/explain", 400),
        ("/v1/topics/orders/events/0/0/explain?al=true", 400),
        ("/v1/topics/orders/events/0/0/explain?all=maybe", 400),
    ] {
        for door in [&world.control, &world.data] {
            let reply = door.get(path).await?;
            ensure!(reply.status == status, "{path}: {} {}", reply.status, reply.text());
            reply.problem()?;
        }
    }
    // Its time is over; who has it has it.
    let expired = subscribe_early(&world, "expired").await?;
    let answer = eventually("the event expires", SOON, || async {
        let answer = world.data.get(&path).await.ok()?.expect(200).ok()?;
        of(&answer, &expired)["because"]["expired"].is_string().then_some(answer)
    })
    .await?;
    ensure!(of(&answer, &early)["matched"] == true, "{answer}");
    Ok(())
}

/// One that is held back by a rate, so that it has not had the event.
async fn subscribe_early(world: &World, name: &str) -> Result<String> {
    let more = json!({"filters": [{"topic": "orders"}], "start": "earliest", "limits": {"rate": 0.001}, "status": "active"});
    world.receiver.on(&format!("/{name}"), posthorn_tests::Behaviour::Status(503));
    Ok(world.subscribe(&format!("/{name}"), more).await?.id)
}

#[tokio::test]
async fn bad_questions_are_named() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    let event = world.event("orders");
    for (body, code, named) in [
        (json!({"event": event}), "invalid-request", "topic"),
        (json!({"topic": "orders"}), "invalid-request", "event"),
        (json!({"topic": "orders", "event": event, "al": true}), "invalid-request", "al"),
        (json!({"topic": "orders", "event": {"specversion": "1.0", "id": "1", "type": "t"}}), "invalid-event", "source"),
        (json!({"topic": "orders", "event": []}), "invalid-json", "event"),
        (json!({"topic": "nowhere", "event": event}), "topic-unknown", "nowhere"),
    ] {
        let refused = world.control.post("/v1/explain", &body).await?;
        ensure!(refused.problem()? == code && refused.text().contains(named), "{body}: {}", refused.text());
    }
    let refused = world.control.post("/v1/explain?all=1", &json!({"topic": "orders", "event": event})).await?;
    ensure!(refused.status == 400 && refused.text().contains("all"), "{}", refused.text());
    Ok(())
}

#[tokio::test]
async fn the_same_over_grpc_and_by_a_verb() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    let all = subscribe(&world, "all", json!([{"topic": "orders"}])).await?;
    let sql = subscribe(&world, "sql", json!([{"topic": "orders"}, {"sql": "amount > 10"}])).await?;
    let mut event = world.event("orders");
    event["amount"] = 7.into();
    let mut operations = OperationsClient::connect(world.control.url("")).await?;
    let request = ExplainRequest { topic: "orders".into(), event: event.to_string(), ..ExplainRequest::default() };
    let answer = operations.explain(request).await?.into_inner();
    let one = |id: &str| answer.matches.iter().find(|entry| entry.subscription == id).context("it is listed");
    ensure!(one(&all)?.matched && one(&all)?.because.is_none(), "{answer:?}");
    let because: Value = serde_json::from_str(one(&sql)?.because.as_deref().context("a reason")?)?;
    ensure!(because["filter"] == 1 && because["saw"] == 7, "{because}");
    let kept = world.data.publish(&event).await?.expect(202)?;
    let place =
        ExplainStoredRequest { topic: "orders".into(), partition: 0, offset: kept["offset"].as_u64().context("an offset")?, all: false };
    let stored = operations.explain_stored(place.clone()).await?.into_inner();
    ensure!(stored.offset == Some(place.offset) && stored.matches.len() == 2, "{stored:?}");
    let gone = operations.explain_stored(ExplainStoredRequest { offset: 99, ..place }).await;
    ensure!(gone.as_ref().is_err_and(|status| status.code() == Code::NotFound), "{gone:?}");

    let (control, data) = (world.control.url(""), world.data.url(""));
    let environment = [("POSTHORN_CONTROL_URL", control.as_str()), ("POSTHORN_DATA_URL", data.as_str())];
    let table = cli::run(&["explain", "orders"], &environment, &event.to_string()).await?;
    ensure!(table.code == Some(0) && table.stdout.contains("amount > 10") && table.stdout.lines().count() == 3, "{table:?}");
    let stored = cli::run(&["explain", "orders", "--partition", "0", "--offset", "0", "-o", "json"], &environment, "").await?;
    ensure!(serde_json::from_str::<Value>(&stored.stdout)?["matches"].as_array().is_some_and(|all| all.len() == 2), "{stored:?}");
    let nowhere = cli::run(&["explain", "nowhere"], &environment, &event.to_string()).await?;
    ensure!(nowhere.code == Some(1) && nowhere.stderr.contains("nowhere"), "{nowhere:?}");
    ensure!(cli::run(&["explain", "orders", "--offset", "1"], &environment, "").await?.code == Some(2));
    Ok(())
}
