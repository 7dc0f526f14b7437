//! `topic put|get|qos|list|delete`.

use std::process::ExitCode;

use http::Method;
use serde_json::Value;

use super::{Context, object, pages, set};
use crate::cli::{TopicPut, TopicVerb};
use crate::client::{Error, nodes};
use crate::output;

pub(super) async fn run(context: &Context, verb: TopicVerb) -> Result<ExitCode, Error> {
    let control = &context.control;
    match verb {
        TopicVerb::Put(put) => {
            let path = control.path(&["v1", "topics", &put.name], &[]);
            let answer = control.call(Method::PUT, &path, Some(&body(&put)?)).await?;
            if !put.no_wait {
                nodes::settle(control, &answer).await?;
            }
            output::resource(context.output, &answer.body)?;
        }
        TopicVerb::Get { name } => {
            let answer = control.call(Method::GET, &control.path(&["v1", "topics", &name], &[]), None).await?;
            output::resource(context.output, &answer.body)?;
        }
        TopicVerb::Qos { name, schemas, durability, subscription } => {
            let asked = [("schemas", schemas), ("durability", durability), ("subscription", subscription)];
            let asked: Vec<(&str, &str)> = asked.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
            let answer = control.call(Method::GET, &control.path(&["v1", "topics", &name, "qos"], &asked), None).await?;
            output::resource(context.output, &answer.body)?;
        }
        TopicVerb::List => {
            let page = pages::all(control, &["v1", "topics"], &[]).await?;
            let columns = ["name", "partitions", "schemas", "durability", "on_refusal", "revision"];
            output::list(context.output, &page, pages::items(&page), &columns)?;
        }
        TopicVerb::Delete { name } => {
            control.call(Method::DELETE, &control.path(&["v1", "topics", &name], &[]), None).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn body(put: &TopicPut) -> Result<Value, Error> {
    let mut body = object(put.file.as_deref())?;
    set(&mut body, "partitions", put.partitions);
    set(&mut body, "schemas", (!put.schema.is_empty()).then(|| put.schema.clone()));
    set(&mut body, "schema_required", put.schema_required.then_some(true));
    set(&mut body, "on_refusal", put.on_refusal.clone());
    set(&mut body, "durability", put.durability.clone());
    set(&mut body, "ttl", put.ttl.clone());
    set(&mut body, "retention.age", put.retention_age.clone());
    set(&mut body, "retention.bytes", put.retention_bytes.clone());
    set(&mut body, "dedup_window", put.dedup_window.clone());
    set(&mut body, "max_hops", put.max_hops);
    Ok(body.into())
}
