//! `node list`.

use std::process::ExitCode;

use super::{Context, pages};
use crate::cli::NodeVerb;
use crate::client::Error;
use crate::output;

pub(super) async fn run(context: &Context, verb: NodeVerb) -> Result<ExitCode, Error> {
    let NodeVerb::List = verb;
    let page = pages::all(&context.control, &["v1", "nodes"], &[]).await?;
    let columns = ["id", "acked_revision", "nacked", "connected_since", "snapshot_age_seconds"];
    output::list(context.output, &page, pages::items(&page), &columns)?;
    Ok(ExitCode::SUCCESS)
}
