//! Readers whose place the node keeps: cursors, filters, groups, crashes, limits (interfaces §3).

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use posthorn_tests::{Config, SOON, World, eventually};
use serde_json::{Value, json};

use crate::kit;

pub(crate) fn ids(page: &Value) -> Vec<String> {
    let events = page["events"].as_array().map(Vec::as_slice).unwrap_or_default();
    events.iter().filter_map(|e| e["event"]["id"].as_str().map(str::to_owned)).collect()
}

pub(crate) fn text(value: &Value) -> Result<String> {
    Ok(value.as_str().context("a text")?.to_owned())
}

pub(crate) async fn page(world: &World, reader: &str, query: &str) -> Result<Value> {
    world.data.get(&format!("/v1/readers/{reader}/events?{query}")).await?.expect(200)
}

pub(crate) async fn commit(world: &World, reader: &str, query: &str, cursor: &str) -> Result<Value> {
    world.data.post(&format!("/v1/readers/{reader}/cursor{query}"), &json!({"cursor": cursor})).await?.expect(200)
}

pub(crate) async fn publish(world: &World, topic: &str, count: usize) -> Result<BTreeSet<String>> {
    let mut sent = BTreeSet::new();
    for n in 0..count {
        sent.insert(world.publish_with(topic, json!({"subject": format!("s{n}"), "data": {"n": n}})).await?);
    }
    Ok(sent)
}

/// Reads and commits until nothing comes any more.
async fn drain(world: &World, reader: &str, query: &str) -> Result<Vec<String>> {
    let mut seen = Vec::new();
    loop {
        let answer = page(world, reader, &format!("limit=7{query}")).await?;
        if ids(&answer).is_empty() {
            return Ok(seen);
        }
        seen.extend(ids(&answer));
        let member = query.strip_prefix('&').map(|query| format!("?{query}")).unwrap_or_default();
        commit(world, reader, &member, &text(&answer["cursor"])?).await?;
    }
}

#[tokio::test]
async fn readers_keep_their_own_places_and_go_wherever_they_want() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({"partitions": 3})).await?;
    let made = world.data.put("/v1/readers/billing", &json!({"topic": "orders"})).await?;
    ensure!(made.status == 201, "{}", made.text());
    let again = world.data.put("/v1/readers/billing", &json!({"topic": "orders", "filters": []})).await?;
    ensure!(again.status == 200, "{}", again.text());
    world.data.put("/v1/readers/archive", &json!({"topic": "orders"})).await?.expect(201)?;
    let sent = publish(&world, "orders", 25).await?;
    // Until it is committed, the same is given again.
    let first = page(&world, "billing", "limit=5").await?;
    ensure!(ids(&first).len() == 5 && ids(&first) == ids(&page(&world, "billing", "limit=5").await?));
    // One may read ahead all the same.
    let ahead = page(&world, "billing", &format!("limit=5&cursor={}", text(&first["cursor"])?)).await?;
    ensure!(ids(&ahead).iter().all(|id| !ids(&first).contains(id)), "{ahead}");
    // A commit of one event's own cursor leaves what comes after it.
    let third = text(&first["events"][2]["cursor"])?;
    let committed = commit(&world, "billing", "", &third).await?;
    ensure!(committed["cursor"] == *third, "{committed}");
    let rest = drain(&world, "billing", "").await?;
    let all: BTreeSet<String> = ids(&first)[..3].iter().cloned().chain(rest.iter().cloned()).collect();
    ensure!(rest.len() == 22 && all == sent, "{rest:?}");
    // The other has not moved.
    ensure!(drain(&world, "archive", "").await?.len() == 25);
    for (cursor, left) in
        [("earliest", 25), ("latest", 0), ("time:2001-01-01T00:00:00Z", 25), ("time:2999-01-01T00:00:00Z", 0), (&*third, 22)]
    {
        commit(&world, "billing", "", cursor).await?;
        let shown = world.data.get("/v1/readers/billing").await?.expect(200)?;
        ensure!(shown["lag"] == left, "{cursor}: {shown}");
        ensure!(ids(&page(&world, "billing", "limit=1000").await?).len() == left, "{cursor}");
    }
    let listed = world.data.get("/v1/readers?limit=1").await?.expect(200)?;
    ensure!(listed["items"][0]["name"] == "archive" && listed["next_page_token"] == "archive", "{listed}");
    let listed = world.data.get("/v1/readers?page_token=archive").await?.expect(200)?;
    ensure!(listed["items"][0]["name"] == "billing" && listed["next_page_token"].is_null(), "{listed}");
    ensure!(world.data.delete("/v1/readers/billing").await?.status == 204);
    ensure!(world.data.get("/v1/readers/billing/events").await?.status == 404);
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_is_named() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    for (body, status, place) in [
        (json!({"topic": "orders", "start": "latest"}), 400, "#/start"),
        (json!({"filters": []}), 400, "#/topic"),
        (json!({"topic": "orders", "filters": [{"nope": 1}]}), 422, "#/filters/0/nope"),
        (json!({"topic": "orders", "filters": [{"sql": "a ="}]}), 422, "#/filters/0/sql"),
    ] {
        let reply = world.data.put("/v1/readers/r", &body).await?;
        ensure!(
            reply.status.as_u16() == status && reply.json()?["errors"][0]["pointer"] == place,
            "{body}: {} {}",
            reply.status,
            reply.text()
        );
    }
    ensure!(world.data.put("/v1/readers/r", &json!({"topic": "none"})).await?.problem()? == "topic-unknown");
    ensure!(world.data.put("/v1/readers/a%20b", &json!({"topic": "orders"})).await?.status == 422);
    world.data.put("/v1/readers/r", &json!({"topic": "orders"})).await?.expect(201)?;
    for query in ["limit=0", "wait=61s", "member=a%20b", "nope=1", "cursor=c1AA!", "cursor=r1AQ"] {
        let reply = world.data.get(&format!("/v1/readers/r/events?{query}")).await?;
        ensure!(reply.status == 400, "{query}: {} {}", reply.status, reply.text());
    }
    for body in [json!({}), json!({"cursor": "somewhere"}), json!({"cursor": "latest", "x": 1}), json!([])] {
        let reply = world.data.post("/v1/readers/r/cursor", &body).await?;
        ensure!(reply.status == 400, "{body}: {} {}", reply.status, reply.text());
    }
    ensure!(world.data.post("/v1/readers/none/cursor", &json!({"cursor": "latest"})).await?.status == 404);
    ensure!(world.data.post("/v1/readers/r/events", &json!({})).await?.status == 405);
    Ok(())
}

