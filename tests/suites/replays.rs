//! Replays: their rate, their progress, and how they end (issue 6 §2).

use anyhow::{Context, Result, ensure};
use posthorn_tests::{Behaviour, Config, Posthorn, Receiver, eventually};
use serde_json::{Value, json};

use crate::kit::{SOON, dead_letters, publish, stored, subscribe, topic};

/// So slow that one delivery goes out and the next does not while a test runs.
const ONE: f64 = 0.001;

#[tokio::test]
async fn a_replay_shows_how_far_it_has_come_and_is_told_of_when_it_is_done() -> Result<()> {
    let (receiver, mut posthorn) = (Receiver::start().await?, Posthorn::start(Config::default()).await?);
    let id = with_events(&posthorn, &receiver, "/done", 30, json!({})).await?;
    let begun = begin(&posthorn, &id, json!({"from": "earliest", "to": "latest"})).await?;
    ensure!(begun["events"] == 30, "{begun}");
    let name = begun["replay"].as_str().context("its id")?.to_owned();
    let done = shows(&posthorn, &id, &name, |replay| replay["state"] == "done").await?;
    ensure!((&done["considered"], &done["delivered"], &done["failed"], &done["waiting"]) == (&json!(30), &json!(30), &json!(0), &json!(0)));
    ensure!(done["from"] == "earliest" && done["subscription"] == json!(id) && done["ended_at"].is_string(), "{done}");
    ensure!(again(&receiver, "/done") == 30, "{:?}", receiver.tally("/done"));
    let nothing = begin(&posthorn, &id, json!({"from": "2001-01-01T00:00:00Z", "to": "2002-01-01T00:00:00Z"})).await?;
    ensure!(nothing["events"] == 0, "{nothing}");
    posthorn.terminate().await?;
    posthorn.restart().await?;
    let listed = answered(&posthorn, &format!("/v1/subscriptions/{id}/replays")).await?;
    let items = listed["items"].as_array().context("items")?;
    ensure!(items.len() == 2 && items[0]["id"] == nothing["replay"] && items[1] == done, "{listed}");
    let page = posthorn.control().get(&format!("/v1/subscriptions/{id}/replays?limit=1")).await?.expect(200)?;
    let token = page["next_page_token"].as_str().context("a token")?;
    let rest = posthorn.control().get(&format!("/v1/subscriptions/{id}/replays?limit=1&page_token={token}")).await?.expect(200)?;
    ensure!(rest["items"] == json!([done]) && rest["next_page_token"].is_null(), "{rest}");
    Ok(())
}

#[tokio::test]
async fn a_rate_holds_a_replay_back_and_nothing_else_and_a_kill_keeps_its_place() -> Result<()> {
    let (receiver, mut posthorn) = (Receiver::start().await?, Posthorn::start(Config::default()).await?);
    let id = with_events(&posthorn, &receiver, "/slow", 20, json!({"limits": {"in_flight": 1}})).await?;
    let begun = begin(&posthorn, &id, json!({"from": "earliest", "rate": ONE})).await?;
    let name = begun["replay"].as_str().context("its id")?.to_owned();
    shows(&posthorn, &id, &name, |replay| replay["delivered"] == 1).await?;
    for number in 0..10 {
        publish(&posthorn, "replays", &format!("new-{number}")).await?;
    }
    receiver.wait_for_unique("/slow", 30, SOON).await?;
    ensure!(again(&receiver, "/slow") == 1, "the rate holds nothing back");
    stored(&posthorn).await?;
    posthorn.kill9();
    posthorn.restart().await?;
    // A new process allows the next one.
    let later = shows(&posthorn, &id, &name, |replay| replay["delivered"].as_u64() >= Some(2)).await?;
    ensure!((&later["state"], &later["rate"], &later["events"]) == (&json!("running"), &json!(ONE), &json!(20)), "{later}");
    let before = again(&receiver, "/slow");
    ensure!(before <= 3, "{before}");

    let path = format!("/v1/subscriptions/{id}/replays/{name}");
    answered(&posthorn, &path).await?;
    let cancelled = posthorn.control().delete(&path).await?.expect(200)?;
    ensure!(cancelled["state"] == "cancelled" && cancelled["ended_at"].is_string(), "{cancelled}");
    posthorn.restart().await?;
    publish(&posthorn, "replays", "last").await?;
    receiver.wait_for_unique("/slow", 31, SOON).await?;
    let kept = answered(&posthorn, &path).await?;
    ensure!(kept == cancelled, "{kept} instead of {cancelled}");
    ensure!(posthorn.control().delete(&path).await?.expect(200)? == cancelled, "ended twice");
    ensure!(again(&receiver, "/slow") == before, "a cancelled replay goes on");
    Ok(())
}

