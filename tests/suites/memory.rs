//! Memory does not follow what comes in (I9, DESIGN §4.5): the resident set is read before and after, with room for noise.
//! `load-tests` has the large versions.

use anyhow::{Context, Result, ensure};
use http::Method;
use posthorn_tests::{Behaviour, Config, Posthorn, Receiver, eventually};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::kit::{SOON, event, metric, subscribe, topic};

const MIB: u64 = 1 << 20;
const BATCH: u64 = 500;

#[tokio::test]
async fn a_dead_endpoint_costs_a_cursor_and_not_a_queue() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.on("/dead", Behaviour::Status(503));
    let config = Config::default().set("ingest.dedup_max_entries", json!(5_000)).set("delivery.max_tail_bytes", json!("4MiB"));
    let posthorn = Posthorn::start(config).await?;
    topic(&posthorn, "flood", json!({"durability": "log"})).await?;
    subscribe(&posthorn, "flood", &receiver.url("/dead"), json!({})).await?;
    // Caches, buffers and tables reach their size.
    flood(&posthorn, "warm", 6_000, 1024).await?;
    let before = resident(&posthorn)?;
    flood(&posthorn, "flood", 20_000, 1024).await?;
    let after = resident(&posthorn)?;
    ensure!(after <= before + before / 4 + 16 * MIB, "{} MiB grew to {} MiB", before / MIB, after / MIB);
    ensure!(metric(&posthorn, "posthorn_lanes_lagging").await? >= 1.0, "the lane does not lag");
    Ok(())
}

#[tokio::test]
async fn tasks_are_counted_on_every_thread_and_go_with_what_they_were_for() -> Result<()> {
    const STREAMS: usize = 40;
    let posthorn = Posthorn::start(Config::default().set("node.shards", json!(2))).await?;
    topic(&posthorn, "quiet", json!({})).await?;
    let before = metric(&posthorn, "posthorn_tasks").await?;
    ensure!(before >= 3.0, "{before} tasks");
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(posthorn.data().events("/v1/topics/quiet/events", &[]).await?);
    }
    let with = metric(&posthorn, "posthorn_tasks").await?;
    ensure!(with >= before + STREAMS as f64 - 2.0, "{with} tasks for {STREAMS} streams more than {before}");
    drop(streams);
    let gone = || async { (metric(&posthorn, "posthorn_tasks").await.ok()? <= before + 2.0).then_some(()) };
    eventually("their tasks are gone", SOON, gone).await
}

#[tokio::test]
async fn many_slow_endpoints_share_the_memory_for_lanes() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.on("/slow", Behaviour::Hang);
    let config = Config::default().set("ingest.dedup_max_entries", json!(5_000)).set("delivery.max_tail_bytes", json!("4MiB"));
    let posthorn = Posthorn::start(config).await?;
    topic(&posthorn, "flood", json!({"durability": "log"})).await?;
    flood(&posthorn, "warm", 6_000, 1024).await?;
    let before = resident(&posthorn)?;
    for number in 0..30 {
        // Some are sent what comes in, some read it back, some want little of each page.
        let start = if number % 2 == 0 { "latest" } else { "earliest" };
        let mut members = json!({"limits": {"in_flight": 2}, "endpoint": {"timeout": "2m"}, "start": start});
        if number % 3 == 0 {
            members["filters"] = json!([{"topic": "flood"}, {"sql": "id LIKE '%7'"}]);
        }
        subscribe(&posthorn, "flood", &receiver.url("/slow"), members).await?;
    }
    flood(&posthorn, "flood", 20_000, 1024).await?;
    let sent = || async { (receiver.tally("/slow").total >= 60).then_some(()) };
    eventually("all have what they may have in flight", SOON, sent).await?;
    let held = metric(&posthorn, "posthorn_lane_bytes").await?;
    ensure!(held > 0.0 && held <= 4_718_592.0, "{held} bytes are held");
    let after = resident(&posthorn)?;
    ensure!(after <= before + before / 4 + 24 * MIB, "{} MiB grew to {} MiB", before / MIB, after / MIB);
    Ok(())
}

