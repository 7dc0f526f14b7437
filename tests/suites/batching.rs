//! Batches (`format: batch`): full by count or bytes, sent by time, at the end; failures, 413, order, expiry and rates within them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use posthorn_tests::{Behaviour, Config, Posthorn, Received, Receiver, eventually};
use serde_json::{Value, json};

use crate::kit::{SOON, dead_letters, event, id, in_force, metric, publish, subscribe, subscribe_only, topic};

/// Long enough that nothing goes out because of it.
const LONG: &str = "60s";

#[tokio::test]
async fn a_batch_is_sent_when_it_is_full_by_count_and_what_is_left_at_the_end() -> Result<()> {
    let (receiver, mut posthorn) = start().await?;
    topic(&posthorn, "a", json!({"durability": "log", "partitions": 3})).await?;
    subscribe(&posthorn, "a", &receiver.url("/hook"), batch(json!({"max_events": 3, "max_wait": LONG}))).await?;
    for number in 0..7 {
        publish(&posthorn, "a", &format!("e{number}")).await?;
    }
    let got = receiver.wait_for("/hook", 2, SOON).await?;
    ensure!(sizes(&got)? == [3, 3], "{:?}", sizes(&got)?);
    posthorn.terminate().await?;
    let got = receiver.received("/hook");
    ensure!(sizes(&got)? == [3, 3, 1], "at the end: {:?}", sizes(&got)?);
    let mut all = all_ids(&got)?;
    all.sort();
    ensure!(all == (0..7).map(|number| format!("e{number}")).collect::<Vec<_>>(), "{all:?}");
    posthorn.restart().await?;
    publish_many(&posthorn, "a", "f", 3, 0).await?;
    receiver.wait_for("/hook", 4, SOON).await?;
    ensure!(all_ids(&receiver.received("/hook"))?.len() == 10, "nothing is repeated");
    Ok(())
}

#[tokio::test]
async fn a_batch_is_sent_when_it_is_full_by_bytes_or_has_waited() -> Result<()> {
    let (receiver, posthorn) = start().await?;
    topic(&posthorn, "a", json!({"durability": "log"})).await?;
    subscribe(&posthorn, "a", &receiver.url("/bytes"), batch(json!({"max_bytes": "4KiB", "max_wait": LONG}))).await?;
    subscribe(&posthorn, "a", &receiver.url("/time"), batch(json!({"max_events": 1000, "max_wait": "200ms"}))).await?;
    for number in 0..5 {
        publish_many(&posthorn, "a", &format!("e{number}-"), 1, 1500).await?;
    }
    let got = receiver.wait_for("/bytes", 2, SOON).await?;
    ensure!(sizes(&got)? == [2, 2], "{:?}", sizes(&got)?);
    eventually("what has waited is sent", SOON, || async { (all_ids(&receiver.received("/time")).ok()?.len() == 5).then_some(()) }).await?;
    ensure!(receiver.tally("/bytes").total == 2, "the fifth waits for another");
    // One that is larger than a batch may be goes by itself.
    publish_many(&posthorn, "a", "big", 1, 6000).await?;
    let got = receiver.wait_for("/bytes", 4, SOON).await?;
    ensure!(sizes(&got)? == [2, 2, 1, 1], "{:?}", sizes(&got)?);
    Ok(())
}

