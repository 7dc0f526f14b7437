//! Puts a change of the snapshot in force: compile, tell the shards, publish, then clean up. The one writer of [`Live`].

use std::sync::Arc;

use foldhash::HashSet;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use posthorn_domain::clock::Clock;
use posthorn_domain::names::TopicName;
use posthorn_domain::node::Question;
use posthorn_domain::problem::Problem;
use posthorn_domain::snapshot::{Delta, Nack};
use posthorn_storage::log::Log as _;
use posthorn_storage::log::segments::SegmentLog;
use posthorn_storage::state::State;
use serde_json::Value;

use crate::answers::Answers;
use crate::control::{Kept, Plane};
use crate::delivery::Handle;
use crate::ingest::{Dedup, rebuild};
use crate::route::{Applied, Builder, Live, Table};

/// The node as its control plane sees it.
pub(super) struct NodePlane {
    builder: Arc<Mutex<Builder>>,
    live: Live,
    delivery: Handle,
    dedup: Arc<Dedup>,
    log: Arc<SegmentLog>,
    state: Arc<dyn State>,
    answers: Answers,
    clock: Clock,
    /// Topics whose recent ids are known already.
    remembered: Mutex<HashSet<(TopicName, u64)>>,
}

impl NodePlane {
    #[expect(clippy::too_many_arguments, reason = "wiring: every part once, named by its type")]
    pub(super) fn new(
        builder: Builder,
        live: Live,
        delivery: Handle,
        dedup: Arc<Dedup>,
        log: Arc<SegmentLog>,
        state: Arc<dyn State>,
        answers: Answers,
        clock: Clock,
    ) -> Self {
        let builder = Arc::new(Mutex::new(builder));
        Self { builder, live, delivery, dedup, log, state, answers, clock, remembered: Mutex::default() }
    }

    async fn put_in_force(&self, delta: &Delta, full: bool) -> Vec<Nack> {
        let (delta, revision) = (delta.clone(), delta.revision);
        self.compile(revision, full, move |builder, base| builder.apply(base, &delta)).await
    }

    async fn restored(&self, kept: Kept) -> Vec<Nack> {
        let revision = kept.revision;
        self.compile(revision, true, move |builder, base| builder.restore(base, revision, kept.into_good())).await
    }

    async fn compile(
        &self,
        revision: u64,
        full: bool,
        compile: impl FnOnce(&mut Builder, &Table) -> Applied + Send + 'static,
    ) -> Vec<Nack> {
        let (builder, base) = (Arc::clone(&self.builder), self.live.snapshot());
        let compiled = tokio::task::spawn_blocking(move || compile(&mut builder.lock(), &base)).await;
        let Applied { table, nacks, removed_topics } = match compiled {
            Ok(applied) => applied,
            Err(error) => return vec![Nack { resource: "*".into(), reason: format!("revision {revision} cannot be compiled: {error}") }],
        };
        let table = Arc::new(table);
        if table.changes.topics || table.changes.since.is_none() {
            self.remember(&table).await;
        }
        // Shards first: an event that is routed by a table must find the shards knowing it.
        self.delivery.apply(&table).await;
        self.live.publish(table);
        self.clean_up(removed_topics, full).await;
        nacks
    }

    /// Knows the recent ids of topics that are new to this process, before the first event is taken in.
    async fn remember(&self, table: &Table) {
        for (name, route) in &table.topics {
            if !self.remembered.lock().insert((name.clone(), route.topic.meta.incarnation)) {
                continue;
            }
            if let Err(error) = rebuild(&self.dedup, route, self.clock.now()).await {
                tracing::warn!(%error, topic = %name, "recent events cannot be read; late re-sends of them will not be recognised");
            }
        }
    }

    /// Forgets topics that were deleted. After a full snapshot their logs stay on the disk: it may come from a control plane that
    /// has lost its memory, and a topic that is made anew wipes what an earlier life of it left.
    async fn clean_up(&self, removed: Vec<TopicName>, full: bool) {
        for topic in removed {
            self.remembered.lock().retain(|(name, _)| *name != topic);
            if full {
                tracing::warn!(%topic, "the topic is not in the snapshot any more; its log is kept on the disk");
                continue;
            }
            let (log, state, name) = (Arc::clone(&self.log), Arc::clone(&self.state), topic.clone());
            let removed = tokio::task::spawn_blocking(move || {
                log.remove(&name).map_err(|error| error.to_string())?;
                state.remove_topic(&name).map_err(|error| error.to_string())
            });
            match removed.await {
                Ok(Ok(_)) => tracing::info!(%topic, "the topic was deleted"),
                Ok(Err(error)) => tracing::error!(%topic, error, "the topic could not be deleted whole"),
                Err(error) => tracing::error!(%topic, %error, "the topic could not be deleted whole"),
            }
        }
    }
}

impl Plane for NodePlane {
    fn apply<'a>(&'a self, delta: &'a Delta, full: bool) -> BoxFuture<'a, Vec<Nack>> {
        Box::pin(self.put_in_force(delta, full))
    }

    fn restore<'a>(&'a self, kept: Kept) -> BoxFuture<'a, Vec<Nack>> {
        Box::pin(self.restored(kept))
    }

    fn answer<'a>(&'a self, question: Question) -> BoxFuture<'a, Result<Value, Problem>> {
        Box::pin(self.answers.answer(question))
    }
}
