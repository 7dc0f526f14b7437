//! Changes while deliveries wait, stops and kills under load, deletions: what is lost (nothing) and what is repeated (issue 6 §2).

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use posthorn_tests::{Behaviour, Config, Posthorn, Receiver, eventually};
use serde_json::{Value, json};

use crate::kit::{SOON, delivery, event, id, in_force, metric, publish, subscribe, subscribe_only, topic};

#[tokio::test]
async fn what_waits_goes_to_the_new_url_under_the_new_secret() -> Result<()> {
    let (receiver, posthorn) = (Receiver::start().await?, Posthorn::start(Config::default()).await?);
    receiver.on("/old", Behaviour::Status(400));
    topic(&posthorn, "moves", json!({})).await?;
    let retry = json!({"schedule": vec!["500ms"; 100], "jitter": 0});
    let made = subscribe_only(&posthorn, "moves", &receiver.url("/old"), json!({"retry": retry})).await?;
    in_force(&posthorn, &made).await?;
    let id = made["id"].as_str().context("an id")?;
    publish(&posthorn, "moves", "e1").await?;
    delivery(&posthorn, id, "it waits", |item| item["status"] == "waiting").await?;
    let (secret, mut moved) = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", made.clone());
    moved["endpoint"]["url"] = receiver.url("/new").into();
    moved["signing"] = json!([{"scheme": "standard-webhooks", "secret": secret}]);
    moved.as_object_mut().context("an object")?.remove("warnings");
    let changed = posthorn.control().put(&format!("/v1/subscriptions/{id}"), &moved).await?.expect(200)?;
    in_force(&posthorn, &changed).await?;
    let got = receiver.wait_for("/new", 1, SOON).await?.remove(0);
    got.verify(secret)?;
    ensure!(got.header("ce-id") == "e1" && got.header("posthorn-attempt").parse::<u32>()? > 1, "{got:?}");
    let first = receiver.received("/old").remove(0);
    ensure!(first.id() == got.id() && first.header("posthorn-delivery") == got.header("posthorn-delivery"), "it became another delivery");
    delivery(&posthorn, id, "it is delivered", |item| item["status"] == "delivered").await.map(drop)
}

#[tokio::test]
async fn what_the_old_endpoint_says_holds_for_that_one_only() -> Result<()> {
    let (receiver, posthorn) = (Receiver::start().await?, Posthorn::start(Config::default()).await?);
    receiver.on("/old", Behaviour::Delay(Duration::from_secs(8), Box::new(Behaviour::Status(410))));
    topic(&posthorn, "moved", json!({})).await?;
    let retry = json!({"schedule": vec!["100ms"; 10], "jitter": 0});
    let made = subscribe_only(&posthorn, "moved", &receiver.url("/old"), json!({"retry": retry})).await?;
    in_force(&posthorn, &made).await?;
    publish(&posthorn, "moved", "e1").await?;
    receiver.wait_for("/old", 1, SOON).await?;
    let mut moved = made.clone();
    moved["endpoint"]["url"] = receiver.url("/new").into();
    moved.as_object_mut().context("an object")?.remove("warnings");
    let path = format!("/v1/subscriptions/{}", id(&made)?);
    in_force(&posthorn, &posthorn.control().put(&path, &moved).await?.expect(200)?).await?;
    // The request that was under way ends with 410; its event goes to the new endpoint, as do those after it.
    let got = receiver.wait_for("/new", 1, SOON).await?.remove(0);
    ensure!(got.header("ce-id") == "e1" && got.header("posthorn-attempt") == "2", "{got:?}");
    publish(&posthorn, "moved", "e2").await?;
    receiver.wait_for("/new", 2, SOON).await?;
    let now = posthorn.control().get(&path).await?.expect(200)?;
    ensure!(now["status"] == "active" && now["state"]["breaker"] == "closed", "{now}");
    Ok(())
}

