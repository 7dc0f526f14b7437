//! Which schemas an event must hold to, and whether it does (interfaces §1, DESIGN §4.2).

use std::sync::Arc;

use posthorn_domain::event::{DataKind, Event};
use posthorn_domain::json::Doc;
use posthorn_domain::names::{Name, SchemaRef};
use posthorn_domain::problem::{Code, Fault, Problem};
use posthorn_domain::reason::Reason;
use posthorn_domain::resource::SchemaSpec;
use posthorn_domain::schema::named::{Named, parse_list, version_number};
use smallvec::SmallVec;

use super::answer::Warnings;
use crate::route::{SchemaRoute, Table, TopicRoute};

/// Faults that one refusal tells.
const MAX_FAULTS: usize = 20;
/// Seconds after which a schema may have reached this node: its snapshot is never newer than the control plane's, and may be older.
const NEWER_RETRY: u32 = 2;

/// The schemas of one event.
pub(super) type Set = SmallVec<[Arc<SchemaRoute>; 4]>;

/// Why the event is not accepted as far as schemas go. `reason` is there where a dead letter may be made of it.
pub(super) struct Refusal {
    pub(super) problem: Problem,
    pub(super) reason: Option<Reason>,
}

/// What the event and its topic name, as far as it is known, and the refusal if something is not.
pub(super) fn resolve(table: &Table, topic: &TopicRoute, event: &Event) -> (Set, Result<(), Refusal>) {
    let mut set = Set::new();
    let verdict = resolve_into(table, topic, event, &mut set);
    (set, verdict)
}

fn resolve_into(table: &Table, topic: &TopicRoute, event: &Event, set: &mut Set) -> Result<(), Refusal> {
    let mut refused = None;
    for (name, version) in named(table, event)? {
        match find(table, name, version) {
            Ok(route) if !contains(set, &route) => set.push(route),
            Ok(_) => {}
            Err(refusal) => refused = refused.or(Some(refusal)),
        }
    }
    for name in &topic.topic.spec.schemas {
        if set.iter().any(|route| route.version.name == *name) {
            continue;
        }
        match find(table, name, None) {
            Ok(route) => set.push(route),
            Err(refusal) => refused = refused.or(Some(refusal)),
        }
    }
    match refused {
        Some(refusal) => Err(refusal),
        None if set.is_empty() && topic.topic.spec.schema_required => {
            let detail = format!("topic `{}` requires a schema: name one in the attribute `schemas`, such as `order:3`", topic.topic.name);
            Err(Refusal { problem: Problem::new(Code::SchemaRequired, detail), reason: Some(Reason::SchemaRequired) })
        }
        None => Ok(()),
    }
}

fn contains(set: &Set, route: &Arc<SchemaRoute>) -> bool {
    set.iter().any(|known| Arc::ptr_eq(known, route))
}

/// The names in `schemas` and `dataschema`, with versions where they are given.
fn named<'a>(table: &'a Table, event: &'a Event) -> Result<Named<'a>, Refusal> {
    let mut named = match event.get("schemas") {
        None => Named::new(),
        Some(list) => parse_list(list).map_err(|detail| malformed(format!("attribute `schemas`: {detail}")))?,
    };
    named.extend(event.get("dataschema").and_then(|uri| by_uri(table, uri)).map(|(name, version)| (name, Some(version))));
    Ok(named)
}

/// `dataschema` that names a registered version; any other is the publisher's own business.
fn by_uri<'a>(table: &'a Table, uri: &'a str) -> Option<(&'a str, u32)> {
    if let Some(SchemaRef { name, version }) = table.schema_ids.get(uri.trim_end_matches('#')) {
        return Some((name, *version));
    }
    let (_, tail) = uri.rsplit_once("/v1/schemas/")?;
    let (name, version) = tail.split_once("/versions/")?;
    Some((name, version_number(version)?)).filter(|_| Name::is_valid(name))
}

fn malformed(detail: String) -> Refusal {
    Refusal { problem: Problem::new(Code::InvalidEvent, detail), reason: None }
}

