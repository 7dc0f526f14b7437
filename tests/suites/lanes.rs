//! Lanes that are behind: they share reads, pass over what they do not want, hold no more memory than their share, and take nothing
//! from those that keep up.

use anyhow::{Context, Result, ensure};
use posthorn_tests::{Behaviour, Config, Posthorn, Receiver, eventually};
use serde_json::{Value, json};

use crate::kit::{SOON, event, id, in_force, metric, publish, subscribe, subscribe_only, topic};

const MIB: f64 = 1024.0 * 1024.0;

#[tokio::test]
async fn lanes_that_go_on_together_share_their_reads() -> Result<()> {
    const LANES: usize = 50;
    let receiver = Receiver::start().await?;
    let posthorn = Posthorn::start(Config::default().set("node.shards", json!(1))).await?;
    topic(&posthorn, "a", json!({"durability": "log"})).await?;
    let mut paused = Vec::new();
    for number in 0..LANES {
        let members = json!({"status": "paused", "endpoint": {"format": "batch"}});
        let made = subscribe_only(&posthorn, "a", &receiver.url(&format!("/{number}")), members).await?;
        in_force(&posthorn, &made).await?;
        paused.push(id(&made)?);
    }
    flood(&posthorn, "a", 0..2000, 300, |_| "common").await?;
    for subscription in &paused {
        posthorn.control().post(&format!("/v1/subscriptions/{subscription}/resume"), &json!({})).await?.expect(200)?;
    }
    for number in 0..LANES {
        all_events(&receiver, &format!("/{number}"), 2000).await?;
    }
    // 2,000 events are four pages or a few more; each lane by itself would read them all.
    let (reads, shared) =
        (metric(&posthorn, "posthorn_lane_page_reads_total").await?, metric(&posthorn, "posthorn_lane_pages_shared_total").await?);
    ensure!(reads >= 4.0, "{reads} reads");
    ensure!(reads <= 60.0, "{reads} reads for {LANES} lanes, {shared} shared");
    ensure!(shared >= 100.0, "{shared} pages were shared");
    Ok(())
}

#[tokio::test]
async fn a_lane_that_wants_little_passes_over_what_has_nothing_for_it() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut posthorn = Posthorn::start(Config::default().set("log.segment_bytes", json!("64KiB"))).await?;
    topic(&posthorn, "a", json!({"durability": "log"})).await?;
    let rare = |number: usize| if [700, 701, 2900].contains(&number) { "rare" } else { "common" };
    flood(&posthorn, "a", 0..4000, 600, rare).await?;
    let earliest = |filter: Value| json!({"start": "earliest", "filters": [{"topic": "a"}, filter]});
    let by_type = earliest(json!({"exact": {"type": "rare"}}));
    // The summaries are as good in the files as they were when they were written, and when they are made anew.
    for (round, path) in ["/written", "/found", "/anew"].into_iter().enumerate() {
        let before = reads(&posthorn).await?;
        subscribe(&posthorn, "a", &receiver.url(path), by_type.clone()).await?;
        receiver.wait_for(path, 3, SOON).await?;
        // The last may be there before the rest behind it was passed over.
        let passed = || async { reads(&posthorn).await.ok().filter(|after| after.1 - before.1 >= 3000.0).map(drop) };
        eventually("the rest is passed over", SOON, passed).await?;
        let after = reads(&posthorn).await?;
        let (pages, skipped) = (after.0 - before.0, after.1 - before.1);
        ensure!(pages <= 12.0, "round {round}: {pages} pages were read for three events");
        ensure!(skipped >= 3000.0, "round {round}: {skipped} events were passed over");
        if round == 0 {
            subscribe(&posthorn, "a", &receiver.url("/subject"), earliest(json!({"sql": "subject = 's-1234'"}))).await?;
            subscribe(&posthorn, "a", &receiver.url("/none"), earliest(json!({"exact": {"type": "nowhere"}}))).await?;
            receiver.wait_for("/subject", 1, SOON).await?;
            let with_one = reads(&posthorn).await?;
            ensure!(with_one.0 - after.0 <= 16.0, "{} pages were read for one event and none", with_one.0 - after.0);
        }
        if round < 2 {
            posthorn.terminate().await?;
            if round == 1 {
                let partition = posthorn.data_dir().join("log").join("a").join("0");
                for entry in std::fs::read_dir(partition)? {
                    let path = entry?.path();
                    if path.extension().is_some_and(|extension| extension == "idx") {
                        std::fs::remove_file(path)?;
                    }
                }
            }
            posthorn.restart().await?;
        }
    }
    // What comes in now is had too by who had passed over everything.
    let mut last = event("a", "last");
    last["type"] = json!("nowhere");
    posthorn.data().publish(&last).await?.expect(202)?;
    receiver.wait_for("/none", 1, SOON).await?;
    for (path, count) in [("/written", 3), ("/found", 3), ("/anew", 3), ("/subject", 1), ("/none", 1)] {
        let tally = receiver.tally(path);
        ensure!((tally.total, tally.duplicate) == (count, 0), "{path}: {tally:?}");
    }
    Ok(())
}

