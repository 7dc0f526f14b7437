//! `schema add|get|list|check|set-compatibility|deprecate|delete`.

use std::process::ExitCode;

use http::Method;
use serde_json::{Map, Value, json};

use super::{Context, pages, set};
use crate::cli::{SchemaAdd, SchemaCheck, SchemaMembers, SchemaVerb};
use crate::client::{Answer, Error, body, nodes};
use crate::output;

/// Members of a version's body; an object with `schema` and no others than these is one.
const MEMBERS: [&str; 6] = ["schema", "ttl", "durability", "dead_letter", "on_refusal", "assert_formats"];

pub(super) async fn run(context: &Context, verb: SchemaVerb) -> Result<ExitCode, Error> {
    let control = &context.control;
    match verb {
        SchemaVerb::Add(add) => return self::add(context, &add).await,
        SchemaVerb::Get { name, version } => {
            let answer = control.call(Method::GET, &path(context, &name, version.as_deref()), None).await?;
            output::resource(context.output, &answer.body)?;
        }
        SchemaVerb::List => {
            let page = pages::all(control, &["v1", "schemas"], &[]).await?;
            output::list(context.output, &page, pages::items(&page), &["name", "versions", "compatibility", "revision", "updated_at"])?;
        }
        SchemaVerb::Check(check) => return self::check(context, &check).await,
        SchemaVerb::SetCompatibility { name, mode, no_wait } => {
            change(context, &path(context, &name, None), &json!({"compatibility": mode}), no_wait).await?;
        }
        SchemaVerb::Deprecate { name, version, message, no_wait } => {
            let path = path(context, &name, Some(&version.to_string()));
            change(context, &path, &json!({"deprecated": message}), no_wait).await?;
        }
        SchemaVerb::Delete { name, version } => {
            let version = version.map(|version| version.to_string());
            control.call(Method::DELETE, &path(context, &name, version.as_deref()), None).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn path(context: &Context, name: &str, version: Option<&str>) -> String {
    let mut segments = vec!["v1", "schemas", name];
    segments.extend(version.into_iter().flat_map(|version| ["versions", version]));
    context.control.path(&segments, &[])
}

async fn change(context: &Context, path: &str, body: &Value, no_wait: bool) -> Result<(), Error> {
    let answer = context.control.call(Method::PUT, path, Some(body)).await?;
    if !no_wait {
        nodes::settle(&context.control, &answer).await?;
    }
    Ok(output::resource(context.output, &answer.body)?)
}

async fn add(context: &Context, add: &SchemaAdd) -> Result<ExitCode, Error> {
    let mut query = Vec::new();
    query.extend(add.dry_run.then(|| ("dry_run", "true".to_owned())));
    query.extend(add.sample.map(|sample| ("sample", sample.to_string())));
    query.extend(add.members.force.then(|| ("force", "true".to_owned())));
    query.extend(add.override_undecided.then(|| ("override", "true".to_owned())));
    let answer = send(context, &add.name, &query, &version(&add.file, &add.members)?).await?;
    if !add.no_wait && !add.dry_run {
        nodes::settle(&context.control, &answer).await?;
    }
    output::resource(context.output, &answer.body)?;
    Ok(outcome(&answer))
}

async fn check(context: &Context, check: &SchemaCheck) -> Result<ExitCode, Error> {
    let (file, name) = match (&check.against, &check.file) {
        (Some(name), _) => (&check.target, name),
        (None, Some(file)) => (file, &check.target),
        (None, None) => return Err(Error::Usage("`--against NAME` or `--file FILE` is missing".into())),
    };
    let version = version(file, &check.members)?;
    let mode = match &check.compatibility {
        None if check.against.is_some() => compared_by(context, name).await?,
        mode => mode.clone(),
    };
    let mut query = vec![("dry_run", "true".to_owned())];
    query.extend(check.members.force.then(|| ("force", "true".to_owned())));
    query.extend(check.sample.map(|sample| ("sample", sample.to_string())));
    query.extend(mode.map(|mode| ("compatibility", mode)));
    let answer = send(context, name, &query, &version).await?;
    output::resource(context.output, &answer.body)?;
    Ok(outcome(&answer))
}

/// The mode when the schema's own would compare nothing.
async fn compared_by(context: &Context, name: &str) -> Result<Option<String>, Error> {
    let schema = context.control.call(Method::GET, &path(context, name, None), None).await?;
    if schema.body.get("compatibility").and_then(Value::as_str) != Some("none") {
        return Ok(None);
    }
    eprintln!("posthorn: the compatibility of `{name}` is none; checked as backward");
    Ok(Some("backward".to_owned()))
}

async fn send(context: &Context, name: &str, query: &[(&str, String)], version: &Value) -> Result<Answer, Error> {
    let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let path = context.control.path(&["v1", "schemas", name, "versions"], &query);
    context.control.call(Method::POST, &path, Some(version)).await
}

fn outcome(answer: &Answer) -> ExitCode {
    let incompatible = answer.body.get("compatible") == Some(&Value::Bool(false));
    if incompatible { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn version(file: &str, members: &SchemaMembers) -> Result<Value, Error> {
    let mut body = match body::read(file)? {
        Value::Object(members) if members.contains_key("schema") && members.keys().all(|name| MEMBERS.contains(&name.as_str())) => members,
        schema => Map::from_iter([("schema".to_owned(), schema)]),
    };
    set(&mut body, "ttl", members.ttl.clone());
    set(&mut body, "durability", members.durability.clone());
    set(&mut body, "dead_letter", members.dead_letter.clone());
    set(&mut body, "on_refusal", members.on_refusal.clone());
    set(&mut body, "assert_formats", members.assert_formats.then_some(true));
    Ok(body.into())
}
