//! `subscription create|get|list|delete|pause|resume|test|replay|replays|cancel-replay|rotate-secret`.

use std::process::ExitCode;

use http::Method;
use serde_json::{Map, Value, json};

use super::{Context, object, pages, set};
use crate::cli::{SubscriptionCreate, SubscriptionVerb};
use crate::client::{Answer, Error, nodes};
use crate::output;

pub(super) async fn run(context: &Context, verb: SubscriptionVerb) -> Result<ExitCode, Error> {
    let (answer, wait) = match verb {
        SubscriptionVerb::List => return list(context).await,
        SubscriptionVerb::Create(create) => {
            let path = context.control.path(&["v1", "subscriptions"], &[]);
            (context.control.call(Method::POST, &path, Some(&body(&create)?)).await?, !create.no_wait)
        }
        SubscriptionVerb::Get { id } => (call(context, Method::GET, &id, None, None).await?, false),
        SubscriptionVerb::Delete { id, no_wait } => (call(context, Method::DELETE, &id, None, None).await?, !no_wait),
        SubscriptionVerb::Pause { id, no_wait } => (call(context, Method::POST, &id, Some("pause"), None).await?, !no_wait),
        SubscriptionVerb::Resume { id, no_wait } => (call(context, Method::POST, &id, Some("resume"), None).await?, !no_wait),
        SubscriptionVerb::Test { id } => (call(context, Method::POST, &id, Some("test"), None).await?, false),
        SubscriptionVerb::Replays { id, replay } => return replays(context, &id, replay.as_deref()).await,
        SubscriptionVerb::CancelReplay { id, replay } => (one_replay(context, Method::DELETE, &id, &replay).await?, false),
        SubscriptionVerb::Replay { id, from, to, rate } => {
            let mut range = Map::new();
            set(&mut range, "from", Some(from));
            set(&mut range, "to", to);
            set(&mut range, "rate", rate);
            (call(context, Method::POST, &id, Some("replay"), Some(range)).await?, false)
        }
        SubscriptionVerb::RotateSecret { id, overlap } => {
            let mut how = Map::new();
            set(&mut how, "overlap", overlap);
            (call(context, Method::POST, &id, Some("rotate-secret"), Some(how)).await?, false)
        }
    };
    // Shown first: a secret is shown once, and must not be lost when the wait fails.
    output::resource(context.output, &answer.body)?;
    if wait {
        nodes::settle(&context.control, &answer).await?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(context: &Context) -> Result<ExitCode, Error> {
    let page = pages::all(&context.control, &["v1", "subscriptions"], &[]).await?;
    output::list(context.output, &page, pages::items(&page), &["id", "name", "status", "endpoint.url", "revision"])?;
    Ok(ExitCode::SUCCESS)
}

async fn replays(context: &Context, id: &str, replay: Option<&str>) -> Result<ExitCode, Error> {
    if let Some(replay) = replay {
        let found = one_replay(context, Method::GET, id, replay).await?;
        output::resource(context.output, &found.body)?;
        return Ok(ExitCode::SUCCESS);
    }
    let id = resolve(context, id).await?;
    let page = pages::all(&context.control, &["v1", "subscriptions", &id, "replays"], &[]).await?;
    let columns = ["id", "state", "from", "to", "rate", "events", "considered", "delivered", "failed", "waiting", "started_at", "ended_at"];
    output::list(context.output, &page, pages::items(&page), &columns)?;
    Ok(ExitCode::SUCCESS)
}

async fn one_replay(context: &Context, method: Method, id: &str, replay: &str) -> Result<Answer, Error> {
    let id = resolve(context, id).await?;
    let segments = ["v1", "subscriptions", &id, "replays", replay];
    context.control.call(method, &context.control.path(&segments, &[]), None).await
}

async fn call(
    context: &Context,
    method: Method,
    id: &str,
    action: Option<&str>,
    body: Option<Map<String, Value>>,
) -> Result<Answer, Error> {
    let id = resolve(context, id).await?;
    let segments: Vec<&str> = ["v1", "subscriptions", &id].into_iter().chain(action).collect();
    context.control.call(method, &context.control.path(&segments, &[]), body.map(Value::Object).as_ref()).await
}

/// An id as it is; a name by looking it up.
async fn resolve(context: &Context, id: &str) -> Result<String, Error> {
    if id.starts_with("sub_") {
        return Ok(id.to_owned());
    }
    let page = pages::all(&context.control, &["v1", "subscriptions"], &[]).await?;
    let named = pages::items(&page).iter().filter(|item| item.get("name").and_then(Value::as_str) == Some(id));
    let ids: Vec<&str> = named.filter_map(|item| item.get("id").and_then(Value::as_str)).collect();
    match ids[..] {
        [one] => Ok(one.to_owned()),
        [] => Err(Error::Refused {
            status: 404,
            problem: json!({"title": "There is no such resource", "detail": format!("no subscription is named `{id}`")}),
        }),
        _ => Err(Error::Usage(format!("several subscriptions are named `{id}`: {}", ids.join(", ")))),
    }
}

fn body(create: &SubscriptionCreate) -> Result<Value, Error> {
    let mut body = object(create.file.as_deref())?;
    let topic = create.topic.iter().map(|topic| json!({"topic": topic}));
    let filters: Vec<Value> = topic.chain(create.sql.iter().map(|sql| json!({"sql": sql}))).collect();
    set(&mut body, "name", create.name.clone());
    set(&mut body, "owner", create.owner.clone());
    set(&mut body, "filters", (!filters.is_empty()).then_some(filters));
    set(&mut body, "endpoint.url", create.url.clone());
    set(&mut body, "endpoint.format", create.format.clone());
    set(&mut body, "endpoint.timeout", create.timeout.clone());
    set(&mut body, "signing", create.secret.as_ref().map(|secret| json!([{"scheme": "standard-webhooks", "secret": secret}])));
    set(&mut body, "qos.ordering", create.ordering.clone());
    set(&mut body, "limits.in_flight", create.in_flight);
    set(&mut body, "limits.rate", create.rate);
    set(&mut body, "start", create.start.clone());
    Ok(body.into())
}
