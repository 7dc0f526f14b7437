//! Readers with a filter pass over segments that have nothing for them, and are given the same as if they had read them (issue 6 §1).

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use posthorn_tests::{Config, SOON, World};
use serde_json::{Value, json};

use crate::kit::{ids, metric, read_all};
use crate::readers::{commit, page, text};

/// Events in all, of 2 KiB each: a segment holds about thirty.
const EVENTS: usize = 360;
/// Every so many one that is wanted.
const RARE: usize = 120;
const SKIPPED: &str = "posthorn_reader_skipped_events_total";

/// A topic in which few events are rare.
async fn filled(partitions: u32) -> Result<World> {
    let world = World::with(Config::with(json!({"log": {"segment_bytes": "64KiB"}}))).await?;
    world.topic("long", json!({"partitions": partitions, "durability": "log"})).await?;
    let filler = "x".repeat(2_000);
    for n in 0..EVENTS {
        let rare = n % RARE == RARE / 2;
        let ty = if rare { "rare" } else { ["made.one", "made.two"][n % 2] };
        world.publish_with("long", json!({"type": ty, "subject": format!("s{n}"), "n": n, "data": {"filler": filler}})).await?;
    }
    Ok(world)
}

/// The ids of those that `takes` takes, in the log's order.
async fn looked_at(world: &World, takes: impl Fn(&Value) -> bool) -> Result<Vec<String>> {
    let all: Vec<Value> = read_all(&world.posthorn, "long").await?;
    ensure!(all.len() == EVENTS, "{} events", all.len());
    Ok(ids(&all.into_iter().filter(|entry| takes(&entry["event"])).collect::<Vec<_>>()))
}

/// Everything that pages of this size give.
async fn paged(world: &World, filter: &str, limit: usize) -> Result<Vec<String>> {
    let (mut cursor, mut seen) = ("earliest".to_owned(), Vec::new());
    loop {
        let page = world.data.get(&format!("/v1/topics/long/events?filter={filter}&limit={limit}&cursor={cursor}")).await?.expect(200)?;
        let got = ids(page["events"].as_array().context("events")?);
        if got.is_empty() {
            return Ok(seen);
        }
        seen.extend(got);
        cursor = text(&page["cursor"])?;
    }
}

#[tokio::test]
async fn pages_and_streams_give_the_same_and_read_less() -> Result<()> {
    let world = filled(1).await?;
    let wanted = looked_at(&world, |event| event["type"] == "rare").await?;
    ensure!(wanted.len() == EVENTS / RARE, "{wanted:?}");
    ensure!(metric(&world.posthorn, SKIPPED).await? == 0.0, "without a filter nothing is passed over");
    for limit in [1, 2, 100] {
        let before = metric(&world.posthorn, SKIPPED).await?;
        ensure!(paged(&world, "type+%3D+%27rare%27", limit).await? == wanted, "pages of {limit}");
        let skipped = metric(&world.posthorn, SKIPPED).await? - before;
        ensure!(skipped >= EVENTS as f64 / 2.0, "pages of {limit} passed over {skipped}");
    }
    // One that is in a segment or is not, and what cannot be told of a segment.
    let path = "subject+%3D+%27s59%27+OR+subject+%3D+%27s200%27";
    let of_subject = looked_at(&world, |event| event["subject"] == "s59" || event["subject"] == "s200").await?;
    ensure!(of_subject.len() == 2 && paged(&world, path, 100).await? == of_subject, "{of_subject:?}");
    let before = metric(&world.posthorn, SKIPPED).await?;
    let many = looked_at(&world, |event| event["n"].as_u64() > Some(300)).await?;
    ensure!(many.len() == EVENTS - 301 && paged(&world, "n+%3E+300", 100).await? == many, "{many:?}");
    ensure!(metric(&world.posthorn, SKIPPED).await? == before, "nothing can be passed over by a number");
    // A long poll from the beginning, and a stream.
    let base = "/v1/topics/long/events?filter=type+%3D+%27rare%27&cursor=earliest";
    let poll = world.data.get(&format!("{base}&wait=30s")).await?.expect(200)?;
    ensure!(ids(poll["events"].as_array().context("events")?) == wanted, "{poll}");
    let before = metric(&world.posthorn, SKIPPED).await?;
    let mut stream = world.data.events(base, &[]).await?;
    for id in &wanted {
        let event: Value = serde_json::from_str(&stream.next(SOON).await?.context("the stream ended")?.data)?;
        ensure!(event["event"]["id"] == **id, "{event}, and not {id}");
    }
    ensure!(metric(&world.posthorn, SKIPPED).await? - before >= EVENTS as f64 / 2.0, "the stream passed over little");
    // And what comes later.
    let late = world.publish_with("long", json!({"type": "rare"})).await?;
    let event: Value = serde_json::from_str(&stream.next(SOON).await?.context("the stream ended")?.data)?;
    ensure!(event["event"]["id"] == late, "{event}");
    Ok(())
}

#[tokio::test]
async fn readers_with_places_and_pulled_subscriptions_do_too() -> Result<()> {
    let world = filled(2).await?;
    let wanted: BTreeSet<String> = looked_at(&world, |event| event["type"] == "rare").await?.into_iter().collect();
    let filters = json!([{"exact": {"type": "rare"}}]);
    world.data.put("/v1/readers/few", &json!({"topic": "long", "filters": filters})).await?.expect(201)?;
    let pulled = json!({"mode": "pull", "start": "earliest", "filters": [{"topic": "long"}, {"exact": {"type": "rare"}}]});
    let subscription = world.subscribe("/never", pulled).await?.id;
    for reader in ["few", &subscription] {
        let before = metric(&world.posthorn, SKIPPED).await?;
        let mut seen = Vec::new();
        while seen.len() < wanted.len() {
            let answer = page(&world, reader, "limit=2&wait=10s").await?;
            let got = ids(answer["events"].as_array().context("events")?);
            ensure!(!got.is_empty(), "{reader}: {seen:?}, and then nothing");
            seen.extend(got);
            commit(&world, reader, "", &text(&answer["cursor"])?).await?;
        }
        ensure!(seen.len() == wanted.len() && seen.into_iter().collect::<BTreeSet<_>>() == wanted, "{reader} is given otherwise");
        let skipped = metric(&world.posthorn, SKIPPED).await? - before;
        ensure!(skipped >= EVENTS as f64 / 4.0, "{reader} passed over {skipped}");
    }
    Ok(())
}