#[tokio::test]
async fn a_new_filter_holds_for_what_was_not_taken_yet() -> Result<()> {
    let (receiver, posthorn) = (Receiver::start().await?, Posthorn::start(Config::default()).await?);
    receiver.on("/filtered", Behaviour::Status(400));
    topic(&posthorn, "filters", json!({})).await?;
    let filters = |kind: &str| json!([{"topic": "filters"}, {"exact": {"type": kind}}]);
    let members = json!({"filters": filters("a"), "retry": {"schedule": vec!["500ms"; 100], "jitter": 0}});
    let id = subscribe(&posthorn, "filters", &receiver.url("/filtered"), members).await?;
    typed(&posthorn, "a1", "a").await?;
    delivery(&posthorn, &id, "it waits", |item| item["status"] == "waiting").await?;
    let paused = posthorn.control().post(&format!("/v1/subscriptions/{id}/pause"), &json!({})).await?.expect(200)?;
    in_force(&posthorn, &paused).await?;
    for (name, kind) in [("a2", "a"), ("b1", "b")] {
        typed(&posthorn, name, kind).await?;
    }
    let mut changed = posthorn.control().get(&format!("/v1/subscriptions/{id}")).await?.expect(200)?;
    changed["filters"] = filters("b");
    changed["status"] = "active".into();
    for member in ["state", "warnings"] {
        changed.as_object_mut().context("an object")?.remove(member);
    }
    receiver.on("/filtered", Behaviour::Ok);
    let changed = posthorn.control().put(&format!("/v1/subscriptions/{id}"), &changed).await?.expect(200)?;
    in_force(&posthorn, &changed).await?;
    for (name, kind) in [("a3", "a"), ("b2", "b")] {
        typed(&posthorn, name, kind).await?;
    }
    // What had been taken under the old filter is still owed; what stood behind the pause is held to the new one.
    receiver.wait_for_unique("/filtered", 3, SOON).await?;
    delivery(&posthorn, &id, "what waited is delivered", |item| item["event_id"] == "a1" && item["status"] == "delivered").await?;
    ensure!(
        arrived(&receiver, "/filtered") == BTreeSet::from(["a1", "b1", "b2"].map(str::to_owned)),
        "{:?}",
        arrived(&receiver, "/filtered")
    );
    Ok(())
}

#[tokio::test]
async fn pauses_under_load_lose_and_repeat_nothing() -> Result<()> {
    let (receiver, posthorn) = (Receiver::start().await?, Posthorn::start(Config::default()).await?);
    receiver.on("/paused", slowly());
    topic(&posthorn, "pauses", json!({"partitions": 2})).await?;
    let id = subscribe(&posthorn, "pauses", &receiver.url("/paused"), json!({"limits": {"in_flight": 4}})).await?;
    for round in 0..4 {
        for number in 0..15 {
            publish(&posthorn, "pauses", &format!("e{round}-{number}")).await?;
        }
        let action = if round % 2 == 0 { "pause" } else { "resume" };
        let changed = posthorn.control().post(&format!("/v1/subscriptions/{id}/{action}"), &json!({})).await?.expect(200)?;
        in_force(&posthorn, &changed).await?;
    }
    let tally = receiver.wait_for_unique("/paused", 60, SOON).await?;
    ensure!(tally.duplicate == 0, "{tally:?}");
    Ok(())
}

#[tokio::test]
async fn a_stop_under_load_repeats_nothing_and_a_kill_counts_what_it_repeats() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.on("/load", slowly());
    // Long enough that a kill repeats something.
    let mut posthorn = Posthorn::start(Config::default().set("delivery.checkpoint_interval", json!("2s"))).await?;
    topic(&posthorn, "load", json!({"partitions": 2})).await?;
    subscribe(&posthorn, "load", &receiver.url("/load"), json!({"limits": {"in_flight": 4}})).await?;
    let mut sent = 0;
    for round in 0..3 {
        sent = under_load(&posthorn, &receiver, sent).await?;
        ensure!(posthorn.terminate().await?.success(), "round {round}: no good end");
        posthorn.restart().await?;
        let tally = receiver.wait_for_unique("/load", sent, SOON).await?;
        ensure!(tally.duplicate == 0, "round {round}: a stop in good order repeated {tally:?}");
        ensure!(metric(&posthorn, "posthorn_redelivered_total").await? == 0.0, "round {round}: counted what was not repeated");
    }
    let mut repeated = 0;
    for round in 0..3 {
        sent = under_load(&posthorn, &receiver, sent).await?;
        posthorn.kill9();
        let before = receiver.tally("/load").duplicate;
        posthorn.restart().await?;
        receiver.wait_for_unique("/load", sent, SOON).await?;
        // One behind all that are repeated.
        publish(&posthorn, "load", &format!("behind-{round}")).await?;
        sent += 1;
        receiver.wait_for_unique("/load", sent, SOON).await?;
        settled(&posthorn).await?;
        let (seen, counted) = (receiver.tally("/load").duplicate - before, metric(&posthorn, "posthorn_redelivered_total").await?);
        println!("round {round}: {seen} repeated, {counted} counted");
        ensure!(counted >= seen as f64, "round {round}: {seen} repeated, {counted} counted");
        repeated += seen;
    }
    ensure!(repeated > 0, "no kill repeated anything");
    Ok(())
}

