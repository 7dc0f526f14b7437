//! Publishers that send until they are answered.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::client::Client;
use crate::mark::Mark;
use crate::wall;

const PUBLISHERS: u64 = 4;
const BATCH: u64 = 20;
const BURST_BATCH: u64 = 50;
const KEYS: u64 = 200;
const AGAIN: Duration = Duration::from_millis(50);
/// Much longer than a restart takes.
const ANSWERED_WITHIN: Duration = Duration::from_secs(120);

/// Publishers on a schedule.
#[derive(Debug)]
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    places: Arc<Places>,
    publishers: JoinSet<Result<()>>,
}

/// Where events stand in the log, by their numbers, as their publishers were told: the partition above 48 bits of the offset.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<Vec<u64>>);

const OFFSET_BITS: u32 = 48;

impl Places {
    pub(super) fn note(&self, number: u64, (partition, offset): (u16, u64)) {
        let (mut places, number) = (self.lock(), number as usize);
        if number >= places.len() {
            places.resize(number + 1, u64::MAX);
        }
        places[number] = u64::from(partition) << OFFSET_BITS | offset;
    }

    /// Partition and offset of each event.
    pub(super) fn all(&self) -> Vec<(u16, u64)> {
        self.lock().iter().map(|place| ((place >> OFFSET_BITS) as u16, place & ((1 << OFFSET_BITS) - 1))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer to a batch of which all was kept.
#[derive(Deserialize)]
struct Kept {
    results: Vec<Place>,
}

#[derive(Deserialize)]
struct Place {
    partition: u16,
    offset: u64,
}

impl Load {
    /// Starts them, at so many events a second.
    pub(super) fn start(data: SocketAddr, rate: f64, run: u32) -> Self {
        let (stop, sent, places) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(Places::default()));
        let mut publishers = JoinSet::new();
        for _ in 0..PUBLISHERS {
            let (stop, sent, places) = (Arc::clone(&stop), Arc::clone(&sent), Arc::clone(&places));
            let mut ticks = interval(Duration::from_secs_f64((BATCH * PUBLISHERS) as f64 / rate.max(1.0)));
            // After an outage they go on at their pace: the rate is what is judged at, not what is caught up with.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            publishers.spawn(async move {
                let client = Client::new(data);
                while !stop.load(Ordering::SeqCst) {
                    ticks.tick().await;
                    publish(&client, run, sent.fetch_add(BATCH, Ordering::SeqCst), BATCH, &places).await?;
                }
                Ok(())
            });
        }
        Self { stop, sent, places, publishers }
    }

    /// Stops them; gives how many events were sent, all of them answered, and where they stand in the log.
    pub(super) async fn stop(mut self) -> Result<(u64, Arc<Places>)> {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(done) = self.publishers.join_next().await {
            done??;
        }
        Ok((self.sent.load(Ordering::SeqCst), self.places))
    }
}

/// As fast as it is answered; gives how many events were sent.
pub(super) async fn burst(data: SocketAddr, length: Duration, run: u32) -> Result<u64> {
    let (sent, end) = (Arc::new(AtomicU64::new(0)), Instant::now() + length);
    let mut publishers = JoinSet::new();
    for _ in 0..PUBLISHERS {
        let sent = Arc::clone(&sent);
        publishers.spawn(async move {
            let client = Client::new(data);
            while Instant::now() < end {
                publish(&client, run, sent.fetch_add(BURST_BATCH, Ordering::SeqCst), BURST_BATCH, &Places::default()).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = publishers.join_next().await {
        done??;
    }
    Ok(sent.load(Ordering::SeqCst))
}

/// The same batch until all of it is kept; notes where.
async fn publish(client: &Client, run: u32, first: u64, count: u64, places: &Places) -> Result<()> {
    let due = wall::micros();
    let events: Vec<Value> = (first..first + count).map(|number| event(Mark { run, number, due })).collect();
    let body = Bytes::from(Value::from(events).to_string());
    let began = Instant::now();
    loop {
        let request = Request::post("/v1/topics/soak/events")
            .header("host", "soak")
            .header("content-type", "application/cloudevents-batch+json")
            .body(Full::from(body.clone()))?;
        match client.send(request).await {
            Ok(answer) if answer.status() == 202 => {
                let kept: Kept = serde_json::from_slice(answer.body()).context("where the events of a batch stand")?;
                ensure!(kept.results.len() as u64 == count, "{} answers to {count} events", kept.results.len());
                kept.results.iter().zip(first..).for_each(|(place, number)| places.note(number, (place.partition, place.offset)));
                return Ok(());
            }
            Ok(answer) if matches!(answer.status().as_u16(), 207 | 429 | 503) && began.elapsed() < ANSWERED_WITHIN => {}
            Ok(answer) => bail!("{}: {:.500}", answer.status(), String::from_utf8_lossy(answer.body())),
            Err(error) if began.elapsed() >= ANSWERED_WITHIN => return Err(error.context("no answer any more")),
            Err(_) => {}
        }
        sleep(AGAIN).await;
    }
}

fn event(mark: Mark) -> Value {
    json!({
        "specversion": "1.0", "id": mark.to_string(), "source": "/soak", "type": "soak.went", "partitionkey": format!("k{}", mark.number % KEYS),
        "datacontenttype": "application/json", "data": {"n": mark.number, "pad": "p".repeat(700)},
    })
}
