//! `posthorn demo`: the whole path once, on real payloads, on this machine alone.
//!
//! Starts the real server as a child and speaks to its public doors; what came out is judged by a receiver that shares no code
//! with the sender, and by the verdicts of an independent validator. Exits 0 only when every count is as it must be.

mod checks;
mod console;
mod data;
mod publish;
mod receiver;
mod server;
mod setup;
mod story;
mod stream;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use console::Console;
use data::Data;

/// `demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoArgs {
    /// The recorded webhooks; `tests/data/github-webhooks` of the source tree when left out.
    #[arg(long = "events", value_name = "DIR")]
    pub events: Option<PathBuf>,
}

/// Runs it.
pub fn demo(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let data = Data::load(args.events.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().context("the runtime cannot start")?;
    runtime.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut console = Console::new();
        tokio::select! {
            ended = story::tell(&data, &mut console) => ended,
            _ = terminate.recv() => anyhow::bail!("terminated"),
            _ = interrupt.recv() => anyhow::bail!("interrupted"),
        }
    })
}
