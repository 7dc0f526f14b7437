//! Subscriptions that go between push and pull at one place (interfaces §3).

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use posthorn_tests::{Behaviour, SOON, World, eventually};
use serde_json::json;

use crate::readers::{commit, ids, page, publish, text};

async fn flip(world: &World, id: &str, mode: &str) -> Result<()> {
    let path = format!("/v1/subscriptions/{id}");
    let mut spec = world.read(&path).await?;
    spec["mode"] = json!(mode);
    let reply = world.control.put(&path, &spec).await?;
    ensure!(world.written(&reply).await?["mode"] == mode);
    Ok(())
}

/// Reads a pulled subscription until nothing comes any more and nothing is under way.
async fn pull(world: &World, id: &str) -> Result<Vec<String>> {
    let mut seen = Vec::new();
    loop {
        let answer = page(world, id, "limit=3&wait=300ms").await?;
        let got = ids(&answer);
        if got.is_empty() {
            return Ok(seen);
        }
        seen.extend(got);
        commit(world, id, "", &text(&answer["cursor"])?).await?;
    }
}

#[tokio::test]
async fn a_subscription_goes_from_push_to_pull_and_back_at_one_place() -> Result<()> {
    let mut world = World::start().await?;
    world.topic("orders", json!({"partitions": 3})).await?;
    world.topic("customers", json!({})).await?;
    let subscribed = world.subscribe("/hook", json!({"filters": [{"exact": {"source": "/tests"}}]})).await?;
    let id = subscribed.id.clone();
    let reply = world.data.get(&format!("/v1/readers/{id}/events")).await?;
    ensure!(reply.status == 409 && reply.problem()? == "in-use", "{} {}", reply.status, reply.text());
    let mut pushed = publish(&world, "orders", 10).await?;
    let arrived = |count: usize| {
        let receiver = &world.receiver;
        async move { eventually("all pushed", SOON, || async { (receiver.received("/hook").len() >= count).then_some(()) }).await }
    };
    arrived(10).await?;
    flip(&world, &id, "pull").await?;
    let mut wanted = publish(&world, "orders", 12).await?;
    wanted.extend(publish(&world, "customers", 3).await?);
    let first = page(&world, &id, "limit=4&wait=2s").await?;
    commit(&world, &id, "", &text(&first["cursor"])?).await?;
    let mut pulled = ids(&first);
    // The place is kept.
    world.posthorn.kill9();
    world.posthorn.restart().await?;
    (world.data, world.control) = (world.posthorn.data(), world.posthorn.control());
    pulled.extend(pull(&world, &id).await?);
    ensure!(pulled.len() == wanted.len() && pulled.iter().cloned().collect::<BTreeSet<_>>() == wanted, "{pulled:?}");
    // Some are left for pushing.
    let left = publish(&world, "orders", 5).await?;
    flip(&world, &id, "push").await?;
    pushed.extend(left);
    pushed.extend(publish(&world, "customers", 2).await?);
    eventually("the rest is pushed", SOON, || async { (world.receiver.received("/hook").len() >= pushed.len()).then_some(()) }).await?;
    let got: Vec<String> = world.receiver.received("/hook").iter().map(|one| one.header("ce-id").to_owned()).collect();
    ensure!(got.len() == pushed.len() && got.iter().cloned().collect::<BTreeSet<_>>() == pushed, "{got:?}");
    Ok(())
}

#[tokio::test]
async fn what_was_pushed_in_vain_is_pulled_first_and_not_pushed_again() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({"partitions": 2})).await?;
    world.receiver.on("/hook", Behaviour::Status(503));
    let retry = json!({"filters": [{"topic": "orders"}], "retry": {"schedule": ["1h", "1h"], "jitter": 0}});
    let id = world.subscribe("/hook", retry).await?.id;
    let failed = publish(&world, "orders", 4).await?;
    world.listed(&format!("/v1/deliveries?subscription={id}&status=waiting"), 4, |_| true).await?;
    flip(&world, &id, "pull").await?;
    let fresh = publish(&world, "orders", 4).await?;
    let answer = page(&world, &id, "limit=100&wait=5s").await?;
    let got = ids(&answer);
    ensure!(got[..4].iter().cloned().collect::<BTreeSet<_>>() == failed, "{got:?}");
    ensure!(got[4..].iter().cloned().collect::<BTreeSet<_>>() == fresh, "{got:?}");
    // The first two only.
    commit(&world, &id, "", &text(&answer["events"][1]["cursor"])?).await?;
    // They were delivered, as the deliveries that they were when they were pushed.
    for event in &got[..2] {
        let pushed = world.receiver.received("/hook").into_iter().find(|one| one.header("ce-id") == event).context("it was pushed")?;
        let shown = world.listed(&format!("/v1/deliveries?event_id={event}"), 1, |delivery| delivery["status"] == "delivered").await?;
        let delivery = world.read(&format!("/v1/deliveries/{}", pushed.header("posthorn-delivery"))).await?;
        ensure!(delivery == shown[0] && delivery["event_id"] == **event, "{delivery} {shown:?}");
        ensure!(delivery["attempts"].as_array().is_some_and(|attempts| attempts.len() == 2), "{delivery}");
    }
    world.listed(&format!("/v1/deliveries?subscription={id}&status=waiting"), 2, |_| true).await?;
    let rest = page(&world, &id, "limit=100&wait=5s").await?;
    ensure!(ids(&rest) == got[2..], "{rest}");
    commit(&world, &id, "", &text(&rest["cursor"])?).await?;
    world.receiver.on("/hook", Behaviour::Ok);
    let before = world.receiver.received("/hook").len();
    flip(&world, &id, "push").await?;
    let state = world.read(&format!("/v1/subscriptions/{id}")).await?;
    ensure!(state["state"]["waiting"] == 0 && state["state"]["lag"] == 0, "{state}");
    let last = world.publish("orders", json!("last")).await?;
    let seen = eventually("the next is pushed", SOON, || async {
        let seen = world.receiver.received("/hook");
        (seen.len() > before).then_some(seen)
    });
    let seen = seen.await?;
    ensure!(seen.len() == before + 1 && seen[before].header("ce-id") == last, "{}", seen.len());
    Ok(())
}

