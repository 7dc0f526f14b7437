//! One measurement: send, wait until all that was due has arrived, say what it cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{Instant, sleep};

use super::accounts::Before;
use super::figures::Figures;
use super::rig::Rig;
use super::running::{Due, Running};
use super::sampler::Sampler;
use crate::distribution::Zipf;
use crate::events::Events;
use crate::generator::{self, Load, Sent};
use crate::payload::{self, Payload, Template};
use crate::receiver::control;
use crate::receiver::tally::RunReport;
use crate::scenario::{Pace, PayloadSpec, Rate, Send};
use crate::schedule::Schedule;

const LOOK_AGAIN: Duration = Duration::from_millis(10);
const WARM_UP_WITHIN: Duration = Duration::from_secs(10);
const TOO_MANY_REQUESTS: u16 = 429;

/// Runs differ within a process; between processes the time in an id differs, so that a gateway that keeps ids meets new ones.
static NEXT_RUN: AtomicU32 = AtomicU32::new(1);

/// Sends, waits, and notes the figures under the step's name.
pub(super) async fn send(send: &Send, running: &mut Running, rig: &Rig, figures: &mut Figures) -> Result<()> {
    if send.warm_up > 0 {
        warm_up(send, running, rig).await?;
    }
    let load = load(send, running, rig)?;
    let began = Instant::now();
    let before = Before::read(running, rig).await?;
    let sampler = Sampler::start(running.pids());
    let sent = go(send, &load, running).await?;
    let due = Due { run: load.events.run, deliveries: sent.accepted * running.each(send.topic)?, events: sent.accepted };
    running.sent.insert(send.name.clone(), due);
    if send.wait {
        arrive(due, &running.groups, rig, send.within.saturating_sub(began.elapsed())).await?;
        sleep(send.linger).await;
    }
    let memory = sampler.stop().await;
    note_sent(send, &sent, due, figures);
    figures.memory(&send.name, memory);
    if send.wait {
        let report = control::report(&rig.door, due.run).await?;
        let delivered = note_arrived(&send.name, sent.began, &report, due, running, figures);
        note_missing(&send.name, due, delivered, send.within, figures);
        before.note(&send.name, Some(delivered), sent.accepted, running, rig, figures).await?;
    } else {
        // What arrives of it is a later step's to count.
        before.note(&send.name, None, sent.accepted, running, rig, figures).await?;
    }
    if !send.may_refuse {
        note_refused(&send.name, &sent, figures);
    }
    Ok(())
}

/// Waits until what an earlier step sent has arrived, and notes the figures of that time.
pub(super) async fn wait_for(
    name: &str,
    of: &str,
    within: Duration,
    running: &mut Running,
    rig: &Rig,
    figures: &mut Figures,
) -> Result<()> {
    let due = *running.sent.get(of).with_context(|| format!("nothing was sent under the name {of}"))?;
    let began = crate::wall::micros();
    let before = Before::read(running, rig).await?;
    let already = control::count(&rig.door, due.run, &running.groups).await?;
    let sampler = Sampler::start(running.pids());
    arrive(due, &running.groups, rig, within).await?;
    figures.memory(name, sampler.stop().await);
    let report = control::report(&rig.door, due.run).await?;
    let delivered = note_arrived(name, began.max(report.first.min(began)), &report, due, running, figures);
    note_missing(name, due, delivered, within, figures);
    before.note(name, Some(delivered.saturating_sub(already)), due.events, running, rig, figures).await
}

async fn warm_up(send: &Send, running: &Running, rig: &Rig) -> Result<()> {
    let load = load(send, running, rig)?;
    let sent = generator::closed(&load, send.warm_up, WARM_UP_WITHIN).await?;
    let due = Due { run: load.events.run, deliveries: sent.accepted * running.each(send.topic)?, events: sent.accepted };
    arrive(due, &running.groups, rig, WARM_UP_WITHIN).await?;
    control::forget(&rig.door, due.run).await
}

fn load(send: &Send, running: &Running, rig: &Rig) -> Result<Load> {
    let (server, mut paths, headers) = running.target(rig, send.protocol)?;
    if let Some(topic) = send.topic {
        paths = paths.into_iter().skip(topic as usize).take(1).collect();
        anyhow::ensure!(!paths.is_empty(), "there is no topic with the number {topic}");
    }
    let (payload, sizes, schemas) = match &send.payload {
        PayloadSpec::Order => (Payload::Template(Template::parse(payload::ORDER)), None, Some("order:1")),
        PayloadSpec::Template(text, sizes) => {
            (Payload::Template(Template::parse(text)), sizes.clone(), (text == payload::SIZED).then_some("sized:1"))
        }
        PayloadSpec::File(file) => (payload::recorded(file)?, None, None),
    };
    let events = Events {
        run: NEXT_RUN.fetch_add(1, Ordering::Relaxed),
        targets: paths.iter().map(|path| server.uri(path)).collect::<Result<_>>()?,
        headers,
        payload: Arc::new(payload),
        sizes,
        keys: send.keys.map(|keys| Arc::new(Zipf::new(keys, send.zipf))),
        schemas: schemas.map(str::to_owned),
        mode: send.mode,
    };
    Ok(Load { events: Arc::new(events), server, connections: send.connections })
}

