//! The one writer of the topic `posthorn.operations`: sums notes up and appends them through the pipeline of this node.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, counter};
use posthorn_domain::clock::Clock;
use posthorn_domain::operations::TOPIC;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::ingest::Pipeline;
use crate::operations::{Limiter, Note, Sum, event};

/// The longest time between two looks at what waits.
const LOOK: Duration = Duration::from_secs(1);

/// What it needs.
pub(super) struct Writer {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) node: String,
    pub(super) interval: Duration,
    pub(super) clock: Clock,
}

/// Counted.
struct Counts {
    appended: Counter,
    lost: Counter,
}

impl Writer {
    /// Runs until `shutdown`, or until nobody can tell it anything any more.
    pub(super) async fn run(self, mut notes: mpsc::Receiver<Note>, shutdown: CancellationToken) {
        let counts = Counts { appended: counter!("posthorn_operations_events_total"), lost: counter!("posthorn_operations_lost_total") };
        let mut limiter = Limiter::new(self.interval);
        let mut looks = tokio::time::interval(LOOK.min(self.interval.max(Duration::from_millis(10))));
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let told = tokio::select! {
                () = shutdown.cancelled() => break,
                note = notes.recv() => match note {
                    Some(note) => match limiter.take(note, self.clock.now()) {
                        Ok(sum) => sum.into_iter().collect(),
                        Err(_) => {
                            counts.lost.increment(1);
                            Vec::new()
                        }
                    },
                    None => break,
                },
                _ = looks.tick() => limiter.due(self.clock.now()),
            };
            for sum in &told {
                self.append(sum, &counts).await;
            }
        }
        // What was told and not written yet is not lost with the node.
        while let Ok(note) = notes.try_recv() {
            if let Ok(Some(sum)) = limiter.take(note, self.clock.now()) {
                self.append(&sum, &counts).await;
            }
        }
        for sum in limiter.rest() {
            self.append(&sum, &counts).await;
        }
    }

    async fn append(&self, sum: &Sum, counts: &Counts) {
        let event = event(sum, &self.node, self.clock.now());
        match self.pipeline.tell(TOPIC, event).await {
            Ok(_) => counts.appended.increment(1),
            Err(problem) => {
                counts.lost.increment(1);
                tracing::warn!(%problem, kind = sum.note.kind.event_type(), "an operational event could not be appended");
            }
        }
    }
}
