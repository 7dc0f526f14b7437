//! Arguments of the verbs that try filters and explain who gets an event.

use clap::{Args, Subcommand};

/// `filter`.
#[derive(Debug, Subcommand)]
pub enum FilterVerb {
    /// Say what a filter gives for an event, and whether it can ever hold on a topic; exit 1 when it is none or never matches.
    Check(FilterCheck),
}

/// `filter check`.
#[derive(Debug, Args)]
pub struct FilterCheck {
    /// A filter as JSON (`{"cel": "data.total > 100.0"}`), or a CESQL expression.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    pub filter: Option<String>,
    /// A file with the filter, JSON or YAML; `-` is standard input.
    #[arg(long)]
    pub file: Option<String>,
    /// A file with the event, a CloudEvent or data; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub event: Option<String>,
    /// Look at this topic's schemas too.
    #[arg(long)]
    pub topic: Option<String>,
}

/// `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The topic.
    pub topic: String,
    /// The event, a CloudEvent or data; `-` is standard input.
    #[arg(default_value = "-", conflicts_with_all = ["partition", "offset"])]
    pub file: String,
    /// A stored event's partition.
    #[arg(long, requires = "offset")]
    pub partition: Option<u32>,
    /// A stored event's offset.
    #[arg(long, requires = "partition")]
    pub offset: Option<u64>,
    /// Also subscriptions whose topic cannot match.
    #[arg(long)]
    pub all: bool,
}
