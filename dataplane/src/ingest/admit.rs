//! Everything between an event and its append: one synchronous pass on this thread's scratch.
//!
//! The data is parsed once; the tape that comes of it serves the schemas and the routes.

use std::cell::RefCell;

use compact_str::CompactString;
use posthorn_domain::event::{DataKind, Event};
use posthorn_domain::filter::View;
use posthorn_domain::ids::DeadLetterId;
use posthorn_domain::json::{Doc, Parser};
use posthorn_domain::problem::Problem;
use posthorn_domain::qos::{Durability, OnRefusal};
use posthorn_domain::record::{Hint, Record};
use posthorn_domain::time::Time;
use posthorn_storage::state::DeadLetter;

use super::answer::Warnings;
use super::pipeline::Submission;
use super::schemas::{self, Refusal, Set};
use super::{hops, qos};
use crate::config;

/// What is to be done with an event.
pub(super) enum Verdict {
    /// Append it.
    Keep(Record, Hint, Warnings),
    /// Refused, but to be kept as a dead letter; the problem is for whoever may not make one.
    Letter(Box<(DeadLetter, Problem)>, Warnings),
    /// Refused.
    Refuse(Problem),
}

struct Scratch {
    parser: Parser,
    slots: Vec<u32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch { parser: Parser::new(), slots: Vec::new() });
}

/// Decides.
pub(super) fn admit(submission: &Submission, config: &config::Ingest, now: Time) -> Verdict {
    let (set, resolved) = schemas::resolve(&submission.table, &submission.route, &submission.event);
    let max_hops = submission.route.topic.spec.max_hops.unwrap_or(config.max_hops);
    let resolved = hops::check(submission.hops, max_hops).and(resolved);
    let checked = SCRATCH.with_borrow_mut(|scratch| check_and_route(submission, &set, resolved, scratch));
    let slots = match checked {
        Ok(slots) => slots,
        Err(refusal) => return refuse(submission, &set, refusal, config, now),
    };
    match record(submission, &set, &slots, config, now) {
        Ok(record) => {
            let hint = Hint { message: submission.message, generation: submission.table.generation, slots };
            Verdict::Keep(record, hint, schemas::warnings(&set))
        }
        Err(problem) => Verdict::Refuse(problem),
    }
}

/// JSON is parsed whether or not a schema asks for it: what a receiver could misread is not taken in (interfaces §9).
fn check_and_route(
    submission: &Submission,
    set: &Set,
    resolved: Result<(), Refusal>,
    scratch: &mut Scratch,
) -> Result<Box<[u32]>, Refusal> {
    let event = &submission.event;
    let Scratch { parser, slots } = scratch;
    if event.data_kind() == DataKind::Json {
        parser
            .parse(event.data(), |doc| {
                resolved?;
                schemas::check(set, doc)?;
                Ok(route(submission, Some(doc), slots))
            })
            .unwrap_or_else(|fault| Err(Refusal { problem: fault.into(), reason: None }))
    } else {
        resolved?;
        schemas::check_other(set, event)?;
        Ok(route(submission, None, slots))
    }
}

fn route(submission: &Submission, data: Option<Doc<'_>>, slots: &mut Vec<u32>) -> Box<[u32]> {
    slots.clear();
    let topic = &submission.route.topic.name;
    let view = View { data, direction: submission.direction, ..View::new(topic, &submission.event) };
    submission.trace.route(|| {
        submission.table.matches(&view, slots);
        slots.len()
    });
    slots.as_slice().into()
}

fn record(submission: &Submission, set: &Set, slots: &[u32], config: &config::Ingest, now: Time) -> Result<Record, Problem> {
    let (event, topic) = (&submission.event, &submission.route);
    let resolved = qos::of_event(event, topic, set, config)?;
    Ok(Record {
        durability: qos::demanded(resolved.durability.value, &submission.table, slots),
        expires_at: qos::expires_at(event, resolved.ttl.value, now)?,
        dead_letter: resolved.dead_letter.value,
        ..bare_record(submission, now)
    })
}

fn bare_record(submission: &Submission, now: Time) -> Record {
    Record {
        event: submission.event.clone(),
        publisher: submission.publisher.clone(),
        idempotency_key: submission.idempotency_key.clone(),
        accepted_at: now,
        expires_at: None,
        durability: Durability::Sync,
        dead_letter: posthorn_domain::qos::DeadLetter::Allow,
        direction: submission.direction,
    }
}

#[cold]
fn refuse(submission: &Submission, set: &Set, refusal: Refusal, config: &config::Ingest, now: Time) -> Verdict {
    let Refusal { problem, reason } = refusal;
    let kept = || qos::of_refused(&submission.route, set, config).on_refusal.value == OnRefusal::DeadLetter;
    let Some(reason) = reason.filter(|_| kept()) else {
        return Verdict::Refuse(problem);
    };
    let letter = DeadLetter {
        id: DeadLetterId::make(),
        reason,
        detail: problem.detail().to_owned(),
        at: now,
        topic: submission.route.topic.name.clone(),
        position: None,
        record: bare_record(submission, now).to_bytes(),
        subscription: None,
        delivery: None,
        replay: None,
        attempts: 0,
        errors: problem.errors().to_vec(),
    };
    Verdict::Letter(Box::new((letter, problem)), schemas::warnings(set))
}

/// The event's id, to be answered with.
pub(super) fn id_of(event: &Event) -> CompactString {
    event.id().into()
}