#[tokio::test]
async fn filters_of_every_dialect_choose_and_what_they_pass_over_is_not_looked_at_again() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({"partitions": 2})).await?;
    for n in 0..40 {
        world.publish_with("orders", json!({"type": if n % 4 == 0 { "a.b" } else { "c" }, "data": {"n": n}})).await?;
    }
    for (name, filters, count) in [
        ("exact", json!([{"exact": {"type": "a.b"}}]), 10),
        ("both", json!([{"prefix": {"type": "a."}}, {"sql": "type LIKE '%b'"}]), 10),
        ("cel", json!([{"cel": "data.n >= 30"}]), 10),
        ("data", json!([{"data": {"/n": {"lt": 4}}}, {"not": {"exact": {"type": "c"}}}]), 1),
        ("nothing", json!([{"any": [{"suffix": {"type": "zz"}}, {"topic": "other"}]}]), 0),
    ] {
        world.data.put(&format!("/v1/readers/{name}"), &json!({"topic": "orders", "filters": filters})).await?.expect(201)?;
        ensure!(drain(&world, name, "").await?.len() == count, "{name}");
    }
    // Its cursor goes on behind what it was not to see.
    let empty = page(&world, "nothing", "").await?;
    commit(&world, "nothing", "", &text(&empty["cursor"])?).await?;
    ensure!(world.data.get("/v1/readers/nothing").await?.expect(200)?["lag"] == 0);
    // Other filters, another stream from the same place.
    commit(&world, "nothing", "", "earliest").await?;
    page(&world, "nothing", "").await?;
    world.data.put("/v1/readers/nothing", &json!({"topic": "orders"})).await?.expect(200)?;
    ensure!(drain(&world, "nothing", "").await?.len() == 40);
    Ok(())
}

