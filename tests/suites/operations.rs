//! What Posthorn says of its own work: events on the topic `posthorn.operations`, read and subscribed to as any others.

use anyhow::{Context, Result, ensure};
use posthorn_tests::{Behaviour, Config, Posthorn, Receiver, eventually};
use serde_json::{Value, json};

use crate::kit::{SOON, dead_letters, event, in_force, publish, read_all, subscribe, subscribe_only, topic};

const OPERATIONS: &str = "posthorn.operations";

/// With a short interval, so that what is summed up comes soon.
async fn start() -> Result<Posthorn> {
    Posthorn::start(Config::default().set("delivery.operations_interval", json!("200ms"))).await
}

/// The operational events of a type and a subject that are there by now.
async fn told(posthorn: &Posthorn, ty: &str, subject: &str) -> Result<Vec<Value>> {
    let all = read_all(posthorn, OPERATIONS).await?;
    let events = all.into_iter().map(|entry| entry["event"].clone());
    Ok(events.filter(|event| event["type"] == ty && event["subject"] == subject).collect())
}

/// Waits until operational events of a type and a subject count so many together; gives them.
async fn counted(posthorn: &Posthorn, ty: &str, subject: &str, count: u64) -> Result<Vec<Value>> {
    let probe = || async { Some(told(posthorn, ty, subject).await.ok()?).filter(|events| sum(events) >= count) };
    let found = match eventually(&format!("{ty} of {count}"), SOON, probe).await {
        Ok(found) => found,
        Err(error) => return Err(error.context(format!("{:?}", read_all(posthorn, OPERATIONS).await?))),
    };
    ensure!(sum(&found) == count, "{found:?}");
    Ok(found)
}

fn sum(events: &[Value]) -> u64 {
    events.iter().filter_map(|event| event["data"]["count"].as_u64()).sum()
}

#[tokio::test]
async fn what_a_dead_endpoint_costs_is_told_to_those_who_ask_for_it() -> Result<()> {
    let (receiver, posthorn) = (Receiver::start().await?, start().await?);
    receiver.on("/dead", Behaviour::Status(500));
    topic(&posthorn, "orders", json!({})).await?;
    subscribe(&posthorn, OPERATIONS, &receiver.url("/operators"), json!({})).await?;
    subscribe(&posthorn, "posthorn.**", &receiver.url("/pattern"), json!({})).await?;
    subscribe(&posthorn, "**", &receiver.url("/everything"), json!({})).await?;
    let dead = subscribe(&posthorn, "orders", &receiver.url("/dead"), json!({"retry": {"schedule": []}})).await?;
    for number in 0..12 {
        publish(&posthorn, "orders", &format!("e{number}")).await?;
    }
    let events = counted(&posthorn, "posthorn.delivery.dead_lettered", &dead, 12).await?;
    ensure!(events[0]["source"].as_str().is_some_and(|source| source.starts_with("/posthorn/nodes/")), "{events:?}");
    for event in &events {
        let data = &event["data"];
        ensure!(data["subscription"] == *dead && data["topic"] == "orders" && data["reason"] == "attempts_exhausted", "{event}");
        ensure!(event["time"].is_string() && data["since"].is_string() && data["node"].is_string(), "{event}");
    }
    // Ten failures in a row opened the breaker; the endpoint comes back with the next event.
    counted(&posthorn, "posthorn.endpoint.down", &dead, 1).await?;
    receiver.on("/dead", Behaviour::Ok);
    publish(&posthorn, "orders", "e12").await?;
    counted(&posthorn, "posthorn.endpoint.recovered", &dead, 1).await?;
    let written = u64::try_from(read_all(&posthorn, OPERATIONS).await?.len())?;
    for path in ["/operators", "/pattern"] {
        receiver.wait_for_unique(path, written, SOON).await?;
    }
    // Who wants everything wants what publishers send.
    receiver.wait_for_unique("/everything", 13, SOON).await?;
    ensure!(receiver.tally("/everything").unique == 13, "{:?}", receiver.tally("/everything"));
    Ok(())
}

