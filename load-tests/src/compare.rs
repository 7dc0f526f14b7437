//! The comparison: Posthorn against the yardsticks, round by round in turn, so that a slow minute of the machine hits
//! all of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::sleep;

use crate::generator;
use crate::measure::{Measured, Rig, plain_events};
use crate::posthorn::Posthorn;
use crate::report::{Row, table};

const IN_VAIN: u32 = 10_000;
const BACKLOG: u64 = 200_000;
const BACKLOG_BATCH: u64 = 100;
const BACKLOG_CONNECTIONS: usize = 4;
const BACKLOG_WITHIN: Duration = Duration::from_secs(60);
const SETTLE: Duration = Duration::from_secs(1);
const MIB: f64 = 1024.0 * 1024.0;

/// What to compare, and how long.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The release binary; without it only the yardsticks are measured.
    pub posthorn: Option<PathBuf>,
    /// Rounds; each measures everything once.
    pub rounds: u32,
    /// Events of a fan-out 1 measurement.
    pub events: u64,
}

/// Runs the comparison and gives the report in Markdown.
///
/// # Errors
/// When a process does not start or dies.
pub async fn run(plan: &Plan) -> Result<String> {
    let rig = Rig::start().await?;
    let mut found = Found::default();
    for round in 0..plan.rounds {
        eprintln!("round {} of {}: yardsticks", round + 1, plan.rounds);
        yardsticks(&rig, plan.events, &mut found).await?;
        if let Some(binary) = &plan.posthorn {
            eprintln!("round {} of {}: posthorn", round + 1, plan.rounds);
            fan_outs(&rig, binary, plan.events, &mut found).await?;
        }
    }
    if let Some(binary) = &plan.posthorn {
        eprintln!("many subscriptions, dead endpoint");
        many_subscriptions(&rig, binary, plan.events, &mut found).await?;
        dead_endpoint(binary, &mut found).await?;
    }
    Ok(report(plan, &found))
}

async fn yardsticks(rig: &Rig, events: u64, found: &mut Found) -> Result<()> {
    found.deliveries("raw", rig.measure_raw("raw", events).await?);
    let null = rig.measure(&plain_events(&rig.null, "null"), events, 1, &rig.null).await?;
    found.deliveries("null", null);
    let signing = rig.measure(&plain_events(&rig.signing, "signing"), events, 1, &rig.signing).await?;
    found.deliveries("signing", signing);
    Ok(())
}

async fn fan_outs(rig: &Rig, binary: &Path, events: u64, found: &mut Found) -> Result<()> {
    let posthorn = Posthorn::start(binary).await?;
    found.value("ready", posthorn.child.ready_after.as_secs_f64() * 1e3);
    sleep(SETTLE).await;
    found.value("idle", posthorn.child.resident()? as f64 / MIB);
    let kinds =
        [("sync", "sync", 1, events), ("log", "log", 1, events), ("fan10", "sync", 10, events / 5), ("fan100", "sync", 100, events / 40)];
    for (topic, durability, fan_out, count) in kinds {
        posthorn.topic(topic, durability).await?;
        posthorn.subscribe(topic, &rig.url(), fan_out).await?;
        let measured = rig.measure(&posthorn.events(topic, topic), count, u64::from(fan_out), &posthorn.child).await?;
        found.deliveries(topic, measured);
    }
    Ok(())
}

async fn many_subscriptions(rig: &Rig, binary: &Path, events: u64, found: &mut Found) -> Result<()> {
    let posthorn = Posthorn::start(binary).await?;
    posthorn.topic("many", "sync").await?;
    posthorn.subscribe("many", &rig.url(), 1).await?;
    found.deliveries("alone", rig.measure(&posthorn.events("many", "alone"), events, 1, &posthorn.child).await?);
    posthorn.subscribe_in_vain("many", &rig.url(), IN_VAIN).await.context("10,000 subscriptions")?;
    found.deliveries("crowd", rig.measure(&posthorn.events("many", "crowd"), events, 1, &posthorn.child).await?);
    found.value("crowd memory", posthorn.child.resident()? as f64 / MIB);
    Ok(())
}

async fn dead_endpoint(binary: &Path, found: &mut Found) -> Result<()> {
    let posthorn = Posthorn::start(binary).await?;
    posthorn.topic("dead", "sync").await?;
    // A port that was free a moment ago: nobody listens there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    posthorn.subscribe("dead", &format!("http://{nobody}/hook"), 1).await?;
    sleep(SETTLE).await;
    found.value("before backlog", posthorn.child.resident()? as f64 / MIB);
    let mut events = posthorn.events("dead", "dead");
    events.batch = BACKLOG_BATCH;
    let sent = generator::closed(&events, BACKLOG_CONNECTIONS, BACKLOG, BACKLOG_WITHIN).await?;
    sleep(SETTLE).await;
    found.value("backlog", posthorn.child.resident()? as f64 / MIB);
    found.value("backlog peak", posthorn.child.peak_resident()? as f64 / MIB);
    found.value("backlog events", sent.accepted as f64);
    found.value("backlog refused", sent.failed as f64);
    Ok(())
}

