//! What would be said of an event without taking it in: for `explain`.

use posthorn_domain::event::Event;
use posthorn_domain::hops::HOPS;
use posthorn_domain::json::Doc;
use posthorn_domain::problem::Problem;
use posthorn_domain::time::Time;

use super::{hops, qos, schemas};
use crate::config;
use crate::route::{Table, TopicRoute};

/// When the event would expire; `doc` is its data when that is JSON.
///
/// # Errors
/// Why it would be refused.
pub(crate) fn foresee(
    table: &Table,
    topic: &TopicRoute,
    event: &Event,
    doc: Option<Doc<'_>>,
    config: &config::Ingest,
    now: Time,
) -> Result<Option<Time>, Problem> {
    let (set, resolved) = schemas::resolve(table, topic, event);
    let hops = event.get(HOPS).and_then(|hops| hops.parse().ok()).unwrap_or(0);
    let checked = hops::check(hops, topic.topic.spec.max_hops.unwrap_or(config.max_hops)).and(resolved).and_then(|()| match doc {
        Some(doc) => schemas::check(&set, doc),
        None => schemas::check_other(&set, event),
    });
    checked.map_err(|refusal| refusal.problem)?;
    let resolved = qos::of_event(event, topic, &set, config)?;
    qos::expires_at(event, resolved.ttl.value, now)
}
