//! The `posthorn` binary: both planes, and the command line that speaks to them.

#![allow(unreachable_pub, reason = "in a binary `pub` says: for the rest of the program")]

mod cli;
mod client;
mod config;
mod demo;
mod listen;
mod logging;
mod output;
mod run;
mod verbs;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use config::{Config, Given};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// EX_CONFIG of the BSD exit codes would be 78; 64 is what the interfaces promise for a bad configuration.
const BAD_CONFIGURATION: u8 = 64;

fn main() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    match command {
        Command::Serve(args) => server((&args).into(), run::serve),
        Command::Dataplane(args) => server(Given { data_plane_alone: true, ..(&args).into() }, run::dataplane),
        Command::Controlplane(args) => server((&args).into(), run::controlplane),
        Command::Demo(args) => report(demo::demo(&args)),
        Command::Config(verb) => verbs::config::run(&verb, global.output),
        client => verbs::run(client, &global),
    }
}

fn server(given: Given, run: impl FnOnce(Config) -> anyhow::Result<ExitCode>) -> ExitCode {
    let config = match config::load(&given, config::environment()) {
        Ok(config) => config,
        Err(faults) => return bad_configuration(&faults),
    };
    logging::start(&config);
    report(run(config))
}

fn bad_configuration(faults: &config::Faults) -> ExitCode {
    eprint!("posthorn: {faults}");
    ExitCode::from(BAD_CONFIGURATION)
}

fn report(ended: anyhow::Result<ExitCode>) -> ExitCode {
    ended.unwrap_or_else(|error| {
        eprintln!("posthorn: {error:#}");
        ExitCode::FAILURE
    })
}
