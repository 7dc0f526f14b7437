//! Reading a topic: cursors, long polls, server-sent events, retention (interfaces §3).

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use posthorn_tests::{Config, SOON, World, eventually};
use serde_json::{Value, json};

fn ids(page: &Value) -> Vec<String> {
    let events = page["events"].as_array().map(Vec::as_slice).unwrap_or_default();
    events.iter().filter_map(|e| e["event"]["id"].as_str().map(str::to_owned)).collect()
}

async fn page(world: &World, topic: &str, query: &str) -> Result<Value> {
    world.data.get(&format!("/v1/topics/{topic}/events?{query}")).await?.expect(200)
}

#[tokio::test]
async fn a_topic_is_read_once_page_by_page() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({"partitions": 3})).await?;
    let mut sent = BTreeSet::new();
    for n in 0..25 {
        let id = world.publish_with("orders", json!({"subject": format!("s{n}"), "data": {"n": n}})).await?;
        sent.insert(id);
    }
    let mut cursor = "earliest".to_owned();
    let mut seen = Vec::new();
    let mut each = Vec::new();
    loop {
        let answer = page(&world, "orders", &format!("cursor={cursor}&limit=4")).await?;
        let got = ids(&answer);
        ensure!(got.len() <= 4);
        cursor = answer["cursor"].as_str().context("a cursor")?.to_owned();
        if got.is_empty() {
            break;
        }
        each.extend(answer["events"].as_array().context("events")?.clone());
        seen.extend(got);
    }
    ensure!(seen.len() == 25 && seen.iter().cloned().collect::<BTreeSet<_>>() == sent, "{seen:?}");
    ensure!(each[0]["event"]["specversion"] == "1.0" && each[0]["event"]["topic"] == "orders", "{}", each[0]);
    // Every event's own cursor is the place right after it.
    let after = page(&world, "orders", &format!("cursor={}", each[10]["cursor"].as_str().context("a cursor")?)).await?;
    // Between partitions there is no order, so another page size may mix them otherwise.
    let rest = |ids: &[String]| ids.iter().cloned().collect::<BTreeSet<_>>();
    ensure!(rest(&ids(&after)) == rest(&seen[11..]), "{:?} {:?}", ids(&after), &seen[11..]);
    ensure!(ids(&page(&world, "orders", "cursor=latest").await?).is_empty());
    ensure!(ids(&page(&world, "orders", "cursor=time:2001-01-01T00:00:00Z").await?).len() == 25);
    ensure!(ids(&page(&world, "orders", "cursor=time:2999-01-01T00:00:00Z").await?).is_empty());
    Ok(())
}

#[tokio::test]
async fn a_long_poll_answers_when_something_comes() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    let at = page(&world, "orders", "cursor=latest").await?["cursor"].as_str().context("a cursor")?.to_owned();
    let query = format!("cursor={at}&wait=60s");
    let poll = page(&world, "orders", &query);
    let publish = async {
        tokio::task::yield_now().await;
        world.publish("orders", json!(1)).await
    };
    let (answer, id) = tokio::join!(poll, publish);
    ensure!(ids(&answer?) == [id?]);
    // And is empty when nothing does.
    let at = page(&world, "orders", "cursor=latest").await?["cursor"].as_str().context("a cursor")?.to_owned();
    let empty = page(&world, "orders", &format!("cursor={at}&wait=50ms")).await?;
    ensure!(ids(&empty).is_empty() && empty["cursor"].is_string(), "{empty}");
    Ok(())
}

#[tokio::test]
async fn server_sent_events_resume_after_the_last_one() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({"partitions": 2})).await?;
    let first = [world.publish("orders", json!(1)).await?, world.publish("orders", json!(2)).await?];
    let path = "/v1/topics/orders/events?cursor=earliest";
    let mut stream = world.data.events(path, &[]).await?;
    let mut last = String::new();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let event = stream.next(SOON).await?.context("the stream ended")?;
        let body: Value = serde_json::from_str(&event.data)?;
        ensure!(body["cursor"] == event.id && body["event"]["topic"] == "orders", "{body}");
        seen.push(body["event"]["id"].as_str().context("an id")?.to_owned());
        last = event.id;
    }
    seen.sort();
    ensure!(seen == first, "{seen:?}");
    let live = world.publish("orders", json!(3)).await?;
    let event = stream.next(SOON).await?.context("the stream ended")?;
    ensure!(serde_json::from_str::<Value>(&event.data)?["event"]["id"] == *live);
    drop(stream);
    // `Last-Event-ID` wins over the cursor that the address was opened with.
    let mut again = world.data.events(path, &[("last-event-id", &last)]).await?;
    let event = again.next(SOON).await?.context("the stream ended")?;
    ensure!(serde_json::from_str::<Value>(&event.data)?["event"]["id"] == *live, "{event:?}");
    Ok(())
}

#[tokio::test]
async fn a_cursor_below_retention_is_gone_and_the_answer_says_where_to_go_on() -> Result<()> {
    let config = Config::with(json!({"log": {"segment_bytes": "64KiB", "retention_check": "100ms"}}));
    let world = World::with(config).await?;
    world.topic("orders", json!({"retention": {"bytes": "1MiB"}, "durability": "log"})).await?;
    world.publish("orders", json!("the first")).await?;
    let old = page(&world, "orders", "cursor=earliest&limit=1").await?["cursor"].as_str().context("a cursor")?.to_owned();
    let filler = "x".repeat(20_000);
    for _ in 0..100 {
        world.publish("orders", json!(filler)).await?;
    }
    let gone = eventually("retention passes", SOON, || async {
        let reply = world.data.get(&format!("/v1/topics/orders/events?cursor={old}&limit=1")).await.ok()?;
        (reply.status == 410).then_some(reply)
    });
    let mut gone = gone.await?;
    // Retention may pass the place that an answer named before it is asked for; then the next answer names a later one.
    for _ in 0..100 {
        ensure!(gone.status == 410 && gone.problem()? == "cursor-expired", "{}: {}", gone.status, gone.text());
        let earliest = gone.json()?["earliest"].as_str().context("earliest")?.to_owned();
        let reply = world.data.get(&format!("/v1/topics/orders/events?cursor={earliest}&limit=1000")).await?;
        if reply.status == 200 {
            let answer = reply.json()?;
            ensure!(!ids(&answer).is_empty(), "{answer}");
            return Ok(());
        }
        gone = reply;
    }
    anyhow::bail!("`earliest` is never there: {}", gone.text())
}

#[tokio::test]
async fn what_was_read_survives_a_restart() -> Result<()> {
    let mut world = World::start().await?;
    world.topic("orders", json!({})).await?;
    let first = world.publish("orders", json!(1)).await?;
    let answer = page(&world, "orders", "cursor=earliest").await?;
    ensure!(ids(&answer) == [first]);
    ensure!(world.posthorn.terminate().await?.success());
    world.posthorn.restart().await?;
    let second = world.publish_with("orders", json!({"id": "after"})).await?;
    let answer = page(&world, "orders", &format!("cursor={}", answer["cursor"].as_str().context("a cursor")?)).await?;
    ensure!(ids(&answer) == [second], "{answer}");
    Ok(())
}
