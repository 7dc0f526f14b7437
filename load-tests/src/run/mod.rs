//! Runs scenarios: round by round, in each round every variant in turn, so that a slow minute of the machine hits all of them.

mod accounts;
mod figures;
mod posthorn;
mod rig;
mod running;
mod sampler;
mod span;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{Instant, sleep, timeout};

pub use accounts::CPU_OF;
pub use figures::Figures;

use crate::receiver::control;
use crate::scenario::{Scenario, Step, Variant};
use rig::Rig;
use running::Running;

const SAMPLES: u32 = 5;
const SAMPLE_EVERY: Duration = Duration::from_millis(60);

/// What to run them with.
#[derive(Debug, Clone)]
pub struct Programs {
    /// This harness.
    pub own: PathBuf,
    /// Posthorn, which has to be there only where a variant is one.
    pub posthorn: PathBuf,
}

/// What a scenario found.
#[derive(Debug, Default)]
pub struct Outcome {
    /// One a round.
    pub rounds: Vec<Rounds>,
    /// What was wrong; not empty means that the scenario has failed.
    pub faults: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

/// The figures of one round, over all variants.
#[derive(Debug, Default)]
pub struct Rounds {
    /// By `variant/step/measure`.
    pub values: BTreeMap<String, f64>,
    /// By `variant/step/kind`.
    pub lines: BTreeMap<String, Vec<(f64, f64)>>,
}

/// Runs one scenario. What goes wrong in it is in the outcome.
pub async fn scenario(scenario: &Scenario, programs: &Programs) -> Outcome {
    let began = Instant::now();
    let mut outcome = Outcome::default();
    match timeout(scenario.limit, rounds(scenario, programs, &mut outcome)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => outcome.faults.push(format!("{error:#}")),
        Err(_) => outcome.faults.push(format!("it took longer than its limit of {} s", scenario.limit.as_secs())),
    }
    outcome.took = began.elapsed();
    outcome
}

async fn rounds(scenario: &Scenario, programs: &Programs, outcome: &mut Outcome) -> Result<()> {
    let rig = Rig::start(&scenario.receiver, programs.own.clone()).await?;
    let mut kept: BTreeMap<String, Running> = BTreeMap::new();
    for round in 1..=scenario.rounds {
        outcome.rounds.push(Rounds::default());
        for variant in &scenario.variants {
            eprintln!("{} {round}/{}: {}", scenario.name, scenario.rounds, variant.name);
            let mut figures = Figures::of(&variant.name);
            let running = kept.remove(&variant.name);
            let done = one(variant, running, &rig, programs, &mut figures).await;
            let place = outcome.rounds.last_mut().context("this round")?;
            place.values.append(&mut figures.values);
            place.lines.append(&mut figures.lines);
            for fault in &figures.faults {
                eprintln!("{} {round}/{}: FAULT {fault}", scenario.name, scenario.rounds);
            }
            outcome.faults.append(&mut figures.faults);
            let running = done.with_context(|| format!("{}, round {round}", variant.name))?;
            if variant.keep {
                kept.insert(variant.name.clone(), running);
            }
        }
    }
    Ok(())
}

async fn one(variant: &Variant, running: Option<Running>, rig: &Rig, programs: &Programs, figures: &mut Figures) -> Result<Running> {
    let mut running = match running {
        Some(running) => running,
        None => {
            let mut running = Running::start(variant, rig, &programs.posthorn).await?;
            for place in &variant.setup {
                step(place, &mut running, rig, figures).await?;
            }
            running
        }
    };
    for place in &variant.steps {
        step(place, &mut running, rig, figures).await?;
    }
    Ok(running)
}

async fn step(step: &Step, running: &mut Running, rig: &Rig, figures: &mut Figures) -> Result<()> {
    match step {
        Step::Subscribe(subscribe) => running.subscribe(subscribe, rig).await.context("subscribe"),
        Step::Send(send) => span::send(send, running, rig, figures).await.with_context(|| send.name.clone()),
        Step::Behave { group, behaviour } => control::behave(&rig.door, group, behaviour).await.context("behave"),
        Step::Await { name, of, within } => span::wait_for(name, of, *within, running, rig, figures).await.with_context(|| name.clone()),
        Step::Wait(time) => {
            sleep(*time).await;
            Ok(())
        }
        Step::Mark(name) => {
            mark(name, running, figures).await;
            Ok(())
        }
        Step::Restart(name) => {
            let millis = running.restart().await.with_context(|| name.clone())?;
            figures.note(name, "ready", millis);
            mark(name, running, figures).await;
            Ok(())
        }
    }
}

/// Notes memory: the median of some samples.
async fn mark(name: &str, running: &Running, figures: &mut Figures) {
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        samples.extend(sampler::resident(&running.pids()));
        sleep(SAMPLE_EVERY).await;
    }
    samples.sort_by(f64::total_cmp);
    if let Some(median) = samples.get(samples.len() / 2) {
        figures.note(name, "memory", *median);
        figures.note(name, "memory_bytes", *median * 1024.0 * 1024.0);
    }
}