async fn go(send: &Send, load: &Load, running: &Running) -> Result<Sent> {
    match &send.pace {
        Pace::Closed(count) => generator::closed(load, *count, send.within).await,
        Pace::Open { rate, length, arrivals } => {
            let rate = match rate {
                Rate::Fixed(rate) => *rate,
                Rate::Share(share, of) => {
                    let reached = running.reached(of)?;
                    share * reached / (running.each(send.topic)?.max(1) * load.events.batch()) as f64
                }
            };
            let schedule = Schedule::new(*arrivals, rate, *length, None, u64::from(load.events.run));
            generator::open(load, schedule, send.sent_within(*length)).await
        }
    }
}

async fn arrive(due: Due, groups: &[String], rig: &Rig, within: Duration) -> Result<()> {
    let began = Instant::now();
    while control::count(&rig.door, due.run, groups).await? < due.deliveries && began.elapsed() < within {
        sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

fn note_sent(send: &Send, sent: &Sent, due: Due, figures: &mut Figures) {
    let summary = sent.latency.summary();
    let name = &send.name;
    figures.note(name, "accepted", sent.accepted as f64);
    figures.note(name, "refused", sent.failed as f64);
    figures.note(name, "unsent", sent.unsent as f64);
    figures.note(name, "throttled", sent.statuses.get(&TOO_MANY_REQUESTS).copied().unwrap_or_default() as f64);
    figures.note(name, "due", due.deliveries as f64);
    figures.note(name, "accepted_per_second", sent.accepted as f64 / sent.elapsed.as_secs_f64().max(1e-9));
    if let Pace::Open { length, .. } = &send.pace {
        figures.note(name, "offered_per_second", (sent.accepted + sent.failed + sent.unsent) as f64 / length.as_secs_f64());
        figures.note(name, "late", sent.late as f64);
    }
    figures.percentiles(name, "answer", &summary);
}

/// Notes what the receiver saw; gives how many unique deliveries of the counted groups those were.
fn note_arrived(name: &str, began: u64, report: &RunReport, due: Due, running: &mut Running, figures: &mut Figures) -> u64 {
    // Of a gateway that somebody else set up, all paths count.
    let all = running.groups.is_empty();
    let counted = || report.groups.iter().filter(|(group, _)| all || running.groups.contains(group));
    let delivered: u64 = counted().map(|(_, group)| group.unique).sum();
    let seconds = report.last.saturating_sub(began) as f64 / 1e6;
    figures.note(name, "delivered", delivered as f64);
    figures.note(name, "missing", due.deliveries.saturating_sub(delivered) as f64);
    figures.note(name, "repeated", counted().map(|(_, group)| group.repeated).sum::<u64>() as f64);
    let turned_away = report.groups.values().map(|group| group.refused).sum::<u64>() as f64;
    figures.note(name, "turned_away", turned_away);
    figures.note(name, "turned_away_each", turned_away / delivered.max(1) as f64);
    if delivered > 0 && seconds > 0.0 {
        let per_second = delivered as f64 / seconds;
        figures.note(name, "delivered_per_second", per_second);
        figures.note(name, "seconds", seconds);
        let middle = report.middle.1.saturating_sub(report.middle.0) as f64 / 1e6;
        if middle > 0.0 {
            figures.note(name, "middle_per_second", 0.9 * delivered as f64 / middle);
        }
    }
    let reached = if seconds > 0.0 { delivered as f64 / seconds } else { 0.0 };
    for (group, found) in &report.groups {
        figures.percentiles(name, &format!("{group}_delivery"), &found.latency);
    }
    if let Some((_, largest)) = counted().max_by_key(|(_, group)| group.unique) {
        figures.percentiles(name, "delivery", &largest.latency);
    }
    figures.series(
        name,
        "arrivals",
        report.arrivals.iter().enumerate().map(|(n, count)| (n as f64 / 10.0, *count as f64 * 10.0)).collect(),
    );
    if report.untracked > 0 {
        figures.fault(format!("{name}: the receiver could not keep track of {} deliveries", report.untracked));
    }
    running.reached.insert(name.to_owned(), reached);
    delivered
}

fn note_refused(name: &str, sent: &Sent, figures: &mut Figures) {
    let all = sent.accepted + sent.failed + sent.unsent;
    if sent.failed > 0 {
        figures.fault(format!("{name}: {} of {all} events were refused: {:?} {:?}", sent.failed, sent.statuses, sent.error));
    }
    if sent.unsent > 0 {
        figures.fault(format!("{name}: {} of {all} events could not be sent in time", sent.unsent));
    }
}

fn note_missing(name: &str, due: Due, delivered: u64, within: Duration, figures: &mut Figures) {
    if delivered < due.deliveries {
        let missing = due.deliveries - delivered;
        figures.fault(format!("{name}: {missing} of {} deliveries had not arrived within {} s", due.deliveries, within.as_secs()));
    }
}
