//! The index finds exactly what asking every subscription finds: random filters, changes and events, through tables that were built
//! from resources over a real log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use posthorn_dataplane::route::{Builder, Table};
use posthorn_domain::event::{AttrKind, Event, EventBuilder};
use posthorn_domain::filter::View;
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::signing::generate_hmac;
use posthorn_domain::snapshot::{Delta, Document, Resource, ResourceKey};
use posthorn_storage::log::behaviour::Told;
use posthorn_storage::log::segments::{Config, SegmentLog};
use proptest::prelude::*;
use serde_json::{Value, json};

const TOPICS: [&str; 3] = ["orders.eu", "orders.us", "bills"];
/// Patterns, and the topics of the list that each fits.
const PATTERNS: [(&str, &[&str]); 5] =
    [("**", &TOPICS), ("orders.*", &["orders.eu", "orders.us"]), ("orders.eu", &["orders.eu"]), ("bills", &["bills"]), ("elsewhere", &[])];
const ATTRIBUTES: [&str; 5] = ["type", "source", "subject", "tenant", "topic"];
const TEXTS: [&str; 6] = ["a", "ab", "b", "abc", "orders.eu", "bills"];
const SUBSCRIPTIONS: usize = 20;
const EVENTS: usize = 12;
const CHANGES: usize = 8;
/// Cases × (changes + 2) × subscriptions × events × topics: 345,600 pairs.
const CASES: u32 = 48;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn the_index_agrees_with_asking_everyone_after_every_change(
        filters in prop::collection::vec(filters(), SUBSCRIPTIONS),
        changes in prop::collection::vec(prop::collection::vec(change(), 1..6), CHANGES),
        events in prop::collection::vec(event(), EVENTS),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let (log, _) = SegmentLog::open(folder.path(), Config::default(), Arc::new(Told::default())).expect("the log opens");
        let log = Arc::new(log);
        let mut wanted: Vec<_> = filters.into_iter().map(|filters| Wanted { id: SubscriptionId::make(), filters: Some(filters), paused: false }).collect();
        let mut builder = Builder::new(Arc::clone(&log) as _);
        let topics = TOPICS.iter().map(|name| (ResourceKey::topic(name), resource(json!({ "name": name })))).collect();
        let mut table = applied(&mut builder, &Table::default(), topics, Vec::new());
        let all: Vec<usize> = (0..wanted.len()).collect();
        table = tell(&mut builder, &table, &wanted, &all);
        check(&table, &wanted, &events)?;
        for changes in changes {
            let touched: Vec<usize> = changes.iter().map(|(at, _)| *at).collect();
            for (at, change) in changes {
                wanted[at].change(change);
            }
            let next = tell(&mut builder, &table, &wanted, &touched);
            check(&next, &wanted, &events)?;
            table = next;
        }
        // Another builder takes the table over as it is.
        let other = applied(&mut Builder::new(log), &table, BTreeMap::new(), Vec::new());
        prop_assert!(other.changes.since.is_none());
        check(&other, &wanted, &events)?;
    }
}

/// A subscription as it should be; without filters it is deleted.
struct Wanted {
    id: SubscriptionId,
    filters: Option<Vec<Value>>,
    paused: bool,
}

#[derive(Clone, Debug)]
enum Change {
    Filters(Vec<Value>),
    Pause(bool),
    Delete,
}

impl Wanted {
    fn change(&mut self, change: Change) {
        match change {
            Change::Filters(filters) => self.filters = Some(filters),
            Change::Pause(paused) => self.paused = paused,
            Change::Delete => self.filters = None,
        }
    }
}

fn check(table: &Table, wanted: &[Wanted], events: &[Event]) -> Result<(), TestCaseError> {
    for (name, event) in TOPICS.iter().flat_map(|topic| events.iter().map(move |event| (*topic, event))) {
        let wants = |filters: &Vec<Value>| filters.iter().all(|filter| holds(filter, name, event));
        let naive: BTreeSet<SubscriptionId> =
            wanted.iter().filter(|one| !one.paused && one.filters.as_ref().is_some_and(wants)).map(|one| one.id).collect();
        let mut slots = Vec::new();
        table.index.matches(&View::new(name, event), &mut slots);
        let found: BTreeSet<SubscriptionId> = slots.iter().filter_map(|slot| Some(table.in_slot(*slot)?.id())).collect();
        prop_assert_eq!(slots.len(), found.len(), "nobody twice");
        prop_assert_eq!(found, naive, "{} {:?}", name, event);
    }
    Ok(())
}

