//! The operations of the control plane, the same for every door: JSON in, JSON out, problems for faults. The doors only
//! translate.

mod asked;
mod compile;
mod explain;
mod filters;
mod fit;
mod merge;
mod page;
mod qos;
mod replays;
mod sample;
mod schemas;
mod subscriptions;
mod topics;

use std::sync::Arc;

use posthorn_domain::clock::Clock;
use posthorn_domain::guard::Guard;
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::names::Name;
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::secret::Secret;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::Defaults;
use crate::publish::Publisher;
use crate::registry::{Change, Command, Entry, Outcome, Shown};
use crate::store::Store;
pub(crate) use asked::{DEAD_LETTER_PARAMETERS, DELIVERY_PARAMETERS};
use compile::Compiler;
use fit::Judges;
pub(crate) use page::Page;
pub(crate) use qos::{TOPIC_QOS_PARAMETERS, TopicQos};
pub(crate) use schemas::AddOptions;

/// What all doors share.
pub(crate) struct Api {
    /// The state and its readers.
    pub(crate) publisher: Arc<Publisher>,
    /// One writer at a time: a change is planned on the state that it is made on.
    store: Arc<Mutex<Store>>,
    guard: Guard,
    clock: Clock,
    compiler: Compiler,
    judges: Judges,
    defaults: Defaults,
}

/// An answer with one resource.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The resource, secrets redacted but for those made just now.
    pub(crate) body: Value,
    /// Its revision; its `ETag`.
    pub(crate) revision: Option<u64>,
    /// What came of a write; reads are unchanged.
    pub(crate) outcome: Outcome,
}

impl Answer {
    /// What was read at a revision.
    pub(crate) fn read(body: Value, revision: u64) -> Self {
        Self { body, revision: Some(revision), outcome: Outcome::Unchanged }
    }
}

impl Api {
    /// The revision that reads see now or a later one.
    pub(crate) fn revision(&self) -> u64 {
        self.publisher.registry.read().revision()
    }

    pub(crate) fn new(publisher: Arc<Publisher>, store: Store, guard: Guard, clock: Clock, defaults: Defaults) -> Self {
        Self {
            publisher,
            store: Arc::new(Mutex::new(store)),
            guard,
            clock,
            compiler: Compiler::default(),
            judges: Judges::default(),
            defaults,
        }
    }

    /// The last thing before the end: see [`Store::close`].
    pub(crate) async fn close(&self) {
        let mut store = self.store.clone().lock_owned().await;
        drop(tokio::task::spawn_blocking(move || store.close()).await);
    }

    /// Plans the command, writes the change to the disk, then puts it in force.
    async fn write(&self, command: Command) -> Result<Change, Problem> {
        let mut store = self.store.clone().lock_owned().await;
        let change = self.publisher.registry.read().apply(command, self.clock.now())?;
        if change.is_empty() {
            return Ok(change);
        }
        let publisher = self.publisher.clone();
        // The turn to write goes along: a caller who goes away meanwhile must not let the next one plan on the old state.
        let written = tokio::task::spawn_blocking(move || {
            store.write(&change)?;
            publisher.publish(&change);
            drop(store);
            Ok::<Change, crate::store::StoreError>(change)
        });
        match written.await {
            Ok(Ok(change)) => Ok(change),
            Ok(Err(error)) => {
                tracing::error!(%error, "a change was not stored");
                Err(Problem::new(Code::Unavailable, "the configuration store cannot take the change; see the log of the control plane"))
            }
            Err(error) => {
                tracing::error!(%error, "the writer stopped");
                Err(Problem::new(Code::Internal, "the change was not made; see the log of the control plane"))
            }
        }
    }

    async fn write_one(&self, command: Command) -> Result<Answer, Problem> {
        Ok(self.answer(&self.write(command).await?))
    }

    /// A change as an answer: the resource that the command was about.
    fn answer(&self, change: &Change) -> Answer {
        let Some(entry) = change.put.first() else {
            return Answer { body: Value::Null, revision: None, outcome: change.outcome };
        };
        let mut answer = self.shown(entry);
        answer.outcome = change.outcome;
        reveal(&mut answer.body, &change.shown);
        answer
    }

    /// A resource as the API shows it.
    fn shown(&self, entry: &Entry) -> Answer {
        let (body, meta) = match entry {
            Entry::Topic(topic) => (to_value(&**topic), topic.meta),
            Entry::Version(version) => (to_value(&**version), version.meta),
            Entry::Subscription(subscription) => (to_value(&**subscription), subscription.meta),
            Entry::Schema(schema) => (to_value(&self.publisher.registry.read().schema_info(&schema.name)), schema.meta),
        };
        Answer { body, revision: Some(meta.revision), outcome: Outcome::Unchanged }
    }

    /// The connected data planes.
    pub(crate) fn nodes(&self) -> Value {
        to_value(&self.publisher.nodes.list())
    }
}

/// Puts secrets that were made just now in place of their placeholders, this once.
fn reveal(document: &mut Value, shown: &Shown) {
    for (at, secret) in shown {
        if let Some(place) = document.pointer_mut(at) {
            *place = json!(Secret::expose(secret));
        }
    }
}

fn to_value(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).expect("resources have string keys and finite numbers only")
}

/// A name out of a path. What cannot be a name names nothing.
fn name(what: &str, text: &str) -> Result<Name, Problem> {
    text.parse().map_err(|error| Problem::new(Code::InvalidRequest, format!("the {what}'s name: {error}")))
}

/// An id out of a path. What cannot be one names nothing.
fn subscription_id(text: &str) -> Result<SubscriptionId, Problem> {
    text.parse().map_err(|_| missing("subscription", text))
}

fn missing(what: &str, name: &str) -> Problem {
    let name: String = name.chars().take(220).collect();
    Problem::new(Code::NotFound, format!("there is no {what} `{name}`"))
}
