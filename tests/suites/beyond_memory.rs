//! More deliveries of one subscription wait for another attempt than memory holds (1,024): those that are due go out, none is forgotten,
//! and what the subscription becomes meanwhile holds of them too.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use posthorn_tests::{Behaviour, Config, Posthorn, Receiver, eventually};
use serde_json::{Value, json};

use crate::kit::{SOON, event, in_force, publish, subscribe, topic};

const EVENTS: usize = 2500;
/// Late enough that all wait at once, before the first is tried again.
const LATER: &str = "8s";

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_long_keeps_nothing_back_that_is_due() -> Result<()> {
    let mut world = World::start(json!({}), json!({"schedule": [LATER, "1h", "1h"], "jitter": 0})).await?;
    world.fill().await?;
    let due = || async { (world.attempts().values().filter(|made| **made == 2).count() == EVENTS).then_some(()) };
    let seconds = eventually("all are tried again", SOON, due).await;
    let attempts = world.attempts();
    let behind = attempts.values().filter(|made| **made < 2).count();
    seconds.map_err(|error| error.context(format!("{behind} of {} were tried once only", attempts.len())))?;
    world.waits(EVENTS).await?;
    world.posthorn.kill9();
    world.posthorn.restart().await?;
    world.waits(EVENTS).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_written_yet_is_not_forgotten() -> Result<()> {
    let config = json!({"delivery": {"checkpoint_interval": "60s"}});
    let world = World::start(config, json!({"schedule": [LATER, "1s", "1s", "1s", "1s", "1s"], "jitter": 0})).await?;
    world.fill().await?;
    world.receiver.on("/hook", Behaviour::Ok);
    let all = || async {
        let delivered = metric_of(&world.posthorn, "posthorn_attempts_total", "delivered").await.ok()?;
        (delivered >= EVENTS).then_some(())
    };
    let done = eventually("all are delivered", SOON, all).await;
    let delivered = metric_of(&world.posthorn, "posthorn_attempts_total", "delivered").await?;
    done.map_err(|error| error.context(format!("{delivered} were")))?;
    world.waits(0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_without_a_key_does_not_hold_up_a_subscription_that_is_ordered_now() -> Result<()> {
    let mut world = World::start(json!({}), json!({"schedule": ["1h", "1h"], "jitter": 0})).await?;
    world.fill().await?;
    world.change(json!({"qos": {"ordering": "key"}})).await?;
    publish(&world.posthorn, "many", "new").await?;
    world.receiver.wait_for_unique("/hook", EVENTS as u64 + 1, SOON).await?;
    // Nor after a restart, when only the store knows what has a key.
    world.posthorn.kill9();
    world.posthorn.restart().await?;
    publish(&world.posthorn, "many", "newer").await?;
    world.receiver.wait_for_unique("/hook", EVENTS as u64 + 2, SOON).await?;
    world.waits(EVENTS + 2).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_is_told_how_many_wait_and_a_seek_passes_over_all_of_them() -> Result<()> {
    let mut world = World::start(json!({}), json!({"schedule": ["1h", "1h"], "jitter": 0})).await?;
    world.fill().await?;
    world.change(json!({"mode": "pull"})).await?;
    world.reader_lags(EVENTS).await?;
    let page = world.seek("latest").await?;
    ensure!(page["events"] == json!([]), "{:.300}", page.to_string());
    world.reader_lags(0).await?;
    world.waits(0).await?;
    world.posthorn.kill9();
    world.posthorn.restart().await?;
    world.waits(0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seek_back_has_each_event_in_the_stream_once() -> Result<()> {
    let mut world = World::start(json!({}), json!({"schedule": ["1h", "1h"], "jitter": 0})).await?;
    world.fill().await?;
    world.change(json!({"mode": "pull"})).await?;
    let mut page = world.seek("earliest").await?;
    let mut seen = Vec::new();
    while page["events"] != json!([]) {
        seen.extend(page["events"].as_array().into_iter().flatten().map(|entry| entry["event"]["id"].to_string()));
        page = world.seek(page["cursor"].as_str().unwrap_or_default()).await?;
    }
    let unique: BTreeSet<_> = seen.iter().collect();
    ensure!(
        unique.len() == EVENTS && seen.len() == EVENTS,
        "{} given of {EVENTS}, {} of them again",
        seen.len(),
        seen.len() - unique.len()
    );
    Ok(())
}

/// A subscription whose endpoint answers 400, which is the event's fault: no breaker opens, and every event is tried.
struct World {
    receiver: Receiver,
    posthorn: Posthorn,
    id: String,
}

impl World {
    async fn start(config: Value, retry: Value) -> Result<Self> {
        // Here retries are to fail as fast as they can.
        let config = Config::with(config).set("delivery.retry_budget.per_second", json!(100_000.0));
        let (receiver, posthorn) = (Receiver::start().await?, Posthorn::start(config).await?);
        receiver.on("/hook", Behaviour::Status(400));
        topic(&posthorn, "many", json!({"durability": "log"})).await?;
        let id = subscribe(&posthorn, "many", &receiver.url("/hook"), json!({"retry": retry, "limits": {"in_flight": 64}})).await?;
        Ok(Self { receiver, posthorn, id })
    }

    /// Has all events tried once.
    async fn fill(&self) -> Result<()> {
        let all: Vec<Value> = (0..EVENTS).map(|number| event("many", &format!("e{number}"))).collect();
        for some in all.chunks(500) {
            self.posthorn.data().publish_batch(some).await?.expect(202)?;
        }
        self.receiver.wait_for_unique("/hook", EVENTS as u64, SOON).await?;
        Ok(())
    }

    /// Attempts by event.
    fn attempts(&self) -> BTreeMap<String, u32> {
        let mut made = BTreeMap::new();
        for request in self.receiver.received("/hook") {
            *made.entry(request.id().to_owned()).or_default() += 1;
        }
        made
    }

    /// Waits until so many wait, and no more.
    async fn waits(&self, count: usize) -> Result<()> {
        let path = format!("/v1/subscriptions/{}", self.id);
        let state = || async { Some(self.posthorn.control().get(&path).await.ok()?.json().ok()?["state"].clone()) };
        let wanted = || async { state().await.filter(|state| state["waiting"] == count && state["in_flight"] == 0).map(drop) };
        let waited = eventually("as many wait as should", SOON, wanted).await;
        let now = state().await;
        waited.map_err(|error| error.context(format!("{count} should wait: {now:?}")))
    }

    /// Puts the reader there; gives the next page from there on.
    async fn seek(&self, cursor: &str) -> Result<Value> {
        let (path, data) = (format!("/v1/readers/{}", self.id), self.posthorn.data());
        let place = format!("{path}/cursor");
        let body = json!({"cursor": cursor});
        // Requests of the endpoint may still be under way.
        let moved = || async { (data.post(&place, &body).await.ok()?.status == 200).then_some(()) };
        eventually("the reader is moved", SOON, moved).await?;
        data.get(&format!("{path}/events?limit=1000&wait=1s")).await?.expect(200)
    }

    /// Waits until its reader is told that so many are before it.
    async fn reader_lags(&self, count: usize) -> Result<()> {
        let path = format!("/v1/readers/{}", self.id);
        let lag = || async { Some(self.posthorn.data().get(&path).await.ok()?.json().ok()?["lag"].clone()) };
        let told = eventually("it is told", SOON, || async { lag().await.filter(|lag| *lag == count).map(drop) }).await;
        let now = lag().await;
        told.map_err(|error| error.context(format!("{count} should be before it: {now:?}")))
    }

    async fn change(&mut self, members: Value) -> Result<()> {
        let path = format!("/v1/subscriptions/{}", self.id);
        let mut spec = self.posthorn.control().get(&path).await?.expect(200)?;
        for (name, value) in members.as_object().into_iter().flatten() {
            spec[name] = value.clone();
        }
        in_force(&self.posthorn, &self.posthorn.control().put(&path, &spec).await?.expect(200)?).await
    }
}

/// A counter of this outcome.
async fn metric_of(posthorn: &Posthorn, name: &str, outcome: &str) -> Result<usize> {
    let text = posthorn.admin().get("/metrics").await?.text();
    let line = text.lines().find(|line| line.starts_with(name) && line.contains(outcome));
    Ok(line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0))
}