#[tokio::test]
async fn what_is_dropped_is_told_too() -> Result<()> {
    let (receiver, posthorn) = (Receiver::start().await?, start().await?);
    receiver.on("/dead", Behaviour::Status(400));
    topic(&posthorn, "orders", json!({})).await?;
    let contract = json!({"retry": {"schedule": []}, "qos": {"dead_letter": "never"}});
    let dead = subscribe(&posthorn, "orders", &receiver.url("/dead"), contract).await?;
    for number in 0..3 {
        publish(&posthorn, "orders", &format!("e{number}")).await?;
    }
    let events = counted(&posthorn, "posthorn.delivery.dropped", &dead, 3).await?;
    ensure!(events.iter().all(|event| event["data"]["reason"] == "attempts_exhausted" && event["data"]["topic"] == "orders"), "{events:?}");
    dead_letters(&posthorn, &dead, 0).await?;
    Ok(())
}

#[tokio::test]
async fn a_storm_of_failures_is_a_few_events() -> Result<()> {
    let (receiver, mut posthorn) = (Receiver::start().await?, Posthorn::start(Config::default()).await?);
    receiver.on("/dead", Behaviour::Status(400));
    topic(&posthorn, "orders", json!({})).await?;
    let dead = subscribe(&posthorn, "orders", &receiver.url("/dead"), json!({"retry": {"schedule": []}})).await?;
    for number in 0..60 {
        publish(&posthorn, "orders", &format!("e{number}")).await?;
    }
    dead_letters(&posthorn, &dead, 60).await?;
    // One at once and one for each ten seconds that this took at most; what waits still is told at the end.
    posthorn.terminate().await?;
    posthorn.restart().await?;
    let events = counted(&posthorn, "posthorn.delivery.dead_lettered", &dead, 60).await?;
    ensure!(events[0]["data"]["count"] == 1 && events.len() <= 8, "{events:?}");
    Ok(())
}

#[tokio::test]
async fn a_subscription_that_is_disabled_is_told_with_the_reason() -> Result<()> {
    let (receiver, posthorn) = (Receiver::start().await?, start().await?);
    receiver.on("/gone", Behaviour::Gone);
    topic(&posthorn, "orders", json!({})).await?;
    let gone = subscribe(&posthorn, "orders", &receiver.url("/gone"), json!({"name": "billing"})).await?;
    let mut other = subscribe_only(&posthorn, "orders", &receiver.url("/other"), json!({})).await?;
    publish(&posthorn, "orders", "e").await?;
    let event = counted(&posthorn, "posthorn.subscription.disabled", &gone, 1).await?.remove(0);
    ensure!(event["data"]["reason"] == "endpoint_gone" && event["data"]["name"] == "billing", "{event}");
    other["status"] = "disabled".into();
    let id = other["id"].as_str().context("an id")?.to_owned();
    let changed = posthorn.control().put(&format!("/v1/subscriptions/{id}"), &other).await?.expect(200)?;
    in_force(&posthorn, &changed).await?;
    let event = counted(&posthorn, "posthorn.subscription.disabled", &id, 1).await?.remove(0);
    ensure!(event["data"]["reason"] == "admin", "{event}");
    Ok(())
}

#[tokio::test]
async fn an_endpoint_that_fails_for_too_long_is_disabled() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.on("/dead", Behaviour::Status(503));
    let posthorn = Posthorn::start(Config::default().set("delivery.disable_after", json!("300ms"))).await?;
    topic(&posthorn, "orders", json!({})).await?;
    let retry = json!({"retry": {"schedule": ["100ms", "100ms", "100ms", "100ms", "1h"], "jitter": 0}});
    let dead = subscribe(&posthorn, "orders", &receiver.url("/dead"), retry).await?;
    publish(&posthorn, "orders", "e").await?;
    let event = counted(&posthorn, "posthorn.subscription.disabled", &dead, 1).await?.remove(0);
    ensure!(event["data"]["reason"] == "disable_after", "{event}");
    let shown = posthorn.control().get(&format!("/v1/subscriptions/{dead}")).await?.expect(200)?;
    ensure!(shown["status"] == "disabled" && shown["status_reason"] == "disable_after", "{shown}");
    Ok(())
}

