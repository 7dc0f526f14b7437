//! The index finds exactly what asking every subscription finds: random filters and events, through a table that was built from
//! resources over a real log.

use std::collections::BTreeSet;
use std::sync::Arc;

use posthorn_dataplane::route::{Builder, Table, TopicRoute};
use posthorn_domain::event::{AttrKind, Event, EventBuilder};
use posthorn_domain::filter::View;
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::signing::generate_hmac;
use posthorn_domain::snapshot::{Delta, Resource, ResourceKey};
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
const EVENTS: usize = 20;
/// Cases × subscriptions × events × topics: 76,800 pairs.
const CASES: u32 = 64;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn the_index_agrees_with_asking_everyone(
        filters in prop::collection::vec(prop::collection::vec(filter(), 1..4), SUBSCRIPTIONS),
        events in prop::collection::vec(event(), EVENTS),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let (log, _) = SegmentLog::open(folder.path(), Config::default(), Arc::new(Told::default())).expect("the log opens");
        let subscriptions: Vec<_> = filters.into_iter().map(|filters| (SubscriptionId::make(), filters)).collect();
        let table = table(Arc::new(log), &subscriptions);
        for (name, event) in TOPICS.iter().flat_map(|topic| events.iter().map(move |event| (*topic, event))) {
            let naive: BTreeSet<SubscriptionId> =
                subscriptions.iter().filter(|(_, filters)| filters.iter().all(|filter| holds(filter, name, event))).map(|(id, _)| *id).collect();
            let found = found(&table.topics[name], event);
            prop_assert_eq!(found.len(), found.iter().collect::<BTreeSet<_>>().len(), "nobody twice");
            prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), naive, "{} {:?}", name, event);
        }
    }
}

fn found(route: &TopicRoute, event: &Event) -> Vec<SubscriptionId> {
    let mut slots = Vec::new();
    route.index.matches(&route.slots, &View::new(route.topic.name.as_str(), event), &mut slots);
    slots.into_iter().map(|slot| route.slots[slot as usize].id()).collect()
}

fn table(log: Arc<SegmentLog>, subscriptions: &[(SubscriptionId, Vec<Value>)]) -> Table {
    let secret = generate_hmac();
    let topics = TOPICS.iter().map(|name| (ResourceKey::topic(name), json!({ "name": name })));
    let subscriptions = subscriptions.iter().map(|(id, filters)| {
        let document = json!({
            "id": id, "filters": filters, "endpoint": {"url": "https://hooks.example.com/"},
            "signing": [{"scheme": "standard-webhooks", "secret": secret}],
        });
        (ResourceKey::subscription(id), document)
    });
    let resource = |document| Resource { revision: 1, incarnation: 1, document, secrets: Default::default() };
    let changed = topics.chain(subscriptions).map(|(key, document)| (key, resource(document))).collect();
    let applied = Builder::new(log).apply(&Table::default(), &Delta { revision: 1, changed, removed: Vec::new() });
    assert_eq!(applied.nacks, vec![]);
    applied.table
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