#[tokio::test]
async fn a_failed_batch_waits_by_each_events_schedule_and_goes_together_again() -> Result<()> {
    let (receiver, posthorn) = start().await?;
    receiver.on("/hook", Behaviour::FailFirst { n: 1, status: 500 });
    topic(&posthorn, "a", json!({"durability": "log"})).await?;
    let mut members = batch(json!({"max_events": 3, "max_wait": LONG}));
    members["retry"] = json!({"schedule": ["300ms", "300ms"], "jitter": 0});
    subscribe(&posthorn, "a", &receiver.url("/hook"), members).await?;
    publish_many(&posthorn, "a", "e", 3, 0).await?;
    let got = receiver.wait_for("/hook", 2, SOON).await?;
    ensure!(sizes(&got)? == [3, 3], "{:?}", sizes(&got)?);
    ensure!([got[0].header("posthorn-attempt"), got[1].header("posthorn-attempt")] == ["1", "2"], "the attempts are counted");
    ensure!(got[0].id() == got[1].id() && got[0].body == got[1].body, "the same events make the same batch");
    ensure!(got[0].header("posthorn-delivery") == got[1].header("posthorn-delivery"), "the first event's delivery");
    Ok(())
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_halved_until_it_fits_and_none_of_it_is_an_attempt() -> Result<()> {
    let (receiver, posthorn) = start().await?;
    receiver.on("/hook", Behaviour::Sequence(vec![Behaviour::Status(413), Behaviour::Status(413), Behaviour::Ok]));
    receiver.on("/never", Behaviour::Status(413));
    topic(&posthorn, "a", json!({"durability": "log"})).await?;
    let limits = json!({"in_flight": 1});
    let mut members = batch(json!({"max_events": 8, "max_wait": LONG}));
    members["limits"] = limits.clone();
    members["qos"] = json!({"ordering": "key"});
    subscribe(&posthorn, "a", &receiver.url("/hook"), members.clone()).await?;
    members["retry"] = json!({"schedule": []});
    let never = subscribe(&posthorn, "a", &receiver.url("/never"), members).await?;
    publish_many(&posthorn, "a", "e", 8, 0).await?;
    let got = receiver.wait_for("/hook", 6, SOON).await?;
    ensure!(sizes(&got)? == [8, 4, 2, 2, 2, 2], "{:?}", sizes(&got)?);
    ensure!(all_ids(&got[2..])? == ids(8), "in their order: {:?}", all_ids(&got[2..])?);
    ensure!(got.iter().all(|request| request.header("posthorn-attempt") == "1"), "a 413 to several is no attempt");
    // One that is too large by itself is an event that failed.
    let letters = dead_letters(&posthorn, &never, 8).await?;
    ensure!(letters.iter().all(|letter| letter["attempts"] == 1 && letter["reason"] == "attempts_exhausted"), "{letters:?}");
    ensure!(metric(&posthorn, "posthorn_batches_halved_total").await? >= 5.0, "they are counted");
    Ok(())
}

#[tokio::test]
async fn with_order_by_key_a_batch_keeps_the_order_and_a_failure_blocks_its_keys() -> Result<()> {
    let (receiver, posthorn) = start().await?;
    receiver.on("/hook", Behaviour::Sequence(vec![Behaviour::Status(500), Behaviour::Ok]));
    topic(&posthorn, "a", json!({"durability": "log"})).await?;
    let mut members = batch(json!({"max_events": 4}));
    members["retry"] = json!({"schedule": ["700ms", "700ms"], "jitter": 0.5});
    members["qos"] = json!({"ordering": "key"});
    members["status"] = json!("paused");
    let made = subscribe_only(&posthorn, "a", &receiver.url("/hook"), members).await?;
    in_force(&posthorn, &made).await?;
    let keyed = |number: usize| {
        let mut event = event("a", &format!("e{number}"));
        event["partitionkey"] = json!(["k", "l"][number % 2]);
        event
    };
    posthorn.data().publish_batch(&(0..16).map(keyed).collect::<Vec<_>>()).await?.expect(202)?;
    let resumed = posthorn.control().post(&format!("/v1/subscriptions/{}/resume", id(&made)?), &json!({})).await?.expect(200)?;
    in_force(&posthorn, &resumed).await?;
    let got = eventually("all came after the failure", SOON, || async {
        let got = receiver.received("/hook");
        (all_ids(got.get(1..)?).ok()?.len() >= 16).then_some(got)
    })
    .await?;
    ensure!(all_ids(&got[..1])? == ids(4), "several of a key in one batch: {:?}", all_ids(&got[..1])?);
    let after = all_ids(&got[1..])?;
    for key in 0..2 {
        let of_key: Vec<usize> = after.iter().filter_map(|id| id[1..].parse().ok()).filter(|number| number % 2 == key).collect();
        ensure!(of_key == (0..16).filter(|number| number % 2 == key).collect::<Vec<usize>>(), "{after:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_expires_while_a_batch_gathers_is_not_in_it() -> Result<()> {
    let (receiver, posthorn) = start().await?;
    topic(&posthorn, "x.long", json!({"durability": "log"})).await?;
    topic(&posthorn, "x.short", json!({"durability": "log", "ttl": "1500ms"})).await?;
    let limits = batch(json!({"max_events": 3, "max_wait": LONG}));
    let subscription = subscribe(&posthorn, "x.*", &receiver.url("/hook"), limits).await?;
    publish(&posthorn, "x.short", "short").await?;
    let accepted = tokio::time::Instant::now();
    publish(&posthorn, "x.long", "e0").await?;
    let passed = || async { (accepted.elapsed() > Duration::from_millis(1600)).then_some(()) };
    eventually("its time is over", SOON, passed).await?;
    publish(&posthorn, "x.long", "e1").await?;
    let got = receiver.wait_for("/hook", 1, SOON).await?;
    ensure!(all_ids(&got)? == ids(2), "{:?}", all_ids(&got)?);
    let letters = dead_letters(&posthorn, &subscription, 1).await?;
    ensure!(letters[0]["reason"] == "expired", "{letters:?}");
    Ok(())
}

#[tokio::test]
async fn a_rate_counts_the_events_of_batches() -> Result<()> {
    let (receiver, posthorn) = start().await?;
    topic(&posthorn, "a", json!({"durability": "log"})).await?;
    let mut members = batch(json!({"max_events": 50}));
    members["limits"] = json!({"rate": 20});
    subscribe(&posthorn, "a", &receiver.url("/hook"), members).await?;
    let begin = tokio::time::Instant::now();
    publish_many(&posthorn, "a", "e", 60, 0).await?;
    let done = || async { (all_ids(&receiver.received("/hook")).ok()?.len() >= 60).then_some(()) };
    eventually("all come", SOON, done).await?;
    let got = receiver.received("/hook");
    ensure!(sizes(&got)?.iter().all(|size| *size <= 20), "no batch is more than a second's worth: {:?}", sizes(&got)?);
    // A second's worth at once, and then twenty a second: it cannot be sooner.
    ensure!(begin.elapsed() >= Duration::from_millis(1900), "60 events at 20 a second took {:?}", begin.elapsed());
    Ok(())
}

#[tokio::test]
async fn limits_of_batches_are_checked_and_shown() -> Result<()> {
    let (receiver, posthorn) = start().await?;
    topic(&posthorn, "a", json!({})).await?;
    let with = |format: &str, limits: Value| json!({"name": "n", "owner": "o", "filters": [{"topic": "a"}], "endpoint": {"url": receiver.url("/"), "format": format, "batch": limits}});
    for (format, limits, status, at) in [
        ("batch", json!({"max_events": 0}), 422, "#/endpoint/batch/max_events"),
        ("batch", json!({"max_bytes": "1GiB"}), 422, "#/endpoint/batch/max_bytes"),
        ("batch", json!({"max_wait": "2m"}), 422, "#/endpoint/batch/max_wait"),
        ("batch", json!({"linger": "2s"}), 400, "#/endpoint/batch/linger"),
        ("binary", json!({"max_events": 5}), 422, "#/endpoint/batch"),
    ] {
        let reply = posthorn.control().post("/v1/subscriptions", &with(format, limits)).await?;
        ensure!(reply.status == status && reply.text().contains(at), "{at}: {} {}", reply.status, reply.text());
    }
    let made = posthorn.control().post("/v1/subscriptions", &with("batch", json!({"max_events": 5}))).await?.expect(201)?;
    ensure!(made["endpoint"]["batch"] == json!({"max_events": 5, "max_bytes": "1MiB", "max_wait": "0ms"}), "{made}");
    let plain = posthorn.control().post("/v1/subscriptions", &with("batch", Value::Null)).await?.expect(201)?;
    ensure!(plain["endpoint"].get("batch").is_none(), "{plain}");
    let document = posthorn.control().get("/openapi.json").await?.json()?;
    let schema = &document["components"]["schemas"]["BatchLimits"];
    ensure!(schema["properties"]["max_wait"].is_object() && schema.get("required").is_none(), "{schema}");
    Ok(())
}

async fn start() -> Result<(Receiver, Posthorn)> {
    Ok((Receiver::start().await?, Posthorn::start(Config::default()).await?))
}

fn batch(limits: Value) -> Value {
    json!({"endpoint": {"format": "batch", "batch": limits}})
}

/// Publishes at once, so that they are in the log together.
async fn publish_many(posthorn: &Posthorn, topic: &str, prefix: &str, count: usize, bytes: usize) -> Result<()> {
    let made = (0..count).map(|number| {
        let mut event = event(topic, &format!("{prefix}{number}"));
        event["data"]["filler"] = json!("x".repeat(bytes));
        event
    });
    posthorn.data().publish_batch(&made.collect::<Vec<_>>()).await?.expect(202)?;
    Ok(())
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("e{number}")).collect()
}

fn members(request: &Received) -> Result<Vec<Value>> {
    let all: Value = serde_json::from_slice(&request.body)?;
    Ok(all.as_array().context("an array")?.clone())
}

fn sizes(requests: &[Received]) -> Result<Vec<usize>> {
    requests.iter().map(|request| Ok(members(request)?.len())).collect()
}

fn all_ids(requests: &[Received]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for request in requests {
        all.extend(members(request)?.iter().filter_map(|event| event["id"].as_str()).map(str::to_owned));
    }
    Ok(all)
}
