//! `delivery list|get`.

use std::process::ExitCode;

use http::Method;

use super::{Context, pages};
use crate::cli::DeliveryVerb;
use crate::client::Error;
use crate::output;

pub(super) async fn run(context: &Context, verb: DeliveryVerb) -> Result<ExitCode, Error> {
    match verb {
        DeliveryVerb::List { subscription, topic, status, event_id } => {
            let filters = [
                ("subscription", subscription.as_deref()),
                ("topic", topic.as_deref()),
                ("status", status.as_deref()),
                ("event_id", event_id.as_deref()),
            ];
            let page = pages::all(&context.control, &["v1", "deliveries"], &filters).await?;
            let columns = ["id", "status", "subscription", "topic", "partition", "offset", "event_id", "next_attempt_at"];
            output::list(context.output, &page, pages::items(&page), &columns)?;
        }
        DeliveryVerb::Get { id } => {
            let path = context.control.path(&["v1", "deliveries", &id], &[]);
            output::resource(context.output, &context.control.call(Method::GET, &path, None).await?.body)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
