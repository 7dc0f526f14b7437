//! The spans of a sampled event on its way into the log: `accept`, and within it `validate`, `route` and `append`.

use posthorn_domain::event::Event;
use posthorn_domain::ids::MessageId;
use tracing::Span;
use tracing::field::Empty;

use crate::trace::{Sampler, TARGET, Trace, shown};

/// The spans of one event's acceptance; of one that is not sampled, nothing. They end when this goes.
#[derive(Default)]
pub(super) struct Accepting(Option<Box<Spans>>);

struct Spans {
    append: Option<Span>,
    accept: Span,
}

impl Spans {
    /// A line of JSON has the spans that are entered when it is written, not those that its own was made in.
    fn end_append(&mut self) {
        if let Some(append) = self.append.take() {
            self.accept.in_scope(|| drop(append));
        }
    }
}

impl Drop for Spans {
    fn drop(&mut self) {
        self.end_append();
    }
}

impl Accepting {
    /// An event is known by its message id.
    #[inline]
    pub(super) fn begin(sampler: Sampler, message: MessageId, topic: &str, event: &Event) -> Self {
        if sampler.is_on() { Self::sampled(sampler, message, topic, event) } else { Self(None) }
    }

    #[cold]
    fn sampled(sampler: Sampler, message: MessageId, topic: &str, event: &Event) -> Self {
        let Some(Trace { id, parent }) = sampler.trace(message, Some(event)) else { return Self(None) };
        let (name, source) = (shown(event.id()), shown(event.source()));
        let accept = tracing::info_span!(target: TARGET, parent: None, "accept", trace_id = id, parent_id = parent, event = name,
            source, message = %message, topic, outcome = Empty);
        Self(Some(Box::new(Spans { append: None, accept })))
    }

    /// Within the span `validate`: schemas, quality of service, and who wants it.
    pub(super) fn validate<T>(&self, work: impl FnOnce() -> T) -> T {
        let Some(spans) = &self.0 else { return work() };
        spans.accept.in_scope(|| tracing::info_span!(target: TARGET, "validate").in_scope(work))
    }

    /// Within the span `route`, for work that gives how many subscriptions want the event.
    pub(super) fn route(&self, work: impl FnOnce() -> usize) {
        if self.0.is_none() {
            work();
            return;
        }
        let span = tracing::info_span!(target: TARGET, "route", subscriptions = Empty);
        let wanting = span.in_scope(work);
        span.record("subscriptions", wanting);
    }

    /// The append is under way.
    pub(super) fn append(&mut self, partition: u32) {
        if let Some(spans) = &mut self.0 {
            spans.append = Some(tracing::info_span!(target: TARGET, parent: &spans.accept, "append", partition, offset = Empty));
        }
    }

    /// The append has ended, at this offset or with a fault.
    pub(super) fn appended(&mut self, offset: Option<u64>) {
        let Some(spans) = &mut self.0 else { return };
        if let (Some(append), Some(offset)) = (&spans.append, offset) {
            append.record("offset", offset);
        }
        spans.end_append();
        self.outcome(if offset.is_some() { "accepted" } else { "failed" });
    }

    /// How it ended.
    pub(super) fn outcome(&self, outcome: &str) {
        if let Some(spans) = &self.0 {
            spans.accept.record("outcome", outcome);
        }
    }
}