#[tokio::test]
async fn what_waits_of_a_replay_ends_with_it_and_its_dead_letters_name_it() -> Result<()> {
    let (receiver, mut posthorn) = (Receiver::start().await?, Posthorn::start(Config::default()).await?);
    let waits = with_events(&posthorn, &receiver, "/waits", 5, json!({"retry": {"schedule": ["1h"], "jitter": 0}})).await?;
    let dies = subscribe(&posthorn, "replays", &receiver.url("/dies"), json!({"retry": {"schedule": []}})).await?;
    // A client error is the event's fault, so no breaker opens.
    receiver.on("/waits", Behaviour::Status(400));
    receiver.on("/dies", Behaviour::Status(400));
    let begun = begin(&posthorn, &dies, json!({"from": "earliest"})).await?;
    for letter in dead_letters(&posthorn, &dies, 5).await? {
        ensure!(letter["replay"] == begun["replay"], "{letter}");
    }
    // A replay's deliveries are its own, and found by the ids under which they went out.
    for letter in dead_letters(&posthorn, &dies, 5).await? {
        let id = letter["delivery"].as_str().context("a delivery")?;
        let shown = posthorn.control().get(&format!("/v1/deliveries/{id}")).await?.expect(200)?;
        ensure!(shown["id"] == id && shown["status"] == "dead_lettered" && shown["event_id"] == letter["event"]["id"], "{shown}");
        ensure!(receiver.received("/dies").iter().any(|request| request.header("posthorn-delivery") == id), "{id}");
        let listed = posthorn.control().get(&format!("/v1/deliveries?subscription={dies}&status=dead_lettered")).await?.expect(200)?;
        ensure!(listed["items"].as_array().is_some_and(|items| items.contains(&shown)), "{listed}");
    }
    let failed = shows(&posthorn, &dies, begun["replay"].as_str().context("its id")?, |replay| replay["state"] == "done").await?;
    ensure!((&failed["failed"], &failed["delivered"]) == (&json!(5), &json!(0)), "{failed}");

    // One that is tried again, in vain, is still the replay's, and says so.
    let letter = dead_letters(&posthorn, &dies, 5).await?.remove(0);
    let sent = receiver.tally("/dies").total;
    let path = format!("/v1/dead-letters/{}", letter["id"].as_str().context("its id")?);
    posthorn.control().post(&format!("{path}/retry"), &json!({})).await?.expect(202)?;
    receiver.wait_for("/dies", sent + 1, SOON).await?;
    ensure!(receiver.received("/dies").last().is_some_and(|request| request.header("posthorn-replay") == "true"), "it is not marked");
    let again = || async {
        let now = posthorn.control().get(&path).await.ok()?.json().ok()?;
        (now["attempts"] != letter["attempts"]).then_some(now)
    };
    let again = eventually("it is a dead letter again", SOON, again).await?;
    ensure!(again["replay"] == begun["replay"], "{again}");

    let begun = begin(&posthorn, &waits, json!({"from": "earliest"})).await?;
    let name = begun["replay"].as_str().context("its id")?.to_owned();
    // One that is not of the replay.
    publish(&posthorn, "replays", "own").await?;
    let running = shows(&posthorn, &waits, &name, |replay| replay["waiting"] == 5).await?;
    ensure!((&running["state"], &running["considered"]) == (&json!("running"), &json!(5)), "{running}");
    waiting(&posthorn, &waits, 6).await?;
    posthorn.kill9();
    posthorn.restart().await?;
    shows(&posthorn, &waits, &name, |replay| replay["waiting"] == 5 && replay["state"] == "running").await?;
    posthorn.control().delete(&format!("/v1/subscriptions/{waits}/replays/{name}")).await?.expect(200)?;
    shows(&posthorn, &waits, &name, |replay| replay["state"] == "cancelled" && replay["waiting"] == 0).await?;
    posthorn.terminate().await?;
    posthorn.restart().await?;
    waiting(&posthorn, &waits, 1).await
}

