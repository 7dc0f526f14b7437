//! The clients that go on through all lives: publishers, the reader of the pulled subscription, and who reads the counters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use parking_lot::Mutex;
use posthorn_tests::Api;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::kinds::{event, number};
use super::ledger::{Ledger, Mark};

/// How long a client waits before it tries again what was not answered, and between two looks at the metrics.
const LOOK_AGAIN: Duration = Duration::from_millis(8);

/// What publishers share.
#[derive(Debug)]
pub(crate) struct Desk {
    /// Events that may be published now.
    pub(crate) room: Semaphore,
    pub(crate) next: AtomicU64,
    pub(crate) answered: AtomicU64,
    pub(crate) places: Mutex<BTreeMap<u64, (u64, u64)>>,
    /// Given up without an answer.
    pub(crate) unknown: Mutex<BTreeSet<u64>>,
    pub(crate) stop: AtomicBool,
}

impl Default for Desk {
    fn default() -> Self {
        let (places, unknown) = Default::default();
        Self { room: Semaphore::new(0), next: 0.into(), answered: 0.into(), places, unknown, stop: false.into() }
    }
}

/// Publishes what there is room for; sends again what was not answered, unless it is one that gives up.
pub(crate) async fn publish(api: Api, desk: Arc<Desk>, again: bool) -> Result<()> {
    while let Ok(room) = desk.room.acquire().await {
        room.forget();
        let number = desk.next.fetch_add(1, Ordering::SeqCst);
        loop {
            if let Some(place) = try_to(&api, number).await? {
                desk.places.lock().insert(number, place);
                desk.answered.fetch_add(1, Ordering::SeqCst);
                break;
            }
            // Also before the next event: while nobody answers, not all of a round is to be spent.
            tokio::time::sleep(LOOK_AGAIN).await;
            if !again {
                desk.unknown.lock().insert(number);
                break;
            }
        }
    }
    Ok(())
}

/// Partition and offset; `None` when there was no answer.
async fn try_to(api: &Api, number: u64) -> Result<Option<(u64, u64)>> {
    let Ok(reply) = api.publish(&event(number)).await else { return Ok(None) };
    match reply.status.as_u16() {
        200 | 202 => {
            let answer = reply.json()?;
            Ok(Some((answer["partition"].as_u64().context("a partition")?, answer["offset"].as_u64().context("an offset")?)))
        }
        503 => Ok(None),
        _ => bail!("event {number}: {} {}", reply.status, reply.text()),
    }
}

/// Reads and commits through all lives.
pub(crate) async fn pull(api: Api, subscription: String, ledger: Arc<Ledger>, desk: Arc<Desk>) -> Result<()> {
    let reader = format!("/v1/readers/{subscription}");
    loop {
        let (life, arrived) = (ledger.life(), ledger.tick());
        let page = api.get(&format!("{reader}/events?limit=10&wait=100ms")).await;
        let Some(page) = page.ok().filter(|reply| reply.status == 200) else {
            tokio::time::sleep(LOOK_AGAIN).await;
            continue;
        };
        let page = page.json()?;
        let items = page["events"].as_array().context("events")?;
        let events: Vec<u64> = items.iter().filter_map(|item| item["event"]["id"].as_str().and_then(number)).collect();
        if events.is_empty() && desk.stop.load(Ordering::SeqCst) {
            return Ok(());
        }
        let commit = api.post(&format!("{reader}/cursor"), &json!({"cursor": page["cursor"]})).await;
        ledger.pulled("pulled", &events, life, arrived, commit.is_ok_and(|reply| reply.status == 200));
    }
}

/// Reads the counters through all lives.
pub(crate) async fn watch(admin: Api, ledger: Arc<Ledger>, desk: Arc<Desk>) -> Result<()> {
    let mut ticks = tokio::time::interval(LOOK_AGAIN);
    while !desk.stop.load(Ordering::SeqCst) {
        read(&admin, &ledger).await;
        ticks.tick().await;
    }
    Ok(())
}

/// Notes what the counters say now; false when nobody answers, or another life than was asked.
pub(crate) async fn read(admin: &Api, ledger: &Ledger) -> bool {
    let (life, tick) = (ledger.life(), ledger.tick());
    let text = admin.get("/metrics").await.map(|reply| reply.text()).unwrap_or_default();
    let count = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.rsplit(' ').next()?.parse().ok());
    let counts = count("posthorn_checkpoints_total ").zip(count("posthorn_redelivered_total{"));
    // Of two lives at once nothing can be said.
    let Some((checkpoints, redelivered)) = counts.filter(|_| ledger.life() == life) else { return false };
    ledger.mark(Mark { life, tick, until: ledger.tick(), at: Instant::now(), checkpoints, redelivered });
    true
}
