use std::sync::Arc;

use posthorn_domain::event::{AttrKind, Event, EventBuilder};
use posthorn_domain::fields::Faults;
use posthorn_domain::filter::{Filter, View};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn filters(values: &[Value]) -> Vec<Filter> {
    let mut faults = Faults::default();
    let filters = values.iter().map(|value| Filter::parse(value, "", &mut faults)).collect::<Option<Vec<_>>>();
    faults.result("the filters", filters).expect("valid filters")
}

fn event(ty: &str, tenant: &str) -> Event {
    let mut builder = EventBuilder::new("1", "/s", ty);
    builder.push("tenant", AttrKind::String, tenant);
    builder.build()
}

fn found(index: &Index, topic: &str, event: &Event) -> Vec<u32> {
    let mut out = Vec::new();
    index.matches(&View::new(topic, event), &mut out);
    out
}

/// How many groups an event meets, whether or not they want it.
fn candidates(index: &Index, view: &View<'_>) -> usize {
    let mut open = Index { filters: index.filters, ..index.clone() };
    // Without filters of their own, all that are met are let through.
    for group in &mut open.groups {
        if group.filters.is_some() {
            group.filters = Some(Editor::default().intern(Vec::new()));
        }
    }
    let mut out = Vec::new();
    open.matches(view, &mut out);
    out.len()
}

#[test]
fn only_few_are_asked_among_many() {
    let mut editor = Editor::default();
    let mut slot = 0;
    let mut add = |editor: &mut Editor, values: &[Value]| {
        let list = editor.intern(filters(values));
        editor.add(&list, slot);
        slot += 1;
    };
    for n in 0..3_000 {
        // No one condition tells these apart, two do.
        add(
            &mut editor,
            &[json!({"topic": "orders"}), json!({"exact": {"type": format!("t{}", n % 50), "tenant": format!("c{}", n / 50)}})],
        );
        // All of one type; the prefix tells them apart.
        add(&mut editor, &[json!({"exact": {"type": "t1"}}), json!({"prefix": {"tenant": format!("d{n}.")}})]);
        add(&mut editor, &[json!({"suffix": {"tenant": format!(".e{n}")}})]);
        add(&mut editor, &[json!({"topic": format!("elsewhere{n}")})]);
    }
    let index = editor.index();
    for (event, wanted) in [(event("t1", "c7"), 1), (event("t1", "d77.x"), 1), (event("t9", "x.e5"), 1), (event("t9", "zz"), 0)] {
        assert_eq!(found(&index, "orders", &event).len(), wanted);
        let asked = candidates(&index, &View::new("orders", &event));
        assert!(asked <= 2 * BUCKETFUL, "{asked} were asked");
    }
}

/// What may stand in one bucket.
const BUCKETFUL: usize = 8;

#[test]
fn equal_filters_are_one_group_and_one_answer() {
    let mut editor = Editor::default();
    let text = json!({"not": {"exact": {"type": "a"}}});
    let lists: Vec<_> = (0..1_000).map(|_| editor.intern(filters(std::slice::from_ref(&text)))).collect();
    for (list, slot) in lists.iter().zip(0..) {
        assert!(Arc::ptr_eq(list, &lists[0]));
        editor.add(list, slot);
    }
    let index = editor.index();
    assert_eq!((index.groups.len(), index.filters), (1, 1));
    assert_eq!(found(&index, "orders", &event("b", "x")), (0..1_000).collect::<Vec<_>>());
    assert!(found(&index, "orders", &event("a", "x")).is_empty());
    // What was given out stays as it was.
    for (list, slot) in lists.iter().zip(0..) {
        editor.remove(list, slot);
        editor.forget(list);
    }
    assert_eq!(found(&index, "orders", &event("b", "x")).len(), 1_000);
    assert!(found(&editor.index(), "orders", &event("b", "x")).is_empty());
}

fn few() -> impl Strategy<Value = Value> {
    let text = || prop::sample::select(vec!["a", "ab", "abc", "b", "orders"]);
    let attribute = || prop::sample::select(vec!["type", "tenant", "topic", "other"]);
    prop_oneof![
        (prop::sample::select(vec!["exact", "prefix", "suffix"]), attribute(), text())
            .prop_map(|(dialect, name, text)| json!({dialect: {name: text}})),
        Just(json!({"topic": "**"})),
        (attribute(), text()).prop_map(|(name, text)| json!({"not": {"exact": {name: text}}})),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Few different values and many subscriptions, so that buckets are divided and emptied again and again.
    #[test]
    fn what_comes_and_goes_leaves_nothing_behind(
        lists in prop::collection::vec(prop::collection::vec(few(), 1..4), 100),
        steps in prop::collection::vec(0..100usize, 400),
    ) {
        let lists: Vec<Vec<Filter>> = lists.iter().map(|list| filters(list)).collect();
        let mut editor = Editor::default();
        let mut held: Vec<Option<Arc<Filters>>> = vec![None; lists.len()];
        let events = ["a", "ab", "abc", "b", "zz"].map(|ty| ["a", "abc", "q"].map(|tenant| event(ty, tenant))).concat();
        let toggle = |editor: &mut Editor, held: &mut Vec<Option<Arc<Filters>>>, at: usize| {
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
        };
        for (step, at) in steps.into_iter().enumerate() {
            toggle(&mut editor, &mut held, at);
            if step % 40 != 0 {
                continue;
            }
            let index = editor.index();
            for (event, topic) in events.iter().flat_map(|event| [(event, "orders"), (event, "abc")]) {
                let view = View::new(topic, event);
                let naive: Vec<u32> = (0..).zip(&held).filter(|(_, list)| list.as_ref().is_some_and(|list| list.matches(&view))).map(|(slot, _)| slot).collect();
                prop_assert_eq!(found(&index, topic, event), naive);
            }
        }
        for at in 0..held.len() {
            if held[at].is_some() {
                toggle(&mut editor, &mut held, at);
            }
        }
        let index = editor.index();
        let root = &index.nodes[ROOT as usize];
        prop_assert_eq!((root.count, root.probes.len(), root.rest.len()), (0, 0, 0));
        prop_assert!(index.nodes.iter().all(|node| node.count == 0) && index.postings.is_empty());
    }
}
