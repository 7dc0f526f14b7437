//! The reader of the pulled subscription: it reads and commits through all lives, and keeps what it had in which order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::load::Places;
use crate::client::Client;
use crate::mark::Mark;

const AGAIN: Duration = Duration::from_millis(50);
/// Much longer than a restart takes, or the disk is full.
const ANSWERED_WITHIN: Duration = Duration::from_secs(120);
/// Faults that are told of one kind.
const SHOWN: usize = 5;

/// Reads until it is stopped.
#[derive(Debug)]
pub(super) struct Pull {
    stop: Arc<AtomicBool>,
    had: Arc<AtomicU64>,
    task: JoinHandle<Result<Had>>,
}

/// What it had, by the numbers of the events.
#[derive(Debug, Default)]
pub(super) struct Had {
    /// The place of the first reading of an event among all readings, from 1; 0 is none.
    first: Vec<u64>,
    /// Its commit was answered: it must not come again.
    committed: Vec<bool>,
    readings: u64,
    /// Events that were read.
    pub(super) events: u64,
    /// Readings beyond the first of an event.
    pub(super) repeated: u64,
    /// Commits that were not answered with success, which is why events come again.
    pub(super) unanswered: u64,
    /// What must not be.
    pub(super) wrong: Vec<String>,
}

#[derive(Deserialize)]
struct Page {
    events: Vec<Entry>,
    cursor: String,
}

#[derive(Deserialize)]
struct Entry {
    /// None in the entry of a gap.
    event: Option<Head>,
}

#[derive(Deserialize)]
struct Head {
    id: String,
}

impl Pull {
    /// Reads what is due to this subscription.
    pub(super) fn start(data: SocketAddr, subscription: &str) -> Self {
        let (stop, had) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let task = tokio::spawn(read(Client::new(data), format!("/v1/readers/{subscription}"), Arc::clone(&stop), Arc::clone(&had)));
        Self { stop, had, task }
    }

    /// Waits for so many events, not for ever, and ends.
    pub(super) async fn stop(self, sent: u64, within: Duration) -> Result<Had> {
        let began = Instant::now();
        while self.had.load(Ordering::SeqCst) < sent && began.elapsed() < within && !self.task.is_finished() {
            sleep(AGAIN).await;
        }
        self.stop.store(true, Ordering::SeqCst);
        self.task.await?
    }
}

async fn read(client: Client, reader: String, stop: Arc<AtomicBool>, count: Arc<AtomicU64>) -> Result<Had> {
    let (mut had, mut answered) = (Had::default(), Instant::now());
    while !stop.load(Ordering::SeqCst) {
        let Some(page) = ask(&client, Request::get(format!("{reader}/events?limit=1000&wait=1s")), Bytes::new()).await? else {
            ensure!(answered.elapsed() < ANSWERED_WITHIN, "the reader is not answered any more");
            sleep(AGAIN).await;
            continue;
        };
        answered = Instant::now();
        let page: Page = serde_json::from_slice(&page).context("a page")?;
        let numbers = page.numbers()?;
        numbers.iter().for_each(|number| had.note(*number));
        count.store(had.events, Ordering::SeqCst);
        if numbers.is_empty() {
            continue;
        }
        let cursor = Bytes::from(json!({"cursor": page.cursor}).to_string());
        match ask(&client, Request::post(format!("{reader}/cursor")), cursor).await? {
            Some(_) => numbers.iter().for_each(|number| had.committed[*number] = true),
            None => had.unanswered += 1,
        }
    }
    Ok(had)
}

/// None when there is no answer, or one that says to come back.
async fn ask(client: &Client, request: http::request::Builder, body: Bytes) -> Result<Option<Bytes>> {
    let request = request.header("host", "soak").header("content-type", "application/json").body(Full::from(body))?;
    let path = request.uri().clone();
    let Ok(answer) = client.send(request).await else { return Ok(None) };
    match answer.status().as_u16() {
        200 => Ok(Some(answer.into_body())),
        429 | 503 => Ok(None),
        status => bail!("{path}: {status}: {:.500}", String::from_utf8_lossy(answer.body())),
    }
}

impl Page {
    fn numbers(&self) -> Result<Vec<usize>> {
        let number = |entry: &Entry| {
            let id = &entry.event.as_ref().context("a gap in the log")?.id;
            let mark = Mark::parse(id.as_bytes()).with_context(|| format!("a foreign event: {id}"))?;
            Ok(usize::try_from(mark.number)?)
        };
        self.events.iter().map(number).collect()
    }
}

impl Had {
    fn note(&mut self, number: usize) {
        if number >= self.first.len() {
            self.first.resize(number + 1, 0);
            self.committed.resize(number + 1, false);
        }
        self.readings += 1;
        if self.first[number] == 0 {
            self.first[number] = self.readings;
            self.events += 1;
            return;
        }
        self.repeated += 1;
        if self.committed[number] && self.wrong.len() < SHOWN {
            self.wrong.push(format!("pulled: event {number} came again after its commit was answered"));
        }
    }

    /// Holds it against where the events stand in the log: all of them, each partition in its order.
    pub(super) fn check(&mut self, sent: u64, places: &Places) {
        if self.events != sent {
            self.wrong.push(format!("pulled: {} of {sent} events were read", self.events));
        }
        let mut log: Vec<((u16, u64), usize)> = places.all().into_iter().zip(0..).collect();
        log.sort_unstable();
        let first = |number: usize| self.first.get(number).copied().unwrap_or_default();
        let before =
            |pair: &&[((u16, u64), usize)]| pair[0].0.0 == pair[1].0.0 && (pair[0].0 == pair[1].0 || first(pair[0].1) >= first(pair[1].1));
        let wrong = log.windows(2).filter(before).take(SHOWN).map(|pair| format!("pulled: out of order, or twice at one place: {pair:?}"));
        let wrong: Vec<String> = wrong.collect();
        self.wrong.extend(wrong);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn had(numbers: &[usize]) -> Had {
        let mut had = Had::default();
        numbers.iter().for_each(|number| had.note(*number));
        had
    }

    /// Events 0 and 2 in one partition, event 1 in another.
    fn places() -> Places {
        let places = Places::default();
        [(0, 4), (1, 0), (0, 5)].into_iter().zip(0..).for_each(|(place, number)| places.note(number, place));
        places
    }

    #[test]
    fn what_is_missing_and_what_is_out_of_order_is_found() {
        for (numbers, fits) in
            [(&[1, 0, 2][..], true), (&[0, 2, 0, 2, 1], true), (&[2, 1, 0], false), (&[0, 1], false), (&[0, 1, 2, 3], false)]
        {
            let mut had = had(numbers);
            had.check(3, &places());
            assert_eq!(had.wrong.is_empty(), fits, "{numbers:?}: {:?}", had.wrong);
        }
    }

    #[test]
    fn what_was_committed_must_not_come_again() {
        let mut had = had(&[0, 1]);
        had.committed[0] = true;
        had.note(1);
        assert!(had.wrong.is_empty() && had.repeated == 1);
        had.note(0);
        assert!(had.wrong.len() == 1 && had.repeated == 2 && had.events == 2);
    }
}
