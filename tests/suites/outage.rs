//! An endpoint that is down is probed and not hammered, and one that comes back is met with what it is due and no more: no attempt
//! twice, no more at once than allowed, in order where that was asked for (I2, I4, I12). The same over a whole day, by a clock that
//! is pushed: `dataplane/tests/retry_clock/outage.rs`. How fast it catches up: `load-tests/scenarios/{outage,storm}.yaml`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use posthorn_tests::{Behaviour, Config, Posthorn, Receiver, eventually};
use serde_json::{Value, json};

use crate::kit::{SOON, dead_letters, event, subscribe, topic};
use crate::memory::resident;

const MIB: u64 = 1 << 20;
const SUBSCRIPTIONS: usize = 50;
const EVENTS: u64 = 120;
const IN_FLIGHT: u64 = 2;
/// Attempts at one endpoint while it is down. Ten faults open the breaker; then the time between probes is a twentieth of the time
/// since, and at least 50 ms, so that the first minute has no more than about 100.
const WHILE_DOWN: u64 = 120;

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_receiver_behind_fifty_subscriptions_comes_back_without_a_storm() -> Result<()> {
    let receiver = Receiver::start().await?;
    let posthorn = Posthorn::start(Config::default().set("delivery.max_tail_bytes", json!("1MiB"))).await?;
    topic(&posthorn, "day", json!({"durability": "log", "partitions": 2})).await?;
    let path = |number: usize| format!("/{number}");
    let retry = json!({"schedule": vec!["1s"; 100], "jitter": 0.2});
    let mut subscriptions = Vec::new();
    for number in 0..SUBSCRIPTIONS {
        receiver.on(&path(number), Behaviour::Status(503));
        let ordering = if number % 5 == 0 { "key" } else { "none" };
        let members = json!({"retry": retry, "limits": {"in_flight": IN_FLIGHT}, "qos": {"ordering": ordering}});
        subscriptions.push(subscribe(&posthorn, "day", &receiver.url(&path(number)), members).await?);
    }
    let total = || (0..SUBSCRIPTIONS).map(|number| receiver.tally(&path(number)).total).sum::<u64>();
    send(&posthorn, 0, EVENTS / 4).await?;
    for subscription in &subscriptions {
        let probed = || async { (state(&posthorn, subscription).await?["breaker"] != "closed").then_some(()) };
        eventually("the endpoint is only probed", SOON * 2, probed).await?;
    }
    let before = resident(&posthorn)?;
    send(&posthorn, EVENTS / 4, EVENTS * 3 / 4).await?;
    // So many more probes are seen that time has passed for all of them.
    let wanted = total() + 3 * SUBSCRIPTIONS as u64;
    eventually("probes go on", SOON * 2, || std::future::ready((total() >= wanted).then_some(()))).await?;
    for number in 0..SUBSCRIPTIONS {
        let tally = receiver.tally(&path(number));
        ensure!(tally.total <= WHILE_DOWN, "{number}: {tally:?}");
        ensure!(tally.peak_in_flight <= IN_FLIGHT, "{number}: {tally:?}");
    }
    ensure!(receiver.connections() <= SUBSCRIPTIONS as u64 * WHILE_DOWN, "{}", receiver.connections());

    let failed = total();
    for number in 0..SUBSCRIPTIONS {
        receiver.on(&path(number), Behaviour::Ok);
    }
    for (number, subscription) in subscriptions.iter().enumerate() {
        let tally = receiver.wait_for_unique(&path(number), EVENTS, SOON * 4).await;
        let tally = tally.with_context(|| format!("subscription {number}"))?;
        ensure!(tally.peak_in_flight <= IN_FLIGHT, "{number}: {tally:?}");
        idle(&posthorn, subscription).await?;
        dead_letters(&posthorn, subscription, 0).await?;
    }
    // Those that were on their way when it came back may have failed; everything else was one attempt each.
    let (due, made) = (SUBSCRIPTIONS as u64 * EVENTS, total() - failed);
    ensure!((due..=due + SUBSCRIPTIONS as u64 * IN_FLIGHT).contains(&made), "{made} attempts for {due} deliveries");
    for number in (0..SUBSCRIPTIONS).step_by(5) {
        in_order(&receiver, &path(number))?;
    }
    let after = resident(&posthorn)?;
    ensure!(after <= before + before / 4 + 24 * MIB, "{} MiB grew to {} MiB", before / MIB, after / MIB);
    println!("{failed} attempts while it was down, {made} for {due} deliveries; {} then {} MiB", before / MIB, after / MIB);
    Ok(())
}

async fn send(posthorn: &Posthorn, first: u64, count: u64) -> Result<()> {
    let make = |number: u64| {
        let mut event = event("day", &format!("{number:06}"));
        event["partitionkey"] = json!(format!("key{}", number % 8));
        event
    };
    let events: Vec<Value> = (first..first + count).map(make).collect();
    posthorn.data().publish_batch(&events).await?.expect(202).map(drop)
}

async fn idle(posthorn: &Posthorn, subscription: &str) -> Result<()> {
    let none = || async {
        let state = state(posthorn, subscription).await?;
        ["in_flight", "waiting", "lag"].iter().all(|name| state[*name] == 0).then_some(())
    };
    eventually("nothing waits any more", SOON * 2, none).await
}

async fn state(posthorn: &Posthorn, subscription: &str) -> Option<Value> {
    Some(posthorn.control().get(&format!("/v1/subscriptions/{subscription}")).await.ok()?.json().ok()?["state"].clone())
}

/// The last attempt of each event is the one that succeeded; of one key they come by number.
fn in_order(receiver: &Receiver, path: &str) -> Result<()> {
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    for (place, request) in receiver.received(path).iter().enumerate() {
        last.insert(request.header("ce-id").to_owned(), place);
    }
    let mut by_key: BTreeMap<u64, usize> = BTreeMap::new();
    for (id, place) in last {
        let before = by_key.insert(id.parse::<u64>()? % 8, place);
        ensure!(before.is_none_or(|before| before < place), "{path}: {id} came before what stands ahead of it");
    }
    Ok(())
}
