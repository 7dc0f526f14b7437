//! Sends events: as fast as the answers come (closed loop, for ceilings), or on a schedule whatever the answers do (open loop,
//! latency counted from the scheduled moment, so that a server that stalls cannot hide it).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::dial::{Protocol, Server};
use crate::events::Events;
use crate::latency::Latency;
use crate::schedule::Schedule;
use crate::wall;

/// Requests that share an HTTP/2 connection.
const STREAMS: usize = 16;
/// An event that leaves so long after it was due is late.
pub const LATE: Duration = Duration::from_millis(100);

/// What to send and through how many connections.
#[derive(Debug, Clone)]
pub struct Load {
    /// The events.
    pub events: Arc<Events>,
    /// Where they go.
    pub server: Arc<Server>,
    /// Connections; in the open loop also the most requests under way at once on HTTP/1.1.
    pub connections: usize,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Sent {
    /// Events that were answered with success.
    pub accepted: u64,
    /// Events that were refused or got no answer.
    pub failed: u64,
    /// Events that were to be sent and were not, because time was up.
    pub unsent: u64,
    /// Events that were sent [`LATE`] or more after they were due, because all connections were busy (open loop).
    pub late: u64,
    /// Events by the status of their answer; 0 is no answer.
    pub statuses: BTreeMap<u16, u64>,
    /// What went wrong first, if a request got no answer.
    pub error: Option<String>,
    /// When the first was sent, in microseconds since 1970.
    pub began: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// From when a request was due (closed loop: sent) to the end of its answer.
    pub latency: Latency,
}

/// Sends `count` events, each connection waiting for its answer; stops early after `length`.
///
/// # Errors
/// When a request cannot be made at all.
pub async fn closed(load: &Load, count: u64, length: Duration) -> Result<Sent> {
    let next = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let batch = load.events.batch();
    let mut sent = run(load, began, move |_| {
        let next = Arc::clone(&next);
        async move {
            let first = next.fetch_add(batch, Ordering::Relaxed);
            (first < count && began.elapsed() < length).then(|| Due { first, events: batch.min(count - first), at: None })
        }
    })
    .await?;
    sent.unsent = count.saturating_sub(sent.accepted + sent.failed);
    Ok(sent)
}

/// Sends a request (one event, or one batch) for each arrival of the schedule. Above what the server can do, arrivals wait for a
/// connection, and what waits grows: after `length` nothing is sent any more, and the rest is counted.
///
/// # Errors
/// When a request cannot be made at all.
pub async fn open(load: &Load, schedule: Schedule, length: Duration) -> Result<Sent> {
    let all = schedule.count() * load.events.batch();
    let schedule = Arc::new(schedule);
    let arrived = Arc::new(Semaphore::new(0));
    let next = Arc::new(AtomicU64::new(0));
    let (began, wall_began, batch) = (Instant::now(), wall::micros(), load.events.batch());
    let workers = workers(load);
    let pacer = {
        let (schedule, arrived) = (Arc::clone(&schedule), Arc::clone(&arrived));
        // The runtime's timer counts in milliseconds; a thread of its own sleeps to some tens of microseconds.
        tokio::task::spawn_blocking(move || pace(&schedule, &arrived, began, length, workers))
    };
    let mut sent = run(load, began, move |_| {
        let (schedule, arrived, next) = (Arc::clone(&schedule), Arc::clone(&arrived), Arc::clone(&next));
        async move {
            arrived.acquire().await.ok()?.forget();
            if began.elapsed() >= length {
                return None;
            }
            let number = next.fetch_add(1, Ordering::Relaxed);
            let due = (number < schedule.count()).then(|| schedule.due(number))?;
            Some(Due { first: number * batch, events: batch, at: Some((began + due, wall_began + due.as_micros() as u64)) })
        }
    })
    .await?;
    pacer.await.context("the pacer")?;
    sent.unsent = all.saturating_sub(sent.accepted + sent.failed);
    Ok(sent)
}

/// A request that is due: its events, and in the open loop when it was.
struct Due {
    first: u64,
    events: u64,
    at: Option<(Instant, u64)>,
}

async fn run<N, F>(load: &Load, began: Instant, next: N) -> Result<Sent>
where
    N: Fn(usize) -> F + Clone + Send + 'static,
    F: Future<Output = Option<Due>> + Send,
{
    let wall_began = wall::micros();
    let shared: Vec<Connection> = (0..load.connections.max(1)).map(|_| Connection::new(Arc::clone(&load.server))).collect();
    let mut tasks = JoinSet::new();
    for worker in 0..workers(load) {
        let (connection, events, next) = (shared[worker % shared.len()].clone(), Arc::clone(&load.events), next.clone());
        tasks.spawn(async move {
            let mut sent = Sent::default();
            while let Some(due) = next(worker).await {
                sent.one(&connection, &events, &due).await?;
            }
            anyhow::Ok(sent)
        });
    }
    let mut total = Sent { began: wall_began, ..Sent::default() };
    while let Some(done) = tasks.join_next().await {
        total.add(done??);
    }
    total.elapsed = began.elapsed();
    Ok(total)
}

fn workers(load: &Load) -> usize {
    load.connections.max(1) * if load.server.protocol == Protocol::H2 { STREAMS } else { 1 }
}

/// Lets arrivals go when they are due, and at the end every worker.
fn pace(schedule: &Schedule, arrived: &Semaphore, began: Instant, length: Duration, workers: usize) {
    let mut gone = 0;
    while gone < schedule.count() && began.elapsed() < length {
        let due = schedule.due_by(began.elapsed());
        arrived.add_permits((due - gone) as usize);
        gone = due;
        if gone < schedule.count() {
            std::thread::sleep(schedule.due(gone).min(length).saturating_sub(began.elapsed()));
        }
    }
    arrived.add_permits(workers);
}

impl Sent {
    async fn one(&mut self, connection: &Connection, events: &Events, due: &Due) -> Result<()> {
        let (at, wall) = due.at.unwrap_or_else(|| (Instant::now(), wall::micros()));
        if due.at.is_some() && at.elapsed() >= LATE {
            self.late += due.events;
        }
        let request = events.request(due.first, due.events, wall)?;
        let status = match connection.send(request).await {
            Ok(status) => status.as_u16(),
            Err(error) => {
                self.error.get_or_insert_with(|| format!("{error:#}"));
                0
            }
        };
        if (200..300).contains(&status) {
            self.accepted += due.events
        } else {
            self.failed += due.events
        }
        *self.statuses.entry(status).or_default() += due.events;
        self.latency.record_time(at.elapsed());
        Ok(())
    }

    fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.failed += other.failed;
        self.late += other.late;
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.error = self.error.take().or(other.error);
        self.latency.add(&other.latency);
    }
}