#[tokio::test]
async fn greedy_lanes_give_back_what_others_need() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.on("/stuck", Behaviour::Hang);
    let config = Config::default()
        .set("node.shards", json!(1))
        .set("delivery.max_tail_bytes", json!("2MiB"))
        .set("delivery.max_lane_events", json!(100_000));
    let posthorn = Posthorn::start(config).await?;
    topic(&posthorn, "a", json!({"durability": "log"})).await?;
    topic(&posthorn, "b", json!({"durability": "log"})).await?;
    // One that hangs would have all of the memory to itself, and so would many.
    for number in 0..8 {
        let members = json!({"limits": {"in_flight": 1}, "endpoint": {"timeout": "2m"}});
        subscribe(&posthorn, "a", &receiver.url("/stuck"), members).await.with_context(|| format!("{number}"))?;
    }
    flood(&posthorn, "a", 0..4000, 1000, |_| "common").await?;
    let full = || async { (metric(&posthorn, "posthorn_lane_bytes").await.ok()? > 1.2 * MIB).then_some(()) };
    eventually("the memory is used", SOON, full).await?;
    subscribe(&posthorn, "b", &receiver.url("/well"), json!({"endpoint": {"format": "batch"}, "limits": {"in_flight": 1}})).await?;
    receiver.on("/well", Behaviour::Delay(std::time::Duration::from_millis(20), Box::new(Behaviour::Ok)));
    flood(&posthorn, "b", 0..4000, 1000, |_| "common").await?;
    all_events(&receiver, "/well", 4000).await?;
    let held = metric(&posthorn, "posthorn_lane_bytes").await?;
    ensure!(held <= 2.0 * MIB * 9.0 / 8.0, "{} MiB are held", held / MIB);
    ensure!(metric(&posthorn, "posthorn_lane_cuts_total").await? >= 1.0, "nobody gave anything back");
    Ok(())
}

#[tokio::test]
async fn who_keeps_up_is_served_beside_lanes_that_catch_up() -> Result<()> {
    let receiver = Receiver::start().await?;
    let posthorn = Posthorn::start(Config::default().set("node.shards", json!(1))).await?;
    topic(&posthorn, "a", json!({"durability": "log"})).await?;
    topic(&posthorn, "live", json!({"durability": "log"})).await?;
    subscribe(&posthorn, "live", &receiver.url("/live"), json!({})).await?;
    flood(&posthorn, "a", 0..2000, 100, |_| "common").await?;
    for number in 0..4 {
        let members = json!({"start": "earliest", "limits": {"in_flight": 32}});
        subscribe_only(&posthorn, "a", &receiver.url(&format!("/late-{number}")), members).await?;
    }
    for number in 0..100 {
        publish(&posthorn, "live", &format!("l{number}")).await?;
    }
    receiver.wait_for("/live", 100, SOON).await?;
    for number in 0..4 {
        receiver.wait_for_unique(&format!("/late-{number}"), 2000, SOON * 2).await?;
        ensure!(receiver.tally(&format!("/late-{number}")).duplicate == 0, "some came twice");
    }
    lagging(&posthorn, 0.0).await
}

