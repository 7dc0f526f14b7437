//! Small adapters between parts that must not know each other.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use posthorn_domain::names::TopicName;
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::record::{Record, Stored};
use posthorn_domain::schema::named::{Named, parse_list};
use posthorn_storage::log::{Damage, TailSink};
use posthorn_storage::state::{Batch, DeadLetter};

use crate::answers::Reingest;
use crate::delivery::{Handle, WriterHandle};
use crate::ingest::{DeadLetterSink, Pipeline, Publish};
use crate::operations::{Kind, Note, Reporter};
use crate::read::TailNotify;
use crate::readers::Keep;

/// From the log's tail to the shards and to those who wait for new events.
pub(super) struct Tail {
    notify: Arc<TailNotify>,
    delivery: OnceLock<Handle>,
    operations: Reporter,
}

impl Tail {
    pub(super) fn new(notify: Arc<TailNotify>, operations: Reporter) -> Self {
        Self { notify, delivery: OnceLock::new(), operations }
    }

    pub(super) fn notify(&self) -> &Arc<TailNotify> {
        &self.notify
    }

    /// The shards are made after the log, and hear of it from now on. Nothing is appended before.
    pub(super) fn connect(&self, delivery: Handle) {
        if self.delivery.set(delivery).is_err() {
            tracing::error!("the shards were connected twice");
        }
    }
}

impl TailSink for Tail {
    fn durable(&self, topic: &TopicName, partition: u32, records: Vec<Arc<Stored>>) {
        if let Some(delivery) = self.delivery.get() {
            delivery.durable(topic, partition, &records);
        }
        self.notify.grown(topic);
    }

    fn waited(&self, time: Duration) {
        if let Some(delivery) = self.delivery.get() {
            delivery.waited(time);
        }
    }

    fn damaged(&self, damage: &Damage) {
        tracing::error!(%damage, "the log is damaged");
        self.operations.tell(damaged(damage));
        self.notify.grown(&damage.topic);
    }
}

/// What operators hear of a damaged range.
pub(super) fn damaged(damage: &Damage) -> Note {
    let gap = damage.gap;
    let note = Note::new(Kind::LogDamaged, &damage.topic, "");
    let note = note.with("topic", damage.topic.as_str()).with("partition", damage.partition).with("file", damage.file.as_str());
    note.with("from", gap.from).with("to", gap.to).times(gap.to.saturating_sub(gap.from))
}

/// From ingest to the state writer.
pub(super) struct Letters(pub(super) WriterHandle, pub(super) Reporter);

impl DeadLetterSink for Letters {
    fn put(&self, letter: DeadLetter) -> BoxFuture<'static, Result<(), String>> {
        let (writer, operations) = (self.0.clone(), self.1.clone());
        let note = Note::new(Kind::EventDeadLettered, &letter.topic, letter.reason.as_str()).with("topic", letter.topic.as_str());
        Box::pin(async move {
            let mut batch = Batch::new();
            batch.put_dead_letter(letter);
            writer.commit(batch, true).await.map_err(|error| error.to_string())?;
            operations.tell(note);
            Ok(())
        })
    }
}

/// From readers to the state writer.
pub(super) struct Kept(pub(super) WriterHandle);

impl Keep for Kept {
    fn keep(&self, batch: Batch) -> BoxFuture<'static, Result<(), String>> {
        let writer = self.0.clone();
        Box::pin(async move { writer.commit(batch, true).await.map_err(|error| error.to_string()) })
    }
}

/// From a dead letter back to ingest.
pub(super) struct Reingester(pub(super) Arc<Pipeline>);

impl Reingest for Reingester {
    fn reingest<'a>(&'a self, letter: &'a DeadLetter, validate_with: &'a str) -> BoxFuture<'a, Result<(), Problem>> {
        Box::pin(async move {
            let record = Record::decode(&letter.record)
                .map_err(|error| Problem::new(Code::Internal, format!("the dead letter cannot be read: {error}")))?;
            let publish = Publish {
                topic: Some(&letter.topic),
                event: record.event.clone(),
                publisher: &record.publisher,
                idempotency_key: record.idempotency_key.as_deref(),
                direction: record.direction,
                relayed: None,
            };
            self.0.republish(publish, &instead(validate_with)?).await.map(drop)
        })
    }

    fn knows(&self, validate_with: &str) -> Result<(), Problem> {
        self.0.knows_schemas(&instead(validate_with)?)
    }
}

fn instead(list: &str) -> Result<Named<'_>, Problem> {
    parse_list(list).map_err(|detail| Problem::new(Code::InvalidRequest, format!("`validate_with`: {detail}")))
}
