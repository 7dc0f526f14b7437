use super::*;
use crate::event::EventBuilder;
use crate::fields::Faults;
use crate::filter::FaultKind;
use crate::json::Parser;

#[track_caller]
fn because(filter: Value, wanted: Option<(&str, Value, Option<Value>)>) {
    let mut builder = EventBuilder::new("1", "/s", "order.created");
    builder.push("amount", AttrKind::Integer, "7");
    let event = builder.build();
    let view = View::new("orders", &event);
    let read = Filter::parse(&filter, "", &mut Faults::default()).expect("valid");
    assert_eq!(read.to_json(), filter);
    let because = Parser::new()
        .parse(br#"{"total": 5, "lines": [{"sku": "A"}]}"#, |doc| read.explain(&View { data: Some(doc), ..view }))
        .expect("JSON");
    assert_eq!(because.map(|because| (because.dialect, because.assertion, because.saw)), wanted, "{filter}");
}

#[test]
fn the_first_failing_assertion_is_named() {
    for (filter, dialect, assertion, saw) in [
        (json!({"topic": "bills"}), "topic", json!("bills"), Some(json!("orders"))),
        (json!({"exact": {"type": "x"}}), "exact", json!({"type": "x"}), Some(json!("order.created"))),
        (json!({"prefix": {"subject": "x"}}), "prefix", json!({"subject": "x"}), None),
        (json!({"sql": "amount > 10"}), "sql", json!("amount > 10"), Some(json!(7))),
        (json!({"sql": "type LIKE 'order%' AND (amount > 10) AND id = '2'"}), "sql", json!("(amount > 10)"), Some(json!(7))),
        (json!({"sql": "amount AND subject = 'x'"}), "sql", json!("subject = 'x'"), None),
        (json!({"sql": "amount > 10 OR id = '2'"}), "sql", json!("amount > 10 OR id = '2'"), None),
        (
            json!({"cel": "data.total > 1 && data.lines.exists(l, l.sku == 'B')"}),
            "cel",
            json!("data.lines.exists(l, l.sku == 'B')"),
            Some(json!([{"sku": "A"}])),
        ),
        (json!({"data": {"/total": {"gt": 1, "lt": 5}}}), "data", json!({"/total": {"lt": 5}}), Some(json!(5))),
        (json!({"all": [{"topic": "orders"}, {"sql": "amount = 8"}]}), "sql", json!("amount = 8"), Some(json!(7))),
        (json!({"any": [{"topic": "a"}, {"topic": "b"}]}), "any", json!([{"topic": "a"}, {"topic": "b"}]), None),
        (json!({"not": {"topic": "orders"}}), "not", json!({"topic": "orders"}), None),
    ] {
        because(filter, Some((dialect, assertion, saw)));
    }
    because(json!({"sql": "amount = 7"}), None);
}

#[test]
fn an_error_is_told() {
    let event = EventBuilder::new("1", "/s", "t").build();
    let filter = Filter::parse(&json!({"sql": "id = '1' AND subject = 'x'"}), "", &mut Faults::default()).expect("valid");
    let because = filter.explain(&View::new("t", &event)).expect("fails");
    let error = because.error.expect("an error");
    assert_eq!((error.kind, error.at), (FaultKind::MissingAttribute, 13));
    assert_eq!(error.detail, "the event has no such attribute: `subject`");
}
