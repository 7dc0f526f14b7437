//! Everything between an event and its append: one synchronous pass on this thread's scratch.
//!
//! The data is parsed once; the tape that comes of it serves the schemas and the routes.

use std::cell::RefCell;

use compact_str::CompactString;
use posthorn_domain::event::{DataKind, Event};
use posthorn_domain::ids::DeadLetterId;
use posthorn_domain::json::Parser;
use posthorn_domain::problem::Problem;
use posthorn_domain::qos::Durability;
use posthorn_domain::record::{Record, RouteHint};
use posthorn_domain::time::Time;
use posthorn_storage::state::DeadLetter;

use super::answer::Warnings;
use super::pipeline::Submission;
use super::qos;
use super::schemas::{self, Refusal, Set};
use crate::route::TopicRoute;

/// What is to be done with an event.
pub(super) enum Verdict {
    /// Append it.
    Keep(Record, RouteHint, Warnings),
    /// Refused, but kept as a dead letter.
    Letter(Box<DeadLetter>, Warnings),
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
pub(super) fn admit(submission: &Submission, default: Durability, now: Time) -> Verdict {
    let topic = &submission.route;
    let (set, resolved) = schemas::resolve(&submission.table, topic, &submission.event);
    let checked = SCRATCH.with_borrow_mut(|scratch| check_and_route(submission, &set, resolved, scratch));
    let slots = match checked {
        Ok(slots) => slots,
        Err(refusal) => return refuse(submission, &set, refusal, now),
    };
    match record(submission, &set, default, now) {
        Ok(record) => Verdict::Keep(record, RouteHint { generation: topic.generation, slots }, schemas::warnings(&set)),
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
                Ok(route(&submission.route, event, slots))
            })
            .unwrap_or_else(|fault| Err(Refusal { problem: fault.into(), reason: None }))
    } else {
        resolved?;
        schemas::check_other(set, event)?;
        Ok(route(&submission.route, event, slots))
    }
}

fn route(topic: &TopicRoute, event: &Event, slots: &mut Vec<u32>) -> Box<[u32]> {
    slots.clear();
    topic.index.matches(&topic.slots, &topic.topic.name, event, slots);
    slots.as_slice().into()
}

fn record(submission: &Submission, set: &Set, default: Durability, now: Time) -> Result<Record, Problem> {
    let spec = &submission.route.topic.spec;
    let event = &submission.event;
    Ok(Record {
        durability: qos::durability(event, spec, schemas::specs(set), default)?,
        expires_at: qos::expires_at(event, spec, schemas::specs(set), now)?,
        dead_letter: qos::dead_letter(schemas::specs(set)),
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
    }
}

#[cold]
fn refuse(submission: &Submission, set: &Set, refusal: Refusal, now: Time) -> Verdict {
    let Refusal { problem, reason } = refusal;
    let spec = &submission.route.topic.spec;
    let Some(reason) = reason.filter(|_| qos::keeps_refusals(spec, schemas::specs(set))) else {
        return Verdict::Refuse(problem);
    };
    let letter = Box::new(DeadLetter {
        id: DeadLetterId::make(),
        reason,
        detail: problem.detail().to_owned(),
        at: now,
        topic: submission.route.topic.name.clone(),
        position: None,
        record: bare_record(submission, now).to_bytes(),
        subscription: None,
        delivery: None,
        attempts: 0,
        errors: problem.errors().to_vec(),
    });
    Verdict::Letter(letter, schemas::warnings(set))
}

/// The event's id, to be answered with.
pub(super) fn id_of(event: &Event) -> CompactString {
    event.id().into()
}
