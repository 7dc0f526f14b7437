//! From what a reader writes as a cursor to offsets, and whether they can still be read.

use posthorn_domain::position::Cursor;
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::time::Time;
use posthorn_storage::log::LogError;

use crate::route::TopicRoute;

/// The offsets that `text` names in the topic now.
pub(super) async fn resolve(route: &TopicRoute, text: &str) -> Result<Cursor, Problem> {
    match text {
        "earliest" => Ok(earliest(route)),
        "latest" => Ok(cursor(route, |partition| route.log.bounds(partition).end)),
        _ => match text.strip_prefix("time:") {
            Some(time) => at_time(route, time).await,
            None => {
                let mut cursor = text.parse().map_err(|error: posthorn_domain::position::InvalidCursor| invalid(&error.to_string()))?;
                check(route, &mut cursor)?;
                Ok(cursor)
            }
        },
    }
}

async fn at_time(route: &TopicRoute, text: &str) -> Result<Cursor, Problem> {
    let time = Time::parse(text).ok_or_else(|| invalid("`time:` wants an RFC 3339 time after it, such as time:2026-01-01T00:00:00Z"))?;
    let mut place = earliest(route);
    for (partition, next) in (0..).zip(&mut place.next) {
        *next = route.log.offset_at(partition, time).await.map_err(|error| of_log(route, &error))?;
    }
    Ok(place)
}

/// Fits a cursor to the topic as it is now: partitions that came later are read from their first event.
pub(super) fn check(route: &TopicRoute, place: &mut Cursor) -> Result<(), Problem> {
    let settings = route.log.settings();
    if place.incarnation != settings.incarnation {
        return Err(expired(route, "the cursor is of an earlier topic of this name"));
    }
    let partitions = settings.partitions as usize;
    if place.next.len() > partitions {
        return Err(invalid("the cursor has more partitions than the topic"));
    }
    place.next.resize(partitions, 0);
    for (partition, next) in (0..).zip(&mut place.next) {
        let bounds = route.log.bounds(partition);
        if *next < bounds.start {
            return Err(expired(route, "retention has deleted events behind the cursor"));
        }
        // After a power loss the log may be shorter than a cursor; what is written next must not be passed over.
        *next = (*next).min(bounds.end);
    }
    Ok(())
}

fn earliest(route: &TopicRoute) -> Cursor {
    cursor(route, |partition| route.log.bounds(partition).start)
}

fn cursor(route: &TopicRoute, offset: impl Fn(u32) -> u64) -> Cursor {
    let settings = route.log.settings();
    Cursor { incarnation: settings.incarnation, next: (0..settings.partitions).map(offset).collect() }
}

fn invalid(detail: &str) -> Problem {
    Problem::new(Code::InvalidRequest, format!("parameter `cursor`: {detail}"))
}

pub(crate) fn expired(route: &TopicRoute, why: &str) -> Problem {
    let detail = format!("{why}; read on from `earliest`, and what was deleted is lost to this reader");
    Problem::new(Code::CursorExpired, detail).with("earliest", earliest(route).to_string())
}

/// What a reader hears when the log could not be read.
pub(crate) fn of_log(route: &TopicRoute, error: &LogError) -> Problem {
    match error {
        LogError::BelowStart { .. } => expired(route, "retention has deleted events behind the cursor"),
        LogError::Removed => crate::ingest::topic_unknown(&route.topic.name),
        error => {
            tracing::warn!(topic = route.topic.name.as_str(), %error, "the log could not be read");
            Problem::new(Code::Unavailable, "the log cannot be read just now; read again later").with_retry_after(5)
        }
    }
}
