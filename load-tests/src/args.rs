//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use posthorn_load::dial::Protocol;
use posthorn_load::outlet::Secure;
use posthorn_load::{doors, forwarder, receiver};

const HOME: &str = env!("CARGO_MANIFEST_DIR");

#[derive(Parser)]
#[command(about = "Load generator, receiver and yardsticks for gateways that deliver events", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run scenarios and write RESULTS.md; those that are named, as files or by name, else all of the depth
    Run(Run),
    /// List the scenarios; - marks those that are not part of a run in this depth
    List {
        #[arg(long, default_value_os_t = home("scenarios"))]
        scenarios: PathBuf,
        #[arg(long)]
        full: bool,
    },
    /// Write RESULTS.md again from results.json
    Report {
        #[arg(long, default_value_os_t = home("scenarios"))]
        scenarios: PathBuf,
        #[arg(long, default_value_os_t = home(""))]
        out: PathBuf,
    },
    /// Half of the ceiling for a long time, with faults at random: what is lost, what grows
    Soak(Soak),
    /// Publish by HTTP batches and by streams of the EventBroker in turn, to a Posthorn that runs
    Doors(Doors),
    /// Answer deliveries as told and count them
    Receiver(Receiver),
    /// Forward every POST, and nothing else
    Forwarder(Forwarder),
}

#[derive(Args)]
pub(crate) struct Doors {
    #[arg(long, default_value = "127.0.0.1:8080")]
    data: SocketAddr,
    #[arg(long, default_value = "127.0.0.1:9620")]
    broker: SocketAddr,
    /// A topic that exists
    #[arg(long)]
    topic: String,
    #[arg(long, default_value_t = 80_000, value_parser = clap::value_parser!(u64).range(100..=10_000_000))]
    events: u64,
    /// Connections, and streams
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=64))]
    lanes: u64,
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=20))]
    rounds: u64,
}

impl From<Doors> for doors::Options {
    fn from(args: Doors) -> Self {
        let Doors { data, broker, topic, events, lanes, rounds } = args;
        Self { data, broker, topic, events, lanes, rounds }
    }
}

#[derive(Args)]
pub(crate) struct Run {
    /// Names, or files that end in .yaml
    pub(crate) names: Vec<String>,
    /// With the numbers of the full run (up to 40 minutes) instead of the quick one (up to 5)
    #[arg(long)]
    pub(crate) full: bool,
    /// Rounds, whatever the scenario says
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub(crate) rounds: Option<u64>,
    /// Start no scenario after so many minutes
    #[arg(long, default_value_t = 40)]
    pub(crate) minutes: u64,
    /// Posthorn's release binary; by default the one beside this program. Scenarios that measure others do without
    #[arg(long)]
    pub(crate) posthorn: Option<PathBuf>,
    /// The folder of scenarios
    #[arg(long, default_value_os_t = home("scenarios"))]
    pub(crate) scenarios: PathBuf,
    /// Where RESULTS.md, results.json and plots/ are
    #[arg(long, default_value_os_t = home(""))]
    pub(crate) out: PathBuf,
}

#[derive(Args)]
pub(crate) struct Soak {
    /// How long, without the ceiling before and the account after; fractions are taken
    #[arg(long, default_value_t = 60.0, value_parser = minutes)]
    pub(crate) minutes: f64,
    /// Of the faults; the time of day when it is left out, and printed
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Events a second, instead of half of the ceiling
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Posthorn's release binary; by default the one beside this program
    #[arg(long)]
    pub(crate) posthorn: Option<PathBuf>,
    /// A file for the page, beside printing it
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| "a number is expected".to_owned())?;
    if (0.2..=10_000.0).contains(&minutes) { Ok(minutes) } else { Err("from 0.2 to 10000".to_owned()) }
}

#[derive(Args)]
pub(crate) struct Receiver {
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Loopback addresses on one port
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=100))]
    hosts: u8,
    /// HTTPS too; the certificate authority goes to ca.pem in this folder
    #[arg(long)]
    tls_folder: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Forwarder {
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    #[arg(long)]
    target: SocketAddr,
    /// Send to /{group}/0, /{group}/1, …
    #[arg(long, default_value = "ok")]
    group: String,
    /// How often each request is sent on
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    fan_out: u32,
    /// Add one HMAC and the Standard Webhooks headers
    #[arg(long)]
    sign: bool,
    /// Deliver over TLS, with this protocol
    #[arg(long)]
    tls: Option<Within>,
    /// Certificate authorities to trust beside the system's, as PEM
    #[arg(long, requires = "tls")]
    ca_file: Option<PathBuf>,
}

/// What is spoken within TLS.
#[derive(Clone, Copy, ValueEnum)]
enum Within {
    /// HTTP/1.1
    H1,
    /// HTTP/2
    H2,
}

impl From<Receiver> for receiver::Options {
    fn from(Receiver { listen, hosts, tls_folder }: Receiver) -> Self {
        Self { listen, hosts, tls_folder }
    }
}

impl From<Forwarder> for forwarder::Options {
    fn from(Forwarder { listen, target, group, fan_out, sign, tls, ca_file }: Forwarder) -> Self {
        let protocol = |within| match within {
            Within::H1 => Protocol::H1,
            Within::H2 => Protocol::H2,
        };
        let secure = tls.map(|within| Secure { protocol: protocol(within), ca: ca_file });
        Self { listen, target, secure, group, fan_out, sign }
    }
}

fn home(part: &str) -> PathBuf {
    PathBuf::from(HOME).join(part)
}
