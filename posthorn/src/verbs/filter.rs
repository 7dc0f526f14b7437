//! `filter check` and `explain`.

use std::process::ExitCode;

use http::Method;
use serde_json::{Map, Value, json};

use super::{Context, set};
use crate::cli::{ExplainArgs, FilterCheck, FilterVerb, Output};
use crate::client::{Error, body};
use crate::output;

pub(super) async fn run(context: &Context, verb: FilterVerb) -> Result<ExitCode, Error> {
    let FilterVerb::Check(args) = verb;
    let mut question = Map::new();
    set(&mut question, "filter", Some(filter(&args)?));
    let event = args.event.as_deref().map(|file| event(file, args.topic.as_deref().unwrap_or("unknown"))).transpose()?;
    set(&mut question, "event", event);
    set(&mut question, "topic", args.topic);
    let path = context.control.path(&["v1", "filters", "check"], &[]);
    let answer = context.control.call(Method::POST, &path, Some(&question.into())).await?.body;
    if context.output == Output::Json {
        output::resource(context.output, &answer)?;
    } else {
        show_check(&answer)?;
    }
    let never = items(&answer, "warnings").iter().any(|warning| warning["never_matches"] == true);
    Ok(if answer["valid"] == true && !never { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn filter(args: &FilterCheck) -> Result<Value, Error> {
    match (&args.filter, &args.file) {
        (_, Some(file)) => body::read(file),
        (Some(text), None) if text.trim_start().starts_with('{') => {
            serde_json::from_str(text).map_err(|error| Error::Usage(format!("the filter is not JSON: {error}")))
        }
        (text, None) => Ok(json!({"sql": text.as_deref().unwrap_or_default()})),
    }
}

/// As `publish` takes them: what has no `specversion` is the data of an event.
fn event(file: &str, topic: &str) -> Result<Value, Error> {
    let document = body::read(file)?;
    if document.get("specversion").is_some() {
        return Ok(document);
    }
    Ok(json!({"specversion": "1.0", "id": "1", "source": "/cli", "type": topic, "datacontenttype": "application/json", "data": document}))
}

fn show_check(answer: &Value) -> Result<(), Error> {
    let mut shown = Map::new();
    for member in ["valid", "matches", "value", "type"] {
        if !answer[member].is_null() {
            shown.insert(member.to_owned(), answer[member].clone());
        }
    }
    if let Some(error) = answer["error"].as_object() {
        let text = |member: &str| error.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
        shown.insert("error".into(), format!("{}: {}", text("kind"), text("detail")).into());
    }
    output::resource(Output::Table, &shown.into())?;
    for warning in items(answer, "warnings") {
        let word = if warning["never_matches"] == true { "never matches" } else { "warning" };
        let text = |member: &str| warning[member].as_str().unwrap_or_default();
        output::line(&format!("{word}: {} ({})", text("detail"), text("pointer")))?;
    }
    Ok(())
}

/// `explain`.
pub(super) async fn explain(context: &Context, args: &ExplainArgs) -> Result<ExitCode, Error> {
    let control = &context.control;
    let query: &[(&str, &str)] = if args.all { &[("all", "true")] } else { &[] };
    let answer = match (args.partition, args.offset) {
        (Some(partition), Some(offset)) => {
            let (partition, offset) = (partition.to_string(), offset.to_string());
            let path = control.path(&["v1", "topics", &args.topic, "events", &partition, &offset, "explain"], query);
            control.call(Method::GET, &path, None).await?
        }
        _ => {
            let question = json!({"topic": args.topic, "event": event(&args.file, &args.topic)?});
            control.call(Method::POST, &control.path(&["v1", "explain"], query), Some(&question)).await?
        }
    };
    if context.output == Output::Json {
        output::resource(context.output, &answer.body)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(detail) = answer.body["refused"]["detail"].as_str() {
        output::line(&format!("the event would be refused: {detail}"))?;
    }
    let rows: Vec<Value> = items(&answer.body, "matches").iter().map(row).collect();
    output::list(context.output, &answer.body, &rows, &["subscription", "name", "matched", "because", "delivery"])?;
    Ok(ExitCode::SUCCESS)
}

fn row(entry: &Value) -> Value {
    let because = entry["because"].as_object().map(reason);
    json!({
        "subscription": entry["subscription"], "name": entry["name"], "matched": if entry["matched"] == true { "yes" } else { "no" },
        "because": because, "delivery": entry["delivery"]["status"],
    })
}

/// The reason in a line: `filter 1: amount > 10, saw 7`.
fn reason(because: &Map<String, Value>) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if let Some(number) = because.get("filter") {
        let assertion =
            ["sql", "cel", "data", "exact", "prefix", "suffix", "topic", "all", "any", "not"].iter().find_map(|name| because.get(*name));
        let place = ["attribute", "path"].iter().find_map(|name| because.get(*name)).map(|place| format!("{} ", text(place)));
        let missing = because.get("missing") == Some(&Value::Bool(true));
        let saw = if missing { "is missing".to_owned() } else { format!("is {}", because.get("saw").unwrap_or(&Value::Null)) };
        let saw = place.map_or_else(|| saw.replacen("is ", "saw ", 1), |place| format!("{place}{saw}"));
        return format!("filter {number}: {}, {saw}", assertion.map(text).unwrap_or_default());
    }
    let first = ["refused", "status", "expired", "start"].iter().find_map(|name| Some((name, because.get(*name)?)));
    match first {
        Some((&"status", status)) => text(status),
        Some((&"start", time)) => format!("starts later, at {}", text(time)),
        Some((name, value)) => format!("{name}: {}", text(value)),
        None => Value::Object(because.clone()).to_string(),
    }
}

fn items<'a>(answer: &'a Value, member: &str) -> &'a [Value] {
    answer[member].as_array().map_or(&[], Vec::as_slice)
}
