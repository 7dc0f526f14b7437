//! Finding attempts, newest first.

use std::fmt;
use std::io;
use std::str::FromStr;

use posthorn_domain::ids::{DeliveryId, SubscriptionId};
use posthorn_domain::names::TopicName;
use posthorn_domain::position::Position;

use super::segment::{Content, Segment};
use super::{Attempt, Outcome};

/// Which attempts; an absent member matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// To this subscription.
    pub subscription: Option<SubscriptionId>,
    /// Of this topic.
    pub topic: Option<TopicName>,
    /// With this outcome.
    pub outcome: Option<Outcome>,
    /// With this HTTP status.
    pub status: Option<u16>,
    /// Of events with this hash, see [`super::event_hash`].
    pub event_hash: Option<u32>,
    /// Of this delivery.
    pub delivery: Option<DeliveryId>,
    /// Of the event at this place; give the topic too.
    pub position: Option<Position>,
}

impl Query {
    /// Whether it is one of these.
    pub fn matches(&self, attempt: &Attempt) -> bool {
        self.matches_but_for_id(attempt) && self.delivery.is_none_or(|wanted| wanted == attempt.delivery)
    }

    /// Whatever its delivery's id is.
    pub(super) fn matches_but_for_id(&self, attempt: &Attempt) -> bool {
        self.subscription.is_none_or(|wanted| wanted == attempt.subscription)
            && self.topic.as_ref().is_none_or(|wanted| *wanted == attempt.topic)
            && self.outcome.is_none_or(|wanted| wanted == attempt.outcome)
            && self.status.is_none_or(|wanted| Some(wanted) == attempt.status)
            && self.event_hash.is_none_or(|wanted| wanted == attempt.event_hash)
            && self.position.is_none_or(|wanted| wanted == attempt.position)
    }
}

/// A place between attempts; stays good while attempts are added, and skips what retention dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    segment: u64,
    block: usize,
    record: usize,
}

/// Text that is no mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a page token of ours")]
pub struct InvalidMark;

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.segment, self.block, self.record)
    }
}

impl FromStr for Mark {
    type Err = InvalidMark;

    fn from_str(text: &str) -> Result<Self, InvalidMark> {
        let mut parts = text.split('.').map(|part| part.parse::<u64>().map_err(|_| InvalidMark));
        let mut part = || parts.next().ok_or(InvalidMark)?;
        let segment = part()?;
        let mut index = || usize::try_from(part()?).map_err(|_| InvalidMark);
        let mark = Self { segment, block: index()?, record: index()? };
        if part().is_ok() { Err(InvalidMark) } else { Ok(mark) }
    }
}

/// What a query found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Newest first; may be empty although there is a `next`.
    pub attempts: Vec<Attempt>,
    /// Give this as `before` for the rest; `None` at the end.
    pub next: Option<Mark>,
}

pub(super) fn run(segments: &[Segment], query: &Query, before: Option<Mark>, limit: usize, scan: usize) -> io::Result<Found> {
    let (mut found, mut scanned) = (Found::default(), 0);
    for segment in segments.iter().rev() {
        if before.is_some_and(|mark| mark.segment < segment.number) {
            continue;
        }
        let bytes = segment.read()?;
        let content = Content::of(&bytes);
        for (at, block) in content.blocks.iter().enumerate().rev() {
            let start = Mark { segment: segment.number, block: at, record: 0 };
            if before.is_some_and(|mark| mark <= start) {
                continue;
            }
            let all = block.find(&content.words, query);
            for (record, attempt) in all.into_iter().enumerate().rev() {
                let mark = Mark { record, ..start };
                if before.is_some_and(|before| before <= mark) {
                    continue;
                }
                // Only on meeting one more record is it known that there is a rest.
                if found.attempts.len() >= limit || scanned >= scan.max(1) {
                    return Ok(found);
                }
                scanned += 1;
                found.next = Some(mark);
                found.attempts.extend(attempt);
            }
        }
    }
    found.next = None;
    Ok(found)
}