#[tokio::test]
async fn a_replay_ends_with_its_topic() -> Result<()> {
    let (receiver, posthorn) = (Receiver::start().await?, Posthorn::start(Config::default()).await?);
    topic(&posthorn, "stays", json!({})).await?;
    let id = with_events(&posthorn, &receiver, "/ends", 3, json!({"filters": [{"exact": {"type": "test.happened"}}]})).await?;
    let begun = begin(&posthorn, &id, json!({"from": "earliest", "rate": 0.01})).await?;
    let replay = begun["replay"].as_str().context("a replay")?;
    shows(&posthorn, &id, replay, |shown| shown["delivered"] == 1).await?;
    let deleted = posthorn.control().delete("/v1/topics/replays?force=true").await?;
    ensure!(deleted.status == 204, "{} {}", deleted.status, deleted.text());
    shows(&posthorn, &id, replay, |shown| shown["state"] == "done").await.map(drop)
}

#[tokio::test]
async fn too_many_and_wrong_ones_are_refused() -> Result<()> {
    let config = Config::default().set("delivery.max_replays", json!(1));
    let (receiver, posthorn) = (Receiver::start().await?, Posthorn::start(config).await?);
    let id = with_events(&posthorn, &receiver, "/many", 3, json!({})).await?;
    let path = format!("/v1/subscriptions/{id}/replay");
    for (body, status, names) in [
        (json!({"from": "earliest", "rate": 0}), 422, "#/rate"),
        (json!({"from": "earliest", "rate": "fast"}), 400, "#/rate"),
        (json!({"from": "earliest", "speed": 3}), 400, "speed"),
    ] {
        let refused = posthorn.control().post(&path, &body).await?;
        ensure!(refused.status == status && refused.text().contains(names), "{body}: {} {}", refused.status, refused.text());
    }
    let begun = begin(&posthorn, &id, json!({"from": "earliest", "rate": ONE})).await?;
    let refused = posthorn.control().post(&path, &json!({"from": "earliest"})).await?;
    ensure!(refused.status == 429 && refused.text().contains("delivery.max_replays"), "{} {}", refused.status, refused.text());
    for unknown in ["nonsense", "rpl_00000000000000000000000000000000"] {
        for reply in
            [posthorn.control().get(&format!("{path}s/{unknown}")).await?, posthorn.control().delete(&format!("{path}s/{unknown}")).await?]
        {
            ensure!(reply.status == 404, "{unknown}: {} {}", reply.status, reply.text());
        }
    }
    let name = begun["replay"].as_str().context("its id")?;
    posthorn.control().delete(&format!("{path}s/{name}")).await?.expect(200)?;
    begin(&posthorn, &id, json!({"from": "earliest"})).await.map(drop)
}

/// A topic with so many events, all delivered to a subscription at this path; gives its id.
async fn with_events(posthorn: &Posthorn, receiver: &Receiver, path: &str, count: u64, members: Value) -> Result<String> {
    topic(posthorn, "replays", json!({})).await?;
    let id = subscribe(posthorn, "replays", &receiver.url(path), members).await?;
    for number in 0..count {
        publish(posthorn, "replays", &format!("e{number}")).await?;
    }
    receiver.wait_for_unique(path, count, SOON).await?;
    Ok(id)
}

/// What a node says, once one is connected.
async fn answered(posthorn: &Posthorn, path: &str) -> Result<Value> {
    let probe = || async { posthorn.control().get(path).await.ok()?.expect(200).ok() };
    eventually("a node answers", SOON, probe).await
}

async fn begin(posthorn: &Posthorn, id: &str, body: Value) -> Result<Value> {
    posthorn.control().post(&format!("/v1/subscriptions/{id}/replay"), &body).await?.expect(202)
}

/// The replay, once `wanted` holds of it.
async fn shows(posthorn: &Posthorn, id: &str, replay: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let path = format!("/v1/subscriptions/{id}/replays/{replay}");
    let probe = || async { Some(posthorn.control().get(&path).await.ok()?.json().ok()?).filter(&wanted) };
    match eventually("the replay gets there", SOON, probe).await {
        Ok(found) => Ok(found),
        Err(error) => Err(error.context(posthorn.control().get(&path).await?.text())),
    }
}

/// Waits until so many deliveries of the subscription wait for another attempt.
async fn waiting(posthorn: &Posthorn, id: &str, count: u64) -> Result<()> {
    let path = format!("/v1/subscriptions/{id}");
    let probe = || async { (posthorn.control().get(&path).await.ok()?.json().ok()?["state"]["waiting"] == count).then_some(()) };
    match eventually(&format!("{count} wait"), SOON, probe).await {
        Ok(()) => Ok(()),
        Err(error) => Err(error.context(posthorn.control().get(&path).await?.text())),
    }
}

/// How many requests of replays arrived.
fn again(receiver: &Receiver, path: &str) -> usize {
    receiver.received(path).iter().filter(|request| request.header("posthorn-replay") == "true").count()
}
