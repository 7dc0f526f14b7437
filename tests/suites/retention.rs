//! Retention against subscriptions that are behind: dead letters before events go, or events that are held (issue 6 §2).

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use posthorn_tests::{Behaviour, Config, Posthorn, Receiver, eventually};
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
    // Its delivery is known by the id that the dead letter gives.
    let lost = letters[0]["delivery"].as_str().context("a delivery")?;
    let lost = posthorn.control().get(&format!("/v1/deliveries/{lost}")).await?.expect(200)?;
    ensure!(lost["id"] == letters[0]["delivery"] && lost["status"] == "dead_lettered" && lost["event_id"].is_null(), "{lost}");
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

/// The rule stands at the event, by its schema; the subscription allows dead letters.
#[tokio::test]
async fn an_event_without_dead_letters_holds_the_log_for_every_subscription() -> Result<()> {
    let (receiver, mut posthorn) = (Receiver::start().await?, start(json!({})).await?);
    let made = posthorn.control().post("/v1/schemas/fleeting/versions", &json!({"schema": true, "dead_letter": "never"})).await?;
    in_force(&posthorn, &made.expect(201)?).await?;
    topic(&posthorn, "kept", json!({"retention": {"bytes": "1MiB"}, "durability": "log"})).await?;
    let id = subscribe(&posthorn, "kept", &receiver.url("/event"), json!({"status": "paused"})).await?;
    fill_with(&posthorn, EVENTS, SIZE, |number| (number == 30).then_some("fleeting")).await?;
    held(&posthorn, |bytes| bytes > 0.0).await?;
    // What stands before it goes, as dead letters.
    let before = passed(&posthorn, EVENTS - 28).await?;
    ensure!(before <= 30, "{before} are gone");
    letters(&posthorn, &id, before).await?;
    posthorn.kill9();
    posthorn.restart().await?;
    held(&posthorn, |bytes| bytes > 0.0).await?;
    ensure!(ids(&read_all(&posthorn, "kept").await?).len() == EVENTS - before, "events are gone");
    // What stands behind it is not to go while it is read.
    keep(&posthorn, "1GiB").await?;
    resume(&posthorn, &id).await?;
    receiver.wait_for_unique("/event", (EVENTS - before) as u64, SOON).await?;
    keep(&posthorn, "1MiB").await?;
    passed(&posthorn, KEPT).await?;
    held(&posthorn, |bytes| bytes == 0.0).await?;
    letters(&posthorn, &id, before).await.map(drop)
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

#[tokio::test]
async fn what_waits_for_another_attempt_becomes_a_dead_letter_with_its_event() -> Result<()> {
    let (receiver, posthorn) = (Receiver::start().await?, start(json!({})).await?);
    let id = waiting(&posthorn, &receiver, "/waits", json!({"retry": {"schedule": ["1h"]}}), (EVENTS, SIZE)).await?;
    keep(&posthorn, "1MiB").await?;
    let passed = passed(&posthorn, KEPT).await?;
    let letters = letters(&posthorn, &id, passed).await?;
    // What is known of its attempts stays, under the id that they went out with.
    let (first, event) = (letters[0]["delivery"].as_str().context("a delivery")?, letters[0]["event"]["id"].as_str().context("an id")?);
    ensure!(receiver.received("/waits").iter().any(|got| got.header("posthorn-delivery") == first && got.header("ce-id") == event));
    let shown = posthorn.control().get(&format!("/v1/deliveries/{first}")).await?.expect(200)?;
    ensure!(shown["id"] == first && shown["status"] == "dead_lettered" && shown["event_id"].is_null(), "{shown}");
    let listed = posthorn.control().get(&format!("/v1/deliveries?event_id={event}")).await?.expect(200)?;
    ensure!(listed["items"] == json!([shown]), "{listed}");
    let mut gone = BTreeSet::new();
    for letter in &letters {
        ensure!(letter["reason"] == "retention_passed" && letter["attempts"] == 1, "{letter}");
        ensure!(
            letter["event"]["data"]["filler"].as_str().is_some_and(|filler| filler.len() == SIZE),
            "the event is not all there: {letter}"
        );
        gone.insert(letter["event"]["id"].as_str().context("the event's id")?.to_owned());
    }
    let left = ids(&read_all(&posthorn, "kept").await?);
    ensure!(gone.len() == passed && left.iter().all(|id| !gone.contains(id)), "{gone:?}, and {left:?} are left");
    waits(&posthorn, &id, EVENTS - passed).await?;
    ensure!(metric(&posthorn, "posthorn_lane_retention_passed_total").await? == passed as f64, "counted otherwise");
    told(&posthorn, &id, "dead_lettered").await?;
    // It goes on from there when a person asks.
    receiver.on("/waits", Behaviour::Ok);
    let letter = letters[0]["id"].as_str().context("an id")?;
    posthorn.control().post(&format!("/v1/dead-letters/{letter}/retry"), &json!({})).await?.expect(202)?;
    let again = || async { receiver.received("/waits").iter().any(|request| request.header("posthorn-attempt") == "2").then_some(()) };
    eventually("the second attempt", SOON, again).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_store_knows_of_is_found_too() -> Result<()> {
    let (receiver, mut posthorn) = (Receiver::start().await?, start(json!({"delivery": {"max_retention_letters": 10_000}})).await?);
    // Twice what a subscription holds of them in memory.
    let count = 2_100;
    let members = json!({"retry": {"schedule": ["1h"]}, "limits": {"in_flight": 64}});
    let id = waiting(&posthorn, &receiver, "/store", members, (count, 1_000)).await?;
    posthorn.kill9();
    posthorn.restart().await?;
    keep(&posthorn, "1MiB").await?;
    let probe = || async {
        let letters = letters_of(&posthorn, &id).await.ok()?;
        let left = ids(&read_all(&posthorn, "kept").await.ok()?);
        (left.len() < 1_000 && letters.len() + left.len() == count).then_some((letters, left))
    };
    let (letters, left) = eventually("what is gone became dead letters", SOON, probe).await?;
    let all: BTreeSet<&String> = letters.iter().chain(&left).collect();
    ensure!(all.len() == count, "{} of {count} are accounted for", all.len());
    ensure!(metric(&posthorn, "posthorn_lane_retention_passed_total").await? == letters.len() as f64, "counted otherwise");
    Ok(())
}

#[tokio::test]
async fn of_many_that_wait_one_dead_letter_tells() -> Result<()> {
    let (receiver, posthorn) = (Receiver::start().await?, start(json!({"delivery": {"max_retention_letters": 10}})).await?);
    let id = waiting(&posthorn, &receiver, "/many", json!({"retry": {"schedule": ["1h"]}}), (EVENTS, SIZE)).await?;
    keep(&posthorn, "1MiB").await?;
    let passed = passed(&posthorn, KEPT).await?;
    waits(&posthorn, &id, EVENTS - passed).await?;
    let page = posthorn.control().get(&format!("/v1/dead-letters?subscription={id}&limit=1000")).await?.expect(200)?;
    let (ranges, single): (Vec<_>, Vec<_>) =
        page["items"].as_array().context("items")?.iter().partition(|letter| letter["event"]["type"] == "posthorn.log.gap");
    ensure!(single.len() >= 10 && !ranges.is_empty() && single.len() + ranges.len() < passed, "{page}");
    let counted = |letter: &&Value| letter["detail"].as_str()?.split(' ').find_map(|word| word.parse::<usize>().ok());
    let told: usize = ranges.iter().filter_map(counted).sum();
    ensure!(told + single.len() == passed, "{told} and {} of {passed}: {page}", single.len());
    ensure!(metric(&posthorn, "posthorn_lane_retention_passed_total").await? == passed as f64, "counted otherwise");
    Ok(())
}

#[tokio::test]
async fn what_waits_without_dead_letters_holds_the_log() -> Result<()> {
    let (receiver, posthorn) = (Receiver::start().await?, start(json!({})).await?);
    let members = json!({"retry": {"schedule": vec!["3s"; 30]}, "qos": {"dead_letter": "never"}});
    waiting(&posthorn, &receiver, "/holds", members, (EVENTS, SIZE)).await?;
    keep(&posthorn, "1MiB").await?;
    held(&posthorn, |bytes| bytes > 0.0).await?;
    ensure!(ids(&read_all(&posthorn, "kept").await?).len() == EVENTS, "events are gone");
    receiver.on("/holds", Behaviour::Ok);
    passed(&posthorn, KEPT).await?;
    ensure!(metric(&posthorn, "posthorn_lane_retention_passed_total").await? == 0.0, "something was lost");
    ensure!(metric(&posthorn, "posthorn_deliveries_ended_total").await? == 0.0, "something was given up");
    Ok(())
}

/// A subscription of which so many events, of so many bytes, wait for another attempt; gives its id.
async fn waiting(posthorn: &Posthorn, receiver: &Receiver, path: &str, members: Value, (count, size): (usize, usize)) -> Result<String> {
    topic(posthorn, "kept", json!({"retention": {"bytes": "1GiB"}, "durability": "log"})).await?;
    // The event's fault, so that no breaker opens and every event is tried.
    receiver.on(path, Behaviour::Status(400));
    let id = subscribe(posthorn, "kept", &receiver.url(path), members).await?;
    fill(posthorn, count, size).await?;
    waits(posthorn, &id, count).await?;
    Ok(id)
}

async fn keep(posthorn: &Posthorn, bytes: &str) -> Result<()> {
    topic(posthorn, "kept", json!({"retention": {"bytes": bytes}, "durability": "log"})).await
}

async fn fill(posthorn: &Posthorn, count: usize, size: usize) -> Result<()> {
    fill_with(posthorn, count, size, |_| None).await
}

/// With a schema for some.
async fn fill_with(posthorn: &Posthorn, count: usize, size: usize, schema: impl Fn(usize) -> Option<&'static str>) -> Result<()> {
    let filler = "x".repeat(size);
    for number in 0..count {
        let mut event = event("kept", &format!("e{number}"));
        if let Some(schema) = schema(number) {
            event["schemas"] = schema.into();
        }
        event["data"]["filler"] = json!(filler);
        posthorn.data().publish(&event).await?.expect(202)?;
    }
    Ok(())
}

async fn waits_now(posthorn: &Posthorn, id: &str) -> Option<usize> {
    let state = posthorn.control().get(&format!("/v1/subscriptions/{id}")).await.ok()?.json().ok()?["state"].clone();
    let rests = state["in_flight"] == 0 && state["lag"] == 0;
    state["waiting"].as_u64().filter(|_| rests).and_then(|waiting| usize::try_from(waiting).ok())
}

/// Waits until so many deliveries wait for another attempt, and nothing is under way.
async fn waits(posthorn: &Posthorn, id: &str, count: usize) -> Result<()> {
    // The state counts what is in memory only.
    let least = count.min(1_024);
    let probe = || async { waits_now(posthorn, id).await.filter(|waiting| *waiting >= least && *waiting <= count).map(drop) };
    eventually(&format!("{count} deliveries wait"), SOON, probe).await
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
    fill(posthorn, EVENTS, SIZE).await?;
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

/// The events of all dead letters of the subscription, page by page.
async fn letters_of(posthorn: &Posthorn, id: &str) -> Result<Vec<String>> {
    let (mut events, mut more) = (Vec::new(), String::new());
    loop {
        let page = posthorn.control().get(&format!("/v1/dead-letters?subscription={id}&limit=1000{more}")).await?.expect(200)?;
        let items = page["items"].as_array().context("items")?;
        events.extend(items.iter().filter_map(|letter| letter["event"]["id"].as_str()).map(str::to_owned));
        let Some(token) = page["next_page_token"].as_str() else { return Ok(events) };
        more = format!("&page_token={token}");
    }
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
