//! Retention against subscriptions that are behind: dead letters before events go, or events that are held (issue 6 §2).

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use posthorn_tests::{Config, Posthorn, Receiver, eventually};
use serde_json::{Value, json};

use crate::kit::{SOON, event, ids, in_force, metric, read_all, subscribe, topic};

/// Twice what the topic keeps.
const EVENTS: usize = 100;
/// Bytes of one, about. A segment holds three.
const SIZE: usize = 21_000;
/// So many are left at most when retention has done all it does: 1 MiB.
const KEPT: usize = 49;
/// The same with the 256 KiB that may be held.
const HELD: usize = 61;

#[tokio::test]
async fn what_retention_takes_from_a_lane_becomes_dead_letters_first() -> Result<()> {
    let (receiver, posthorn) = (Receiver::start().await?, start(json!({})).await?);
    let id = behind(&posthorn, &receiver, "/allow", json!({})).await?;
    let passed = passed(&posthorn, KEPT).await?;
    resume(&posthorn, &id).await?;
    receiver.wait_for_unique("/allow", (EVENTS - passed) as u64, SOON).await?;
    let letters = letters(&posthorn, &id, passed).await?;
    let mut seen: BTreeSet<String> = receiver.received("/allow").iter().map(|request| request.header("ce-id").to_owned()).collect();
    for letter in &letters {
        ensure!(letter["reason"] == "retention_passed" && letter["attempts"] == 0, "{letter}");
        ensure!(seen.insert(letter["event"]["id"].as_str().context("the event's id")?.to_owned()), "both kept and delivered: {letter}");
    }
    ensure!(seen.len() == EVENTS, "{} of {EVENTS}", seen.len());
    ensure!(metric(&posthorn, "posthorn_lane_retention_passed_total").await? == passed as f64, "counted otherwise");
    told(&posthorn, &id, "dead_lettered").await?;
    // The event is kept with its dead letter, so it can still be delivered.
    let letter = letters[0]["id"].as_str().context("an id")?;
    posthorn.control().post(&format!("/v1/dead-letters/{letter}/retry"), &json!({})).await?.expect(202)?;
    receiver.wait_for_unique("/allow", (EVENTS - passed + 1) as u64, SOON).await.map(drop)
}

#[tokio::test]
async fn of_many_one_dead_letter_tells() -> Result<()> {
    let (receiver, posthorn) = (Receiver::start().await?, start(json!({"delivery": {"max_retention_letters": 1}})).await?);
    let id = behind(&posthorn, &receiver, "/range", json!({})).await?;
    let passed = passed(&posthorn, KEPT).await?;
    resume(&posthorn, &id).await?;
    receiver.wait_for_unique("/range", (EVENTS - passed) as u64, SOON).await?;
    let page = posthorn.control().get(&format!("/v1/dead-letters?subscription={id}&limit=1000")).await?.expect(200)?;
    let letters = page["items"].as_array().context("items")?;
    ensure!(!letters.is_empty() && letters.len() < passed, "{} letters for {passed} events", letters.len());
    let ranges = letters.iter().filter(|letter| letter["event"]["type"] == "posthorn.log.gap");
    ensure!(ranges.clone().count() > 0, "no range: {page}");
    for range in ranges {
        let detail = range["detail"].as_str().unwrap_or_default();
        ensure!(range["reason"] == "retention_passed" && detail.contains("offsets ") && detail.contains("at most "), "{range}");
    }
    ensure!(metric(&posthorn, "posthorn_lane_retention_passed_total").await? == passed as f64, "counted otherwise");
    Ok(())
}

#[tokio::test]
async fn a_subscription_without_dead_letters_holds_the_log_until_it_has_passed() -> Result<()> {
    let (receiver, mut posthorn) = (Receiver::start().await?, start(json!({})).await?);
    let id = behind(&posthorn, &receiver, "/never", json!({"qos": {"dead_letter": "never"}})).await?;
    held(&posthorn, |bytes| bytes > 0.0).await?;
    posthorn.kill9();
    posthorn.restart().await?;
    held(&posthorn, |bytes| bytes > 0.0).await?;
    ensure!(ids(&read_all(&posthorn, "kept").await?).len() == EVENTS, "events are gone");
    resume(&posthorn, &id).await?;
    let tally = receiver.wait_for_unique("/never", EVENTS as u64, SOON).await?;
    ensure!(tally.unique == EVENTS as u64, "{tally:?}");
    // Then they go.
    passed(&posthorn, KEPT).await?;
    held(&posthorn, |bytes| bytes == 0.0).await?;
    ensure!(metric(&posthorn, "posthorn_lane_retention_passed_total").await? == 0.0, "something was lost");
    Ok(())
}

