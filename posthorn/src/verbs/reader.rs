//! `reader put|get|list|delete|read|commit`.

use std::process::ExitCode;

use http::Method;
use serde_json::{Value, json};

use super::{Context, object, pages, set};
use crate::cli::{Output, ReaderVerb};
use crate::client::{Door, Error, body};
use crate::output;

pub(super) async fn run(context: &Context, verb: ReaderVerb) -> Result<ExitCode, Error> {
    let data = &context.data;
    let one = |name: &str| data.path(&["v1", "readers", name], &[]);
    match verb {
        ReaderVerb::Put { name, topic, filter, file } => {
            let mut document = object(file.as_deref())?;
            set(&mut document, "topic", topic);
            let filters = filter.iter().map(|text| body::parse(text)).collect::<Result<Vec<Value>, _>>().map_err(Error::Usage)?;
            set(&mut document, "filters", (!filters.is_empty()).then_some(filters));
            let answer = data.call(Method::PUT, &one(&name), Some(&document.into())).await?;
            output::resource(context.output, &answer.body)?;
        }
        ReaderVerb::Get { name } => output::resource(context.output, &data.call(Method::GET, &one(&name), None).await?.body)?,
        ReaderVerb::List => {
            let page = pages::all(data, &["v1", "readers"], &[]).await?;
            output::list(context.output, &page, pages::items(&page), &["name", "topic", "lag", "updated_at"])?;
        }
        ReaderVerb::Delete { name } => drop(data.call(Method::DELETE, &one(&name), None).await?),
        ReaderVerb::Read { name, limit, wait, member, commit } => {
            let limit = limit.map(|limit| limit.to_string());
            let asked = [("limit", limit.as_deref()), ("wait", wait.as_deref()), ("member", member.as_deref())];
            let asked: Vec<(&str, &str)> = asked.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            let page = data.call(Method::GET, &data.path(&["v1", "readers", &name, "events"], &asked), None).await?.body;
            show(context.output, &page);
            let cursor = page["cursor"].as_str().unwrap_or_default();
            if commit {
                put(data, &name, cursor, member.as_deref()).await?;
            }
        }
        ReaderVerb::Commit { name, cursor, member } => {
            output::resource(context.output, &put(data, &name, &cursor, member.as_deref()).await?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(format: Output, page: &Value) {
    if format == Output::Json {
        println!("{page}");
        return;
    }
    for entry in page["events"].as_array().into_iter().flatten() {
        println!("{}", entry.get("event").or_else(|| entry.get("gap")).unwrap_or(entry));
    }
    eprintln!("cursor {}", page["cursor"].as_str().unwrap_or_default());
}

async fn put(data: &Door, name: &str, cursor: &str, member: Option<&str>) -> Result<Value, Error> {
    let member: Vec<(&str, &str)> = member.map(|member| ("member", member)).into_iter().collect();
    let path = data.path(&["v1", "readers", name, "cursor"], &member);
    Ok(data.call(Method::POST, &path, Some(&json!({"cursor": cursor}))).await?.body)
}
