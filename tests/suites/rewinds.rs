//! Going back to a time, streams that have nothing to say, and subscriptions that go between push and pull while the process is
//! killed (interfaces §3, I2, I12).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use posthorn_tests::{Behaviour, SOON, World, eventually};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::readers::{commit, ids, page, publish, text};

#[tokio::test]
async fn a_time_in_the_middle_divides_what_was_before_from_what_came_after() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({"partitions": 3})).await?;
    world.data.put("/v1/readers/r", &json!({"topic": "orders"})).await?.expect(201)?;
    let before = publish(&world, "orders", 12).await?;
    let first = tick().await?;
    let between = publish(&world, "orders", 9).await?;
    let second = tick().await?;
    let after = publish(&world, "orders", 6).await?;
    let all: BTreeSet<String> = before.iter().chain(&between).chain(&after).cloned().collect();
    let late: BTreeSet<String> = between.iter().chain(&after).cloned().collect();
    for (time, wanted) in [(&first, &late), (&second, &after), (&first, &late)] {
        // A reader goes there, back and forth; a topic is read from there; and a subscription begins there.
        commit(&world, "r", "", &format!("time:{time}")).await?;
        let got: BTreeSet<String> = ids(&page(&world, "r", "limit=1000").await?).into_iter().collect();
        ensure!(got == *wanted, "reader at {time}: {got:?}");
        let shown = world.data.get("/v1/readers/r").await?.expect(200)?;
        ensure!(shown["lag"] == wanted.len(), "{shown}");
        let read = world.data.get(&format!("/v1/topics/orders/events?limit=1000&cursor=time:{time}")).await?.expect(200)?;
        let got: BTreeSet<String> = ids(&read).into_iter().collect();
        ensure!(got == *wanted, "topic at {time}: {got:?}");
    }
    commit(&world, "r", "", "earliest").await?;
    ensure!(ids(&page(&world, "r", "limit=1000").await?).into_iter().collect::<BTreeSet<_>>() == all);
    world.subscribe("/hook", json!({"start": format!("time:{second}")})).await?;
    let tally = world.receiver.wait_for_unique("/hook", after.len() as u64, SOON).await?;
    let got: BTreeSet<String> = world.receiver.received("/hook").iter().map(|one| one.header("ce-id").to_owned()).collect();
    ensure!(got == after && tally.duplicate == 0, "{got:?}");
    Ok(())
}

/// An RFC 3339 time of now, with another millisecond before it and after it.
async fn tick() -> Result<String> {
    let began = millis()?;
    let moved = |than: i64| move || std::future::ready(millis().ok().filter(|now| *now > than + 1));
    let at = eventually("the clock moves on", SOON, moved(began)).await?;
    eventually("the clock moves on", SOON, moved(at)).await?;
    Ok(jiff::Timestamp::from_millisecond(at)?.to_string())
}

#[expect(clippy::disallowed_methods, reason = "a time to go back to is of the wall clock, which the process under test reads too")]
fn millis() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis())?)
}

