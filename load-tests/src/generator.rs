//! Makes events and sends them: as fast as the answers come (closed loop), or at a rate whatever the answers do (open loop).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{Request, header};
use http_body_util::Full;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::client::{Client, accepted};

/// The most requests under way at one time in the open loop; a full house makes the loop late, which the latency shows.
const MOST_IN_FLIGHT: usize = 2_000;
const TICK: Duration = Duration::from_millis(1);
const HIGHEST_MICROS: u64 = 60_000_000;

/// Which events to send, and where.
#[derive(Debug, Clone)]
pub struct Events {
    /// The server.
    pub address: SocketAddr,
    /// The path of the request.
    pub path: String,
    /// Makes ids differ between runs.
    pub run: String,
    /// `ce-schemas`, when the events name one.
    pub schemas: Option<String>,
    /// Events in a request: 1 is binary mode, more is a CloudEvents batch.
    pub batch: u64,
}

/// What came of it.
#[derive(Debug)]
pub struct Sent {
    /// Events that were answered with success.
    pub accepted: u64,
    /// Events that were refused or got no answer.
    pub failed: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// Latency in microseconds; in the open loop from when the request was due.
    pub latency: Histogram<u64>,
}

/// Sends `count` events over this many connections, each waiting for its answer; stops early at the deadline.
///
/// # Errors
/// When a request cannot be made at all.
pub async fn closed(events: &Events, connections: usize, count: u64, deadline: Duration) -> Result<Sent> {
    let client = Arc::new(Client::new(events.address));
    let next = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        let (client, next, events) = (Arc::clone(&client), Arc::clone(&next), events.clone());
        workers.spawn(async move {
            let mut sent = Sent::new()?;
            while began.elapsed() < deadline {
                let number = next.fetch_add(events.batch, Ordering::Relaxed);
                if number >= count {
                    break;
                }
                let request = events.request(number, (count - number).min(events.batch))?;
                sent.one(&client, request, (count - number).min(events.batch), Instant::now()).await;
            }
            anyhow::Ok(sent)
        });
    }
    gather(workers, began).await
}

/// Sends events at `rate` a second for `length`.
///
/// # Errors
/// When a request cannot be made at all.
pub async fn open(events: &Events, rate: u32, length: Duration) -> Result<Sent> {
    let client = Arc::new(Client::new(events.address));
    let room = Arc::new(Semaphore::new(MOST_IN_FLIGHT));
    let began = Instant::now();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut workers = JoinSet::new();
    let mut total = Sent::new()?;
    let mut number: u64 = 0;
    while began.elapsed() < length {
        ticks.tick().await;
        let due = (began.elapsed().as_secs_f64() * f64::from(rate)) as u64;
        while number < due {
            let at = began + Duration::from_secs_f64(number as f64 / f64::from(rate));
            let permit = Arc::clone(&room).acquire_owned().await.context("never closed")?;
            let request = events.request(number, 1)?;
            let client = Arc::clone(&client);
            workers.spawn(async move {
                let mut sent = Sent::new()?;
                sent.one(&client, request, 1, at).await;
                drop(permit);
                anyhow::Ok(sent)
            });
            number += 1;
        }
        while let Some(done) = workers.try_join_next() {
            total.add(&done??)?;
        }
    }
    total.add(&gather(workers, began).await?)?;
    total.elapsed = began.elapsed();
    Ok(total)
}

async fn gather(mut workers: JoinSet<Result<Sent>>, began: Instant) -> Result<Sent> {
    let mut total = Sent::new()?;
    while let Some(done) = workers.join_next().await {
        total.add(&done??)?;
    }
    total.elapsed = began.elapsed();
    Ok(total)
}

impl Sent {
    fn new() -> Result<Self> {
        let latency = Histogram::new_with_bounds(1, HIGHEST_MICROS, 2).context("a histogram")?;
        Ok(Self { accepted: 0, failed: 0, elapsed: Duration::ZERO, latency })
    }

    async fn one(&mut self, client: &Client, request: Request<Full<Bytes>>, events: u64, due: Instant) {
        let answer = client.send(request).await;
        match answer {
            Ok(answer) if accepted(answer.status()) => self.accepted += events,
            _ => self.failed += events,
        }
        self.latency.saturating_record(u64::try_from(due.elapsed().as_micros()).unwrap_or(HIGHEST_MICROS));
    }

    fn add(&mut self, other: &Self) -> Result<()> {
        self.accepted += other.accepted;
        self.failed += other.failed;
        self.latency.add(&other.latency).context("adding histograms")
    }
}

impl Events {
    fn request(&self, number: u64, events: u64) -> Result<Request<Full<Bytes>>> {
        let request = Request::post(&self.path).header(header::HOST, self.address.to_string());
        if self.batch > 1 {
            let events: Vec<String> = (number..number + events).map(|n| self.structured(n)).collect();
            let body = format!("[{}]", events.join(","));
            return Ok(request.header(header::CONTENT_TYPE, "application/cloudevents-batch+json").body(Full::from(body))?);
        }
        let mut request = request
            .header(header::CONTENT_TYPE, "application/json")
            .header("ce-specversion", "1.0")
            .header("ce-id", format!("{}-{number}", self.run))
            .header("ce-source", "/load")
            .header("ce-type", "order.created");
        if let Some(schemas) = &self.schemas {
            request = request.header("ce-schemas", schemas);
        }
        Ok(request.body(Full::new(Bytes::from_static(ORDER.as_bytes())))?)
    }

    fn structured(&self, number: u64) -> String {
        let schemas = self.schemas.as_ref().map(|s| format!("\"schemas\":\"{s}\",")).unwrap_or_default();
        format!(
            "{{\"specversion\":\"1.0\",\"id\":\"{}-{number}\",\"source\":\"/load\",\"type\":\"order.created\",{schemas}\"data\":{ORDER}}}",
            self.run
        )
    }
}

/// An order of about 1 KB that satisfies [`ORDER_SCHEMA`].
pub const ORDER: &str = include_str!("order.json");
/// The schema of the order.
pub const ORDER_SCHEMA: &str = include_str!("order.schema.json");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_about_a_kilobyte_of_json() {
        let order: serde_json::Value = serde_json::from_str(ORDER).unwrap();
        assert_eq!(order["currency"], "EUR");
        assert!((900..1_200).contains(&ORDER.len()), "{}", ORDER.len());
        serde_json::from_str::<serde_json::Value>(ORDER_SCHEMA).unwrap();
    }

    #[test]
    fn a_batch_is_an_array_of_events() {
        let address = "127.0.0.1:1".parse().unwrap();
        let events = Events { address, path: "/".into(), run: "r".into(), schemas: Some("order:1".into()), batch: 3 };
        let event: serde_json::Value = serde_json::from_str(&events.structured(7)).unwrap();
        assert_eq!((event["id"].as_str(), event["schemas"].as_str()), (Some("r-7"), Some("order:1")));
        assert!(events.request(0, 3).is_ok());
    }
}