#[tokio::test]
async fn long_polls_and_streams_wait_for_what_comes() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({"partitions": 2})).await?;
    world.data.put("/v1/readers/r", &json!({"topic": "orders"})).await?.expect(201)?;
    let (answer, id) = tokio::join!(page(&world, "r", "wait=60s"), async {
        tokio::task::yield_now().await;
        world.publish("orders", json!(1)).await
    });
    let (answer, first) = (answer?, id?);
    ensure!(ids(&answer) == std::slice::from_ref(&first));
    let mut stream = world.data.events("/v1/readers/r/events", &[]).await?;
    let event = stream.next(SOON).await?.context("the stream ended")?;
    ensure!(serde_json::from_str::<Value>(&event.data)?["event"]["id"] == *first, "{event:?}");
    let second = world.publish("orders", json!(2)).await?;
    let event = stream.next(SOON).await?.context("the stream ended")?;
    ensure!(serde_json::from_str::<Value>(&event.data)?["event"]["id"] == *second);
    // A new stream begins where the reader stands, or after the last event that was had.
    commit(&world, "r", "", &text(&answer["cursor"])?).await?;
    let mut again = world.data.events("/v1/readers/r/events", &[]).await?;
    ensure!(again.next(SOON).await?.context("the stream ended")?.id == event.id);
    let third = world.publish("orders", json!(3)).await?;
    let mut last = world.data.events("/v1/readers/r/events", &[("last-event-id", &event.id)]).await?;
    let event = last.next(SOON).await?.context("the stream ended")?;
    ensure!(serde_json::from_str::<Value>(&event.data)?["event"]["id"] == *third);
    // It goes back with the reader.
    commit(&world, "r", "", "earliest").await?;
    world.publish("orders", json!(4)).await?;
    let event = last.next(SOON).await?.context("the stream ended")?;
    ensure!(serde_json::from_str::<Value>(&event.data)?["event"]["id"] == *first, "{event:?}");
    Ok(())
}

#[tokio::test]
async fn members_share_the_partitions_and_take_over_from_who_is_silent() -> Result<()> {
    let world = World::with(Config::with(json!({"readers": {"lease": "10s"}}))).await?;
    world.topic("orders", json!({"partitions": 4})).await?;
    world.data.put("/v1/readers/r", &json!({"topic": "orders"})).await?.expect(201)?;
    let count = |answer: &Value| answer["partitions"].as_array().map_or(0, Vec::len);
    ensure!(count(&page(&world, "r", "member=a").await?) == 4);
    // Nothing of it is in use, so half of it goes to the other at once.
    ensure!(count(&page(&world, "r", "member=b").await?) == 2 && count(&page(&world, "r", "member=a").await?) == 2);
    let sent = publish(&world, "orders", 60).await?;
    let first = page(&world, "r", "member=a&limit=1000").await?;
    let other = page(&world, "r", "member=b&limit=1000").await?;
    let (a, b): (BTreeSet<_>, BTreeSet<_>) = (ids(&first).into_iter().collect(), ids(&other).into_iter().collect());
    ensure!(a.is_disjoint(&b) && a.union(&b).count() == 60, "{} {}", a.len(), b.len());
    // Who is no member reads nothing, and neither may commit the other's.
    let reply = world.data.get("/v1/readers/r/events").await?;
    ensure!(reply.status == 409 && reply.problem()? == "in-use", "{} {}", reply.status, reply.text());
    let foreign = world.data.post("/v1/readers/r/cursor?member=b", &json!({"cursor": first["cursor"]})).await?;
    ensure!(foreign.status == 409 && foreign.json()?["detail"].as_str().is_some_and(|why| why.contains("`a`")), "{}", foreign.text());
    commit(&world, "r", "?member=b", &text(&other["cursor"])?).await?;
    // The first falls silent. The other gets what it had, and only then.
    let mut seen = b.clone();
    let taken = eventually("the other has all partitions", SOON, || async {
        let answer = page(&world, "r", "member=b&limit=1000").await.ok()?;
        (count(&answer) == 4).then_some(answer)
    });
    let taken = taken.await?;
    seen.extend(ids(&taken));
    let late = world.data.post("/v1/readers/r/cursor?member=a", &json!({"cursor": first["cursor"]})).await?;
    ensure!(late.status == 409 && late.problem()? == "in-use", "{} {}", late.status, late.text());
    ensure!(ids(&taken).into_iter().collect::<BTreeSet<_>>() == a && seen == sent, "{} of {}", seen.len(), sent.len());
    // By the header as well.
    let by_header = world.data.clone().header("posthorn-member", "b");
    by_header.post("/v1/readers/r/cursor", &json!({"cursor": taken["cursor"]})).await?.expect(200)?;
    ensure!(ids(&page(&world, "r", "member=b&limit=1000").await?).is_empty());
    Ok(())
}

