//! Posthorn as a child, set up through its REST interface.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::Method;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::rig::Rig;
use crate::child::Child;
use crate::client::Client;
use crate::keys::{self, Secret};
use crate::payload::ORDER_SCHEMA;
use crate::scenario::{PosthornSpec, Schemas, Subscribe};

const IN_FORCE_WITHIN: Duration = Duration::from_secs(180);
const WRITERS: usize = 48;
/// For one subscription that gets everything; the default suits partners, not a yardstick.
const IN_FLIGHT: u32 = 64;
const SHARED_MEMORY: &str = "/dev/shm";
/// From this many on, progress is printed.
const MANY: usize = 5_000;
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A running Posthorn with a data folder of its own.
#[derive(Debug)]
pub(super) struct Posthorn {
    /// The process.
    pub(super) child: Child,
    control: Arc<Client>,
    binary: PathBuf,
    topics: u32,
    // Removed after the child: fields drop in this order.
    folder: TempDir,
}

impl Posthorn {
    /// Starts it, registers schemas and makes topics.
    ///
    /// # Errors
    /// When it does not start or refuses them.
    pub(super) async fn start(binary: &Path, spec: &PosthornSpec, rig: &Rig) -> Result<Self> {
        let folder = data_folder(spec.in_memory)?;
        let mut config = configuration(folder.path(), rig.ca_file().as_deref());
        merge(&mut config, &spec.config);
        std::fs::write(folder.path().join("posthorn.yaml"), config.to_string())?;
        let child = launch(binary, folder.path()).await?;
        let control = Arc::new(Client::new(child.doors.control.context("no control door")?));
        let posthorn = Self { child, control, binary: binary.to_owned(), topics: spec.topics, folder };
        let names = posthorn.register(&spec.schemas).await?;
        posthorn.make_topics(spec, &names).await?;
        Ok(posthorn)
    }

    /// Stops it in good order and starts it again on the same data.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) async fn restart(self) -> Result<Self> {
        let Self { child, binary, topics, folder, .. } = self;
        child.end().await?;
        let child = launch(&binary, folder.path()).await?;
        let control = Arc::new(Client::new(child.doors.control.context("no control door")?));
        Ok(Self { child, control, binary, topics, folder })
    }

    /// The paths that events are posted to.
    #[must_use]
    pub(super) fn paths(&self) -> Vec<String> {
        (0..self.topics).map(|n| format!("/v1/topics/t{n}/events")).collect()
    }

    /// Makes subscriptions to each topic and waits until they are in force.
    ///
    /// # Errors
    /// When one is refused, or they are not in force within three minutes.
    pub(super) async fn subscribe(&self, subscribe: &Subscribe, rig: &Rig) -> Result<()> {
        let topics = (0..self.topics).filter(|topic| subscribe.topic.is_none_or(|only| only == *topic));
        let all = topics.flat_map(|topic| (0..subscribe.count).map(move |n| (topic, n)));
        let documents: Arc<Vec<Value>> = Arc::new(all.map(|(topic, n)| document(subscribe, topic, n, rig)).collect::<Result<_>>()?);
        let (began, many) = (Instant::now(), documents.len() >= MANY);
        let mut writers = JoinSet::new();
        for first in 0..WRITERS {
            let (control, documents) = (Arc::clone(&self.control), Arc::clone(&documents));
            writers.spawn(async move {
                let mut last = 0;
                for document in documents.iter().skip(first).step_by(WRITERS) {
                    let made = control.json(Method::POST, "/v1/subscriptions", document).await?;
                    last = last.max(made["revision"].as_u64().unwrap_or_default());
                }
                anyhow::Ok(last)
            });
        }
        let mut revision = 0;
        while let Some(last) = writers.join_next().await {
            revision = revision.max(last??);
        }
        let made = began.elapsed().as_secs_f64();
        self.in_force(revision).await?;
        if many {
            eprintln!("    {} subscriptions made in {made:.1} s, in force after {:.1} s", documents.len(), began.elapsed().as_secs_f64());
        }
        Ok(())
    }

    async fn register(&self, schemas: &Schemas) -> Result<Vec<String>> {
        match schemas {
            Schemas::None => Ok(Vec::new()),
            Schemas::Order => self.register_one("order", &serde_json::from_str(ORDER_SCHEMA)?).await.map(|name| vec![name]),
            Schemas::Sized => self.register_one("sized", &sized()).await.map(|name| vec![name]),
            Schemas::Folder(folder) => {
                for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())?.flatten() {
                    let file = entry.path();
                    let name = file.file_stem().and_then(|stem| stem.to_str()).context("a file name")?;
                    // As the recorded events name them: of the kind that their folder is about.
                    let schema: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
                    self.register_one(&format!("github.{name}"), &schema).await?;
                }
                Ok(Vec::new())
            }
        }
    }

    async fn register_one(&self, name: &str, schema: &Value) -> Result<String> {
        self.control.json(Method::POST, &format!("/v1/schemas/{name}/versions"), &json!({ "schema": schema })).await?;
        Ok(name.to_owned())
    }

    async fn make_topics(&self, spec: &PosthornSpec, schemas: &[String]) -> Result<()> {
        for n in 0..spec.topics {
            let mut topic = json!({"name": format!("t{n}"), "schemas": schemas, "schema_required": spec.schemas != Schemas::None});
            merge(&mut topic, &spec.topic);
            self.control.json(Method::PUT, &format!("/v1/topics/t{n}"), &topic).await?;
        }
        Ok(())
    }

    async fn in_force(&self, revision: u64) -> Result<()> {
        let end = Instant::now() + IN_FORCE_WITHIN;
        loop {
            let nodes = self.control.json(Method::GET, "/v1/nodes", &Value::Null).await?;
            let list = nodes.as_array().or_else(|| nodes["items"].as_array()).context("a list of nodes")?;
            if list.iter().any(|n| n["acked_revision"].as_u64().is_some_and(|acked| acked >= revision)) {
                return Ok(());
            }
            ensure!(Instant::now() < end, "revision {revision} is not in force: {nodes}");
            sleep(LOOK_AGAIN).await;
        }
    }
}