pub(super) fn find(table: &Table, name: &str, version: Option<u32>) -> Result<Arc<SchemaRoute>, Refusal> {
    let versions = table.schemas.get(name).filter(|versions| !versions.is_empty());
    let newest = versions.and_then(|versions| versions.last_key_value());
    let revision = table.revision;
    let (Some(versions), Some((newest, latest))) = (versions, newest) else {
        let detail = format!("schema `{name}` is not known to this node, which has schemas known up to revision {revision}");
        return Err(unknown(Problem::new(Code::SchemaUnknown, detail).with("revision", revision).with_retry_after(NEWER_RETRY)));
    };
    match version {
        None => Ok(latest.clone()),
        Some(version) if version > *newest => {
            let detail = format!(
                "schema `{name}:{version}` is not known to this node: its newest version is {newest}, known up to revision {revision}"
            );
            let problem = Problem::new(Code::SchemaVersionUnknown, detail).with("known_up_to", *newest).with("revision", revision);
            Err(unknown(problem.with_retry_after(NEWER_RETRY)))
        }
        Some(version) => versions.get(&version).cloned().ok_or_else(|| {
            let detail = format!("schema `{name}` has no version {version}; its newest is {newest}, known up to revision {revision}");
            unknown(Problem::new(Code::SchemaUnknown, detail).with("revision", revision))
        }),
    }
}

fn unknown(problem: Problem) -> Refusal {
    Refusal { problem, reason: Some(Reason::SchemaUnknown) }
}

/// Holds parsed data to every schema of the set.
pub(super) fn check(set: &Set, doc: Doc<'_>) -> Result<(), Refusal> {
    if set.iter().all(|route| route.compiled.is_valid(doc)) {
        return Ok(());
    }
    let mut faults = Vec::new();
    for route in set {
        let room = MAX_FAULTS - faults.len();
        faults.extend(route.compiled.errors(doc, &label(route)).into_iter().take(room));
    }
    Err(invalid(faults))
}

/// Data that is not JSON holds to no schema.
pub(super) fn check_other(set: &Set, event: &Event) -> Result<(), Refusal> {
    if set.is_empty() {
        return Ok(());
    }
    let detail = if event.data_kind() == DataKind::None { "the event has no data" } else { "the data is not JSON by its content type" };
    let fault = |route: &Arc<SchemaRoute>| Fault { schema: Some(label(route)), pointer: "#".into(), detail: detail.into() };
    Err(invalid(set.iter().map(fault).take(MAX_FAULTS).collect()))
}

fn invalid(faults: Vec<Fault>) -> Refusal {
    let detail = match faults.as_slice() {
        [Fault { schema: Some(schema), pointer, detail }] => format!("`{schema}` refuses the data at {pointer}: {detail}"),
        faults => format!("the data has {} faults; see `errors`", faults.len()),
    };
    Refusal { problem: Problem::new(Code::SchemaInvalid, detail).with_errors(faults), reason: Some(Reason::SchemaInvalid) }
}

fn label(route: &SchemaRoute) -> String {
    route.version.reference().to_string()
}

/// What the publisher of an event that names them should know.
pub(super) fn warnings(set: &Set) -> Warnings {
    set.iter().filter_map(|route| route.warning.clone()).collect()
}

/// The specifications of a set, for the QoS rules.
pub(super) fn specs(set: &Set) -> impl Iterator<Item = &SchemaSpec> + Clone {
    set.iter().map(|route| &route.version.spec)
}

/// The references of a set, in its order.
pub(super) fn references(set: &Set) -> Vec<SchemaRef> {
    set.iter().map(|route| route.version.reference()).collect()
}

/// The event as it is when it is held to the schemas of `instead`, in place of what it names of the same ones and of what is not
/// registered. A `dataschema` that names another version of them would lie, and goes.
///
/// # Errors
/// As [`resolve`], when one of `instead` is not known.
pub(super) fn renamed(table: &Table, event: &Event, instead: &[(&str, Option<u32>)]) -> Result<Event, Problem> {
    let replaced = |name: &str| instead.iter().any(|(other, _)| *other == name);
    let mut list: Vec<String> = Vec::new();
    let before = event.get("schemas").and_then(|list| parse_list(list).ok()).unwrap_or_default();
    for (name, version) in before.into_iter().filter(|(name, _)| !replaced(name)) {
        if find(table, name, version).is_ok() {
            list.push(version.map_or_else(|| name.to_owned(), |version| format!("{name}:{version}")));
        }
    }
    for (name, version) in instead {
        list.push(find(table, name, *version).map_err(|refusal| refusal.problem)?.version.reference().to_string());
    }
    let renamed = event.with_attr("schemas", &list.join(" "));
    let gone = event.get("dataschema").and_then(|uri| by_uri(table, uri)).is_some_and(|(name, _)| replaced(name));
    Ok(if gone { renamed.without_attr("dataschema") } else { renamed })
}