#[tokio::test]
async fn lanes_that_lag_are_counted_over_a_restart_and_until_they_are_gone() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut posthorn = Posthorn::start(Config::default()).await?;
    topic(&posthorn, "a", json!({"partitions": 2, "durability": "log"})).await?;
    let mut paused = Vec::new();
    for path in ["/catches-up", "/goes"] {
        paused.push(subscribe(&posthorn, "a", &receiver.url(path), json!({"status": "paused"})).await?);
    }
    flood(&posthorn, "a", 0..200, 100, |_| "common").await?;
    lagging(&posthorn, 4.0).await?;
    for round in ["after a crash", "after an end that had all stored"] {
        if round.contains("crash") {
            posthorn.kill9()
        } else {
            posthorn.terminate().await.map(drop)?
        }
        posthorn.restart().await?;
        lagging(&posthorn, 4.0).await.context(round)?;
    }
    posthorn.control().post(&format!("/v1/subscriptions/{}/resume", paused[0]), &json!({})).await?.expect(200)?;
    receiver.wait_for_unique("/catches-up", 200, SOON).await?;
    lagging(&posthorn, 2.0).await?;
    posthorn.control().delete(&format!("/v1/subscriptions/{}", paused[1])).await?;
    lagging(&posthorn, 0.0).await?;
    // Nor does a topic leave anything behind.
    subscribe(&posthorn, "a", &receiver.url("/late"), json!({"status": "paused", "start": "earliest"})).await?;
    lagging(&posthorn, 2.0).await?;
    posthorn.control().delete("/v1/topics/a?force=true").await?;
    lagging(&posthorn, 0.0).await
}

/// Waits until so many lanes are shown as behind.
async fn lagging(posthorn: &Posthorn, count: f64) -> Result<()> {
    let shown = parking_lot::Mutex::new(0.0);
    let probe = || async {
        *shown.lock() = metric(posthorn, "posthorn_lanes_lagging").await.ok()?;
        (*shown.lock() == count).then_some(())
    };
    eventually("lanes lag", SOON, probe).await.with_context(|| format!("{} instead of {count}", shown.lock()))
}

/// Publishes numbered events with a subject and some bytes of data, many at once.
async fn flood(
    posthorn: &Posthorn,
    topic: &str,
    numbers: std::ops::Range<usize>,
    bytes: usize,
    ty: impl Fn(usize) -> &'static str,
) -> Result<()> {
    let filler = "x".repeat(bytes);
    let made = numbers.map(|number| {
        let mut event = event(topic, &format!("e{number}"));
        event["type"] = json!(ty(number));
        event["subject"] = json!(format!("s-{number}"));
        event["data"] = json!(filler);
        event
    });
    let made: Vec<Value> = made.collect();
    // What comes at once is written at once, into one segment, on a machine that is slow enough: then segments would be few.
    for some in made.chunks(50) {
        let answer = posthorn.data().publish_batch(some).await?.expect(202)?;
        ensure!(answer["results"].as_array().is_some_and(|results| results.iter().all(|result| result["status"] == "accepted")), "not all");
    }
    Ok(())
}

/// Waits until a path that gets batches has had so many events, each once and in their order.
async fn all_events(receiver: &Receiver, path: &str, count: usize) -> Result<()> {
    let had = || -> Option<Vec<Value>> {
        // A batch has at most a hundred.
        let requests = receiver.tally(path).total;
        if requests * 100 < count as u64 {
            return None;
        }
        let bodies = receiver.received(path);
        let events: Vec<Value> =
            bodies.iter().filter_map(|request| serde_json::from_slice::<Vec<Value>>(&request.body).ok()).flatten().collect();
        (events.len() >= count).then_some(events)
    };
    let events = eventually(&format!("{count} events at {path}"), SOON, || std::future::ready(had())).await?;
    let ids: std::collections::HashSet<&str> = events.iter().filter_map(|event| event["id"].as_str()).collect();
    ensure!(events.len() == count && ids.len() == count, "{path}: {} events, {} different", events.len(), ids.len());
    Ok(())
}

/// Pages read for lanes, and events passed over.
async fn reads(posthorn: &Posthorn) -> Result<(f64, f64)> {
    Ok((metric(posthorn, "posthorn_lane_page_reads_total").await?, metric(posthorn, "posthorn_lane_skipped_events_total").await?))
}
