//! Deliveries and dead letters: retries, refusals, order and limits, as asked at the control plane (interfaces §4, §9).

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use posthorn_tests::{Behaviour, Config, SOON, Subscribed, World, eventually};
use serde_json::{Value, json};
use tokio::time::Instant;

async fn world_with(path: &str, more: Value) -> Result<(World, Subscribed)> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    let subscribed = world.subscribe(path, more).await?;
    Ok((world, subscribed))
}

fn short(delays: usize) -> Value {
    json!({"schedule": vec!["10ms"; delays], "jitter": 0.2})
}

#[tokio::test]
async fn a_delivery_tells_all_its_attempts() -> Result<()> {
    let (world, subscribed) = world_with("/hook", json!({"retry": short(3)})).await?;
    let sorry = Behaviour::Answer { status: 422, headers: vec![], body: "no such order".into() };
    world.receiver.on("/hook", Behaviour::Sequence(vec![sorry.clone(), sorry, Behaviour::Ok]));
    let id = world.publish("orders", json!({"n": 1})).await?;
    let requests = world.receiver.wait_for("/hook", 3, SOON).await?;
    let listed = world.listed(&format!("/v1/deliveries?event_id={id}"), 1, |d| d["status"] == "delivered").await?;
    let delivery = world.read(&format!("/v1/deliveries/{}", listed[0]["id"].as_str().context("an id")?)).await?;
    let expected = [
        ("id", json!(requests[0].header("posthorn-delivery"))),
        ("message", json!(requests[0].id())),
        ("subscription", json!(subscribed.id)),
        ("topic", json!("orders")),
        ("partition", json!(0)),
        ("offset", json!(0)),
        ("event_id", json!(id)),
        ("status", json!("delivered")),
        ("next_attempt_at", Value::Null),
    ];
    for (member, value) in expected {
        ensure!(delivery[member] == value, "{member}: {delivery}");
    }
    let attempts = delivery["attempts"].as_array().context("attempts")?;
    ensure!(attempts.len() == 3, "{delivery}");
    for (n, attempt) in attempts.iter().enumerate() {
        let status = if n == 2 { 200 } else { 422 };
        ensure!(attempt["number"] == n + 1 && attempt["status_code"] == status && attempt["error"].is_null(), "{attempt}");
        ensure!(attempt["at"].is_string() && attempt["duration_ms"].is_u64(), "{attempt}");
    }
    ensure!(attempts[0]["response_head"].as_str().is_some_and(|h| h.contains("no such order")), "{}", attempts[0]);
    Ok(())
}

#[tokio::test]
async fn deliveries_are_found_by_subscription_topic_status_and_event() -> Result<()> {
    let (world, good) = world_with("/good", json!({})).await?;
    world.topic("other", json!({})).await?;
    let bad = world.subscribe("/bad", json!({"retry": {"schedule": ["1h"]}})).await?;
    world.receiver.on("/bad", Behaviour::Status(400));
    let ids = [world.publish("orders", json!(1)).await?, world.publish("other", json!(2)).await?];
    let waiting = world.listed("/v1/deliveries?status=waiting", 2, |d| d["subscription"] == *bad.id).await?;
    ensure!(waiting.iter().all(|d| d["next_attempt_at"].is_string()), "{waiting:?}");
    world.listed(&format!("/v1/deliveries?subscription={}&status=waiting&topic=other", bad.id), 1, |d| d["event_id"] == *ids[1]).await?;
    world.listed(&format!("/v1/deliveries?subscription={}", good.id), 2, |d| d["status"] == "delivered").await?;
    world.listed("/v1/deliveries?topic=orders", 2, |d| d["topic"] == "orders").await?;
    world.listed(&format!("/v1/deliveries?event_id={}", ids[0]), 2, |d| d["event_id"] == *ids[0]).await?;
    world.listed("/v1/deliveries?status=dead_lettered", 0, |_| true).await?;
    // Pages cover everything once.
    let mut seen = BTreeSet::new();
    let mut path = "/v1/deliveries?limit=1".to_owned();
    for _ in 0..20 {
        let page = world.read(&path).await?;
        for item in page["items"].as_array().context("items")? {
            ensure!(seen.insert(item["id"].as_str().context("an id")?.to_owned()), "twice: {item}");
        }
        let Some(token) = page["next_page_token"].as_str() else { break };
        path = format!("/v1/deliveries?limit=1&page_token={token}");
    }
    ensure!(seen.len() == 4, "{seen:?}");
    Ok(())
}