#[tokio::test]
async fn beyond_the_limit_what_was_held_is_dropped_and_told() -> Result<()> {
    let (receiver, posthorn) = (Receiver::start().await?, start(json!({"log": {"max_held_bytes": "256KiB"}})).await?);
    let id = behind(&posthorn, &receiver, "/dropped", json!({"qos": {"dead_letter": "never"}})).await?;
    let kept = EVENTS - passed(&posthorn, HELD).await?;
    held(&posthorn, |bytes| bytes > 0.0 && bytes <= 262_144.0).await?;
    told(&posthorn, &id, "dropped").await?;
    resume(&posthorn, &id).await?;
    receiver.wait_for_unique("/dropped", kept as u64, SOON).await?;
    ensure!(metric(&posthorn, "posthorn_lane_retention_passed_total").await? == (EVENTS - kept) as f64, "counted otherwise");
    let page = posthorn.control().get(&format!("/v1/dead-letters?subscription={id}")).await?.expect(200)?;
    ensure!(page["items"] == json!([]), "{page}");
    Ok(())
}

async fn start(more: Value) -> Result<Posthorn> {
    let mut config =
        Config::with(json!({"log": {"segment_bytes": "64KiB", "retention_check": "100ms"}, "delivery": {"operations_interval": "50ms"}}));
    for (section, members) in more.as_object().into_iter().flatten() {
        for (key, value) in members.as_object().into_iter().flatten() {
            config = config.set(&format!("{section}.{key}"), value.clone());
        }
    }
    Posthorn::start(config).await
}

/// A paused subscription, and behind it twice as many events as the topic keeps; gives its id.
async fn behind(posthorn: &Posthorn, receiver: &Receiver, path: &str, members: Value) -> Result<String> {
    topic(posthorn, "kept", json!({"retention": {"bytes": "1MiB"}, "durability": "log"})).await?;
    let mut members = members;
    members["status"] = "paused".into();
    let id = subscribe(posthorn, "kept", &receiver.url(path), members).await?;
    let filler = "x".repeat(SIZE);
    for number in 0..EVENTS {
        let mut event = event("kept", &format!("e{number}"));
        event["data"]["filler"] = json!(filler);
        posthorn.data().publish(&event).await?.expect(202)?;
    }
    Ok(id)
}

/// Waits until at most so many events are left; gives how many are gone.
async fn passed(posthorn: &Posthorn, left: usize) -> Result<usize> {
    let probe = || async { Some(ids(&read_all(posthorn, "kept").await.ok()?).len()).filter(|now| *now <= left) };
    Ok(EVENTS - eventually("retention passes", SOON, probe).await?)
}

async fn resume(posthorn: &Posthorn, id: &str) -> Result<()> {
    let resumed = posthorn.control().post(&format!("/v1/subscriptions/{id}/resume"), &json!({})).await?.expect(200)?;
    in_force(posthorn, &resumed).await
}

/// All dead letters of the subscription, once there are so many.
async fn letters(posthorn: &Posthorn, id: &str, count: usize) -> Result<Vec<Value>> {
    let path = format!("/v1/dead-letters?subscription={id}&limit=1000");
    let probe = || async {
        let items = posthorn.control().get(&path).await.ok()?.json().ok()?["items"].as_array()?.clone();
        (items.len() == count).then_some(items)
    };
    eventually(&format!("{count} dead letters"), SOON, probe).await
}

/// Waits until so many bytes are held beyond retention.
async fn held(posthorn: &Posthorn, wanted: impl Fn(f64) -> bool) -> Result<()> {
    let probe = || async { metric(posthorn, "posthorn_log_held_bytes").await.ok().filter(|bytes| wanted(*bytes)).map(drop) };
    eventually("bytes are held", SOON, probe).await
}

/// Waits until operators were told of it.
async fn told(posthorn: &Posthorn, id: &str, outcome: &str) -> Result<()> {
    let probe = || async {
        let entries = read_all(posthorn, "posthorn.operations").await.ok()?;
        let of_kind = entries.iter().filter(|entry| entry["event"]["type"] == "posthorn.retention.passed");
        of_kind.map(|entry| &entry["event"]).any(|event| event["subject"] == json!(id) && event["data"]["outcome"] == outcome).then_some(())
    };
    eventually("operators are told", SOON, probe).await
}
