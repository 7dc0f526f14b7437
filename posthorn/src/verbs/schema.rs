//! `schema add|get|list|check`.

use std::process::ExitCode;

use http::Method;
use serde_json::{Map, Value};

use super::{Context, pages, set};
use crate::cli::{SchemaAdd, SchemaVerb};
use crate::client::{Error, body, nodes};
use crate::output;

/// Members of a version's body; an object with `schema` and no others than these is one.
const MEMBERS: [&str; 6] = ["schema", "ttl", "durability", "dead_letter", "on_refusal", "assert_formats"];

pub(super) async fn run(context: &Context, verb: SchemaVerb) -> Result<ExitCode, Error> {
    let control = &context.control;
    match verb {
        SchemaVerb::Add(add) => {
            let query: &[(&str, &str)] = if add.force { &[("force", "true")] } else { &[] };
            let path = control.path(&["v1", "schemas", &add.name, "versions"], query);
            let answer = control.call(Method::POST, &path, Some(&version(&add)?)).await?;
            if !add.no_wait {
                nodes::settle(control, &answer).await?;
            }
            output::resource(context.output, &answer.body)?;
        }
        SchemaVerb::Get { name, version } => {
            let mut segments = vec!["v1", "schemas", &name];
            segments.extend(version.as_deref().into_iter().flat_map(|version| ["versions", version]));
            let answer = control.call(Method::GET, &control.path(&segments, &[]), None).await?;
            output::resource(context.output, &answer.body)?;
        }
        SchemaVerb::List => {
            let page = pages::all(control, &["v1", "schemas"], &[]).await?;
            output::list(context.output, &page, pages::items(&page), &["name", "latest", "compatibility", "revision", "updated_at"])?;
        }
        SchemaVerb::Check { add, sample } => return check(context, &add, sample).await,
    }
    Ok(ExitCode::SUCCESS)
}

async fn check(context: &Context, add: &SchemaAdd, sample: Option<u32>) -> Result<ExitCode, Error> {
    let sample = sample.map(|sample| sample.to_string());
    let mut query = vec![("dry_run", "true")];
    query.extend(add.force.then_some(("force", "true")));
    query.extend(sample.as_deref().map(|sample| ("sample", sample)));
    let path = context.control.path(&["v1", "schemas", &add.name, "versions"], &query);
    let answer = context.control.call(Method::POST, &path, Some(&version(add)?)).await?;
    output::resource(context.output, &answer.body)?;
    let incompatible = answer.body.get("compatible") == Some(&Value::Bool(false));
    Ok(if incompatible { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn version(add: &SchemaAdd) -> Result<Value, Error> {
    let mut body = match body::read(&add.file)? {
        Value::Object(members) if members.contains_key("schema") && members.keys().all(|name| MEMBERS.contains(&name.as_str())) => members,
        schema => Map::from_iter([("schema".to_owned(), schema)]),
    };
    set(&mut body, "ttl", add.ttl.clone());
    set(&mut body, "durability", add.durability.clone());
    set(&mut body, "dead_letter", add.dead_letter.clone());
    set(&mut body, "on_refusal", add.on_refusal.clone());
    set(&mut body, "assert_formats", add.assert_formats.then_some(true));
    Ok(body.into())
}
