//! The index finds exactly what asking every subscription finds, whatever language the filters are written in: random filters of
//! all dialects against random events with and without data, while subscriptions come and go.

use std::sync::Arc;

use bytes::Bytes;
use posthorn_dataplane::route::{Editor, Filters, Index};
use posthorn_domain::direction::Direction;
use posthorn_domain::event::{AttrKind, DataKind, Event, EventBuilder};
use posthorn_domain::fields::Faults;
use posthorn_domain::filter::{Filter, View};
use posthorn_domain::json::Parser;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

const SUBSCRIPTIONS: usize = 60;
const EVENTS: usize = 30;
/// Cases × 3 rounds × subscriptions × events: 345,600 pairs.
const CASES: u32 = 64;
const TOPICS: [&str; 3] = ["orders", "orders.eu", "bills"];
const TEXTS: [&str; 7] = ["a", "ab", "abc", "b", "3", "+3", "03"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn the_index_agrees_with_every_dialect(
        lists in prop::collection::vec(prop::collection::vec(filter(), 1..4), SUBSCRIPTIONS),
        events in prop::collection::vec(event(), EVENTS),
        changes in prop::collection::vec(0..SUBSCRIPTIONS, 2 * SUBSCRIPTIONS),
    ) {
        let mut editor = Editor::default();
        let mut held: Vec<Option<Arc<Filters>>> = vec![None; lists.len()];
        for at in 0..lists.len() {
            toggle(&mut editor, &lists, &mut held, at);
        }
        let mut parser = Parser::new();
        agrees(&editor.index(), &held, &events, &mut parser)?;
        for half in changes.chunks(SUBSCRIPTIONS) {
            half.iter().for_each(|at| toggle(&mut editor, &lists, &mut held, *at));
            agrees(&editor.index(), &held, &events, &mut parser)?;
        }
        let mut fresh = Editor::default();
        for (list, slot) in held.iter().zip(0..) {
            if let Some(list) = list {
                let list = fresh.intern(list.iter().map(|filter| (***filter).clone()).collect());
                fresh.add(&list, slot);
            }
        }
        agrees(&fresh.index(), &held, &events, &mut parser)?;
    }
}

fn toggle(editor: &mut Editor, lists: &[Vec<Filter>], held: &mut [Option<Arc<Filters>>], at: usize) {
    let slot = u32::try_from(at).expect("small");
    match held[at].take() {
        Some(list) => {
            editor.remove(&list, slot);
            editor.forget(&list);
        }
        None => {
            let list = editor.intern(lists[at].clone());
            editor.add(&list, slot);
            held[at] = Some(list);
        }
    }
}

fn agrees(
    index: &Index,
    held: &[Option<Arc<Filters>>],
    events: &[(Event, &str, Direction)],
    parser: &mut Parser,
) -> Result<(), TestCaseError> {
    for (event, topic, direction) in events {
        let bare = View { direction: *direction, ..View::new(topic, event) };
        let check = |view: &View<'_>| {
            let mut found = Vec::new();
            index.matches(view, &mut found);
            let wants = |list: &Arc<Filters>| list.iter().all(|filter| Filter::matches(filter, view));
            let naive: Vec<u32> = (0..).zip(held).filter(|(_, list)| list.as_ref().is_some_and(wants)).map(|(slot, _)| slot).collect();
            let sources: Vec<_> = naive.iter().chain(&found).map(|slot| format!("{slot} {:?}", held[*slot as usize])).collect();
            prop_assert_eq!(found, naive, "{:?} {} {:?}\n{}", event, topic, event.data(), sources.join("\n"));
            Ok(())
        };
        if event.data_kind() == DataKind::Json {
            parser.parse(event.data(), |doc| check(&View { data: Some(doc), ..bare })).expect("JSON")?;
        } else {
            check(&bare)?;
        }
    }
    Ok(())
}

/// Filters that are no filters are a fault of this test.
fn filter() -> impl Strategy<Value = Filter> {
    json_filter().prop_map(|value| {
        let mut faults = Faults::default();
        let filter = Filter::parse(&value, "", &mut faults);
        faults.result("the filter", filter).unwrap_or_else(|problem| panic!("{value}: {problem} {:?}", problem.errors()))
    })
}

