//! The receiver's own door, `/_/…`, and the client for it.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::behaviour::Behaviour;
use super::reply::{self, Reply};
use super::tally::RunReport;
use super::verify::Signatures;
use super::{LARGEST_BODY, Receiver};
use crate::client::Client;

/// Where the door's paths begin.
pub const PREFIX: &str = "/_/";
const MOST_BEHAVIOURS: usize = 1_000;

/// The state of a receiver.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Status {
    /// Connections that were accepted so far, those to this door too.
    pub connections: u64,
    /// Connections that are open now, that of the question among them.
    pub open: u64,
    /// Signatures so far.
    pub signatures: Signatures,
}

/// How many of a run arrived.
///
/// # Errors
/// When the receiver does not answer.
pub async fn count(receiver: &Client, run: u32, groups: &[String]) -> Result<u64> {
    let path = format!("/_/runs/{run}/count?groups={}", groups.join(","));
    receiver.json(Method::GET, &path, &Value::Null).await?["unique"].as_u64().context("a count")
}

/// What arrived of a run.
///
/// # Errors
/// When the receiver does not answer.
pub async fn report(receiver: &Client, run: u32) -> Result<RunReport> {
    Ok(serde_json::from_value(receiver.json(Method::GET, &format!("/_/runs/{run}"), &Value::Null).await?)?)
}

/// Lets go of what arrived of a run.
///
/// # Errors
/// When the receiver does not answer.
pub async fn forget(receiver: &Client, run: u32) -> Result<()> {
    receiver.json(Method::DELETE, &format!("/_/runs/{run}"), &Value::Null).await.map(drop)
}

/// Tells a group how to answer.
///
/// # Errors
/// When the receiver does not answer or refuses.
pub async fn behave(receiver: &Client, group: &str, behaviour: &Value) -> Result<()> {
    receiver.json(Method::PUT, &format!("/_/behaviours/{group}"), behaviour).await.map(drop)
}

/// Connections and signatures so far.
///
/// # Errors
/// When the receiver does not answer.
pub async fn status(receiver: &Client) -> Result<Status> {
    Ok(serde_json::from_value(receiver.json(Method::GET, "/_/status", &Value::Null).await?)?)
}

pub(super) async fn answer(receiver: &Receiver, request: Request<Incoming>) -> Response<Reply> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().trim_start_matches(PREFIX).to_owned();
    let parts: Vec<&str> = path.split('/').collect();
    match (&head.method, parts.as_slice()) {
        (&Method::GET, ["status"]) => {
            // In this order, so that none is taken for gone.
            let closed = receiver.connections.closed.load(Ordering::SeqCst);
            let connections = receiver.connections.opened.load(Ordering::SeqCst);
            reply::json(&Status { connections, open: connections - closed, signatures: receiver.verifier.found() })
        }
        (method, ["runs", run, rest @ ..]) => match run.parse() {
            Ok(run) => runs(receiver, method, run, rest, head.uri.query()),
            Err(_) => reply::text(StatusCode::BAD_REQUEST, format!("{run} is no run: a number is")),
        },
        (&Method::PUT, ["behaviours", group]) => match learn(receiver, group, body).await {
            Ok(()) => reply::status(StatusCode::NO_CONTENT),
            Err(error) => reply::text(StatusCode::BAD_REQUEST, format!("{error:#}")),
        },
        _ => reply::text(StatusCode::NOT_FOUND, "runs/{run}, behaviours/{group} and status are here".to_owned()),
    }
}

fn runs(receiver: &Receiver, method: &Method, run: u32, rest: &[&str], query: Option<&str>) -> Response<Reply> {
    match (method, rest) {
        (&Method::GET, []) => reply::json(&receiver.tally.report(run)),
        (&Method::GET, ["count"]) => {
            let groups = query.and_then(|query| query.strip_prefix("groups=")).unwrap_or_default();
            let groups: Vec<&str> = groups.split(',').filter(|group| !group.is_empty()).collect();
            reply::json(&serde_json::json!({"unique": receiver.tally.unique(run, &groups)}))
        }
        (&Method::DELETE, []) => {
            receiver.tally.forget(run);
            reply::status(StatusCode::NO_CONTENT)
        }
        _ => reply::status(StatusCode::METHOD_NOT_ALLOWED),
    }
}

async fn learn(receiver: &Receiver, group: &str, body: Incoming) -> Result<()> {
    let body = Limited::new(body, LARGEST_BODY).collect().await.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
    let behaviour = Behaviour::parse(serde_json::from_slice(&body).context("not JSON")?)?;
    let mut behaviours = receiver.behaviours.write().unwrap_or_else(PoisonError::into_inner);
    anyhow::ensure!(behaviours.len() < MOST_BEHAVIOURS || behaviours.contains_key(group), "at most {MOST_BEHAVIOURS} groups");
    behaviours.insert(group.to_owned(), behaviour);
    Ok(())
}
