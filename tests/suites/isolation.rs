//! A hundred endpoints, half of them hostile in every way that is known: the other half must not notice, and the process must not
//! grow (I4, I9). `load-tests/scenarios/isolation.yaml` measures the latencies.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use posthorn_tests::{Behaviour, Config, Posthorn, Receiver};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::kit::{SOON, event, in_force, publish, subscribe_only, topic};
use crate::memory::resident;

const MIB: u64 = 1 << 20;
const HEALTHY: usize = 50;
const HOSTILE: usize = 50;
const CONNECTIONS: usize = 3;
const IN_FLIGHT: u64 = 4;
const READ_AT_MOST: u64 = 16 << 10;
const LARGE: u64 = 1 << 30;
/// What the two ends of a loopback connection may hold in their buffers, beside what is read of an answer.
const IN_BUFFERS: u64 = 12 * MIB;

/// What a hostile endpoint does, one after the other.
fn hostile(number: usize, elsewhere: &str) -> Behaviour {
    let all = [
        Behaviour::Hang,
        Behaviour::Reset,
        Behaviour::SlowBody(Duration::from_millis(40)),
        Behaviour::SlowHeaders(Duration::from_millis(40)),
        Behaviour::Redirect(elsewhere.to_owned()),
        Behaviour::Body(LARGE),
        Behaviour::EndlessBody,
        Behaviour::EndlessHeaders,
        Behaviour::Garbage,
        Behaviour::Close,
        Behaviour::Interim(10_000),
        Behaviour::RetryAfter { status: 429, value: "999999999999".into() },
        Behaviour::Status(500),
    ];
    all[number % all.len()].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_hostile_endpoints_are_nothing_to_the_fifty_others() -> Result<()> {
    let config = Config::default()
        .set("delivery.max_response_bytes", json!(READ_AT_MOST))
        .set("delivery.max_connections_per_endpoint", json!(CONNECTIONS))
        .set("delivery.max_tail_bytes", json!("4MiB"))
        .set("ingest.dedup_max_entries", json!(2_000));
    let posthorn = Posthorn::start(config).await?;
    topic(&posthorn, "shared", json!({"durability": "log", "partitions": 2})).await?;
    let fleet = Fleet::start(&posthorn).await?;
    let files_before = files(&posthorn)?;
    let guard = Guard::start(&posthorn, &fleet)?;
    // Everything reaches its size: caches, connections, tables of those that wait.
    fleet.flood(&posthorn, "warm", 300).await?;
    let before = resident(&posthorn)?;
    fleet.flood(&posthorn, "load", 200).await?;
    let after = resident(&posthorn)?;
    println!("{} MiB, then {} MiB", before / MIB, after / MIB);
    ensure!(after <= before + before / 4 + 24 * MIB, "{} MiB grew to {} MiB", before / MIB, after / MIB);
    let most = guard.stop().await?;
    ensure!(!most.is_empty(), "no hostile endpoint was ever connected to");
    for (address, connections) in &most {
        ensure!(*connections <= CONNECTIONS, "{connections} connections to {address}");
    }
    let files = files(&posthorn)?;
    let allowed = files_before + (HEALTHY + HOSTILE) * CONNECTIONS + 64;
    ensure!(files <= allowed, "{files} files and connections are open; {files_before} were before");
    fleet.within_budgets()?;
    // The door of the operator still answers, and says who is not well.
    let listed = posthorn.control().get("/v1/subscriptions?limit=1000").await?.expect(200)?;
    let unwell = listed["items"].as_array().context("items")?.iter().filter(|item| item["name"] == "hostile").count();
    ensure!(unwell == HOSTILE, "{unwell}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_backlog_of_one_is_nothing_to_its_neighbours_while_it_is_worked_off() -> Result<()> {
    const BACKLOG: u64 = 6_000;
    let posthorn = Posthorn::start(Config::default().set("delivery.max_tail_bytes", json!("4MiB"))).await?;
    let receiver = Receiver::start().await?;
    for name in ["old", "live"] {
        topic(&posthorn, name, json!({"durability": "log"})).await?;
    }
    // Its endpoint takes its time, so that it is behind for all of this test.
    receiver.on("/behind", Behaviour::Delay(Duration::from_millis(20), Box::new(Behaviour::Ok)));
    batches(&posthorn, "old", "old", BACKLOG, 512).await?;
    let members = json!({"filters": [{"topic": "old"}], "start": "earliest", "limits": {"in_flight": 8}});
    subscribe(&posthorn, &receiver.url("/behind"), "behind", members).await?;
    for number in 0..20 {
        subscribe(&posthorn, &receiver.url(&format!("/live-{number}")), "live", json!({"filters": [{"topic": "live"}]})).await?;
    }
    receiver.wait_for("/behind", 100, SOON).await?;
    let before = resident(&posthorn)?;
    for number in 0..40 {
        publish(&posthorn, "live", &format!("now-{number}")).await?;
    }
    for number in 0..20 {
        let tally = receiver.wait_for_unique(&format!("/live-{number}"), 40, SOON).await?;
        ensure!(tally.duplicate == 0, "{tally:?}");
    }
    let behind = receiver.tally("/behind");
    ensure!(behind.unique < BACKLOG, "the backlog was gone before the neighbours were served: {behind:?}");
    ensure!(behind.peak_in_flight <= 8, "{behind:?}");
    receiver.on("/behind", Behaviour::Ok);
    let all = receiver.wait_for_unique("/behind", BACKLOG, SOON * 3).await?;
    ensure!(all.duplicate == 0, "{all:?}");
    let after = resident(&posthorn)?;
    ensure!(after <= before + before / 4 + 24 * MIB, "{} MiB grew to {} MiB", before / MIB, after / MIB);
    Ok(())
}

/// All endpoints, each with an address of its own.
struct Fleet {
    healthy: Vec<Receiver>,
    hostile: Vec<(Behaviour, Receiver)>,
    /// Connections are never taken: not even the first byte of TLS comes back.
    mute: Vec<TcpListener>,
    elsewhere: Receiver,
}

impl Fleet {
    async fn start(posthorn: &Posthorn) -> Result<Self> {
        let elsewhere = Receiver::start().await?;
        let mut fleet = Self { healthy: Vec::new(), hostile: Vec::new(), mute: Vec::new(), elsewhere };
        let host = |number: usize| SocketAddr::from((Ipv4Addr::new(127, 7, 0, 1 + number as u8), 0));
        let mut last = Value::Null;
        for number in 0..HEALTHY {
            let receiver = Receiver::start_at(host(number)).await?;
            last = subscribe_only(posthorn, "shared", &receiver.url("/hook"), json!({"name": "healthy"})).await?;
            fleet.healthy.push(receiver);
        }
        for number in 0..HOSTILE {
            let address = host(HEALTHY + number);
            let url = if number % 10 == 9 {
                let listener = TcpListener::bind(address).await?;
                let scheme = if number % 20 == 9 { "https" } else { "http" };
                let url = format!("{scheme}://{}/hook", listener.local_addr()?);
                fleet.mute.push(listener);
                url
            } else {
                let receiver = Receiver::start_at(address).await?;
                let behaviour = hostile(number, &fleet.elsewhere.url("/stolen"));
                receiver.on("/hook", behaviour.clone());
                let url = receiver.url("/hook");
                fleet.hostile.push((behaviour, receiver));
                url
            };
            let members = json!({
                "name": "hostile", "endpoint": {"timeout": "2s"}, "limits": {"in_flight": IN_FLIGHT},
                "retry": {"schedule": vec!["2s"; 50], "jitter": 0.5},
            });
            last = subscribe_only(posthorn, "shared", &url, members).await?;
        }
        in_force(posthorn, &last).await?;
        Ok(fleet)
    }

    /// Publishes, and waits until every healthy endpoint has everything, once.
    async fn flood(&self, posthorn: &Posthorn, prefix: &str, count: u64) -> Result<()> {
        let before: Vec<u64> = self.healthy.iter().map(|receiver| receiver.tally("/hook").unique).collect();
        batches(posthorn, "shared", prefix, count, 1_000).await?;
        for (receiver, before) in self.healthy.iter().zip(before) {
            let tally = receiver.wait_for_unique("/hook", before + count, SOON * 6).await?;
            ensure!(tally.unique == before + count && tally.duplicate == 0, "{tally:?}");
        }
        Ok(())
    }

    fn within_budgets(&self) -> Result<()> {
        ensure!(self.elsewhere.connections() == 0, "a redirect was followed");
        let mut large = 0;
        for (behaviour, receiver) in &self.hostile {
            let tally = receiver.tally("/hook");
            ensure!(tally.total > 0, "{behaviour:?} was never met");
            // Where the process breaks off, the endpoint learns of it later: there the connections were counted.
            let ends_itself = matches!(behaviour, Behaviour::Redirect(_) | Behaviour::RetryAfter { .. } | Behaviour::Status(_));
            ensure!(!ends_itself || tally.peak_in_flight <= IN_FLIGHT, "{behaviour:?}: {tally:?}");
            if matches!(behaviour, Behaviour::Body(_) | Behaviour::EndlessBody | Behaviour::EndlessHeaders) {
                large += 1;
                let allowed = tally.total * (READ_AT_MOST + IN_BUFFERS);
                ensure!(receiver.bytes_sent() <= allowed, "{behaviour:?}: {} bytes were taken in {tally:?}", receiver.bytes_sent());
            }
        }
        ensure!(large >= 6, "{large} endpoints answered without end");
        Ok(())
    }
}

/// Counts the process's connections to each hostile endpoint, again and again.
struct Guard {
    stop: Arc<AtomicBool>,
    most: Arc<Mutex<HashMap<SocketAddr, usize>>>,
    counting: JoinSet<Result<()>>,
}

impl Guard {
    fn start(posthorn: &Posthorn, fleet: &Fleet) -> Result<Self> {
        let pid = posthorn.pid().context("it runs")?;
        let mut of: Vec<SocketAddr> = fleet.hostile.iter().map(|(_, receiver)| receiver.address()).collect();
        for listener in &fleet.mute {
            of.push(listener.local_addr()?);
        }
        let (stop, most) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(HashMap::new())));
        let (stopped, found) = (Arc::clone(&stop), Arc::clone(&most));
        let mut counting = JoinSet::new();
        counting.spawn(async move {
            let (mut before, mut ticks) = (HashSet::new(), tokio::time::interval(Duration::from_millis(20)));
            while !stopped.load(Ordering::SeqCst) {
                let now = connections(pid)?;
                // The table changes while it is read, so that one that went and the one that took its place may both be in it:
                // what stood in the last one too is certain.
                let certain: Vec<SocketAddr> = now.intersection(&before).map(|(_, to)| *to).collect();
                before = now;
                for address in &of {
                    let count = certain.iter().filter(|to| *to == address).count();
                    if count > 0 {
                        let mut most = found.lock();
                        let so_far = most.entry(*address).or_insert(0);
                        *so_far = count.max(*so_far);
                    }
                }
                ticks.tick().await;
            }
            Ok(())
        });
        Ok(Self { stop, most, counting })
    }

    async fn stop(mut self) -> Result<HashMap<SocketAddr, usize>> {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(done) = self.counting.join_next().await {
            done??;
        }
        Ok(std::mem::take(&mut self.most.lock()))
    }
}

