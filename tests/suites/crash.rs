//! Kills the process at random moments and looks for what was lost, doubled or forgotten (I1, I2, I3; DESIGN §7).
//!
//! The seed is printed; `CRASH_SEED` repeats a run and `CRASH_ROUNDS` makes it longer.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use posthorn_tests::{Api, Behaviour, Config, Posthorn, Received, Receiver, eventually};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::dice::Dice;
use crate::kit::{
    SOON, checkpoints_above, dead_letters, delivery, event, id, ids, in_force, metric, publish, read_all, stored, subscribe,
    subscribe_only, topic,
};

const PUBLISHERS: u64 = 4;
const EVENTS_A_ROUND: u64 = 24;
const PATHS: [&str; 3] = ["/fast", "/flaky", "/slow"];

#[tokio::test(flavor = "multi_thread")]
async fn killed_under_load_it_loses_nothing_and_repeats_only_its_last_moments() -> Result<()> {
    let mut dice = Dice::seeded("CRASH_SEED");
    let rounds: u64 = std::env::var("CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(21);
    let receiver = Receiver::start().await?;
    receiver.on("/slow", Behaviour::Delay(Duration::from_millis(8), Box::new(Behaviour::Ok)));
    let mut posthorn = Posthorn::start(Config::default().set("node.shards", json!(1))).await?;
    topic(&posthorn, "orders", json!({"partitions": 3})).await?;
    let retry = json!({"schedule": vec!["40ms"; 60], "jitter": 0});
    for path in PATHS {
        subscribe(&posthorn, "orders", &receiver.url(path), json!({"retry": retry, "limits": {"in_flight": 4}})).await?;
    }
    let (mut books, mut shards) = (Books::default(), 1);
    for round in 0..rounds {
        let calm = calm(&posthorn, &receiver, &mut books, round, shards).await?;
        shards = [1, 1, 3][usize::try_from(round / 3 % 3)?];
        receiver.on("/flaky", Behaviour::FailFirst { n: 1 + dice.below(12), status: 500 });
        let before = PATHS.map(|path| receiver.tally(path).total);
        load(&mut posthorn, &mut books, round, &mut dice).await?;
        let sent: u64 = PATHS.iter().zip(before).map(|(path, before)| receiver.tally(path).total - before).sum();
        println!("round {round}: {sent} requests before the kill, {shards} shards after it");
        posthorn.restart_with(|config| config.set("node.shards", json!(shards))).await?;
        send_again(&posthorn, &mut books).await?;
        let sent: Vec<String> = books.kept.keys().cloned().collect();
        everywhere(&receiver, &sent).await?;
        for path in PATHS {
            let repeated: Vec<_> =
                arrivals(&receiver, path)?.into_iter().filter(|(id, times)| calm.contains(id) && successes(path, times) > 1).collect();
            ensure!(repeated.is_empty(), "round {round}: settled and stored before the kill, yet sent again to {path}: {repeated:?}");
        }
    }
    check_log(&posthorn, &books).await?;
    check_ids(&receiver)?;
    clean_restart_repeats_nothing(&mut posthorn, &receiver).await
}

#[tokio::test]
async fn what_waits_survives_a_kill() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut posthorn = Posthorn::start(Config::default()).await?;
    topic(&posthorn, "waits", json!({})).await?;
    receiver.on("/later", Behaviour::FailFirst { n: 1, status: 500 });
    let later = subscribe(&posthorn, "waits", &receiver.url("/later"), json!({"retry": {"schedule": ["8s"], "jitter": 0}})).await?;
    receiver.on("/never", Behaviour::Status(500));
    let never = subscribe(&posthorn, "waits", &receiver.url("/never"), json!({"retry": {"schedule": []}})).await?;
    publish(&posthorn, "waits", "w1").await?;
    let letter = dead_letters(&posthorn, &never, 1).await?.remove(0);
    delivery(&posthorn, &later, "it waits", |item| item["status"] == "waiting").await?;
    stored(&posthorn).await?;

    posthorn.kill9();
    ensure!(receiver.tally("/later").total >= 1, "the first attempt");
    posthorn.restart().await?;

    let attempts = || -> Vec<Received> {
        receiver.received("/later").into_iter().filter(|request| request.event_id().is_ok_and(|id| id == "w1")).collect()
    };
    let second = || std::future::ready((attempts().len() >= 2).then_some(()));
    eventually("the second attempt, after the kill", SOON, second).await?;
    let of_first = attempts();
    ensure!(of_first[0].id() == of_first[1].id(), "two ids");
    ensure!((of_first[0].header("posthorn-attempt"), of_first[1].header("posthorn-attempt")) == ("1", "2"), "attempts are not counted on");
    let id = letter["id"].as_str().context("an id")?;
    let found = || async { posthorn.control().get(&format!("/v1/dead-letters/{id}")).await.ok()?.expect(200).ok() };
    let again = eventually("its node is asked", SOON, found).await?;
    ensure!((&again["reason"], &again["event"]["id"]) == (&json!("attempts_exhausted"), &json!("w1")), "{again}");

    receiver.on("/never", Behaviour::Ok);
    let retried = posthorn.control().post(&format!("/v1/dead-letters/{id}/retry"), &json!({})).await?;
    ensure!(retried.status.is_success(), "{} {}", retried.status, retried.text());
    let gone = || async { (posthorn.control().get(&format!("/v1/dead-letters/{id}")).await.ok()?.status == 404).then_some(()) };
    eventually("the delivered dead letter leaves the list", SOON, gone).await
}