#[tokio::test]
async fn nothing_of_a_deleted_subscription_comes_back() -> Result<()> {
    let (receiver, mut posthorn) = (Receiver::start().await?, Posthorn::start(Config::default()).await?);
    receiver.on("/deleted", Behaviour::Status(400));
    topic(&posthorn, "deletes", json!({})).await?;
    let retry = json!({"retry": {"schedule": vec!["300ms"; 100], "jitter": 0}});
    for round in 0..3 {
        let id = subscribe(&posthorn, "deletes", &receiver.url("/deleted"), retry.clone()).await?;
        publish(&posthorn, "deletes", &format!("e{round}")).await?;
        delivery(&posthorn, &id, "it waits", |item| item["status"] == "waiting").await?;
        posthorn
            .control()
            .post(&format!("/v1/subscriptions/{id}/replay"), &json!({"from": "earliest", "rate": 0.001}))
            .await?
            .expect(202)?;
        let gone = posthorn.control().delete(&format!("/v1/subscriptions/{id}")).await?;
        ensure!(gone.status == 204, "{} {}", gone.status, gone.text());
        // The kill may come at any moment of the clearing up.
        posthorn.kill9();
        posthorn.restart().await?;
        for path in ["", "/replays"] {
            let reply = posthorn.control().get(&format!("/v1/subscriptions/{id}{path}")).await?;
            ensure!(reply.status == 404, "{path}: {} {}", reply.status, reply.text());
        }
        let sent = || receiver.received("/deleted").iter().filter(|request| request.header("ce-id") == format!("e{round}")).count();
        // Another is made, and gets its own; by then anything that came back would have been sent.
        let other = subscribe(&posthorn, "deletes", &receiver.url(&format!("/other-{round}")), json!({})).await?;
        let before = sent();
        for number in 0..10 {
            publish(&posthorn, "deletes", &format!("other-{round}-{number}")).await?;
        }
        receiver.wait_for_unique(&format!("/other-{round}"), 10, SOON).await?;
        ensure!(sent() == before, "round {round}: sent for a subscription that is gone");
        posthorn.control().delete(&format!("/v1/subscriptions/{other}")).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_topic_is_deleted_whole_or_not_at_all() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut posthorn = Posthorn::start(Config::default()).await?;
    let mut halves = (0, 0);
    for round in 0..6_u32 {
        let name = format!("whole-{round}");
        topic(&posthorn, &name, json!({"partitions": 2})).await?;
        let id = subscribe(&posthorn, &name, &receiver.url(&format!("/{name}")), json!({"status": "paused"})).await?;
        for number in 0..5 {
            publish(&posthorn, &name, &format!("e{number}")).await?;
        }
        let path = format!("/v1/topics/{name}");
        let refused = posthorn.control().delete(&path).await?;
        ensure!(refused.status == 409 && refused.json()?["used_by"][0] == json!(id), "{} {}", refused.status, refused.text());
        let control = posthorn.control();
        let request = tokio::spawn(async move { control.delete(&format!("{path}?force=true")).await });
        let folder = posthorn.data_dir().join("log").join(&name);
        match round % 3 {
            // As it is asked for.
            0 => tokio::task::yield_now().await,
            // As it is answered.
            1 => drop(request.await?),
            // As the files go.
            _ => eventually("the log goes", SOON, || std::future::ready((!folder.exists()).then_some(()))).await?,
        }
        posthorn.kill9();
        posthorn.restart().await?;
        let there = posthorn.control().get(&format!("/v1/topics/{name}")).await?.status == 200;
        let taken = || async { posthorn.data().publish(&event(&name, "after")).await.ok() };
        if there {
            halves.0 += 1;
            let answer = taken().await.context("an answer")?.expect(202)?;
            let kept = crate::kit::ids(&crate::kit::read_all(&posthorn, &name).await?);
            ensure!(kept.len() == 6, "round {round}: it is there, but not whole: {kept:?} {answer}");
        } else {
            halves.1 += 1;
            let refused = eventually("nothing is taken any more", SOON, || async { taken().await.filter(|reply| reply.status == 404) });
            refused.await?;
            let gone = eventually("its files go", SOON, || std::future::ready((!folder.exists()).then_some(())));
            gone.await?;
            // Made again it is empty.
            topic(&posthorn, &name, json!({"partitions": 2})).await?;
            ensure!(publish(&posthorn, &name, "again").await? == 0, "round {round}: an earlier life is left");
        }
    }
    println!("{} whole, {} gone", halves.0, halves.1);
    ensure!(halves.1 >= 4, "what was answered is gone: {halves:?}");
    Ok(())
}

fn slowly() -> Behaviour {
    Behaviour::Delay(Duration::from_millis(15), Box::new(Behaviour::Ok))
}

/// Publishes, and comes back while deliveries are under way; gives how many events were sent in all.
async fn under_load(posthorn: &Posthorn, receiver: &Receiver, sent: u64) -> Result<u64> {
    for number in 0..60 {
        publish(posthorn, "load", &format!("e{sent}-{number}")).await?;
    }
    receiver.wait_for_unique("/load", sent + 20, SOON).await?;
    Ok(sent + 60)
}

/// Waits until nothing is under way any more.
async fn settled(posthorn: &Posthorn) -> Result<()> {
    let probe = || async { (metric(posthorn, "posthorn_attempts_in_flight").await.ok()? == 0.0).then_some(()) };
    eventually("all attempts end", SOON, probe).await
}

async fn typed(posthorn: &Posthorn, id: &str, kind: &str) -> Result<()> {
    let mut event: Value = event("filters", id);
    event["type"] = kind.into();
    posthorn.data().publish(&event).await?.expect(202).map(drop)
}

fn arrived(receiver: &Receiver, path: &str) -> BTreeSet<String> {
    receiver.received(path).iter().map(|request| request.header("ce-id").to_owned()).collect()
}

#[tokio::test]
async fn subscriptions_are_the_same_after_a_stop_as_after_a_kill() -> Result<()> {
    let (receiver, mut posthorn) = (Receiver::start().await?, Posthorn::start(Config::default()).await?);
    topic(&posthorn, "kept", json!({})).await?;
    let mut ids = Vec::new();
    // Enough that a stop has something to write; and texts that what is kept is shortened by, or would trip over.
    let padding = "x".repeat(4_000);
    for number in 0..100 {
        let name = format!("\"}}]}} {number} \\ \u{1f600} {{\"name\":\"");
        let endpoint = json!({"url": receiver.url(&format!("/kept-{number}")), "headers": {"x-padding": padding}, "timeout": "7s"});
        let filters = json!([{"topic": "kept"}, {"exact": {"subject": format!("s-{number}\"}}]")}}]);
        let status = if number % 3 == 0 { "paused" } else { "active" };
        let members = json!({"name": name, "filters": filters, "endpoint": endpoint, "status": status, "limits": {"in_flight": 3}});
        ids.push(id(&subscribe_only(&posthorn, "kept", "http://127.0.0.1:9/", members).await?)?);
    }
    let all = |posthorn: &Posthorn| {
        let (control, ids) = (posthorn.control(), ids.clone());
        async move {
            let mut all = Vec::new();
            for id in &ids {
                let mut one = control.get(&format!("/v1/subscriptions/{id}")).await?.expect(200)?;
                // A node tells it, once it is connected.
                one.as_object_mut().context("an object")?.remove("state");
                all.push(one);
            }
            anyhow::Ok(all)
        }
    };
    let made = all(&posthorn).await?;
    let tables = posthorn.data_dir().join("control/keyspaces/1/tables");
    let files = || std::fs::read_dir(&tables).map_or(0, Iterator::count);
    ensure!(files() == 0, "written too early to show anything");
    ensure!(posthorn.terminate().await?.success(), "no good end");
    ensure!(files() > 0, "a stop in good order leaves all in the journal");
    posthorn.restart().await?;
    ensure!(all(&posthorn).await? == made, "changed by a stop");

    // What is changed after that is in the journal only, beside what is in the file.
    let path = format!("/v1/subscriptions/{}", ids[3]);
    let mut body = posthorn.control().get(&path).await?.expect(200)?;
    body["status"] = json!("active");
    in_force(&posthorn, &posthorn.control().put(&path, &body).await?.expect(200)?).await?;
    let changed = all(&posthorn).await?;
    ensure!(changed[3]["status"] == "active" && changed != made, "not changed: {}", changed[3]);
    posthorn.kill9();
    posthorn.restart().await?;
    ensure!(all(&posthorn).await? == changed, "changed by a kill");
    let refused = posthorn.control().delete("/v1/topics/kept").await?;
    ensure!(refused.status == 409, "{} {}", refused.status, refused.text());
    // And who was kept so gets what is theirs.
    for number in [3, 4] {
        let mut one = event("kept", &format!("e-{number}"));
        one["subject"] = json!(format!("s-{number}\"}}]"));
        posthorn.data().publish(&one).await?.expect(202)?;
        receiver.wait_for_unique(&format!("/kept-{number}"), 1, SOON).await?;
    }
    Ok(())
}
