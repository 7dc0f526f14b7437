//! The spans of sampled events on their way to endpoints: `attempt` while a request is made, `settle` once it is known what follows.

use posthorn_domain::event::Event;
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::time::Time;
use posthorn_storage::attempts::Outcome;
use tracing::Span;
use tracing::field::Empty;

use super::item::Item;
use super::outcome::Verdict;
use super::settle::error_text;
use crate::trace::{Sampler, TARGET, Trace, shown};

/// One span for each sampled event of a request. They end when this goes.
#[derive(Default)]
pub(super) struct Attempts(Vec<Span>);

impl Attempts {
    /// A request with these is about to be made.
    #[inline]
    pub(super) fn begin(sampler: Sampler, subscription: SubscriptionId, items: &[Item]) -> Self {
        if sampler.is_on() { Self::sampled(sampler, subscription, items) } else { Self(Vec::new()) }
    }

    #[cold]
    fn sampled(sampler: Sampler, subscription: SubscriptionId, items: &[Item]) -> Self {
        let span = |item| {
            let (Trace { id, parent }, event) = traced(sampler, item)?;
            let place = item.place();
            Some(tracing::info_span!(target: TARGET, parent: None, "attempt", trace_id = id, parent_id = parent, event,
                message = %item.message, topic = item.topic.as_str(), partition = place.partition, offset = place.offset, %subscription,
                delivery = %item.delivery, attempt = item.made, replay = item.replay.is_some(), events = items.len(), status = Empty,
                error = Empty))
        };
        Self(items.iter().filter_map(span).collect())
    }

    /// It was answered, or not.
    pub(super) fn end(self, status: Option<u16>, verdict: &Verdict) {
        for span in self.0 {
            status.map(|status| span.record("status", status));
            if *verdict != Verdict::Delivered {
                span.record("error", error_text(verdict));
            }
        }
    }
}

/// What came of a delivery's attempt, or of one that was not made.
#[inline]
pub(super) fn settled(sampler: Sampler, subscription: SubscriptionId, item: &Item, outcome: Outcome, error: &str, next: Option<Time>) {
    if sampler.is_on() {
        settled_sampled(sampler, subscription, item, outcome, error, next);
    }
}

#[cold]
fn settled_sampled(sampler: Sampler, subscription: SubscriptionId, item: &Item, outcome: Outcome, error: &str, next: Option<Time>) {
    let Some((Trace { id, parent }, event)) = traced(sampler, item) else { return };
    let error = Some(error).filter(|error| !error.is_empty());
    let next = next.map(tracing::field::display);
    drop(tracing::info_span!(target: TARGET, parent: None, "settle", trace_id = id, parent_id = parent, event, message = %item.message,
        topic = item.topic.as_str(), %subscription, delivery = %item.delivery, attempt = item.made, outcome = outcome.status(), error,
        next_attempt_at = next));
}

/// The trace of a sampled event, and what it calls itself.
fn traced(sampler: Sampler, item: &Item) -> Option<(Trace, &str)> {
    let event: Option<&Event> = item.stored.as_ref().map(|stored| &stored.record.event);
    Some((sampler.trace(item.message, event)?, event.map_or("", |event| shown(event.id()))))
}
