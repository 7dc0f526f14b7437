//! The process, its publishers, its reader and the receiver, and what is done to them in a round.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use parking_lot::Mutex;
use posthorn_tests::{Api, Config, Posthorn, Receiver, eventually};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::account::{Truth, missing};
use super::kinds::{event, kinds, number};
use super::ledger::{Ledger, Mark};
use crate::dice::Dice;
use crate::kit::{dead_letters, ids, in_force, read_all, subscribe, topic};

const PUBLISHERS: u64 = 3;
const EVENTS_A_ROUND: u64 = 24;
/// What a round waits for may not come: everything may be delivered. Then it is killed all the same.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Much longer than it takes: the machine may have other things to do.
const HEALED_WITHIN: Duration = Duration::from_secs(180);
/// How long a client waits before it tries again what was not answered, and between two looks at the metrics.
const LOOK_AGAIN: Duration = Duration::from_millis(8);

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

/// What publishers share.
struct Desk {
    /// Events that may be published now.
    room: Semaphore,
    next: AtomicU64,
    answered: AtomicU64,
    places: Mutex<BTreeMap<u64, (u64, u64)>>,
    /// Given up without an answer.
    unknown: Mutex<BTreeSet<u64>>,
    stop: AtomicBool,
}

impl Siege {
    pub(crate) async fn start(rounds: u64) -> Result<Self> {
        let ledger = Arc::new(Ledger::new(kinds()));
        let receiver = Receiver::watched_by(Arc::clone(&ledger) as _).await?;
        // One shard, so that one counter tells of all checkpoints; the crash suite has more.
        let config = Config::default().set("node.shards", json!(1)).set("delivery.checkpoint_interval", json!("15ms"));
        let posthorn = Posthorn::start(config).await?;
        topic(&posthorn, "siege", json!({"partitions": 3})).await?;
        let (places, unknown) = Default::default();
        let desk = Desk { room: Semaphore::new(0), next: 0.into(), answered: 0.into(), places, unknown, stop: false.into() };
        let mut siege = Self {
            posthorn,
            receiver,
            ledger,
            desk: Arc::new(desk),
            subscriptions: BTreeMap::new(),
            work: JoinSet::new(),
            rounds,
            at_the_start: 0,
        };
        siege.make(0).await?;
        for publisher in 0..PUBLISHERS {
            siege.work.spawn(publish(siege.posthorn.data(), Arc::clone(&siege.desk), publisher > 0));
        }
        let pulled = siege.subscriptions["pulled"].clone();
        siege.work.spawn(pull(siege.posthorn.data(), pulled, Arc::clone(&siege.ledger), Arc::clone(&siege.desk)));
        siege.work.spawn(watch(siege.posthorn.admin(), Arc::clone(&siege.ledger), Arc::clone(&siege.desk)));
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
        self.kill().await?;
        if dice.below(3) == 0 {
            let moment = Duration::from_millis(1 + dice.below(120));
            // Dropping the start kills what it started.
            match tokio::time::timeout(moment, self.posthorn.restart()).await {
                Ok(started) => started?,
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
        self.ledger.next_life();
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

/// Publishes what there is room for; sends again what was not answered, unless it is one that gives up.
async fn publish(api: Api, desk: Arc<Desk>, again: bool) -> Result<()> {
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
async fn pull(api: Api, subscription: String, ledger: Arc<Ledger>, desk: Arc<Desk>) -> Result<()> {
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

/// Reads the counter of checkpoints through all lives.
async fn watch(admin: Api, ledger: Arc<Ledger>, desk: Arc<Desk>) -> Result<()> {
    let mut ticks = tokio::time::interval(LOOK_AGAIN);
    while !desk.stop.load(Ordering::SeqCst) {
        let (life, tick) = (ledger.life(), ledger.tick());
        let text = admin.get("/metrics").await.map(|reply| reply.text()).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("posthorn_checkpoints_total ")?.parse().ok());
        // Of two lives at once nothing can be said.
        if let Some(checkpoints) = count.filter(|_| ledger.life() == life) {
            ledger.mark(Mark { life, tick, checkpoints });
        }
        ticks.tick().await;
    }
    Ok(())
}