/// All connections that are open or being opened, by their own and their remote ends, as seen by a process (proc(5), `net/tcp`).
fn connections(pid: u32) -> Result<HashSet<(String, SocketAddr)>> {
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp"))?;
    let open = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (own, remote, state) = (words.next()?, words.next()?, words.next()?);
        // ESTABLISHED and SYN_SENT.
        if !matches!(state, "01" | "02") {
            return None;
        }
        let (address, port) = remote.split_once(':')?;
        let address = u32::from_str_radix(address, 16).ok()?.to_ne_bytes();
        Some((own.to_owned(), SocketAddr::from((Ipv4Addr::from(address), u16::from_str_radix(port, 16).ok()?))))
    };
    Ok(table.lines().skip(1).filter_map(open).collect())
}

async fn subscribe(posthorn: &Posthorn, url: &str, name: &str, mut members: Value) -> Result<()> {
    members["name"] = json!(name);
    in_force(posthorn, &subscribe_only(posthorn, "none", url, members).await?).await
}

async fn batches(posthorn: &Posthorn, topic: &str, prefix: &str, count: u64, bytes: usize) -> Result<()> {
    const BATCH: u64 = 100;
    let filler = "x".repeat(bytes);
    for first in (0..count).step_by(BATCH as usize) {
        let make = |number| {
            let mut event = event(topic, &format!("{prefix}-{number}"));
            event["data"]["filler"] = json!(filler);
            event
        };
        let events: Vec<Value> = (first..first + BATCH).map(make).collect();
        posthorn.data().publish_batch(&events).await?.expect(202)?;
    }
    Ok(())
}

/// Open files and connections of the process.
fn files(posthorn: &Posthorn) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{}/fd", posthorn.pid().context("it runs")?))?.count())
}