#[tokio::test]
async fn a_stream_with_nothing_to_say_says_so() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    world.data.put("/v1/readers/r", &json!({"topic": "orders"})).await?.expect(201)?;
    for path in ["/v1/readers/r/events", "/v1/topics/orders/events?cursor=latest"] {
        let mut stream = world.data.events(path, &[]).await?;
        let quiet = Instant::now();
        while stream.comments() == 0 {
            // A comment is no event, so every look ends with nothing.
            ensure!(stream.next(Duration::from_millis(200)).await.is_err(), "{path}: an event that nobody sent");
            ensure!(quiet.elapsed() < SOON * 3, "{path}: no word to keep it alive");
        }
        let id = world.publish("orders", json!(1)).await?;
        let event = stream.next(SOON).await?.context("the stream ended")?;
        ensure!(serde_json::from_str::<Value>(&event.data)?["event"]["id"] == *id, "{path}: {event:?}");
        world.data.post("/v1/readers/r/cursor", &json!({"cursor": "latest"})).await?.expect(200)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn flips_between_kills_lose_nothing_and_keep_the_order_of_keys() -> Result<()> {
    const ROUNDS: usize = 8;
    const KEYS: usize = 3;
    let mut world = World::start().await?;
    world.topic("orders", json!({"partitions": 2})).await?;
    let spec =
        json!({"filters": [{"topic": "orders"}], "qos": {"ordering": "key"}, "retry": {"schedule": vec!["200ms"; 100], "jitter": 0}});
    let id = world.subscribe("/hook", spec).await?.id;
    let path = format!("/v1/subscriptions/{id}");
    let (mut sent, mut pulled) = (Vec::new(), BTreeMap::new());
    for round in 0..ROUNDS {
        let pull = round % 2 == 1;
        // Before a pull some are pushed in vain, so that the next mode finds retries too.
        world.receiver.on("/hook", if round % 4 == 0 { Behaviour::FailFirst { n: 4, status: 503 } } else { Behaviour::Ok });
        let mut members = world.read(&path).await?;
        members["mode"] = json!(if pull { "pull" } else { "push" });
        let flipped = world.control.put(&path, &members).await?;
        world.written(&flipped).await?;
        for number in 0..20 {
            let key = format!("key{}", number % KEYS);
            sent.push((key.clone(), world.publish_with("orders", json!({"partitionkey": key})).await?));
        }
        if pull {
            for _ in 0..3 {
                take(&world, &id, &mut pulled).await?;
            }
        }
        world.posthorn.kill9();
        world.posthorn.restart().await?;
        (world.data, world.control) = (world.posthorn.data(), world.posthorn.control());
    }
    while take(&world, &id, &mut pulled).await? > 0 {}
    let mut members = world.read(&path).await?;
    members["mode"] = json!("push");
    world.receiver.on("/hook", Behaviour::Ok);
    let flipped = world.control.put(&path, &members).await?;
    world.written(&flipped).await?;
    // Also a vain attempt: it holds up its key until it is made good, in whichever way.
    let first = || {
        let mut got: BTreeMap<String, Instant> = pulled.clone();
        for one in world.receiver.received("/hook") {
            got.entry(one.header("ce-id").to_owned()).and_modify(|at| *at = one.at.min(*at)).or_insert(one.at);
        }
        got
    };
    eventually("everything has come in one way or the other", SOON, || std::future::ready((first().len() >= sent.len()).then_some(())))
        .await?;
    let idle = || async {
        let state = world.read(&path).await.ok()?["state"].clone();
        ["in_flight", "waiting", "lag"].iter().all(|name| state[*name] == 0).then_some(())
    };
    eventually("nothing waits", SOON, idle).await?;
    let got = first();
    let wanted: BTreeSet<&String> = sent.iter().map(|(_, id)| id).collect();
    ensure!(got.keys().collect::<BTreeSet<_>>() == wanted, "{} of {}", got.len(), wanted.len());
    ensure!(!pulled.is_empty() && pulled.len() < sent.len(), "{} of {} were pulled", pulled.len(), sent.len());
    let mut last: BTreeMap<&String, (Instant, &String)> = BTreeMap::new();
    for (key, id) in &sent {
        let at = got[id];
        if let Some((before, other)) = last.insert(key, (at, id)) {
            ensure!(before <= at, "{key}: {id} came before {other}");
        }
    }
    world.listed("/v1/dead-letters", 0, |_| true).await?;
    Ok(())
}

/// Reads a page and commits it; gives how many events it had. None of them may have been committed before.
async fn take(world: &World, id: &str, pulled: &mut BTreeMap<String, Instant>) -> Result<usize> {
    let answer = page(world, id, "limit=5&wait=300ms").await?;
    commit(world, id, "", &text(&answer["cursor"])?).await?;
    let got = ids(&answer);
    for id in &got {
        ensure!(pulled.insert(id.clone(), Instant::now()).is_none(), "{id} was committed and came again");
    }
    Ok(got.len())
}