fn json_filter() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        3 => sql().prop_map(|text| json!({ "sql": text })),
        2 => cel().prop_map(|text| json!({ "cel": text })),
        2 => assertions(),
        1 => (select(&["exact", "prefix", "suffix"][..]), attribute(), select(&TEXTS[..])).prop_map(|(dialect, name, text)| json!({dialect: {name: text}})),
        1 => select(&["orders", "orders.*", "orders.**", "**", "**.eu", "*", "o*.x"][..6]).prop_map(|pattern| json!({ "topic": pattern })),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        let several = prop::collection::vec(inner.clone(), 1..3);
        prop_oneof![
            several.clone().prop_map(|filters| json!({ "all": filters })),
            several.prop_map(|filters| json!({ "any": filters })),
            inner.prop_map(|filter| json!({ "not": filter })),
        ]
    })
}

fn attribute() -> impl Strategy<Value = &'static str> {
    select(&["type", "tenant", "subject", "n", "flag", "topic", "direction"][..])
}

fn sql() -> impl Strategy<Value = String> {
    let text = || select(&["a", "ab", "abc", "b", "3", "orders", "incoming", "true"][..]);
    let number = || -2..6i32;
    let order = || select(&["=", "!=", "<>", "<", "<=", ">", ">="][..]);
    let leaf = prop_oneof![
        (attribute(), select(&["=", "!=", "<>"][..]), text()).prop_map(|(name, order, text)| format!("{name} {order} '{text}'")),
        (text(), attribute()).prop_map(|(text, name)| format!("'{text}' = {name}")),
        (attribute(), order(), number()).prop_map(|(name, order, number)| format!("{name} {order} {number}")),
        (number(), order(), attribute()).prop_map(|(number, order, name)| format!("{number} {order} {name}")),
        (attribute(), select(&["a%", "%b", "ab%", "a_c", "%", "a%c", "abc", r"a\%", "o%.eu"][..]))
            .prop_map(|(name, like)| format!("{name} LIKE '{like}'")),
        (attribute(), text()).prop_map(|(name, text)| format!("{name} NOT LIKE '{text}%'")),
        (attribute(), text(), text()).prop_map(|(name, a, b)| format!("{name} IN ('{a}', '{b}')")),
        (attribute(), number(), number()).prop_map(|(name, a, b)| format!("{name} IN ({a}, {b}, 'a')")),
        attribute().prop_map(|name| format!("EXISTS {name}")),
        attribute().prop_map(str::to_owned),
        (attribute(), select(&["TRUE", "FALSE"][..])).prop_map(|(name, value)| format!("{name} = {value}")),
        (attribute(), number()).prop_map(|(name, number)| format!("{name} + 1 = {number}")),
        (attribute(), text()).prop_map(|(name, text)| format!("LEFT({name}, 1) = '{text}'")),
        (attribute(), attribute()).prop_map(|(a, b)| format!("{a} = {b}")),
        (attribute(), number()).prop_map(|(name, number)| format!("LENGTH({name}) > {number}")),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            (inner.clone(), select(&["AND", "AND", "OR", "XOR"][..]), inner.clone())
                .prop_map(|(a, logic, b)| format!("({a}) {logic} ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} AND {b}")),
            inner.prop_map(|a| format!("NOT ({a})")),
        ]
    })
}

fn cel() -> impl Strategy<Value = String> {
    let place = || select(&["event.type", "event.tenant", "event.n", "data.total", "data.name", "data.a.b", "data.tags[0]", "data"][..]);
    let value = || select(&["'a'", "'ab'", "3", "3.0", "4.5", "true", "null", "-1", "3u", "'3'"][..]);
    let order = || select(&["==", "==", "!=", "<", "<=", ">", ">="][..]);
    let leaf = prop_oneof![
        4 => (place(), order(), value()).prop_map(|(place, order, value)| format!("{place} {order} {value}")),
        1 => (value(), order(), place()).prop_map(|(value, order, place)| format!("{value} {order} {place}")),
        1 => (place(), value(), value()).prop_map(|(place, a, b)| format!("{place} in [{a}, {b}]")),
        1 => (place(), select(&["startsWith", "endsWith", "contains"][..]), select(&["a", "b", "ab"][..]))
            .prop_map(|(place, function, text)| format!("{place}.{function}('{text}')")),
        1 => select(&["has(data.name)", "has(event.tenant)", "has(data.a.b)", "data.tags.exists(t, t == 'a')", "data.tags.all(t, t != 'b')"][..]).prop_map(str::to_owned),
        1 => place().prop_map(|place| format!("{place}.matches('^a.*')")),
        1 => place().prop_map(|place| format!("size({place}) > 1")),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            (inner.clone(), select(&["&&", "&&", "||"][..]), inner.clone()).prop_map(|(a, logic, b)| format!("({a}) {logic} ({b})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a}) ? ({b}) : ({c})")),
        ]
    })
}

