//! The process and the receiver, and what is done to them in a round.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use posthorn_tests::{Config, Posthorn, Receiver, eventually};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::account::{Truth, missing};
use super::clients::{self, Desk};
use super::kinds::{BATCH, IN_FLIGHT, kinds, number};
use super::ledger::Ledger;
use super::repeats::{IN_MEMORY, MAX_UNSTORED};
use crate::dice::Dice;
use crate::kit::{dead_letters, ids, in_force, read_all, subscribe, topic};

const PUBLISHERS: u64 = 3;
const EVENTS_A_ROUND: u64 = 24;
/// What a round waits for may not come: everything may be delivered. Then it is killed all the same.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Much longer than it takes: the machine may have other things to do.
const HEALED_WITHIN: Duration = Duration::from_secs(180);

/// All that runs.
pub(crate) struct Siege {
    posthorn: Posthorn,
    receiver: Receiver,
    ledger: Arc<Ledger>,
    desk: Arc<Desk>,
    subscriptions: BTreeMap<&'static str, String>,
    work: JoinSet<Result<()>>,
    rounds: u64,
    /// Kills before the process was ready.
    pub(crate) at_the_start: u64,
}

impl Siege {
    pub(crate) async fn start(rounds: u64) -> Result<Self> {
        let ledger = Arc::new(Ledger::new(kinds()));
        let receiver = Receiver::watched_by(Arc::clone(&ledger) as _).await?;
        // One shard, so that one counter tells of all checkpoints; the crash suite has more.
        let config = Config::default()
            .set("node.shards", json!(1))
            .set("delivery.checkpoint_interval", json!("15ms"))
            .set("delivery.max_unstored", json!(MAX_UNSTORED))
            .set("delivery.max_lane_events", json!(IN_MEMORY))
            .set("delivery.max_batch_events", json!(BATCH));
        let posthorn = Posthorn::start(config).await?;
        topic(&posthorn, "siege", json!({"partitions": 3})).await?;
        let mut siege = Self {
            posthorn,
            receiver,
            ledger,
            desk: Arc::default(),
            subscriptions: BTreeMap::new(),
            work: JoinSet::new(),
            rounds,
            at_the_start: 0,
        };
        siege.make(0).await?;
        for publisher in 0..PUBLISHERS {
            siege.work.spawn(clients::publish(siege.posthorn.data(), Arc::clone(&siege.desk), publisher > 0));
        }
        let pulled = siege.subscriptions["pulled"].clone();
        siege.work.spawn(clients::pull(siege.posthorn.data(), pulled, Arc::clone(&siege.ledger), Arc::clone(&siege.desk)));
        siege.work.spawn(clients::watch(siege.posthorn.admin(), Arc::clone(&siege.ledger), Arc::clone(&siege.desk)));
        Ok(siege)
    }

    /// Changes, load, a kill at a moment that the dice choose, and the next start.
    pub(crate) async fn round(&mut self, round: u64, dice: &mut Dice) -> Result<()> {
        if round > 0 {
            self.make(round).await?;
        }
        match round % 5 {
            1 => self.tell("paused", "pause").await?,
            3 => self.tell("paused", "resume").await?,
            _ => {}
        }
        let before = (self.desk.answered.load(Ordering::SeqCst), self.ledger.answers());
        self.desk.room.add_permits(usize::try_from(EVENTS_A_ROUND)?);
        let (what, wanted) =
            [("answers to publishers", 1 + dice.below(EVENTS_A_ROUND)), ("deliveries", dice.below(400))][dice.below(2) as usize];
        let reached = || {
            let now = (self.desk.answered.load(Ordering::SeqCst) - before.0, self.ledger.answers() - before.1);
            let now = if what == "deliveries" { now.1 } else { now.0 };
            std::future::ready((now >= wanted).then_some(()))
        };
        // Deliveries may all be made before so many were; then the quiet is the moment.
        drop(eventually(what, PATIENCE, reached).await);
        // What came again so far is held against this.
        clients::read(&self.posthorn.admin(), &self.ledger).await;
        self.kill().await?;
        if dice.below(3) == 0 {
            let moment = Duration::from_millis(1 + dice.below(120));
            // Dropping the start kills what it started.
            match tokio::time::timeout(moment, self.posthorn.restart()).await {
                Ok(started) => {
                    started?;
                    clients::read(&self.posthorn.admin(), &self.ledger).await;
                }
                Err(_) => self.at_the_start += 1,
            }
            self.kill().await?;
        }
        self.posthorn.restart().await
    }

