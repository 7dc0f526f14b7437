//! A running Posthorn with a receiver beside it, and the steps that most scenarios begin with.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::api::{Api, Reply};
use crate::config::Config;
use crate::process::Posthorn;
use crate::receiver::Receiver;
use crate::wait::eventually;

/// How long scenarios wait for what should be there soon, on a machine that has other things to do.
pub const SOON: Duration = Duration::from_secs(30);

/// A Posthorn, its doors and a receiver.
#[derive(Debug)]
pub struct World {
    /// The process.
    pub posthorn: Posthorn,
    /// The endpoint of its subscriptions.
    pub receiver: Receiver,
    /// The data plane's door.
    pub data: Api,
    /// The control plane's door.
    pub control: Api,
    made: AtomicU64,
}

/// A subscription that was made.
#[derive(Debug, Clone)]
pub struct Subscribed {
    /// `sub_…`.
    pub id: String,
    /// The secret that the 201 showed.
    pub secret: String,
    /// The whole answer.
    pub body: Value,
}

impl World {
    /// `posthorn serve` with the defaults of [`Config`].
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start() -> Result<Self> {
        Self::with(Config::default()).await
    }

    /// `posthorn serve` with this configuration.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn with(config: Config) -> Result<Self> {
        let posthorn = Posthorn::start(config).await?;
        let (data, control) = (posthorn.data(), posthorn.control());
        Ok(Self { posthorn, receiver: Receiver::start().await?, data, control, made: AtomicU64::new(0) })
    }

    /// Makes or changes a topic and waits until the data plane has it.
    ///
    /// # Errors
    /// When it is refused or does not come into force.
    pub async fn topic(&self, name: &str, spec: Value) -> Result<Value> {
        let reply = self.control.put(&format!("/v1/topics/{name}"), &spec).await?;
        self.written(&reply).await
    }

    /// Registers a version of a schema and waits until the data plane has it; gives the version's number.
    ///
    /// # Errors
    /// When it is refused or does not come into force.
    pub async fn schema(&self, name: &str, schema: Value) -> Result<u64> {
        self.schema_version(name, json!({"schema": schema})).await
    }

    /// As [`World::schema`], with the whole body: QoS beside the schema.
    ///
    /// # Errors
    /// As [`World::schema`].
    pub async fn schema_version(&self, name: &str, body: Value) -> Result<u64> {
        let reply = self.control.post(&format!("/v1/schemas/{name}/versions"), &body).await?;
        self.written(&reply).await?["version"].as_u64().context("no version in the answer")
    }

    /// Makes a subscription that delivers to `path` of the receiver, with `more` laid over a plain one (which takes all
    /// events of all topics), and waits until the data plane has it.
    ///
    /// # Errors
    /// When it is refused or does not come into force.
    pub async fn subscribe(&self, path: &str, more: Value) -> Result<Subscribed> {
        let mut spec = json!({"name": path, "owner": "acme", "filters": [{"topic": "**"}], "endpoint": {"url": self.receiver.url(path)}});
        crate::config::lay_over(&mut spec, more);
        let reply = self.control.post("/v1/subscriptions", &spec).await?;
        ensure!(reply.status == 201, "{}: {}", reply.status, reply.text());
        let body = self.written(&reply).await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(Subscribed { id: text(&body["id"]), secret: text(&body["signing"][0]["secret"]), body })
    }

    /// The answer's body, once the revision in it is in force.
    ///
    /// # Errors
    /// When the answer is no success or the revision does not come into force.
    pub async fn written(&self, reply: &Reply) -> Result<Value> {
        ensure!(reply.status.is_success(), "{}: {}", reply.status, reply.text());
        let body = reply.json()?;
        let revision = body["revision"].as_u64().with_context(|| format!("no revision in {body}"))?;
        self.control.in_force(revision).await?;
        Ok(body)
    }

    /// `GET` at the control plane; the answer must be a 200.
    ///
    /// # Errors
    /// When it is not.
    pub async fn read(&self, path: &str) -> Result<Value> {
        self.control.get(path).await?.expect(200).with_context(|| path.to_owned())
    }

    /// Publishes an event with a fresh id, this topic and this data in the structured mode; gives its id. It must be kept.
    ///
    /// # Errors
    /// When it is not accepted.
    pub async fn publish(&self, topic: &str, data: Value) -> Result<String> {
        self.publish_with(topic, json!({"data": data})).await
    }

    /// As [`World::publish`], with any members.
    ///
    /// # Errors
    /// As [`World::publish`].
    pub async fn publish_with(&self, topic: &str, more: Value) -> Result<String> {
        let mut event = self.event(topic);
        crate::config::lay_over(&mut event, more);
        let answer = self.data.publish(&event).await?.expect(202)?;
        ensure!(answer["status"] == "accepted", "{answer}");
        Ok(event["id"].as_str().unwrap_or_default().to_owned())
    }

    /// A plain event on this topic with a fresh id, without data.
    pub fn event(&self, topic: &str) -> Value {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        json!({"specversion": "1.0", "id": format!("e{number}"), "source": "/tests", "type": "t.made", "topic": topic})
    }

    /// Publishes in the binary mode on the topic's path with further headers.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn publish_binary(&self, topic: &str, id: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Result<Reply> {
        let mut all = vec![("ce-specversion", "1.0"), ("ce-id", id), ("ce-source", "/tests"), ("ce-type", "t.made")];
        all.extend_from_slice(headers);
        self.data.send(Method::POST, &format!("/v1/topics/{topic}/events"), &all, body.into()).await
    }

    /// Asks a list of the control plane until it has as many items as wanted and all of them please `good`; gives them.
    ///
    /// # Errors
    /// When that has not happened soon; the error shows the last answer.
    pub async fn listed(&self, path: &str, count: usize, good: impl Fn(&Value) -> bool) -> Result<Vec<Value>> {
        let last = parking_lot::Mutex::new(String::new());
        let what = format!("{count} items at {path}");
        let found = eventually(&what, SOON, || async {
            let reply = self.control.get(path).await.ok()?;
            *last.lock() = reply.text();
            let items = reply.json().ok()?["items"].as_array()?.clone();
            (items.len() == count && items.iter().all(&good)).then_some(items)
        });
        found.await.with_context(|| format!("the last answer: {:.3000}", last.lock()))
    }
}