fn assertions() -> impl Strategy<Value = Value> {
    let pointer = || select(&["", "/total", "/name", "/a/b", "/a", "/tags", "/tags/0", "/missing"][..]);
    let scalar =
        || select(vec![json!(3), json!(3.0), json!(4.5), json!(-1), json!("a"), json!("ab"), json!(true), json!(null), json!("3")]);
    let number = || select(vec![json!(3), json!(0), json!(4.5), json!(-1)]);
    let one = prop_oneof![
        3 => (select(&["eq", "ne"][..]), scalar()).prop_map(|(operator, value)| (operator, value)),
        3 => (select(&["lt", "le", "gt", "ge"][..]), number()).prop_map(|(operator, value)| (operator, value)),
        1 => (scalar(), scalar()).prop_map(|(a, b)| ("in", json!([a, b]))),
        1 => any::<bool>().prop_map(|there| ("exists", json!(there))),
        1 => (select(&["prefix", "suffix"][..]), select(&["a", "b", "ab"][..])).prop_map(|(operator, text)| (operator, json!(text))),
        1 => Just(("regex", json!("^a"))),
    ];
    let operators = prop::collection::btree_map(Just(()), one, 1)
        .prop_map(|one| one.into_values().map(|(operator, value)| (operator.to_owned(), value)).collect());
    prop::collection::btree_map(pointer().prop_map(str::to_owned), operators.prop_map(Value::Object), 1..3)
        .prop_map(|places| json!({ "data": places }))
}

prop_compose! {
    fn event()(
        ty in select(&TEXTS[..]),
        texts in prop::collection::vec(prop::option::of(select(&TEXTS[..])), 2),
        n in prop::option::of((select(&[AttrKind::String, AttrKind::Integer][..]), select(&["3", "0", "-1", "5"][..]))),
        flag in prop::option::of((select(&[AttrKind::String, AttrKind::Boolean][..]), select(&["true", "false"][..]))),
        data in data(),
        topic in select(&TOPICS[..]),
        outgoing in any::<bool>(),
    ) -> (Event, &'static str, Direction) {
        let mut builder = EventBuilder::new("1", "/s", ty);
        for (name, text) in ["tenant", "subject"].into_iter().zip(texts) {
            if let Some(text) = text {
                builder.push(name, AttrKind::String, text);
            }
        }
        for (name, value) in [("n", n), ("flag", flag)] {
            if let Some((kind, text)) = value {
                builder.push(name, kind, text);
            }
        }
        let (kind, data) = match data {
            Some(data) => (DataKind::Json, Bytes::from(data.to_string())),
            None => (DataKind::None, Bytes::new()),
        };
        (builder.with_data(kind, data), topic, if outgoing { Direction::Outgoing } else { Direction::Incoming })
    }
}

fn data() -> impl Strategy<Value = Option<Value>> {
    let scalar = || {
        select(vec![
            json!(3),
            json!(3.0),
            json!(4.5),
            json!(-1),
            json!("a"),
            json!("ab"),
            json!("3"),
            json!(true),
            json!(null),
            json!({}),
            json!([]),
        ])
    };
    let object =
        (scalar(), scalar(), prop::option::of(scalar()), prop::collection::vec(scalar(), 0..3)).prop_map(|(total, name, b, tags)| {
            let mut data = json!({"total": total, "name": name, "tags": tags});
            if let Some(b) = b {
                data["a"] = json!({ "b": b });
            }
            data
        });
    prop_oneof![6 => object.prop_map(Some), 1 => scalar().prop_map(Some), 1 => Just(None)]
}