/// Applies what is wanted of these subscriptions.
fn tell(builder: &mut Builder, base: &Table, wanted: &[Wanted], which: &[usize]) -> Table {
    let secret = generate_hmac();
    let (mut changed, mut removed) = (BTreeMap::new(), Vec::new());
    for one in which.iter().map(|at| &wanted[*at]) {
        let key = ResourceKey::subscription(one.id);
        let Some(filters) = &one.filters else {
            removed.push(key);
            continue;
        };
        let document = json!({
            "id": one.id, "filters": filters, "endpoint": {"url": "https://hooks.example.com/"},
            "signing": [{"scheme": "standard-webhooks", "secret": secret}], "status": if one.paused { "paused" } else { "active" },
        });
        changed.insert(key, resource(document));
    }
    applied(builder, base, changed, removed)
}

fn applied(builder: &mut Builder, base: &Table, changed: BTreeMap<ResourceKey, Resource>, removed: Vec<ResourceKey>) -> Table {
    let applied = builder.apply(base, &Delta { revision: base.revision + 1, changed, removed });
    assert_eq!(applied.nacks, vec![]);
    applied.table
}

fn resource(document: Value) -> Resource {
    Resource { revision: 1, incarnation: 1, document: Document::of(&document), secrets: Default::default() }
}

/// What a filter means, straight from its JSON (interfaces §4).
fn holds(filter: &Value, topic: &str, event: &Event) -> bool {
    let (dialect, body) = filter.as_object().and_then(|object| object.iter().next()).expect("one member");
    let inner = || body.as_array().expect("an array").iter().map(|filter| holds(filter, topic, event));
    let every = |compare: fn(&str, &str) -> bool| {
        body.as_object().expect("an object").iter().all(|(attribute, text)| {
            let value = if attribute == "topic" { Some(topic) } else { event.get(attribute) };
            value.is_some_and(|value| compare(value, text.as_str().expect("a text")))
        })
    };
    match dialect.as_str() {
        "topic" => PATTERNS.iter().any(|(pattern, fits)| body == pattern && fits.contains(&topic)),
        "exact" => every(|value, text| value == text),
        "prefix" => every(|value, text| value.starts_with(text)),
        "suffix" => every(|value, text| value.ends_with(text)),
        "all" => inner().all(|holds| holds),
        "any" => inner().any(|holds| holds),
        "not" => !holds(body, topic, event),
        other => panic!("{other} is none of the dialects here"),
    }
}

fn filters() -> impl Strategy<Value = Vec<Value>> {
    prop::collection::vec(filter(), 1..4)
}

fn change() -> impl Strategy<Value = (usize, Change)> {
    let change = prop_oneof![
        3 => filters().prop_map(Change::Filters),
        2 => any::<bool>().prop_map(Change::Pause),
        1 => Just(Change::Delete),
    ];
    (0..SUBSCRIPTIONS, change)
}

fn filter() -> impl Strategy<Value = Value> {
    let comparisons = || prop::collection::btree_map(prop::sample::select(&ATTRIBUTES[..]), prop::sample::select(&TEXTS[..]), 1..3);
    let leaf = prop_oneof![
        2 => prop::sample::select(&PATTERNS[..]).prop_map(|(pattern, _)| json!({ "topic": pattern })),
        4 => comparisons().prop_map(|wanted| json!({ "exact": wanted })),
        1 => comparisons().prop_map(|wanted| json!({ "prefix": wanted })),
        1 => comparisons().prop_map(|wanted| json!({ "suffix": wanted })),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let several = prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            several.clone().prop_map(|filters| json!({ "all": filters })),
            several.prop_map(|filters| json!({ "any": filters })),
            inner.prop_map(|filter| json!({ "not": filter })),
        ]
    })
}

prop_compose! {
    fn event()(
        ty in prop::sample::select(&TEXTS[..]), source in prop::sample::select(&TEXTS[..]),
        subject in prop::option::of(prop::sample::select(&TEXTS[..])), tenant in prop::option::of(prop::sample::select(&TEXTS[..])),
    ) -> Event {
        let mut builder = EventBuilder::new("1", source, ty);
        for (name, value) in [("subject", subject), ("tenant", tenant)] {
            if let Some(value) = value {
                builder.push(name, AttrKind::String, value);
            }
        }
        builder.build()
    }
}
