//! Arguments of the verbs that move events.

use clap::Args;
use posthorn_domain::units::Dur;

/// `publish`.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// The topic.
    pub topic: String,
    /// JSON lines; `-` is standard input.
    #[arg(default_value = "-")]
    pub file: String,
    /// Send up to 500 events a request.
    #[arg(long)]
    pub batch: bool,
}

/// `tail`.
#[derive(Debug, Args)]
pub struct TailArgs {
    /// The topic.
    pub topic: String,
    /// `earliest`, `latest`, `time:2026-01-01T00:00:00Z` or a cursor.
    #[arg(long, default_value = "latest")]
    pub from: String,
    /// Only events that this CESQL expression takes.
    #[arg(long, value_name = "SQL")]
    pub filter: Option<String>,
    /// End after so many events.
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

/// `listen`.
#[derive(Debug, Args)]
pub struct ListenArgs {
    /// Port on 127.0.0.1; 0 picks a free one.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// `whsec_…` or `whpk_…`; any that verifies will do.
    #[arg(long, env = "POSTHORN_LISTEN_SECRET", hide_env_values = true)]
    pub secret: Vec<String>,
    /// Answer every delivery with this status.
    #[arg(long, value_parser = clap::value_parser!(u16).range(200..=599))]
    pub status: Option<u16>,
    /// Wait so long before each answer.
    #[arg(long, default_value = "0s")]
    pub delay: Dur,
    /// Answer the first N with 503 (or `--status`), the rest with 200.
    #[arg(long, value_name = "N")]
    pub fail_first: Option<u64>,
}
