//! `posthorn-load`: runs scenarios, and has the parts of the harness as commands of their own.

mod args;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser as _;
use posthorn_load::report::{Machine, Place, Results};
use posthorn_load::run::{self, Programs};
use posthorn_load::scenario::{self, Depth, Scenario};
use posthorn_load::{cores, doors, forwarder, receiver, soak, wall};

use args::{Arguments, Command, Run};

fn main() -> Result<ExitCode> {
    let command = Arguments::parse().command;
    if matches!(command, Command::Run(_) | Command::Soak(_)) {
        if matches!(command, Command::Soak(_)) {
            soak::in_own_namespace()?;
        }
        // Before the runtime starts its threads.
        cores::share_two()?;
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(perform(command))
}

async fn perform(command: Command) -> Result<ExitCode> {
    match command {
        Command::Run(run) => scenarios(&run).await,
        Command::List { scenarios, full } => list(&scenarios, full),
        Command::Report { scenarios, out } => {
            let place = Place::new(&out);
            place.write(&scenario::load_all(&scenarios, Depth::Full)?, &Results::load(&place.data())?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Soak(options) => soak(options).await,
        Command::Doors(options) => doors::run(&options.into()).await.map(|()| ExitCode::SUCCESS),
        Command::Receiver(options) => receiver::run(&options.into()).await.map(|()| ExitCode::SUCCESS),
        Command::Forwarder(options) => forwarder::run(&options.into()).await.map(|()| ExitCode::SUCCESS),
    }
}

/// Runs what was asked for, and writes the page after each scenario, so that an interrupted run keeps what it found.
async fn scenarios(run: &Run) -> Result<ExitCode> {
    let depth = if run.full { Depth::Full } else { Depth::Quick };
    let all = scenario::load_all(&run.scenarios, depth)?;
    let chosen = choose(run, depth, &all)?;
    let needed = chosen.iter().any(Scenario::needs_posthorn);
    let programs = Programs { own: std::env::current_exe()?, posthorn: posthorn(run.posthorn.as_deref(), needed)? };
    std::fs::create_dir_all(&run.out).with_context(|| run.out.display().to_string())?;
    let (place, machine, began) = (Place::new(&run.out), Machine::read(), wall::micros());
    let mut results = Results::load(&place.data())?;
    let mut failed = Vec::new();
    for mut scenario in chosen {
        let spent = (wall::micros() - began) / 1_000_000;
        let needs = results.took_last(&scenario.name, depth, scenario.rounds);
        if spent + needs >= run.minutes * 60 {
            println!("LEFT OUT {}: {spent} s are spent, and it took {needs} s the last time", scenario.name);
            failed.push(scenario.name);
            continue;
        }
        scenario.rounds = run.rounds.unwrap_or(scenario.rounds);
        eprintln!("{}: {} ({spent} s so far)", scenario.name, scenario.title);
        let outcome = run::scenario(&scenario, &programs).await;
        for fault in &outcome.faults {
            println!("FAILED {}: {fault}", scenario.name);
        }
        if !outcome.faults.is_empty() {
            failed.push(scenario.name.clone());
        }
        results.put(&scenario, depth, &outcome, &machine);
        results.save(&place.data())?;
        place.write(&merged(&all, &scenario), &results)?;
    }
    println!(
        "{} in {} s, results in {}",
        if failed.is_empty() { "done" } else { "failed" },
        (wall::micros() - began) / 1_000_000,
        run.out.display()
    );
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Those that were named, as files or by name; else all that belong to this depth.
fn choose(run: &Run, depth: Depth, all: &[Scenario]) -> Result<Vec<Scenario>> {
    if run.names.is_empty() {
        return Ok(all.iter().filter(|scenario| scenario.included).cloned().collect());
    }
    let named = |name: &String| {
        let file = Path::new(name);
        if file.extension().is_some_and(|extension| extension == "yaml") {
            return Scenario::load(file, depth);
        }
        let known = || all.iter().map(|scenario| scenario.name.as_str()).collect::<Vec<_>>().join(", ");
        all.iter()
            .find(|scenario| scenario.name == *name)
            .cloned()
            .with_context(|| format!("no scenario is called {name}; there are {}", known()))
    };
    run.names.iter().map(named).collect()
}

/// All scenarios of the folder; this one, also if it is from elsewhere, as it was run.
fn merged(all: &[Scenario], one: &Scenario) -> Vec<Scenario> {
    let mut list = all.to_vec();
    match list.iter_mut().find(|scenario| scenario.name == one.name) {
        Some(place) => *place = one.clone(),
        None => list.push(one.clone()),
    }
    list
}

/// Prints the page, and what is wrong last.
async fn soak(options: args::Soak) -> Result<ExitCode> {
    let options = soak::Options {
        length: std::time::Duration::from_secs_f64(options.minutes * 60.0),
        seed: options.seed.unwrap_or_else(wall::micros),
        rate: options.rate,
        own: std::env::current_exe()?,
        posthorn: posthorn(options.posthorn.as_deref(), true)?,
        out: options.out,
    };
    let outcome = soak::run(&options).await?;
    println!("{}", outcome.page());
    for fault in &outcome.wrong {
        println!("FAILED {fault}");
    }
    Ok(if outcome.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn list(folder: &Path, full: bool) -> Result<ExitCode> {
    for scenario in scenario::load_all(folder, if full { Depth::Full } else { Depth::Quick })? {
        let mark = if scenario.included { ' ' } else { '-' };
        println!("{mark} {:<24} {}", scenario.name, scenario.title);
    }
    Ok(ExitCode::SUCCESS)
}

/// Where Posthorn is; where it is needed, it has to be there.
fn posthorn(given: Option<&Path>, needed: bool) -> Result<PathBuf> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()?.with_file_name("posthorn"),
    };
    ensure!(!needed || path.is_file(), "{} is not there: cargo build --release --package posthorn", path.display());
    Ok(path)
}