#[tokio::test]
async fn a_refused_event_that_is_kept_is_told_without_its_data() -> Result<()> {
    let posthorn = start().await?;
    let schema = json!({"schema": {"type": "object", "required": ["nr"]}, "on_refusal": "dead_letter"});
    posthorn.control().post("/v1/schemas/order/versions", &schema).await?.expect(201)?;
    topic(&posthorn, "orders", json!({"schemas": ["order"]})).await?;
    let mut refused = event("orders", "wrong");
    refused["data"] = json!({"name": "the-data-of-the-event"});
    let answer = posthorn.data().publish(&refused).await?.expect(202)?;
    ensure!(answer["status"] == "dead_lettered", "{answer}");
    let event = counted(&posthorn, "posthorn.event.dead_lettered", "orders", 1).await?.remove(0);
    ensure!(event["data"]["reason"] == "schema_invalid" && event["data"]["topic"] == "orders", "{event}");
    ensure!(!event.to_string().contains("the-data-of-the-event"), "{event}");
    Ok(())
}

#[tokio::test]
async fn a_dead_subscriber_of_operations_feeds_nothing_back() -> Result<()> {
    let (receiver, posthorn) = (Receiver::start().await?, start().await?);
    receiver.on("/dead", Behaviour::Status(500));
    receiver.on("/operators", Behaviour::Sequence(vec![Behaviour::Status(500), Behaviour::Status(500), Behaviour::Gone]));
    topic(&posthorn, "orders", json!({})).await?;
    let once = || json!({"retry": {"schedule": []}});
    let operators = subscribe(&posthorn, OPERATIONS, &receiver.url("/operators"), once()).await?;
    let dead = subscribe(&posthorn, "orders", &receiver.url("/dead"), once()).await?;
    for number in 1..=3 {
        publish(&posthorn, "orders", &format!("e{number}")).await?;
        counted(&posthorn, "posthorn.delivery.dead_lettered", &dead, number).await?;
        dead_letters(&posthorn, &operators, usize::try_from(number)?).await?;
    }
    counted(&posthorn, "posthorn.subscription.disabled", &operators, 1).await?;
    let all = read_all(&posthorn, OPERATIONS).await?;
    let of_operators = all.iter().filter(|entry| entry["event"]["subject"] == *operators).count();
    ensure!(of_operators == 1 && all.len() == 4, "{all:?}");
    Ok(())
}

#[tokio::test]
async fn the_topic_is_the_servers_own() -> Result<()> {
    let posthorn = start().await?;
    let (data, control) = (posthorn.data(), posthorn.control());
    for name in [OPERATIONS, "posthorn.other"] {
        let reply = data.publish(&event(name, "e")).await?;
        ensure!(reply.status == 403 && reply.problem()? == "insufficient_scope", "{name}: {} {}", reply.status, reply.text());
        let made = control.put(&format!("/v1/topics/{name}"), &json!({})).await?;
        ensure!(made.status == 422 && made.text().contains("/name"), "{name}: {}", made.text());
    }
    let shown = control.get(&format!("/v1/topics/{OPERATIONS}")).await?.expect(200)?;
    ensure!(shown["name"] == OPERATIONS && shown["partitions"] == 1 && shown["durability"] == "log", "{shown}");
    let deleted = control.delete(&format!("/v1/topics/{OPERATIONS}?force=true")).await?;
    ensure!(deleted.status == 403, "{} {}", deleted.status, deleted.text());
    ensure!(control.delete("/v1/topics/posthorn.other").await?.status == 404);
    ensure!(read_all(&posthorn, OPERATIONS).await?.is_empty());
    Ok(())
}