#[tokio::test]
async fn an_exhausted_schedule_makes_a_dead_letter_that_can_be_retried() -> Result<()> {
    let (world, subscribed) = world_with("/hook", json!({"retry": short(2)})).await?;
    world.receiver.on("/hook", Behaviour::Status(400));
    let id = world.publish("orders", json!({"n": 1})).await?;
    let letters = world.listed("/v1/dead-letters?reason=attempts_exhausted", 1, |_| true).await?;
    ensure!(world.receiver.tally("/hook").total == 3, "n delays are n + 1 attempts: {:?}", world.receiver.tally("/hook"));
    let letter = &letters[0];
    ensure!(letter["id"].as_str().is_some_and(|i| i.starts_with("dl_")), "{letter}");
    ensure!(
        letter["subscription"] == *subscribed.id && letter["event"]["id"] == *id && letter["event"]["data"] == json!({"n": 1}),
        "{letter}"
    );
    ensure!(letter["detail"].as_str().is_some_and(|d| !d.is_empty()), "{letter}");
    let delivery = world.read(&format!("/v1/deliveries/{}", letter["delivery"].as_str().context("a delivery")?)).await?;
    ensure!(delivery["status"] == "dead_lettered" && delivery["attempts"].as_array().is_some_and(|a| a.len() == 3), "{delivery}");
    let path = format!("/v1/dead-letters/{}", letter["id"].as_str().context("an id")?);
    ensure!(world.read(&path).await? == *letter);
    // While it fails again it stays; once delivered it leaves the list.
    world.control.post(&format!("{path}/retry"), &json!({})).await?.expect(202)?;
    world.receiver.wait_for("/hook", 4, SOON).await?;
    world.listed("/v1/dead-letters", 1, |_| true).await?;
    world.receiver.on("/hook", Behaviour::Ok);
    retried_until_gone(&world, &path).await?;
    world.listed("/v1/dead-letters", 0, |_| true).await?;
    let ids: BTreeSet<String> = world.receiver.received("/hook").iter().map(|r| r.id().to_owned()).collect();
    ensure!(ids.len() == 1, "one webhook-id for all attempts: {ids:?}");
    ensure!(world.control.get(&path).await?.problem()? == "not-found");
    Ok(())
}

/// A retry may find the letter still in the hands of the retry before it.
async fn retried_until_gone(world: &World, path: &str) -> Result<()> {
    eventually("the letter is delivered", SOON, || async {
        let reply = world.control.post(&format!("{path}/retry"), &json!({})).await.ok()?;
        (reply.status == 404).then_some(())
    })
    .await
}

