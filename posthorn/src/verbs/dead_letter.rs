//! `dead-letter list|get|retry|purge`.

use std::process::ExitCode;

use http::Method;
use serde_json::{Map, Value, json};

use super::{Context, pages, set};
use crate::cli::{DeadLetterFilter, DeadLetterVerb};
use crate::client::Error;
use crate::output;

pub(super) async fn run(context: &Context, verb: DeadLetterVerb) -> Result<ExitCode, Error> {
    match verb {
        DeadLetterVerb::List(filter) => {
            let page = list(context, &filter).await?;
            output::list(context.output, &page, pages::items(&page), &["id", "reason", "detail", "subscription", "delivery", "event.id"])?;
        }
        DeadLetterVerb::Get { id } => one(context, Method::GET, &["v1", "dead-letters", &id], None).await?,
        DeadLetterVerb::Retry { id: Some(id), validate_with, .. } => {
            let body = validate_with.map(|list| json!({"validate_with": list}));
            one(context, Method::POST, &["v1", "dead-letters", &id, "retry"], body.as_ref()).await?;
        }
        DeadLetterVerb::Retry { id: None, validate_with, filter } => {
            let mut body = chosen(&filter)?;
            if let Some(list) = validate_with {
                body["validate_with"] = list.into();
            }
            one(context, Method::POST, &["v1", "dead-letters", "retry"], Some(&body)).await?;
        }
        DeadLetterVerb::Purge { id: Some(id), .. } => one(context, Method::DELETE, &["v1", "dead-letters", &id], None).await?,
        DeadLetterVerb::Purge { id: None, filter } => {
            chosen(&filter)?;
            purge(context, &filter).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn one(context: &Context, method: Method, segments: &[&str], body: Option<&Value>) -> Result<(), Error> {
    let answer = context.control.call(method, &context.control.path(segments, &[]), body).await?;
    Ok(output::resource(context.output, &answer.body)?)
}

async fn list(context: &Context, filter: &DeadLetterFilter) -> Result<Value, Error> {
    let filters =
        [("topic", filter.topic.as_deref()), ("subscription", filter.subscription.as_deref()), ("reason", filter.reason.as_deref())];
    pages::all(&context.control, &["v1", "dead-letters"], &filters).await
}

/// One by one, by the deletion that a single dead letter has.
async fn purge(context: &Context, filter: &DeadLetterFilter) -> Result<(), Error> {
    let mut purged = 0_u64;
    let page = list(context, filter).await?;
    for id in pages::items(&page).iter().filter_map(|item| item.get("id").and_then(Value::as_str)) {
        context.control.call(Method::DELETE, &context.control.path(&["v1", "dead-letters", id], &[]), None).await?;
        purged += 1;
    }
    Ok(output::resource(context.output, &json!({"purged": purged}))?)
}

/// The filter as a body; an empty one needs `--all`, so that a forgotten flag does not touch everything.
fn chosen(filter: &DeadLetterFilter) -> Result<Value, Error> {
    let mut body = Map::new();
    set(&mut body, "topic", filter.topic.clone());
    set(&mut body, "subscription", filter.subscription.clone());
    set(&mut body, "reason", filter.reason.clone());
    if body.is_empty() && !filter.all {
        return Err(Error::Usage("give an id, a filter, or --all".into()));
    }
    Ok(body.into())
}