#[tokio::test]
async fn what_has_expired_while_it_waited_is_given_up_and_keeps_nobody_from_the_rest() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    world.topic("short", json!({"ttl": "6s"})).await?;
    world.receiver.on("/hook", Behaviour::Status(400));
    let more = json!({"filters": [{"exact": {"source": "/tests"}}], "retry": {"schedule": ["1h", "1h"], "jitter": 0}});
    let id = world.subscribe("/hook", more).await?.id;
    let (expire, stay) = (publish(&world, "short", 3).await?, publish(&world, "orders", 2).await?);
    world.receiver.wait_for("/hook", 5, SOON).await?;
    flip(&world, &id, "pull").await?;
    let only = || async {
        let answer = page(&world, &id, "limit=100").await.ok()?;
        (ids(&answer).into_iter().collect::<BTreeSet<_>>() == stay).then_some(answer)
    };
    let answer = eventually("what has expired is not given", SOON, only).await?;
    let letters = world.listed(&format!("/v1/dead-letters?subscription={id}"), 3, |letter| letter["reason"] == "expired").await?;
    let given_up: BTreeSet<_> = letters.iter().filter_map(|letter| letter["event"]["id"].as_str().map(str::to_owned)).collect();
    ensure!(given_up == expire, "{letters:?}");
    commit(&world, &id, "", &text(&answer["cursor"])?).await?;
    let state = world.read(&format!("/v1/subscriptions/{id}")).await?;
    ensure!(state["state"]["waiting"] == 0 && state["state"]["lag"] == 0, "{state}");
    Ok(())
}

#[tokio::test]
async fn flips_under_load_lose_nothing_and_repeat_nothing() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({"partitions": 3})).await?;
    let id = world.subscribe("/hook", json!({"filters": [{"topic": "orders"}]})).await?.id;
    let flips = async {
        let mut pulled = Vec::new();
        for _ in 0..4 {
            flip(&world, &id, "pull").await?;
            for _ in 0..10 {
                let answer = page(&world, &id, "limit=20&wait=100ms").await?;
                commit(&world, &id, "", &text(&answer["cursor"])?).await?;
                pulled.extend(ids(&answer));
            }
            flip(&world, &id, "push").await?;
        }
        anyhow::Ok(pulled)
    };
    let (pulled, sent) = tokio::join!(flips, publish(&world, "orders", 400));
    let (pulled, sent) = (pulled?, sent?);
    let rest = sent.len() - pulled.len();
    eventually("the rest is pushed", SOON, || async { (world.receiver.received("/hook").len() >= rest).then_some(()) }).await?;
    let pushed = world.receiver.received("/hook");
    let mut all: Vec<String> = pushed.iter().map(|one| one.header("ce-id").to_owned()).collect();
    let (of_push, of_pull) = (all.len(), pulled.len());
    all.extend(pulled);
    let unique: BTreeSet<String> = all.iter().cloned().collect();
    ensure!(all.len() == sent.len() && unique == sent, "{of_push} pushed, {of_pull} pulled, {} of {}", unique.len(), sent.len());
    ensure!(of_pull > 0 && of_push > 0, "{of_push} pushed, {of_pull} pulled");
    Ok(())
}

#[tokio::test]
async fn a_subscription_that_was_never_pushed_is_shared_by_members() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({"partitions": 4})).await?;
    let old = publish(&world, "orders", 20).await?;
    let spec = json!({"filters": [{"topic": "orders"}], "mode": "pull", "start": "earliest"});
    let id = world.subscribe("/hook", spec).await?.id;
    let fresh = publish(&world, "orders", 20).await?;
    let wanted: BTreeSet<String> = old.into_iter().chain(fresh).collect();
    page(&world, &id, "limit=1&member=a").await?;
    let mut seen = BTreeSet::new();
    for _ in 0..40 {
        for member in ["a", "b"] {
            let answer = page(&world, &id, &format!("limit=5&member={member}")).await?;
            for got in ids(&answer) {
                ensure!(seen.insert(got.clone()), "{got} was given twice");
            }
            commit(&world, &id, &format!("?member={member}"), &text(&answer["cursor"])?).await?;
        }
        if seen.len() == wanted.len() {
            break;
        }
    }
    ensure!(seen == wanted, "{} of {}", seen.len(), wanted.len());
    let shown = world.data.get(&format!("/v1/readers/{id}")).await?.expect(200)?;
    ensure!(shown["lag"] == 0 && shown["subscription"] == *id, "{shown}");
    ensure!(world.receiver.received("/hook").is_empty());
    // A replay would be pushed.
    let replay = world.control.post(&format!("/v1/subscriptions/{id}/replay"), &json!({"from": "earliest"})).await?;
    ensure!(replay.status == 409, "{} {}", replay.status, replay.text());
    Ok(())
}