#[tokio::test]
async fn dead_letters_are_retried_and_purged_by_filter() -> Result<()> {
    let (world, first) = world_with("/first", json!({"retry": short(0)})).await?;
    world.topic("other", json!({})).await?;
    let second = world.subscribe("/second", json!({"retry": short(0), "filters": [{"topic": "other"}]})).await?;
    for path in ["/first", "/second"] {
        world.receiver.on(path, Behaviour::Status(400));
    }
    for _ in 0..3 {
        world.publish("orders", json!(1)).await?;
        world.publish("other", json!(2)).await?;
    }
    world.listed("/v1/dead-letters?limit=1000", 9, |_| true).await?;
    world.listed(&format!("/v1/dead-letters?subscription={}", second.id), 3, |l| l["subscription"] == *second.id).await?;
    world.listed("/v1/dead-letters?topic=other", 6, |_| true).await?;
    world.receiver.on("/first", Behaviour::Ok);
    let retried = world.control.post("/v1/dead-letters/retry", &json!({"subscription": first.id, "topic": "orders"})).await?.expect(202)?;
    ensure!(retried["retried"] == 3, "{retried}");
    world.listed("/v1/dead-letters", 6, |l| l["event"]["topic"] == "other").await?;
    let one = world.listed(&format!("/v1/dead-letters?subscription={}", first.id), 3, |_| true).await?;
    let path = format!("/v1/dead-letters/{}", one[0]["id"].as_str().context("an id")?);
    ensure!(world.control.delete(&path).await?.status == 204);
    ensure!(world.control.delete(&path).await?.problem()? == "not-found");
    let purged = world.control.delete("/v1/dead-letters?topic=other").await?.expect(200)?;
    ensure!(purged["deleted"] == 5, "{purged}");
    world.listed("/v1/dead-letters", 0, |_| true).await?;
    Ok(())
}

#[tokio::test]
async fn dead_letter_never_drops_instead() -> Result<()> {
    let (world, subscribed) = world_with("/hook", json!({"retry": short(1), "qos": {"dead_letter": "never"}})).await?;
    world.receiver.on("/hook", Behaviour::Status(400));
    let id = world.publish("orders", json!(1)).await?;
    world.listed(&format!("/v1/deliveries?event_id={id}&subscription={}", subscribed.id), 1, |d| d["status"] == "dropped").await?;
    world.listed("/v1/dead-letters", 0, |_| true).await?;
    // The way goes on behind it.
    world.receiver.on("/hook", Behaviour::Ok);
    world.publish("orders", json!(2)).await?;
    world.receiver.wait_for_unique("/hook", 2, SOON).await?;
    Ok(())
}

#[tokio::test]
async fn a_schema_that_forbids_dead_letters_wins_over_the_subscription() -> Result<()> {
    let (world, _) = world_with("/hook", json!({"retry": short(0)})).await?;
    world.schema_version("fleeting", json!({"schema": true, "dead_letter": "never"})).await?;
    world.receiver.on("/hook", Behaviour::Status(400));
    let id = world.publish_with("orders", json!({"schemas": "fleeting:1", "data": 1})).await?;
    world.listed(&format!("/v1/deliveries?event_id={id}"), 1, |d| d["status"] == "dropped").await?;
    world.listed("/v1/dead-letters", 0, |_| true).await?;
    Ok(())
}

