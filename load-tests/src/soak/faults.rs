//! What is done to the process, its endpoints and its publishers, at random, one thing after the other.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::node::{GROUPS, Node};
use crate::client::Client;
use crate::receiver::control;
use crate::rng::Rng;

/// Publishers that break off, at a time.
const BREAKING_OFF: usize = 20;
/// Much longer than it takes to find the disk full, or not full any more, and than it may be full.
const SEEN_WITHIN: Duration = Duration::from_secs(90);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Chooses and counts them.
#[derive(Debug)]
pub(super) struct Faults {
    dice: Rng,
    longest: Duration,
    counts: BTreeMap<&'static str, u64>,
}

/// How an endpoint may be unwell.
fn behaviours() -> [(&'static str, Value); 6] {
    [
        ("endpoint down (503)", json!({"status": 503})),
        ("endpoint resets", json!({"reset": 1})),
        ("endpoint hangs", json!({"hang": 1, "hang_for": "3s"})),
        ("endpoint slow (20 ms)", json!({"delay_ms": 20})),
        ("endpoint fails half of the time", json!({"flaky": 0.5, "flaky_status": 500})),
        ("endpoint answers 16 MiB", json!({"body": 16_777_216})),
    ]
}

impl Faults {
    /// None of them lasts longer than `longest`.
    pub(super) fn new(dice: Rng, longest: Duration) -> Self {
        Self { dice, longest, counts: BTreeMap::new() }
    }

    /// How often each came.
    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.clone()
    }

    /// One fault from its beginning to its end, and a while without one.
    pub(super) async fn next(&mut self, node: &mut Node, receiver: &Client, may_kill: bool) -> Result<()> {
        let length = self.longest.mul_f64(0.2 + 0.8 * self.dice.unit());
        match self.below(if may_kill { 13 } else { 10 }) {
            0 => {
                self.count("paused and resumed");
                node.pause("pause").await?;
                sleep(length).await;
                node.pause("resume").await?;
            }
            1 => {
                self.count("snapshot changed twice");
                node.change().await?;
            }
            2 => {
                self.count("publishers broke off");
                break_off(node).await;
            }
            3 => self.full_disk(node).await?,
            10 => {
                self.restart(node).await?;
            }
            11 | 12 => {
                self.count("kill -9");
                node.kill().await?;
            }
            _ => {
                let (name, behaviour) = behaviours()[self.below(6)].clone();
                self.count(name);
                let group = GROUPS[self.below(GROUPS.len())].name;
                control::behave(receiver, group, &behaviour).await?;
                sleep(length).await;
                control::behave(receiver, group, &json!({})).await?;
            }
        }
        sleep(self.longest.mul_f64(0.3 * self.dice.unit())).await;
        Ok(())
    }

    /// An end in good order, and the next start.
    pub(super) async fn restart(&mut self, node: &mut Node) -> Result<()> {
        self.count("restart in good order");
        node.restart().await
    }

    /// The disk is full until the process has said so and for a while longer; then it goes on by itself.
    pub(super) async fn full_disk(&mut self, node: &Node) -> Result<()> {
        let Ok(disk) = node.disk() else { return Ok(()) };
        self.count("disk full");
        let length = self.longest.mul_f64(0.2 + 0.8 * self.dice.unit());
        let (began, mut full_since) = (Instant::now(), None::<Instant>);
        while full_since.is_none_or(|since| since.elapsed() < length) {
            // Retention makes room; and when something is written meanwhile, the next time will do.
            drop(disk.fill());
            if full_since.is_none() && node.not_ready().await?.is_some_and(|why| why.contains("full")) {
                full_since = Some(Instant::now());
            }
            ensure!(began.elapsed() < SEEN_WITHIN, "the disk is full, and /ready does not say so");
            sleep(LOOK_AGAIN).await;
        }
        disk.free()?;
        let freed = Instant::now();
        while let Some(why) = node.not_ready().await? {
            ensure!(freed.elapsed() < SEEN_WITHIN, "the disk has room again, and yet: {why}");
            sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// Everything is well again.
    pub(super) async fn heal(&mut self, node: &mut Node, receiver: &Client) -> Result<()> {
        for group in GROUPS {
            control::behave(receiver, group.name, &json!({})).await?;
        }
        node.pause("resume").await
    }

    fn count(&mut self, name: &'static str) {
        *self.counts.entry(name).or_default() += 1;
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.dice.unit() * limit as f64) as usize
    }
}

/// Half of a request, and the end of the connection.
async fn break_off(node: &Node) {
    for number in 0..BREAKING_OFF {
        let Ok(mut socket) = TcpStream::connect(node.data()).await else { return };
        let head = "POST /v1/topics/soak/events HTTP/1.1\r\nhost: soak\r\ncontent-type: application/cloudevents+json\r\ncontent-length: 90000\r\n\r\n{";
        // What the other side makes of it is what is looked at.
        drop(socket.write_all(&head.as_bytes()[..head.len() - number % 2 * 40]).await);
    }
}
