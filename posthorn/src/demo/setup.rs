//! What the control plane is told: schemas, topics that demand them, subscriptions.

use anyhow::Context as _;
use http::Method;
use serde_json::{Value, json};

use super::data::Data;
use super::receiver::{Mood, Receiver};
use crate::client::{Door, nodes};

/// A subscription of the demonstration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) name: &'static str,
    /// A topic, or a pattern of topics.
    pub(super) topic: &'static str,
    pub(super) mood: Mood,
    pub(super) schedule: &'static [&'static str],
    pub(super) story: &'static str,
}

pub(super) const HEALTHY: Plan =
    Plan { name: "healthy", topic: "github.*", mood: Mood::Well, schedule: &["1s", "2s", "4s"], story: "takes every event of every topic" };

pub(super) const RECOVERING: Plan = Plan {
    name: "recovering",
    topic: "github.discussion",
    mood: Mood::FailsFirst(2),
    schedule: &["250ms", "500ms", "1s", "2s"],
    story: "answers 503 to its first two requests, then is well",
};

/// Few events: behind an endpoint that answers nothing but failures the breaker lets through ever fewer attempts.
pub(super) const DEAD: Plan = Plan {
    name: "dead",
    topic: "github.fork",
    mood: Mood::Dead,
    schedule: &["200ms", "400ms"],
    story: "answers 500 to everything; three attempts, then the event is a dead letter",
};

pub(super) const PLANS: [Plan; 3] = [HEALTHY, RECOVERING, DEAD];

/// The topic that the reader on the stream reads.
pub(super) const STREAMED: &str = "github.pull_request";

impl Plan {
    /// How many of the recorded events it is to get, in one mode.
    pub(super) fn share(&self, data: &Data) -> usize {
        data.valid((!self.topic.contains('*')).then_some(self.topic))
    }
}

/// Registers every schema, then a topic for each that demands it. Gives the revision that is then in force on the node.
pub(super) async fn topics(control: &Door, data: &Data, mut progress: impl FnMut(usize) -> std::io::Result<()>) -> anyhow::Result<u64> {
    let mut revision = None;
    for (done, (name, schema)) in data.schemas.iter().enumerate() {
        let versions = control.path(&["v1", "schemas", name, "versions"], &[]);
        let body = format!("{{\"schema\":{}}}", schema.get());
        let answer = control.send(Method::POST, &versions, &[("content-type", "application/json")], body.into()).await?;
        anyhow::ensure!(answer.status == 201, "schema {name}: {}", crate::client::describe(answer.status, &answer.body));
        let topic = json!({"schemas": [name], "schema_required": true});
        let made = control.call(Method::PUT, &control.path(&["v1", "topics", name], &[]), Some(&topic)).await;
        revision = Some(made.with_context(|| format!("topic {name}"))?);
        progress(done + 1)?;
    }
    let last = revision.context("there are no schemas")?;
    nodes::settle(control, &last).await?;
    last.revision().context("a write names its revision")
}

/// Makes the subscription; the secret that the control plane made for it is shown this once, and the receiver keeps it.
pub(super) async fn subscribe(control: &Door, receiver: &Receiver, plan: &Plan) -> anyhow::Result<Subscribed> {
    let url = receiver.open(plan.name, plan.mood);
    let body = json!({
        "name": plan.name, "owner": "demo", "filters": [{"topic": plan.topic}], "endpoint": {"url": url},
        "retry": {"schedule": plan.schedule, "jitter": 0.0},
    });
    let answer = control.call(Method::POST, &control.path(&["v1", "subscriptions"], &[]), Some(&body)).await?;
    let text = |pointer: &str| answer.body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    receiver.trust(plan.name, &text("/signing/0/secret").context("the answer shows the new secret")?)?;
    nodes::settle(control, &answer).await?;
    Ok(Subscribed { id: text("/id").context("the answer names the subscription")? })
}

/// A subscription that was made.
#[derive(Debug)]
pub(super) struct Subscribed {
    pub(super) id: String,
}