#[tokio::test]
async fn a_pause_survives_a_kill() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut posthorn = Posthorn::start(Config::default()).await?;
    topic(&posthorn, "paused", json!({})).await?;
    let resting = subscribe(&posthorn, "paused", &receiver.url("/resting"), json!({})).await?;
    subscribe(&posthorn, "paused", &receiver.url("/awake"), json!({})).await?;
    let paused = posthorn.control().post(&format!("/v1/subscriptions/{resting}/pause"), &json!({})).await?.expect(200)?;
    in_force(&posthorn, &paused).await?;
    publish(&posthorn, "paused", "before").await?;
    posthorn.kill9();
    posthorn.restart().await?;
    publish(&posthorn, "paused", "after").await?;
    receiver.wait_for_unique("/awake", 2, SOON).await?;
    ensure!(receiver.tally("/resting").total == 0, "a paused subscription was sent to");
    let resumed = posthorn.control().post(&format!("/v1/subscriptions/{resting}/resume"), &json!({})).await?.expect(200)?;
    in_force(&posthorn, &resumed).await?;
    let tally = receiver.wait_for_unique("/resting", 2, SOON).await?;
    ensure!(tally.duplicate == 0, "{tally:?}");
    Ok(())
}

#[tokio::test]
async fn a_subscription_that_was_just_made_gets_its_events_after_a_kill() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut posthorn = Posthorn::start(Config::default()).await?;
    topic(&posthorn, "fresh", json!({"partitions": 2})).await?;
    for round in 0..4 {
        let path = format!("/fresh-{round}");
        publish(&posthorn, "fresh", &format!("old-{round}")).await?;
        // "The next event" is counted from this answer; its time has milliseconds, so the clock must have moved on before it.
        tick(&posthorn).await?;
        subscribe_only(&posthorn, "fresh", &receiver.url(&path), json!({})).await?;
        publish(&posthorn, "fresh", &format!("new-{round}")).await?;
        posthorn.kill9();
        posthorn.restart().await?;
        receiver.wait_for_unique(&path, 1, SOON).await?;
        let got: BTreeSet<String> = receiver.received(&path).iter().map(Received::event_id).collect::<Result<_>>()?;
        ensure!(got.contains(&format!("new-{round}")), "round {round}: {got:?}");
        ensure!(!got.contains(&format!("old-{round}")), "round {round}: older than the subscription: {got:?}");
    }
    Ok(())
}

/// What the publishers know: every event that was answered, with its place, and those that were not.
#[derive(Default)]
struct Books {
    kept: BTreeMap<String, (u64, u64)>,
    open: BTreeSet<String>,
}

