//! The command line as types. What the verbs do stands in `verbs`; here is only how they are written.

mod filters;
mod readers;
mod resources;
mod traffic;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::Given;

pub use filters::{ExplainArgs, FilterCheck, FilterVerb};
pub use readers::ReaderVerb;
pub use resources::{DeadLetterFilter, DeadLetterVerb, DeliveryVerb, NodeVerb, SchemaVerb, SubscriptionVerb, TopicVerb};
pub use resources::{SchemaAdd, SchemaCheck, SchemaMembers, SubscriptionCreate, TopicPut};
pub use traffic::{ListenArgs, PublishArgs, TailArgs};

/// CloudEvents in, checked, kept and fanned out as signed webhooks.
#[derive(Debug, Parser)]
#[command(name = "posthorn", version)]
pub struct Cli {
    /// What all verbs take.
    #[command(flatten)]
    pub global: Global,
    /// The verb.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every client verb.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The control plane.
    #[arg(long, global = true, value_name = "URL", env = "POSTHORN_CONTROL_URL", default_value = "http://127.0.0.1:8081")]
    pub control: String,
    /// The data plane.
    #[arg(long, global = true, value_name = "URL", env = "POSTHORN_DATA_URL", default_value = "http://127.0.0.1:8080")]
    pub data: String,
    /// How answers are printed.
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Aligned columns, for people.
    Table,
    /// The resource as answered.
    Json,
}

/// Every verb.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run both planes in one process.
    Serve(ServerArgs),
    /// Run a data plane on its own.
    Dataplane(ServerArgs),
    /// Run a control plane on its own.
    Controlplane(ServerArgs),
    /// Show the whole path once, on this machine.
    Demo(crate::demo::DemoArgs),
    /// Check, show and describe the configuration.
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Topics.
    #[command(subcommand)]
    Topic(TopicVerb),
    /// Schemas and their versions.
    #[command(subcommand)]
    Schema(SchemaVerb),
    /// Subscriptions.
    #[command(subcommand)]
    Subscription(SubscriptionVerb),
    /// Readers whose place the node keeps.
    #[command(subcommand)]
    Reader(ReaderVerb),
    /// Send events: one a line, CloudEvents or plain JSON data.
    Publish(PublishArgs),
    /// Print a topic's events as they come.
    Tail(TailArgs),
    /// Receive deliveries on this machine, verify and print them.
    Listen(ListenArgs),
    /// Filters.
    #[command(subcommand)]
    Filter(FilterVerb),
    /// Say for each subscription whether it gets an event, and why not.
    Explain(ExplainArgs),
    /// Dead letters.
    #[command(subcommand)]
    DeadLetter(DeadLetterVerb),
    /// Deliveries and their attempts.
    #[command(subcommand)]
    Delivery(DeliveryVerb),
    /// Data planes that are connected.
    #[command(subcommand)]
    Node(NodeVerb),
}

/// How a server is started.
#[derive(Clone, Debug, Default, Args)]
pub struct ServerArgs {
    /// The configuration file (YAML).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where everything is kept; wins over `data_dir`.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Listen beyond loopback although callers are not authenticated.
    #[arg(long)]
    pub insecure: bool,
}

impl From<&ServerArgs> for Given {
    fn from(args: &ServerArgs) -> Self {
        Self { file: args.config.clone(), data_dir: args.data_dir.clone(), insecure: args.insecure, data_plane_alone: false }
    }
}

/// Verbs on the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Exit 0 when it is right, 64 with all faults when not.
    Check(ServerArgs),
    /// Print what is in force, secrets masked.
    Dump(ServerArgs),
    /// Print the JSON Schema of the file.
    Schema,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn verbs_take_what_the_interfaces_say() {
        for line in [
            "topic put orders --partitions 4 --schema order --no-wait",
            "schema add order --file - -o json",
            "subscription rotate-secret sub_1 --overlap 24h",
            "subscription create --name x --topic orders --url http://127.0.0.1:1/",
            "publish orders - --batch --data http://127.0.0.1:1",
            "tail orders --from earliest --filter amount>10",
            "listen --port 0 --secret a --secret b --status 503 --delay 2s --fail-first 3",
            "dead-letter retry dl_1",
            "filter check amount>10 --event event.json --topic orders",
            "filter check --file -",
            "explain orders event.json --all",
            "explain orders --partition 0 --offset 12",
            "serve --config f --data-dir d --insecure",
        ] {
            let words = ["posthorn"].into_iter().chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
        assert!(Cli::try_parse_from(["posthorn", "topic", "put"]).is_err());
    }
}