#[tokio::test]
async fn members_that_come_and_go_miss_nothing_and_never_hold_the_same() -> Result<()> {
    let world = World::with(Config::with(json!({"readers": {"lease": "1s"}}))).await?;
    world.topic("orders", json!({"partitions": 4})).await?;
    world.data.put("/v1/readers/r", &json!({"topic": "orders"})).await?.expect(201)?;
    let done = std::sync::atomic::AtomicBool::new(false);
    // Commits that were taken, by event; a second one would mean that two held it at once or that a place went back.
    let taken = parking_lot::Mutex::new(BTreeMap::<String, usize>::new());
    let member = |name: &'static str, rounds: usize| {
        let (world, done, taken) = (&world, &done, &taken);
        async move {
            let mut round = 0;
            while !done.load(std::sync::atomic::Ordering::SeqCst) && round < rounds {
                round += 1;
                let answer = page(world, "r", &format!("member={name}&limit=5&wait=200ms")).await?;
                let body = json!({"cursor": answer["cursor"]});
                let reply = world.data.post(&format!("/v1/readers/r/cursor?member={name}"), &body).await?;
                match reply.status.as_u16() {
                    200 => ids(&answer).into_iter().for_each(|id| *taken.lock().entry(id).or_default() += 1),
                    409 => {}
                    _ => bail!("{} {}", reply.status, reply.text()),
                }
            }
            anyhow::Ok(())
        }
    };
    let work = async {
        let sent = publish(&world, "orders", 150).await?;
        let all = eventually("all are committed", SOON, || async { (taken.lock().len() == sent.len()).then_some(()) }).await;
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        all
    };
    // Two stay away after some rounds without a word, one stays, one comes later under the name of one who left.
    let comes_back = async {
        member("b", 6).await?;
        member("c", 4).await?;
        member("b", usize::MAX).await
    };
    let (a, b, d, work) = tokio::join!(member("a", usize::MAX), comes_back, member("d", 3), work);
    a.and(b).and(d).and(work)?;
    let taken = taken.into_inner();
    ensure!(taken.values().all(|times| *times == 1), "{taken:?}");
    Ok(())
}

#[tokio::test]
async fn a_kill_between_read_and_commit_gives_again_what_was_not_committed() -> Result<()> {
    let mut world = World::start().await?;
    world.topic("orders", json!({"partitions": 2})).await?;
    world.data.put("/v1/readers/r", &json!({"topic": "orders", "filters": [{"exact": {"type": "t.made"}}]})).await?.expect(201)?;
    let sent = publish(&world, "orders", 30).await?;
    let mut kept: BTreeSet<String> = BTreeSet::new();
    for _ in 0..3 {
        let answer = page(&world, "r", "limit=5").await?;
        commit(&world, "r", "", &text(&answer["cursor"])?).await?;
        kept.extend(ids(&answer));
        // Read, not committed.
        let lost = page(&world, "r", "limit=5").await?;
        world.posthorn.kill9();
        world.posthorn.restart().await?;
        (world.data, world.control) = (world.posthorn.data(), world.posthorn.control());
        let again = page(&world, "r", "limit=5").await?;
        ensure!(ids(&again) == ids(&lost), "{again} {lost}");
    }
    ensure!(kept.len() == 15);
    kept.extend(drain(&world, "r", "").await?);
    ensure!(kept == sent);
    Ok(())
}

#[tokio::test]
async fn limits_hold_and_say_so() -> Result<()> {
    let limits = json!({"readers": {"max_readers": 2, "max_members": 2, "max_waits": 2, "max_page_bytes": "64KiB"}});
    let world = World::with(Config::with(limits)).await?;
    world.topic("orders", json!({"partitions": 4})).await?;
    for (name, status) in [("a", 201), ("b", 201), ("c", 429), ("b", 200)] {
        let reply = world.data.put(&format!("/v1/readers/{name}"), &json!({"topic": "orders"})).await?;
        ensure!(reply.status.as_u16() == status, "{name}: {} {}", reply.status, reply.text());
    }
    let filler = "x".repeat(20_000);
    for _ in 0..20 {
        world.publish("orders", json!(filler)).await?;
    }
    let reply = world.data.get("/v1/readers/a/events?limit=1000").await?;
    ensure!(reply.body.len() < 128 << 10 && ids(&reply.json()?).len() >= 3, "{}", reply.body.len());
    ensure!(drain(&world, "a", "").await?.len() == 20);
    for (member, status) in [("m1", 200), ("m2", 200), ("m3", 429), ("m1", 200)] {
        let reply = world.data.get(&format!("/v1/readers/b/events?limit=1&member={member}")).await?;
        ensure!(reply.status.as_u16() == status, "{member}: {} {}", reply.status, reply.text());
    }
    // Reads of a topic are held to the same.
    let of_topic = "/v1/topics/orders/events";
    let reply = world.data.get(&format!("{of_topic}?limit=1000")).await?;
    ensure!(reply.body.len() < 128 << 10 && ids(&reply.json()?).len() >= 3, "{}", reply.body.len());
    let streams = (world.data.events("/v1/readers/a/events", &[]).await?, world.data.events(of_topic, &[]).await?);
    for path in ["/v1/readers/a/events", of_topic] {
        let reply = world.data.get(path).await?;
        ensure!(reply.status == 429 && reply.headers.contains_key("retry-after"), "{path}: {} {}", reply.status, reply.text());
        ensure!(reply.problem()? == "rate-limited" && reply.text().contains("readers.max_waits"), "{}", reply.text());
    }
    drop(streams);
    eventually("streams that ended count no more", SOON, || async { (world.data.get(of_topic).await.ok()?.status == 200).then_some(()) })
        .await
}

