//! From what a reader writes as a cursor to offsets on its partitions.

use std::collections::{BTreeMap, BTreeSet};

use posthorn_domain::names::TopicName;
use posthorn_domain::position::Cursor;
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::time::Time;

use super::group::PartKey;
use super::one::{Part, Standing};
use super::token::Token;
use crate::delivery::Waiting;
use crate::read::place::{expired, of_log};

/// Where to go.
#[derive(Debug, Default)]
pub(super) struct Target {
    pub(super) next: BTreeMap<PartKey, u64>,
    pub(super) had: BTreeSet<Waiting>,
    /// It was named by a word, not by an answer's cursor.
    pub(super) seek: bool,
}

/// The offsets that `text` names on the reader's partitions, among those of `mine` when a word names them.
pub(super) async fn resolve(standing: &Standing, mine: &[PartKey], text: &str) -> Result<Target, Problem> {
    let parts = mine.iter().filter_map(|key| Some((key, standing.parts.get(key)?)));
    let mut target = Target { seek: true, ..Target::default() };
    match text {
        "earliest" => target.next.extend(parts.map(|(key, part)| (key.clone(), part.route.log.bounds(key.1).start))),
        "latest" => target.next.extend(parts.map(|(key, part)| (key.clone(), part.route.log.bounds(key.1).end))),
        _ => match text.strip_prefix("time:") {
            Some(time) => {
                let time = Time::parse(time)
                    .ok_or_else(|| invalid("`time:` wants an RFC 3339 time after it, such as time:2026-01-01T00:00:00Z"))?;
                for (key, part) in parts {
                    let offset = part.route.log.offset_at(key.1, time).await.map_err(|error| of_log(&part.route, &error))?;
                    target.next.insert(key.clone(), offset);
                }
            }
            None => return named(standing, text),
        },
    }
    Ok(target)
}

fn named(standing: &Standing, text: &str) -> Result<Target, Problem> {
    let token = if text.starts_with("c1") {
        of_topic(standing, text)?
    } else {
        text.parse::<Token>().map_err(|error| invalid(&error.to_string()))?
    };
    let mut target = Target { next: BTreeMap::new(), had: token.had, seek: false };
    for (key, next) in token.next {
        let Some(part) = standing.parts.get(&key) else {
            return Err(invalid("the cursor names a partition that the reader does not read"));
        };
        check(part, &key, token.lives.get(&key.0).copied(), next)?;
        target.next.insert(key.clone(), next.min(part.route.log.bounds(key.1).end));
    }
    Ok(target)
}

/// A topic's own cursor will do where there is one topic.
fn of_topic(standing: &Standing, text: &str) -> Result<Token, Problem> {
    let cursor: Cursor = text.parse().map_err(|error: posthorn_domain::position::InvalidCursor| invalid(&error.to_string()))?;
    let topics: BTreeSet<&TopicName> = standing.parts.keys().map(|(topic, _)| topic).collect();
    match topics.into_iter().collect::<Vec<_>>().as_slice() {
        [topic] => Ok(Token::of_cursor(topic, &cursor)),
        _ => Err(invalid("the cursor is of one topic, and the reader reads several; use one from an answer to the reader")),
    }
}

fn check(part: &Part, key: &PartKey, life: Option<u64>, next: u64) -> Result<(), Problem> {
    if life != Some(part.route.log.settings().incarnation) {
        return Err(expired(&part.route, "the cursor is of an earlier topic of this name"));
    }
    if next < part.route.log.bounds(key.1).start {
        return Err(expired(&part.route, "retention has deleted events behind the cursor"));
    }
    Ok(())
}

fn invalid(detail: &str) -> Problem {
    Problem::new(Code::InvalidRequest, format!("`cursor`: {detail}"))
}
