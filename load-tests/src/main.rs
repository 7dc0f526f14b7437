//! `posthorn-load`: measures Posthorn against bare forwarders, and has its parts as commands of their own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use posthorn_load::generator::{self, Events};
use posthorn_load::{compare, forwarder, receiver};

#[derive(Parser)]
#[command(about = "Load generator, receiver and yardsticks for Posthorn", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compare Posthorn with the bare forwarders and write the table of ratios
    Compare {
        /// The release binary; by default the one beside this program
        #[arg(long)]
        posthorn: Option<PathBuf>,
        /// Measure the forwarders only
        #[arg(long)]
        yardsticks_only: bool,
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
        rounds: u32,
        /// Events of each fan-out 1 measurement
        #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(400..=1_000_000))]
        events: u64,
        /// Write the report here as well
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Send events to a URL: closed loop, or open loop with --rate
    Generate {
        #[arg(long)]
        target: SocketAddr,
        #[arg(long, default_value = "/v1/events")]
        path: String,
        #[arg(long)]
        schemas: Option<String>,
        #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=4_000))]
        connections: u16,
        #[arg(long, default_value_t = 10_000)]
        count: u64,
        /// Events in a request
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000))]
        batch: u64,
        /// Events a second whatever the answers do; --seconds says how long
        #[arg(long)]
        rate: Option<u32>,
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// Forward every POST, and nothing else
    Forwarder {
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        #[arg(long)]
        target: SocketAddr,
        #[arg(long, default_value = "/hook")]
        path: String,
        /// Add one HMAC and the Standard Webhooks headers
        #[arg(long)]
        sign: bool,
    },
    /// Answer 200 and count; GET /count tells
    Receiver {
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Compare { posthorn, yardsticks_only, rounds, events, out } => {
            let posthorn = if yardsticks_only { None } else { Some(binary(posthorn)?) };
            let report = compare::run(&compare::Plan { posthorn, rounds, events }).await?;
            print!("{report}");
            out.map_or(Ok(()), |file| std::fs::write(&file, &report).with_context(|| file.display().to_string()))
        }
        Command::Generate { target, path, schemas, connections, count, batch, rate, seconds } => {
            let run = format!("generate-{}", std::process::id());
            let events = Events { address: target, path, run, schemas, batch };
            let length = Duration::from_secs(seconds);
            let sent = match rate {
                Some(rate) => generator::open(&events, rate, length).await?,
                None => generator::closed(&events, connections.into(), count, Duration::from_secs(600)).await?,
            };
            print_sent(&sent);
            Ok(())
        }
        Command::Forwarder { listen, target, path, sign } => forwarder::run(listen, target, &path, sign).await,
        Command::Receiver { listen } => receiver::run(listen).await,
    }
}

fn binary(given: Option<PathBuf>) -> Result<PathBuf> {
    let beside = || Ok(std::env::current_exe()?.with_file_name("posthorn"));
    let path = given.map_or_else(beside, anyhow::Ok)?;
    anyhow::ensure!(path.is_file(), "{} is not there: cargo build --release --package posthorn", path.display());
    Ok(path)
}

fn print_sent(sent: &generator::Sent) {
    let millis = |q| sent.latency.value_at_quantile(q) as f64 / 1e3;
    println!("accepted {} failed {} in {:.2} s ({:.0}/s)", sent.accepted, sent.failed, sent.elapsed.as_secs_f64(), rate(sent));
    println!("latency p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, max {:.2} ms", millis(0.5), millis(0.99), millis(0.999), millis(1.0));
}

fn rate(sent: &generator::Sent) -> f64 {
    sent.accepted as f64 / sent.elapsed.as_secs_f64().max(1e-9)
}