/// Some events whose deliveries are settled and stored before the load begins: these may not be repeated by the kill.
async fn calm(posthorn: &Posthorn, receiver: &Receiver, books: &mut Books, round: u64, shards: u32) -> Result<BTreeSet<String>> {
    let mut sent = BTreeSet::new();
    for number in 0..6 {
        let id = format!("calm-{round}-{number}");
        books.note(&id, &posthorn.data().publish(&event("orders", &id)).await?.json()?)?;
        sent.insert(id);
    }
    everywhere(receiver, &sent.iter().cloned().collect::<Vec<_>>()).await?;
    settled(posthorn).await?;
    for nudge in 0..3 {
        let before = metric(posthorn, "posthorn_checkpoints_total").await?;
        let id = format!("nudge-{round}-{nudge}");
        books.note(&id, &posthorn.data().publish(&event("orders", &id)).await?.json()?)?;
        everywhere(receiver, &[id]).await?;
        // Every shard is fed every event, so each writes at least once.
        checkpoints_above(posthorn, before + f64::from(shards) - 1.0).await?;
    }
    Ok(sent)
}

/// Several publishers at once, and the kill after some of their events were answered.
async fn load(posthorn: &mut Posthorn, books: &mut Books, round: u64, dice: &mut Dice) -> Result<()> {
    let acknowledged = Arc::new(AtomicU64::new(0));
    let shared = Arc::new(Mutex::new(std::mem::take(books)));
    let mut publishers = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let (api, shared, acknowledged) = (posthorn.data(), Arc::clone(&shared), Arc::clone(&acknowledged));
        publishers.spawn(async move {
            for number in 0..EVENTS_A_ROUND {
                let id = format!("e-{round}-{publisher}-{number}");
                shared.lock().open.insert(id.clone());
                let Ok(reply) = api.publish(&event("orders", &id)).await else { continue };
                if let Ok(answer) = reply.json() {
                    shared.lock().note(&id, &answer)?;
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
            }
            anyhow::Ok(())
        });
    }
    let enough = 1 + dice.below(PUBLISHERS * EVENTS_A_ROUND - 8);
    let probe = || std::future::ready((acknowledged.load(Ordering::Relaxed) >= enough).then_some(()));
    eventually("events are answered", SOON, probe).await?;
    posthorn.kill9();
    while let Some(done) = publishers.join_next().await {
        done??;
    }
    *books = std::mem::take(&mut *shared.lock());
    Ok(())
}

/// What was not answered is sent again, as publishers do; the log must hold it once.
async fn send_again(posthorn: &Posthorn, books: &mut Books) -> Result<()> {
    for id in books.open.clone() {
        let reply = posthorn.data().publish(&event("orders", &id)).await?;
        ensure!(matches!(reply.status.as_u16(), 200 | 202), "{id}: {} {}", reply.status, reply.text());
        books.note(&id, &reply.json()?)?;
    }
    Ok(())
}

impl Books {
    fn note(&mut self, id: &str, answer: &Value) -> Result<()> {
        let place =
            (answer["partition"].as_u64().with_context(|| format!("{id}: {answer}"))?, answer["offset"].as_u64().context("offset")?);
        self.open.remove(id);
        self.kept.insert(id.to_owned(), place);
        Ok(())
    }
}

/// Waits until every path has seen all of these events.
async fn everywhere(receiver: &Receiver, sent: &[String]) -> Result<()> {
    for path in PATHS {
        let missing = || {
            let seen: BTreeSet<String> = receiver.received(path).iter().map(|request| request.header("ce-id").to_owned()).collect();
            sent.iter().filter(|id| !seen.contains(*id)).cloned().collect::<Vec<_>>()
        };
        let done = eventually("all events arrive", SOON, || std::future::ready(missing().is_empty().then_some(()))).await;
        done.with_context(|| format!("{path} never saw {:?}", missing()))?;
    }
    Ok(())
}

/// For each event, the attempts of it that arrived, by their number.
fn arrivals(receiver: &Receiver, path: &str) -> Result<HashMap<String, Vec<u64>>> {
    let mut found: HashMap<String, Vec<u64>> = HashMap::new();
    for request in receiver.received(path) {
        found.entry(request.header("ce-id").to_owned()).or_default().push(request.header("posthorn-attempt").parse()?);
    }
    Ok(found)
}