#[tokio::test]
async fn retry_after_is_honoured_in_both_forms() -> Result<()> {
    let (world, _) = world_with("/hook", json!({"retry": short(3)})).await?;
    for (n, status) in [429_u16, 503].into_iter().enumerate() {
        for date in [false, true] {
            // The schedule says 10 ms; what the endpoint asks for is longer and wins.
            let asked = Instant::now();
            let value = if date { http_date(now() + Duration::from_secs(3))? } else { "1".to_owned() };
            let wait = Behaviour::RetryAfter { status, value };
            world.receiver.on("/hook", Behaviour::Sequence(vec![wait, Behaviour::Ok]));
            let before = world.receiver.tally("/hook").total;
            let id = world.publish_with("orders", json!({"id": format!("{n}{date}")})).await?;
            let requests = world.receiver.wait_for("/hook", before + 2, SOON).await?;
            let pair = &requests[requests.len() - 2..];
            ensure!(pair.iter().all(|r| r.header("ce-id") == id));
            // No more than a lower bound: a whole second less than the date, for dates have no fractions.
            let (gap, least) = if date { (pair[1].at - asked, 1900) } else { (pair[1].at - pair[0].at, 900) };
            ensure!(gap >= Duration::from_millis(least), "{status} {date}: after {gap:?}");
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a date in a header is of the wall clock, which the process under test reads too")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// IMF-fixdate (RFC 9110 §5.6.7).
fn http_date(at: SystemTime) -> Result<String> {
    Ok(jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at.try_into()?)?)
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() -> Result<()> {
    let (world, _) = world_with("/hook", json!({"retry": short(0)})).await?;
    world.receiver.on("/hook", Behaviour::Redirect(world.receiver.url("/elsewhere")));
    world.publish("orders", json!(1)).await?;
    world.listed("/v1/dead-letters", 1, |_| true).await?;
    ensure!(world.receiver.tally("/elsewhere").total == 0);
    Ok(())
}

#[tokio::test]
async fn an_endpoint_that_is_gone_disables_its_subscription() -> Result<()> {
    let (world, subscribed) = world_with("/hook", json!({"retry": short(3), "limits": {"in_flight": 1}})).await?;
    world.receiver.on("/hook", Behaviour::Gone);
    let id = world.publish("orders", json!(1)).await?;
    let path = format!("/v1/subscriptions/{}", subscribed.id);
    let disabled =
        eventually("disabled", SOON, || async { Some(world.read(&path).await.ok()?).filter(|s| s["status"] == "disabled") }).await?;
    ensure!(disabled["status_reason"].as_str().is_some_and(|r| r.contains("410") || r.contains("gone")), "{disabled}");
    let letters = world.listed("/v1/dead-letters", 1, |l| l["reason"] == "endpoint_gone").await?;
    ensure!(letters[0]["event"]["id"] == *id, "{letters:?}");
    let after = world.receiver.tally("/hook").total;
    let marker = world.subscribe("/marker", json!({})).await?;
    world.publish("orders", json!(2)).await?;
    world.receiver.wait_for("/marker", 1, SOON).await?;
    ensure!(!marker.id.is_empty() && world.receiver.tally("/hook").total == after && after == 1, "no further attempts");
    // Its owner may take it up again; then nothing published meanwhile is lost.
    world.receiver.on("/hook", Behaviour::Ok);
    let resumed = world.control.post(&format!("{path}/resume"), &json!({})).await?;
    ensure!(world.written(&resumed).await?["status"] == "active");
    world.receiver.wait_for_unique("/hook", 2, SOON).await?;
    Ok(())
}

#[tokio::test]
async fn a_refused_event_goes_through_once_its_schema_is_corrected() -> Result<()> {
    let world = World::start().await?;
    world.schema_version("order", json!({"schema": {"type": "object", "required": ["nr"]}, "on_refusal": "dead_letter"})).await?;
    world.topic("orders", json!({"schemas": ["order"]})).await?;
    world.subscribe("/hook", json!({})).await?;
    let mut event = world.event("orders");
    event["data"] = json!({"number": 7});
    let answer = world.data.publish(&event).await?.expect(202)?;
    ensure!(answer["status"] == "dead_lettered", "{answer}");
    let letters = world.listed("/v1/dead-letters?reason=schema_invalid", 1, |_| true).await?;
    world.schema("order", json!({"type": "object", "required": ["number"]})).await?;
    let path = format!("/v1/dead-letters/{}", letters[0]["id"].as_str().context("an id")?);
    world.control.post(&format!("{path}/retry"), &json!({})).await?.expect(202)?;
    let got = world.receiver.wait_for("/hook", 1, SOON).await?;
    ensure!(got[0].header("ce-id") == event["id"] && &got[0].body[..] == br#"{"number":7}"#, "{got:?}");
    world.listed("/v1/dead-letters", 0, |_| true).await?;
    Ok(())
}

#[tokio::test]
async fn with_order_by_key_a_failing_event_blocks_only_its_key() -> Result<()> {
    let more = json!({"qos": {"ordering": "key"}, "retry": {"schedule": vec!["5s"; 50], "jitter": 0}});
    let (world, _) = world_with("/hook", more).await?;
    // Only what has the key `a` fails, and only until told otherwise: a filter puts it on a path of its own.
    let fails = json!({"name": "a", "filters": [{"exact": {"partitionkey": "a"}}], "qos": {"ordering": "key"},
        "retry": {"schedule": vec!["50ms"; 100], "jitter": 0}});
    world.subscribe("/a", fails).await?;
    world.receiver.on("/a", Behaviour::FailFirst { n: 3, status: 400 });
    for n in 0..5 {
        for key in ["a", "b"] {
            world.publish_with("orders", json!({"id": format!("{key}{n}"), "partitionkey": key})).await?;
        }
    }
    let order = |path: &str, key: &str| -> Vec<String> {
        let requests = world.receiver.received(path);
        requests.iter().map(|r| r.header("ce-id").to_owned()).filter(|i| i.starts_with(key)).collect()
    };
    world.receiver.wait_for("/a", 8, SOON).await?;
    ensure!(order("/a", "a") == ["a0", "a0", "a0", "a0", "a1", "a2", "a3", "a4"], "{:?}", order("/a", "a"));
    world.receiver.wait_for("/hook", 10, SOON).await?;
    for key in ["a", "b"] {
        ensure!(order("/hook", key) == (0..5).map(|n| format!("{key}{n}")).collect::<Vec<_>>());
    }
    // On one path: the first event (key `a`) fails, the events of `b` pass meanwhile.
    world.receiver.on("/hook", Behaviour::FailFirst { n: 1, status: 400 });
    for id in ["a5", "b5", "a6", "b6"] {
        world.publish_with("orders", json!({"id": id, "partitionkey": &id[..1]})).await?;
    }
    world.receiver.wait_for("/hook", 15, SOON).await?;
    ensure!(order("/hook", "a")[5..] == ["a5", "a5", "a6"], "{:?}", order("/hook", "a"));
    ensure!(order("/hook", "b")[5..] == ["b5", "b6"], "{:?}", order("/hook", "b"));
    let all = order("/hook", "");
    let place = |id: &str| all.iter().rposition(|i| i == id).unwrap_or_default();
    ensure!(place("b6") < place("a5"), "the other key was blocked: {:?}", &all[10..]);
    Ok(())
}

#[tokio::test]
async fn what_is_given_up_frees_its_key() -> Result<()> {
    let more = json!({"qos": {"ordering": "key"}, "retry": {"schedule": ["50ms"], "jitter": 0}});
    let (world, _) = world_with("/hook", more).await?;
    world.receiver.on("/hook", Behaviour::FailFirst { n: 2, status: 400 });
    for id in ["a0", "a1", "a2"] {
        world.publish_with("orders", json!({"id": id, "partitionkey": "a"})).await?;
    }
    world.receiver.wait_for("/hook", 4, SOON).await?;
    let order: Vec<String> = world.receiver.received("/hook").iter().map(|one| one.header("ce-id").to_owned()).collect();
    ensure!(order == ["a0", "a0", "a1", "a2"], "{order:?}");
    let letters = world.listed("/v1/dead-letters", 1, |letter| letter["reason"] == "attempts_exhausted").await?;
    ensure!(letters[0]["event"]["id"] == "a0", "{letters:?}");
    Ok(())
}

#[tokio::test]
async fn a_key_that_waits_long_keeps_no_other_key_out() -> Result<()> {
    let world = World::with(Config::default().set("delivery.max_lane_events", json!(32))).await?;
    world.topic("orders", json!({"partitions": 1})).await?;
    let more =
        json!({"status": "paused", "qos": {"ordering": "key"}, "limits": {"in_flight": 1}, "retry": {"schedule": ["1h"], "jitter": 0}});
    let subscribed = world.subscribe("/hook", more).await?;
    world.receiver.on("/hook", Behaviour::FailFirst { n: 1, status: 400 });
    // More of one key than a quarter of what a lane holds, behind one that fails.
    let ids: Vec<String> = (0..20).map(|n| format!("a{n}")).chain((0..50).map(|n| format!("b{n}"))).collect();
    for id in &ids {
        world.publish_with("orders", json!({"id": id, "partitionkey": &id[..1]})).await?;
    }
    world.control.post(&format!("/v1/subscriptions/{}/resume", subscribed.id), &json!({})).await?.expect(200)?;
    world.receiver.wait_for("/hook", 51, SOON).await?;
    let got: Vec<String> = world.receiver.received("/hook").iter().map(|one| one.header("ce-id").to_owned()).collect();
    ensure!(got[0] == "a0" && got[1..] == ids[20..], "{got:?}");
    Ok(())
}

#[tokio::test]
async fn no_more_are_in_flight_than_allowed() -> Result<()> {
    let (world, _) = world_with("/hook", json!({"limits": {"in_flight": 3}})).await?;
    world.receiver.on("/hook", Behaviour::Delay(Duration::from_millis(20), Box::new(Behaviour::Ok)));
    for n in 0..30 {
        world.publish("orders", json!(n)).await?;
    }
    let tally = world.receiver.wait_for_unique("/hook", 30, SOON).await?;
    ensure!(tally.peak_in_flight <= 3 && tally.duplicate == 0, "{tally:?}");
    Ok(())
}

#[tokio::test]
async fn the_rate_is_kept_and_waiting_for_it_is_no_attempt() -> Result<()> {
    let (world, _) = world_with("/hook", json!({"limits": {"rate": 10}})).await?;
    let events: Vec<Value> = (0..25).map(|_| world.event("orders")).collect();
    let begun = Instant::now();
    world.data.publish_batch(&events).await?.expect(202)?;
    let requests = world.receiver.wait_for("/hook", 25, SOON).await?;
    // A burst of 10, then 10 a second: the 25th cannot come before 1.5 s; half of it tells a limit from none.
    let took = requests[24].at - begun;
    ensure!(took >= Duration::from_millis(750), "{took:?}");
    ensure!(requests.iter().all(|r| r.header("posthorn-attempt") == "1"));
    Ok(())
}

#[tokio::test]
async fn a_dead_endpoint_does_not_hold_up_its_neighbours() -> Result<()> {
    let (world, _) = world_with("/good", json!({})).await?;
    world.subscribe("/hang", json!({"endpoint": {"timeout": "1s"}, "retry": {"schedule": ["1h"]}})).await?;
    world.receiver.on("/hang", Behaviour::Hang);
    let mut closed = json!({"endpoint": {"url": "http://127.0.0.1:9/closed"}, "retry": {"schedule": ["1h"]}});
    closed["name"] = "closed".into();
    let closed = world.subscribe("/closed", closed).await?;
    for n in 0..50 {
        world.publish("orders", json!(n)).await?;
    }
    world.receiver.wait_for_unique("/good", 50, SOON).await?;
    let seen = eventually("the first refused connection is on record", SOON, || async {
        let list = world.read(&format!("/v1/deliveries?subscription={}", closed.id)).await.ok()?;
        let attempted = list["items"].as_array()?.iter().find(|d| d["attempts"][0]["error"].is_string())?.clone();
        Some(attempted)
    });
    let seen = seen.await?;
    ensure!(seen["attempts"][0]["status_code"].is_null(), "{seen}");
    Ok(())
}

#[tokio::test]
async fn expired_while_waiting_is_never_sent() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({"ttl": "300ms"})).await?;
    let subscribed = world.subscribe("/hook", json!({"status": "paused"})).await?;
    let id = world.publish("orders", json!(1)).await?;
    // The endpoint's owner comes back when the time to live has passed by the event's own clock.
    let expired_by = tokio::time::Instant::now() + Duration::from_millis(400);
    eventually("the time to live passes", SOON, || std::future::ready((tokio::time::Instant::now() >= expired_by).then_some(()))).await?;
    let resumed = world.control.post(&format!("/v1/subscriptions/{}/resume", subscribed.id), &json!({})).await?;
    world.written(&resumed).await?;
    let letters = world.listed("/v1/dead-letters?reason=expired", 1, |_| true).await?;
    ensure!(letters[0]["event"]["id"] == *id);
    ensure!(world.receiver.tally("/hook").total == 0);
    Ok(())
}