fn data_folder(in_memory: bool) -> Result<TempDir> {
    let shared = Path::new(SHARED_MEMORY);
    let folder = if in_memory && shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() };
    folder.context("no temporary folder")
}

async fn launch(binary: &Path, folder: &Path) -> Result<Child> {
    let config = folder.join("posthorn.yaml");
    let arguments = ["serve".as_ref(), "--config".as_ref(), config.as_os_str()];
    Child::start(binary, &arguments, &folder.join("stderr")).await
}

fn configuration(folder: &Path, ca: Option<&Path>) -> Value {
    json!({
        "data_dir": folder.join("data"),
        "http": {"listen": "127.0.0.1:0"},
        "control": {"listen": "127.0.0.1:0"},
        "broker": {"listen": "127.0.0.1:0"},
        "admin": {"listen": "127.0.0.1:0"},
        "delivery": {"allow_cidrs": ["127.0.0.0/8"], "extra_ca_file": ca},
    })
}

fn document(subscribe: &Subscribe, topic: u32, n: u32, rig: &Rig) -> Result<Value> {
    let Subscribe { group, count, .. } = subscribe;
    // Of several topics, each subscription has a path of its own.
    let number = topic * count + n;
    let path = format!("/{group}/{number}");
    let secret = match subscribe.secret {
        Secret::Each => keys::hmac_text(&path),
        Secret::Shared => keys::hmac_text(group),
        Secret::Ed25519 => keys::ed25519_text(group)?,
    };
    let mut filters = vec![json!({"topic": format!("t{topic}")})];
    if !subscribe.matches {
        filters.push(json!({"exact": {"type": format!("never.{n}")}}));
    }
    let mut document = json!({
        "name": format!("{group}-{number}"), "owner": "load", "filters": filters,
        "endpoint": {"url": rig.url(subscribe.via, subscribe.first_host + n % subscribe.hosts, &path)?, "format": "binary", "timeout": "10s"},
        "signing": [{"scheme": "standard-webhooks", "secret": secret}],
        "limits": {"in_flight": IN_FLIGHT},
    });
    merge(&mut document, &subscribe.with);
    Ok(document)
}

/// What a payload of a given size has to be.
fn sized() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "required": ["id", "number", "pad"],
        "properties": {
            "id": {"type": "string", "minLength": 1}, "number": {"type": "integer", "minimum": 0},
            "key": {"type": "string"}, "pad": {"type": "string", "maxLength": 1_048_576},
        },
    })
}

fn merge(base: &mut Value, over: &Value) {
    let Value::Object(over) = over else { return };
    let members: &mut Map<String, Value> = base.as_object_mut().expect("only mappings are merged into");
    for (name, value) in over {
        match members.get_mut(name) {
            Some(inner) if inner.is_object() && value.is_object() => merge(inner, value),
            _ => drop(members.insert(name.clone(), value.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_merged_by_name() {
        let mut base = json!({"a": {"b": 1, "c": 2}, "d": 3});
        merge(&mut base, &json!({"a": {"c": 4, "e": 5}, "d": {"f": 6}}));
        merge(&mut base, &Value::Null);
        assert_eq!(base, json!({"a": {"b": 1, "c": 4, "e": 5}, "d": {"f": 6}}));
    }
}