#[tokio::test]
async fn pages_that_are_not_read_leave_no_room_for_others_until_they_are_gone() -> Result<()> {
    let world = World::with(Config::with(json!({"readers": {"max_page_bytes": "64KiB", "max_held_bytes": "64KiB"}}))).await?;
    world.topic("orders", json!({"durability": "log"})).await?;
    world.data.put("/v1/readers/r", &json!({"topic": "orders"})).await?.expect(201)?;
    let paths = ["/v1/topics/orders/events", "/v1/readers/r/events"];
    for path in paths {
        ensure!(ids(&world.data.get(path).await?.expect(200)?).is_empty(), "nothing is there, so nothing is held");
    }
    // More than the sockets between hold.
    let filler = "x".repeat(500_000);
    for _ in 0..40 {
        world.publish("orders", json!(filler)).await?;
    }
    for path in paths {
        let stream = world.data.events(path, &[]).await?;
        for other in paths {
            let refused = || async { Some(world.data.get(&format!("{other}?limit=1")).await.ok()?).filter(|reply| reply.status == 429) };
            let refused = eventually("no room is left", SOON, refused).await?;
            ensure!(refused.text().contains("readers.max_held_bytes"), "{}", refused.text());
        }
        drop(stream);
        let given = || async { (world.data.get(&format!("{path}?limit=1")).await.ok()?.status == 200).then_some(()) };
        eventually("there is room again", SOON, given).await?;
    }
    Ok(())
}

/// Streams that nobody reads are not read ahead for: the memory of the process stays where it was.
#[tokio::test]
async fn slow_streams_hold_a_page_each() -> Result<()> {
    const STREAMS: usize = 40;
    let world = World::start().await?;
    world.topic("orders", json!({"durability": "log"})).await?;
    world.data.put("/v1/readers/r", &json!({"topic": "orders"})).await?.expect(201)?;
    let filler = "x".repeat(500_000);
    let publish = async |count: usize| {
        for _ in 0..count {
            world.publish("orders", json!(filler)).await?;
        }
        anyhow::Ok(())
    };
    publish(100).await?;
    let pid = world.posthorn.pid().context("a process")?;
    for path in ["/v1/topics/orders/events", "/v1/readers/r/events"] {
        let before = memory(pid)?;
        let mut streams = Vec::new();
        for _ in 0..STREAMS {
            let mut stream = world.data.events(path, &[]).await?;
            stream.next(SOON).await?.context("the stream ended")?;
            streams.push(stream);
        }
        // 50 MB wait behind each of them, and as much comes.
        publish(100).await?;
        let after = memory(pid)?;
        ensure!(after < before + (96 << 20), "{path}: from {before} to {after} bytes");
    }
    let shown = world.data.get("/v1/readers/r").await?.expect(200)?;
    ensure!(shown["lag"] == 300, "{shown}");
    Ok(())
}

fn memory(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kib * 1024)
}

#[tokio::test]
async fn a_reader_that_retention_has_passed_is_told_where_to_go_on() -> Result<()> {
    let config = Config::with(json!({"log": {"segment_bytes": "64KiB", "retention_check": "100ms"}}));
    let world = World::with(config).await?;
    kit::topic(&world.posthorn, "orders", json!({"retention": {"bytes": "1MiB"}, "durability": "log"})).await?;
    world.data.put("/v1/readers/r", &json!({"topic": "orders"})).await?.expect(201)?;
    let filler = "x".repeat(20_000);
    for _ in 0..100 {
        world.publish("orders", json!(filler)).await?;
    }
    let gone = eventually("retention passes", SOON, || async {
        let reply = world.data.get("/v1/readers/r/events?limit=1").await.ok()?;
        (reply.status == 410).then_some(reply)
    });
    let gone = gone.await?;
    ensure!(gone.problem()? == "cursor-expired" && gone.json()?["earliest"].is_string(), "{}", gone.text());
    // Retention may pass the place again before it is read.
    eventually("it goes on", SOON, || async {
        commit(&world, "r", "", "earliest").await.ok()?;
        (!ids(&page(&world, "r", "").await.ok()?).is_empty()).then_some(())
    })
    .await
}
