//! Finding who wants an event, among many who do not.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use posthorn_dataplane::route::{Editor, Filters, Index};
use posthorn_domain::event::{AttrKind, DataKind, Event, EventBuilder};
use posthorn_domain::fields::Faults;
use posthorn_domain::filter::{Filter, View};
use posthorn_domain::json::Parser;
use serde_json::{Value, json};

use crate::Operation;

/// Subscriptions that want [`event`].
pub const WANTING: usize = 10;
const TOPIC: &str = "orders";

/// Routes the event 100 times among `all` subscriptions, of which [`WANTING`] want it.
pub(crate) fn hundred(all: usize) -> Operation {
    let (index, event) = (indexed(all).0.index(), event());
    Box::new(move || {
        routed(&index, &event, 100);
    })
}

/// An index of `all` subscriptions, and what each demands, by its slot.
pub fn indexed(all: usize) -> (Editor, Vec<Arc<Filters>>) {
    let mut editor = Editor::default();
    let lists = (0..all).map(|n| added(&mut editor, demands(n), n)).collect();
    (editor, lists)
}

/// Gives a list of filters a slot.
pub fn added(editor: &mut Editor, filters: Vec<Filter>, slot: usize) -> Arc<Filters> {
    let list = editor.intern(filters);
    editor.add(&list, u32::try_from(slot).expect("fewer than 2^32"));
    list
}

/// Routes the event `times` times, its data being parsed once before, as it is on the way in.
pub fn routed(index: &Index, event: &Event, times: usize) {
    let mut found = Vec::new();
    let parsed = Parser::new().parse(event.data(), |doc| {
        for _ in 0..times {
            found.clear();
            index.matches(&View { data: Some(doc), ..View::new(TOPIC, event) }, &mut found);
            assert_eq!(black_box(&found).len(), WANTING);
        }
    });
    parsed.expect("the data is JSON");
}

/// An order of 1 KB.
pub fn event() -> Event {
    let mut builder = EventBuilder::new("order-4711", "/shop/eu/checkout", "order.created");
    builder.push("subject", AttrKind::String, "customers/4711/orders/9");
    builder.push("tenant", AttrKind::String, "acme");
    builder.push("priority", AttrKind::Integer, "5");
    let line = |n: u32| json!({"sku": format!("A-{n}"), "name": "A thing that is worth its price", "quantity": n, "price": 9.5});
    let lines: Vec<Value> = (1..9).map(line).collect();
    let data = json!({
        "order": "4711", "customer": {"id": "c-4711", "country": "NO", "loyal": true}, "total": 120.5, "currency": "EUR", "lines": lines,
    });
    builder.with_data(DataKind::Json, Bytes::from(data.to_string()))
}

/// What the `n`th subscription demands: the first ten want the event, each for a reason of its own; of the others each type of demand
/// has a share, and most agree with the event in all but one respect.
pub fn demands(n: usize) -> Vec<Filter> {
    let mut faults = Faults::default();
    let filters = written(n).iter().map(|value| Filter::parse(value, "", &mut faults)).collect::<Option<Vec<_>>>();
    faults.result("the filters", filters).expect("valid filters")
}

/// The same as its owner would write it.
pub fn written(n: usize) -> Vec<Value> {
    let topic = json!({"topic": TOPIC});
    let created = json!({"exact": {"type": "order.created"}});
    let of_type = |kind: usize| json!({"exact": {"type": format!("order.kind{kind}")}});
    match (n, n % 8) {
        (0, _) => vec![topic, created],
        (1, _) => vec![topic, json!({"exact": {"type": "order.created", "tenant": "acme"}})],
        (2, _) => vec![topic, json!({"prefix": {"subject": "customers/4711/"}})],
        (3, _) => vec![topic, json!({"suffix": {"source": "/checkout"}}), created],
        (4, _) => vec![topic, created, json!({"data": {"/customer/id": {"eq": "c-4711"}}})],
        (5, _) => vec![topic, created, json!({"data": {"/total": {"gt": 100}}})],
        (6, _) => vec![topic, json!({"sql": "type = 'order.created' AND tenant = 'acme' AND priority >= 5"})],
        (7, _) => vec![topic, json!({"cel": "event.type == 'order.created' && data.customer.country == 'NO'"})],
        (8, _) => vec![json!({"topic": "orders.**"}), json!({"topic": "**"}), created, json!({"exact": {"tenant": "acme"}})],
        (9, _) => vec![topic, json!({"any": [{"exact": {"tenant": "acme"}}, {"exact": {"tenant": "other"}}]}), created],
        (_, 0) => vec![topic, created, json!({"exact": {"tenant": format!("tenant{n}")}})],
        (_, 1) => vec![topic, of_type(n % 100), json!({"exact": {"tenant": format!("tenant{}", n / 100)}})],
        (_, 2) => vec![topic, json!({"prefix": {"subject": format!("customers/{n}/")}})],
        (_, 3) => vec![topic, created, json!({"data": {"/customer/id": {"eq": format!("c-{n}x")}}})],
        (_, 4) => vec![topic, json!({"sql": format!("type = 'order.created' AND tenant = 'tenant{n}' AND priority > 3")})],
        (_, 5) => vec![topic, created, json!({"data": {"/total": {"gt": 1000 + n}}})],
        (_, 6) => vec![json!({"topic": format!("orders{n}.*")}), created],
        (_, _) => vec![json!({"topic": format!("orders{n}")}), created],
    }
}
