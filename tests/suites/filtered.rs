//! Filters at work: who is sent what, while events are fresh, after a pause and on a replay; and readers with a filter.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use posthorn_tests::{SOON, World};
use serde_json::{Value, json};

/// A path, a filter, and which of the numbers 0 to 9 it takes.
type Case = (&'static str, Value, fn(u64) -> bool);

/// A filter of each kind that looks at data, and at attributes.
fn filters() -> [Case; 6] {
    [
        ("/sql", json!({"sql": "n >= 3 AND type LIKE 'made.%'"}), |n| n >= 3),
        ("/cel", json!({"cel": "data.total > 5.0 && data.parity == 'odd'"}), |n| n > 5 && n % 2 == 1),
        ("/data", json!({"data": {"/total": {"lt": 4}, "/parity": {"eq": "even"}}}), |n| n < 4 && n % 2 == 0),
        ("/same", json!({"data": {"/total": {"lt": 4}, "/parity": {"eq": "even"}}}), |n| n < 4 && n % 2 == 0),
        ("/any", json!({"any": [{"sql": "n = 1"}, {"data": {"/total": {"in": [7, 8]}}}]}), |n| [1, 7, 8].contains(&n)),
        ("/exact", json!({"exact": {"subject": "s2"}}), |n| n == 2),
    ]
}

async fn publish(world: &World, prefix: &str) -> Result<()> {
    for n in 0..10u64 {
        let parity = if n % 2 == 0 { "even" } else { "odd" };
        let data = json!({"total": n, "parity": parity});
        let event =
            json!({"id": format!("{prefix}{n}"), "type": format!("made.{parity}"), "subject": format!("s{n}"), "n": n, "data": data});
        world.publish_with("orders", event).await?;
    }
    Ok(())
}

fn taken(prefix: &str, takes: fn(u64) -> bool) -> BTreeSet<String> {
    (0..10).filter(|n| takes(*n)).map(|n| format!("{prefix}{n}")).collect()
}

async fn sent(world: &World, path: &str, wanted: &BTreeSet<String>) -> Result<()> {
    let received = world.receiver.wait_for(path, wanted.len() as u64, SOON).await?;
    let got: Vec<String> = received.iter().map(|request| request.event_id()).collect::<Result<_>>()?;
    ensure!(got.len() == wanted.len() && got.into_iter().collect::<BTreeSet<_>>() == *wanted, "{path}: {wanted:?}");
    Ok(())
}

#[tokio::test]
async fn each_is_sent_what_its_filter_takes_fresh_and_after_a_pause() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({"partitions": 2})).await?;
    let mut ids = Vec::new();
    for (path, filter, _) in filters() {
        ids.push(world.subscribe(path, json!({"filters": [{"topic": "orders"}, filter]})).await?.id);
    }
    publish(&world, "fresh").await?;
    for (path, _, takes) in filters() {
        sent(&world, path, &taken("fresh", takes)).await?;
    }
    for id in &ids {
        world.written(&world.control.post(&format!("/v1/subscriptions/{id}/pause"), &json!({})).await?).await?;
    }
    publish(&world, "late").await?;
    for id in &ids {
        world.written(&world.control.post(&format!("/v1/subscriptions/{id}/resume"), &json!({})).await?).await?;
    }
    for (path, _, takes) in filters() {
        sent(&world, path, &(&taken("fresh", takes) | &taken("late", takes))).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_new_filter_is_in_force_with_its_revision() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    let id = world.subscribe("/hook", json!({"filters": [{"cel": "data.total < 2"}]})).await?.id;
    publish(&world, "before").await?;
    sent(&world, "/hook", &taken("before", |n| n < 2)).await?;
    let path = format!("/v1/subscriptions/{id}");
    let mut document = world.read(&path).await?;
    document["filters"] = json!([{"sql": "n > 7"}]);
    world.written(&world.control.put(&path, &document).await?).await?;
    publish(&world, "after").await?;
    sent(&world, "/hook", &(&taken("before", |n| n < 2) | &taken("after", |n| n > 7))).await
}

fn ids(page: &Value) -> Vec<String> {
    let events = page["events"].as_array().map(Vec::as_slice).unwrap_or_default();
    events.iter().filter_map(|e| e["event"]["id"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn readers_are_given_what_their_filter_takes() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({"partitions": 3})).await?;
    publish(&world, "e").await?;
    let base = "/v1/topics/orders/events?filter=n+%3E+5+AND+type+%3D+%27made.odd%27";
    let mut cursor = "earliest".to_owned();
    let mut seen = Vec::new();
    for _ in 0..10 {
        let page = world.data.get(&format!("{base}&limit=1&cursor={cursor}")).await?.expect(200)?;
        cursor = page["cursor"].as_str().context("a cursor")?.to_owned();
        ensure!(ids(&page).len() <= 1);
        seen.extend(ids(&page));
        if ids(&page).is_empty() {
            break;
        }
    }
    ensure!(seen.len() == 2 && seen.into_iter().collect::<BTreeSet<_>>() == taken("e", |n| n == 7 || n == 9));
    // The place is behind all that was looked at.
    let rest = world.data.get(&format!("/v1/topics/orders/events?cursor={cursor}")).await?.expect(200)?;
    ensure!(ids(&rest).is_empty(), "{rest}");

    let mut stream = world.data.events(&format!("{base}&cursor=latest"), &[]).await?;
    publish(&world, "live").await?;
    let mut streamed = BTreeSet::new();
    for _ in 0..2 {
        let event = stream.next(SOON).await?.context("the stream ended")?;
        let body: Value = serde_json::from_str(&event.data)?;
        streamed.insert(body["event"]["id"].as_str().context("an id")?.to_owned());
    }
    ensure!(streamed == taken("live", |n| n == 7 || n == 9), "{streamed:?}");
    // A long poll waits for an event that it takes, not for any.
    let poll = world.data.get(&format!("{base}&cursor={cursor}&wait=30s")).await?.expect(200)?;
    ensure!(!ids(&poll).is_empty(), "{poll}");
    Ok(())
}

#[tokio::test]
async fn a_readers_bad_filter_is_refused_with_its_place() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    for (filter, at) in [("n+%3E", 3), ("", 0), ("type+%3D+%27a", 7), ("n+%3D%3D+1", 3)] {
        let reply = world.data.get(&format!("/v1/topics/orders/events?filter={filter}")).await?;
        ensure!(reply.status == 400 && reply.problem()? == "invalid-request", "{filter}: {}", reply.text());
        let problem = reply.json()?;
        ensure!(problem["detail"].as_str().is_some_and(|detail| detail.contains("`filter`") && detail.contains("line 1")), "{problem}");
        ensure!(problem["line"] == 1 && problem["at"] == at && problem["column"] == at + 1, "{problem}");
    }
    Ok(())
}
