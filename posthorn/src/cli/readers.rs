//! `reader`.

use clap::Subcommand;

/// `reader`.
#[derive(Debug, Subcommand)]
pub enum ReaderVerb {
    /// Make or change a reader.
    Put {
        #[doc = "Its name."]
        name: String,
        #[doc = "The topic that it reads."]
        #[arg(long)]
        topic: Option<String>,
        #[doc = "A filter as JSON, `{\"sql\": \"amount > 10\"}`; may be repeated, all must hold."]
        #[arg(long, value_name = "JSON")]
        filter: Vec<String>,
        #[doc = "The body, JSON or YAML; `-` is standard input."]
        #[arg(long)]
        file: Option<String>,
    },
    /// Show one: where it stands, how far behind, who shares it.
    Get {
        #[doc = "Its name, or the id of a pulled subscription."]
        name: String,
    },
    /// Show all.
    List,
    /// Forget one and its place.
    Delete {
        #[doc = "Its name."]
        name: String,
    },
    /// Print what is there for it, one event a line, and its cursor on standard error.
    Read {
        #[doc = "Its name, or the id of a pulled subscription."]
        name: String,
        #[doc = "Events at most."]
        #[arg(long)]
        limit: Option<u32>,
        #[doc = "How long to wait for the first, up to 60s."]
        #[arg(long)]
        wait: Option<String>,
        #[doc = "Who reads, where several share it."]
        #[arg(long)]
        member: Option<String>,
        #[doc = "Commit what was printed."]
        #[arg(long)]
        commit: bool,
    },
    /// Put it somewhere: `earliest`, `latest`, `time:2026-01-01T00:00:00Z` or a cursor.
    Commit {
        #[doc = "Its name, or the id of a pulled subscription."]
        name: String,
        #[doc = "Where to."]
        cursor: String,
        #[doc = "Who commits, where several share it."]
        #[arg(long)]
        member: Option<String>,
    },
}