/// How often it was sent as if it had never been: a retry carries the next number, a repetition the same one again.
fn successes(path: &str, attempts: &[u64]) -> usize {
    if path == "/flaky" { attempts.iter().filter(|number| **number == 1).count() } else { attempts.len() }
}

/// Offsets without holes, every event once, none missing.
async fn check_log(posthorn: &Posthorn, books: &Books) -> Result<()> {
    ensure!(books.open.is_empty(), "never answered: {:?}", books.open);
    let found = ids(&read_all(posthorn, "orders").await?);
    let once: BTreeSet<&String> = found.iter().collect();
    ensure!(once.len() == found.len(), "{} events stand in the log twice", found.len() - once.len());
    let lost: Vec<_> = books.kept.keys().filter(|id| !once.contains(id)).collect();
    ensure!(lost.is_empty(), "acknowledged and not in the log: {lost:?}");
    ensure!(found.len() == books.kept.len(), "{} events in the log, {} were sent", found.len(), books.kept.len());
    let mut places: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for id in &found {
        let (partition, offset) = books.kept[id];
        places.entry(partition).or_default().push(offset);
    }
    for (partition, offsets) in places {
        let expected: Vec<u64> = (0..offsets.len() as u64).collect();
        ensure!(offsets == expected, "partition {partition} is not read in order and without holes: {offsets:?}");
    }
    Ok(())
}

/// One event, one `webhook-id`, over all paths, attempts and lives of the process.
fn check_ids(receiver: &Receiver) -> Result<()> {
    let mut by_event: HashMap<String, BTreeSet<String>> = HashMap::new();
    for path in PATHS {
        let (tally, received) = (receiver.tally(path), receiver.received(path));
        ensure!(tally.total == received.len() as u64, "the receiver did not record everything: {tally:?}");
        println!("{path}: {tally:?}");
        for request in received {
            by_event.entry(request.header("ce-id").to_owned()).or_default().insert(request.id().to_owned());
        }
    }
    let split: Vec<_> = by_event.iter().filter(|(_, ids)| ids.len() != 1).collect();
    ensure!(split.is_empty(), "events with several ids: {split:?}");
    Ok(())
}

async fn clean_restart_repeats_nothing(posthorn: &mut Posthorn, receiver: &Receiver) -> Result<()> {
    for shards in [3, 1, 1] {
        settled(posthorn).await?;
        let before = PATHS.map(|path| receiver.tally(path));
        let status = posthorn.terminate().await?;
        ensure!(status.code() == Some(0), "{status}\n{}", posthorn.stderr());
        posthorn.restart_with(|config| config.set("node.shards", json!(shards))).await?;
        let id = format!("clean-{shards}-{}", before[0].total);
        publish(posthorn, "orders", &id).await?;
        everywhere(receiver, &[id]).await?;
        settled(posthorn).await?;
        for (path, before) in PATHS.iter().zip(before) {
            let after = receiver.tally(path);
            ensure!(after.duplicate == before.duplicate, "{path} was repeated to after a clean end: {before:?} {after:?}");
        }
    }
    Ok(())
}

/// Waits until no subscription has anything under way or waiting.
async fn settled(posthorn: &Posthorn) -> Result<()> {
    let subscriptions = posthorn.control().get("/v1/subscriptions").await?.expect(200)?;
    for item in subscriptions["items"].as_array().context("items")? {
        let path = format!("/v1/subscriptions/{}", id(item)?);
        let idle = || async {
            let state = posthorn.control().get(&path).await.ok()?.json().ok()?["state"].clone();
            (["in_flight", "waiting", "lag"].iter().all(|name| state[*name] == 0)).then_some(())
        };
        if let Err(error) = eventually("a subscription has nothing under way", SOON, idle).await {
            return Err(error.context(posthorn.control().get(&path).await?.text()));
        }
    }
    Ok(())
}

/// Waits for the next millisecond by asking the server for something.
async fn tick(posthorn: &Posthorn) -> Result<()> {
    let start = tokio::time::Instant::now();
    let probe =
        || async { Api::new(posthorn.admin().address()).get("/live").await.ok().filter(|_| start.elapsed() >= Duration::from_millis(3)) };
    eventually("the clock moves on", SOON, probe).await.map(drop)
}