#[tokio::test]
async fn idle_connections_and_oversize_bodies_cost_little() -> Result<()> {
    let config = Config::default().set("ingest.max_event_bytes", json!("64KiB")).set("ingest.max_batch_bytes", json!("1MiB"));
    let posthorn = Posthorn::start(config).await?;
    topic(&posthorn, "idle", json!({"durability": "log"})).await?;
    let body = vec![b'x'; 4 << 20];
    oversize(&posthorn, &body, 20).await?;
    let before = resident(&posthorn)?;
    let door = posthorn.data().address();
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(TcpStream::connect(door).await?);
    }
    let open = || async { metric(&posthorn, "posthorn_http_connections").await.ok().filter(|count| *count >= 200.0) };
    eventually("200 connections are open", SOON, open).await?;
    let held = resident(&posthorn)?;
    ensure!(held <= before + before / 4 + 16 * MIB, "200 idle connections: {} MiB grew to {} MiB", before / MIB, held / MIB);
    oversize(&posthorn, &body, 200).await?;
    let after = resident(&posthorn)?;
    ensure!(after <= before + before / 4 + 16 * MIB, "800 MiB of refused bodies: {} MiB grew to {} MiB", before / MIB, after / MIB);
    drop(idle);
    Ok(())
}

#[tokio::test]
async fn the_table_of_duplicates_is_bounded() -> Result<()> {
    let posthorn = Posthorn::start(Config::default().set("ingest.dedup_max_entries", json!(1_280))).await?;
    topic(&posthorn, "many", json!({"durability": "log"})).await?;
    flood_small(&posthorn, "warm", 4_000).await?;
    let before = resident(&posthorn)?;
    flood_small(&posthorn, "id", 20_000).await?;
    ensure!(metric(&posthorn, "posthorn_dedup_entries").await? <= 1_280.0, "too many entries");
    // The same few again and again: the newest are still known.
    let same: Vec<Value> = (0..BATCH).map(|_| event("many", "id-19999")).collect();
    for _ in 0..20 {
        let answer = posthorn.data().publish_batch(&same).await?.expect(202)?;
        let results = answer["results"].as_array().context("results")?;
        ensure!(results.iter().all(|result| result["status"] == "duplicate"), "{}", results[0]);
    }
    let after = resident(&posthorn)?;
    ensure!(after <= before + before / 4 + 16 * MIB, "{} MiB grew to {} MiB", before / MIB, after / MIB);
    Ok(())
}

async fn flood(posthorn: &Posthorn, prefix: &str, count: u64, bytes: usize) -> Result<()> {
    let filler = "x".repeat(bytes);
    batches(posthorn, count, |number| {
        let mut event = event("flood", &format!("{prefix}-{number}"));
        event["data"]["filler"] = json!(filler);
        event
    })
    .await
}

async fn flood_small(posthorn: &Posthorn, prefix: &str, count: u64) -> Result<()> {
    batches(posthorn, count, |number| event("many", &format!("{prefix}-{number}"))).await
}

async fn batches(posthorn: &Posthorn, count: u64, make: impl Fn(u64) -> Value) -> Result<()> {
    for first in (0..count).step_by(usize::try_from(BATCH)?) {
        let events: Vec<Value> = (first..first + BATCH).map(&make).collect();
        posthorn.data().publish_batch(&events).await?.expect(202)?;
    }
    Ok(())
}

/// Bodies that say how large they are; the door may answer before it has read them, or close.
async fn oversize(posthorn: &Posthorn, body: &[u8], count: usize) -> Result<()> {
    let mut senders = JoinSet::new();
    for number in 0..count {
        let (api, body) = (posthorn.data(), body.to_vec());
        senders.spawn(async move {
            let sent = api.send(Method::POST, "/v1/topics/idle/events", &[("content-type", "application/json")], body.into()).await;
            sent.map_or(413, |reply| reply.status.as_u16())
        });
        if number % 8 == 7 {
            while let Some(status) = senders.join_next().await {
                let status = status?;
                ensure!(matches!(status, 413 | 429), "an oversize body was answered with {status}");
            }
        }
    }
    while let Some(status) = senders.join_next().await {
        status?;
    }
    Ok(())
}

/// Bytes of the process that are in memory.
pub(crate) fn resident(posthorn: &Posthorn) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", posthorn.pid().context("it runs")?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib * 1024)
}
