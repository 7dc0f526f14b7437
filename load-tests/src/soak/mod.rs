//! The soak: load at half of what the machine can do, faults at random, and a look at what grows.
//!
//! ```text
//!  |– ceiling –|–– first third ––|–––––––––––– the rest ––––––––––––|– heal –|
//!               all faults,       all faults but kills and restarts:  one kill, then the account
//!               kills too;        one life, whose gauges are judged   of every event
//!               a good end
//! ```
//!
//! Publishers send again until they are answered, so every event is due at every subscription. The receiver counts each once; a reader
//! has those of the pulled subscription.

mod disk;
mod faults;
mod gauges;
mod lives;
mod load;
mod node;
mod pull;
mod report;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::{Instant, sleep};

use crate::child::Child;
use crate::client::Client;
use crate::receiver::control;
use crate::rng::Rng;

use faults::Faults;
use gauges::Gauges;
use load::Load;
use node::{GROUPS, Node};
use pull::Pull;
use report::Found;

pub use disk::in_own_namespace;
pub use report::Outcome;

/// The run's number in the marks of its events.
const RUN: u32 = 1;
/// And that of the events that find the ceiling.
const CEILING_RUN: u32 = 2;
const SHARE: f64 = 0.5;
const HEALED_WITHIN: Duration = Duration::from_secs(300);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long, without the ceiling before and the account after.
    pub length: Duration,
    /// Of the faults.
    pub seed: u64,
    /// Events a second; half of the ceiling, which is found first, when it is not given.
    pub rate: Option<f64>,
    /// This program.
    pub own: PathBuf,
    /// The program under test.
    pub posthorn: PathBuf,
    /// Where the page goes.
    pub out: Option<PathBuf>,
}

/// Runs it.
///
/// # Errors
/// When something does not start, or an event is refused for good. What was lost or has grown is in the outcome.
pub async fn run(options: &Options) -> Result<Outcome> {
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let receiver = Child::start(&options.own, &["receiver", "--hosts", "8"], &folder.path().join("receiver")).await?;
    let door = Arc::new(Client::new(receiver.doors.data));
    let ceiling = match options.rate {
        Some(_) => None,
        None => Some(ceiling(options, &door).await?),
    };
    let rate = options.rate.or(ceiling.map(|ceiling| ceiling * SHARE)).context("a rate")?;
    eprintln!("soak: {rate:.0} events a second for {} s, seed {}", options.length.as_secs(), options.seed);
    let mut node = Node::start(&options.posthorn, folder.path(), &door, rate, window(options.length)).await?;
    let pull = Pull::start(node.data(), node.pulled());
    let load = Load::start(node.data(), rate, RUN);
    let mut faults = Faults::new(Rng::new(options.seed), window(options.length) / 8);
    let began = Instant::now();
    while began.elapsed() < options.length / 3 {
        faults.next(&mut node, &door, true).await?;
    }
    // One life from here on. What came before was ended in good order, so nothing may come again in it.
    faults.restart(&mut node).await?;
    let mut gauges = Gauges::start(node.pid()?, node.admin()?, node.data_folder());
    faults.full_disk(&node).await?;
    while began.elapsed() < options.length {
        faults.next(&mut node, &door, false).await?;
        ensure!(node.runs(), "posthorn ended by itself: {}", node.said());
    }
    let gauges = gauges.stop().await?;
    faults.heal(&mut node, &door).await?;
    node.kill().await?;
    let (sent, places) = load.stop().await?;
    let report = arrived(&door, &node, sent).await?;
    let mut pulled = pull.stop(sent, HEALED_WITHIN).await?;
    pulled.check(sent, &places);
    let (dead_letters, lives) = (node.dead_letters().await?, node.again().await?);
    let disk = node.disk().as_ref().err().cloned();
    let found = Found { rate, ceiling, events: sent, report, pulled, lives, dead_letters, gauges, faults: faults.counts(), disk };
    let outcome = Outcome::new(options, found);
    if let Some(file) = &options.out {
        std::fs::write(file, outcome.page()).with_context(|| file.display().to_string())?;
    }
    Ok(outcome)
}

/// So long the log keeps what comes: the disk is steady from then on, and a fault is much shorter.
fn window(length: Duration) -> Duration {
    (length / 8).clamp(Duration::from_secs(5), Duration::from_secs(120))
}

/// Events a second that get through to all subscriptions of the soak, over some seconds.
async fn ceiling(options: &Options, door: &Arc<Client>) -> Result<f64> {
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let node = Node::start(&options.posthorn, folder.path(), door, 1e5, Duration::from_secs(60)).await?;
    let pull = Pull::start(node.data(), node.pulled());
    let length = (options.length / 20).clamp(Duration::from_secs(2), Duration::from_secs(20));
    let began = Instant::now();
    let sent = load::burst(node.data(), length, CEILING_RUN).await?;
    arrived_of(door, CEILING_RUN, sent).await?;
    pull.stop(sent, HEALED_WITHIN).await?;
    let reached = sent as f64 / began.elapsed().as_secs_f64();
    control::forget(door, CEILING_RUN).await?;
    eprintln!("soak: {sent} events in {:.1} s: the ceiling is {reached:.0} a second", began.elapsed().as_secs_f64());
    Ok(reached)
}

async fn arrived(door: &Client, node: &Node, sent: u64) -> Result<crate::receiver::tally::RunReport> {
    if arrived_of(door, RUN, sent).await.is_err() {
        eprintln!("soak: not everything has arrived within {} s: {}", HEALED_WITHIN.as_secs(), node.said());
    }
    control::report(door, RUN).await
}

async fn arrived_of(door: &Client, run: u32, sent: u64) -> Result<()> {
    let due = sent * GROUPS.iter().map(|group| u64::from(group.count)).sum::<u64>();
    let began = Instant::now();
    while control::count(door, run, &[]).await? < due {
        ensure!(began.elapsed() < HEALED_WITHIN, "not everything has arrived");
        sleep(LOOK_AGAIN).await;
    }
    Ok(())
}