    /// Everything is well again: waits until every subscription has everything, and gives what there was.
    pub(crate) async fn heal(&mut self) -> Result<Truth> {
        self.ledger.heal();
        self.tell("paused", "resume").await?;
        self.make(u64::MAX).await?;
        // Endpoints that were only probed are met anew.
        self.kill().await?;
        self.posthorn.restart().await?;
        self.desk.room.add_permits(usize::try_from(EVENTS_A_ROUND)?);
        let due = usize::try_from((self.rounds + 1) * EVENTS_A_ROUND)?;
        let all = || std::future::ready((self.desk.places.lock().len() + self.desk.unknown.lock().len() == due).then_some(()));
        eventually("everything is published", HEALED_WITHIN, all).await?;
        self.desk.stop.store(true, Ordering::SeqCst);
        self.desk.room.close();
        let log = self.log().await?;
        for kind in self.ledger.kinds() {
            let missing = || self.ledger.look(|book| missing(book, kind, &log));
            let done = eventually("all is delivered", HEALED_WITHIN, || std::future::ready(missing().is_empty().then_some(()))).await;
            let shown = self.posthorn.control().get(&format!("/v1/subscriptions/{}", self.subscriptions[kind.name])).await?.text();
            done.with_context(|| format!("{}: lost {:?}; {shown}", kind.name, missing()))?;
            dead_letters(&self.posthorn, &self.subscriptions[kind.name], 0).await?;
        }
        let ended = async {
            while let Some(done) = self.work.join_next().await {
                done??;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(HEALED_WITHIN, ended).await.context("publishers and readers do not end")??;
        // What the last life has repeated so far is held against this.
        ensure!(clients::read(&self.posthorn.admin(), &self.ledger).await, "the last life says nothing of what it repeated");
        let (log, places) = (self.log().await?, self.desk.places.lock().clone());
        let lost: Vec<_> = places.keys().filter(|event| !log.contains(event)).collect();
        ensure!(lost.is_empty(), "acknowledged and not in the log: {lost:?}");
        let unknown = self.desk.unknown.lock();
        let strange: Vec<_> = log.iter().filter(|event| !places.contains_key(event) && !unknown.contains(event)).collect();
        ensure!(strange.is_empty(), "in the log and never published: {strange:?}");
        Ok(Truth { log, places })
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Kills it, and waits until all that it had sent was taken and treated.
    async fn kill(&mut self) -> Result<()> {
        self.posthorn.kill9();
        // Connections are taken in turn: when this one is, none of the dead process is left outside.
        let accepted = self.receiver.connections();
        let last = TcpStream::connect(self.receiver.address()).await?;
        let taken = || std::future::ready((self.receiver.connections() > accepted).then_some(()));
        eventually("the connection is taken", HEALED_WITHIN, taken).await?;
        drop(last);
        let gone = || std::future::ready((self.receiver.open() == 0).then_some(()));
        eventually("the connections of the dead process are gone", HEALED_WITHIN, gone).await?;
        let kept = self.desk.places.lock().keys().copied().collect();
        self.ledger.next_life(self.desk.next.load(Ordering::SeqCst), kept);
        Ok(())
    }

    /// Makes the subscriptions of this round; all that are not there yet at the end.
    async fn make(&mut self, round: u64) -> Result<()> {
        // The dead endpoint may be tried once a delay, and a delivery has a hundred of them.
        let delay = 1500.max(self.rounds * 30);
        let due = |made_in: u64| if round == u64::MAX { made_in > 0 } else { made_in == round };
        let ledger = Arc::clone(&self.ledger);
        for kind in ledger.kinds().iter().filter(|kind| due(kind.made_in)) {
            if self.subscriptions.contains_key(kind.name) {
                continue;
            }
            let mut members = kind.members.clone();
            if members["endpoint"]["timeout"].is_null() {
                // Nothing that is answered is late, whatever else the machine has to do.
                members["endpoint"]["timeout"] = json!("60s");
            }
            if members["limits"]["in_flight"].is_null() {
                members["limits"]["in_flight"] = json!(IN_FLIGHT);
            }
            members["retry"] = json!({"schedule": vec![format!("{delay}ms"); 100], "jitter": 0.1});
            let url = self.receiver.url(&kind.path());
            let id = subscribe(&self.posthorn, "siege", &url, members).await.with_context(|| kind.name)?;
            self.subscriptions.insert(kind.name, id);
        }
        Ok(())
    }

    async fn tell(&self, kind: &str, verb: &str) -> Result<()> {
        let path = format!("/v1/subscriptions/{}/{verb}", self.subscriptions[kind]);
        in_force(&self.posthorn, &self.posthorn.control().post(&path, &json!({})).await?.expect(200)?).await
    }

    async fn log(&self) -> Result<BTreeSet<u64>> {
        let found = ids(&read_all(&self.posthorn, "siege").await?);
        let log: BTreeSet<u64> = found.iter().filter_map(|id| number(id)).collect();
        ensure!(log.len() == found.len(), "{} events stand in the log twice", found.len() - log.len());
        Ok(log)
    }
}