/// Values by name, one a round.
#[derive(Debug, Default)]
struct Found {
    values: BTreeMap<String, Vec<f64>>,
    missing: BTreeMap<&'static str, u64>,
}

impl Found {
    fn value(&mut self, name: &str, value: f64) {
        self.values.entry(name.to_owned()).or_default().push(value);
    }

    fn deliveries(&mut self, name: &'static str, measured: Measured) {
        self.value(&format!("{name}/s"), measured.per_second);
        self.value(&format!("{name} cpu"), measured.cpu_micros);
        self.value(&format!("{name} p99"), measured.answer_p99 as f64 / 1e3);
        *self.missing.entry(name).or_default() += measured.missing;
    }

    fn get(&self, name: &str) -> Vec<f64> {
        self.values.get(name).cloned().unwrap_or_default()
    }
}

/// The rows of the report: label, name, unit, and what the ratio is to.
type Line = (&'static str, &'static str, &'static str, Option<(&'static str, &'static str)>);

const SIGNING: Option<(&str, &str)> = Some(("signing forwarder", "signing/s"));
const SIGNING_CPU: Option<(&str, &str)> = Some(("signing forwarder", "signing cpu"));

const LINES: &[Line] = &[
    ("raw: generator to receiver, delivered", "raw/s", "/s", SIGNING),
    ("null forwarder, delivered", "null/s", "/s", SIGNING),
    ("null forwarder, CPU a delivery", "null cpu", "µs", SIGNING_CPU),
    ("signing forwarder, delivered", "signing/s", "/s", None),
    ("signing forwarder, CPU a delivery", "signing cpu", "µs", None),
    ("signing forwarder, p99 of the answer", "signing p99", "ms", None),
    ("Posthorn, fan-out 1 (schema, sync, HMAC), delivered", "sync/s", "/s", SIGNING),
    ("… CPU a delivery", "sync cpu", "µs", SIGNING_CPU),
    ("… p99 of the answer", "sync p99", "ms", Some(("signing forwarder", "signing p99"))),
    ("Posthorn, fan-out 1, durability log, delivered", "log/s", "/s", SIGNING),
    ("`sync` against `log`, delivered", "sync/s", "/s", Some(("Posthorn, log", "log/s"))),
    ("Posthorn, fan-out 10, delivered", "fan10/s", "/s", SIGNING),
    ("… CPU a delivery", "fan10 cpu", "µs", SIGNING_CPU),
    ("Posthorn, fan-out 100, delivered", "fan100/s", "/s", SIGNING),
    ("… CPU a delivery", "fan100 cpu", "µs", SIGNING_CPU),
    ("with 10,000 subscriptions that do not match, delivered", "crowd/s", "/s", Some(("the same without them", "alone/s"))),
    ("… CPU a delivery", "crowd cpu", "µs", Some(("the same without them", "alone cpu"))),
    ("… resident memory", "crowd memory", "MiB", Some(("idle", "idle"))),
    ("start to ready", "ready", "ms", None),
    ("resident memory, idle", "idle", "MiB", None),
    ("resident memory, endpoint down and 200,000 events behind it", "backlog", "MiB", Some(("before them", "before backlog"))),
    ("… at its peak", "backlog peak", "MiB", Some(("before them", "before backlog"))),
    ("… events taken", "backlog events", "", None),
    ("… events refused", "backlog refused", "", None),
];

fn report(plan: &Plan, found: &Found) -> String {
    let row = |(what, name, unit, against): &Line| {
        let values = found.get(name);
        let missing = name.split(['/', ' ']).next().and_then(|n| found.missing.get(n)).copied().unwrap_or_default();
        let against = against.map(|(label, other)| (label, found.get(other)));
        (!values.is_empty()).then_some(Row { what, unit, values, against, missing })
    };
    let rows: Vec<Row> = LINES.iter().filter_map(row).collect();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "# Results\n\n{} rounds, {} events of 0.9 KB in each, {cores} cores shared by all processes (two are used), loopback. \
         Read the ratios: they are taken within a round. `make load` writes this page.\n\n{}",
        plan.rounds,
        plan.events,
        table(&rows)
    )
}
