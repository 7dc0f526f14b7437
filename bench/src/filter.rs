//! One filter on one event, and from text to program.

use std::hint::black_box;

use bytes::Bytes;
use posthorn_domain::event::{AttrKind, DataKind, Event, EventBuilder};
use posthorn_domain::fields::Faults;
use posthorn_domain::filter::typecheck::{self, Demand};
use posthorn_domain::filter::{Filter, Program, View};
use posthorn_domain::json::Parser;
use serde_json::{Value, json};

use crate::Operation;

const SQL: &str = "type = 'order.created' AND subject LIKE 'customer/%' AND amount > 10 AND region IN ('eu', 'us') AND NOT test";
const CEL: &str = "event.type == 'order.created' && data.total > 100.0 && data.customer.country in ['DE', 'NO'] \
    && data.status.startsWith('pa') && data.lines.exists(line, line.sku == 'A-1')";
const DATA: &[u8] = br#"{"id": "4711", "status": "paid", "total": 120.5, "customer": {"name": "Ada", "country": "NO"},
    "lines": [{"sku": "B-2", "qty": 1}, {"sku": "A-1", "qty": 3}]}"#;

pub(crate) fn exact() -> Operation {
    let attributes = json!({"type": "order.created", "subject": "customer/17", "region": "eu", "source": "/shop", "amount": "25"});
    holds(json!({ "exact": attributes }))
}

pub(crate) fn sql() -> Operation {
    holds(json!({ "sql": SQL }))
}

pub(crate) fn cel() -> Operation {
    holds(json!({ "cel": CEL }))
}

pub(crate) fn data() -> Operation {
    holds(json!({"data": {"/total": {"gt": 100}, "/customer/country": {"in": ["DE", "NO"]}, "/status": {"prefix": "pa"}}}))
}

pub(crate) fn compile_sql() -> Operation {
    Box::new(|| drop(black_box(Program::sql(black_box(SQL)).expect("valid"))))
}

pub(crate) fn compile_cel() -> Operation {
    Box::new(|| drop(black_box(Program::cel(black_box(CEL)).expect("valid"))))
}

/// From JSON to program, and held to the schema of the data: what making a subscription adds for one filter.
pub(crate) fn type_check_cel() -> Operation {
    let schema = order();
    let filter = json!({ "cel": CEL });
    Box::new(move || {
        let parsed = Filter::parse(black_box(&filter), "/filters/0", &mut Faults::default()).expect("a filter");
        let demand = Demand { name: "order", versions: vec![(1, black_box(&schema))] };
        let findings = typecheck::check(&[parsed], "/filters", Some("orders"), &[demand]);
        assert!(findings.never.is_empty() && black_box(&findings).warnings.is_empty());
    })
}

/// A schema with as many properties beside those that the filter reads.
fn order() -> Value {
    let mut properties: serde_json::Map<String, Value> =
        (0..50).map(|n| (format!("attribute_{n}"), json!({"type": ["string", "null"], "maxLength": 200}))).collect();
    let line =
        json!({"type": "object", "additionalProperties": false, "properties": {"sku": {"type": "string"}, "qty": {"type": "integer"}}});
    let customer = json!({"type": "object", "properties": {"name": {"type": "string"}, "country": {"enum": ["DE", "NO", "SE"]}}});
    for (name, property) in [
        ("id", json!({"type": "string"})),
        ("status", json!({"enum": ["open", "paid", "sent"]})),
        ("total", json!({"type": "number", "minimum": 0})),
        ("customer", json!({"$ref": "#/$defs/customer"})),
        ("lines", json!({"type": "array", "items": {"$ref": "#/$defs/line"}})),
    ] {
        properties.insert(name.into(), property);
    }
    json!({"type": "object", "additionalProperties": false, "properties": properties, "$defs": {"line": line, "customer": customer}})
}

/// Data lives no longer than its parser's call, so one run is 100 evaluations; times are to be divided by that.
const EVALUATIONS: u32 = 100;

fn holds(filter: Value) -> Operation {
    let filter = Filter::parse(&filter, "", &mut Faults::default()).expect("a filter");
    let event = event();
    let mut parser = Parser::new();
    Box::new(move || {
        let held = parser.parse(event.data(), |doc| {
            let view = View { data: Some(doc), ..View::new("orders", &event) };
            (0..EVALUATIONS).filter(|_| black_box(&filter).matches(black_box(&view))).count()
        });
        assert_eq!(held, Ok(EVALUATIONS as usize));
    })
}

fn event() -> Event {
    let mut builder = EventBuilder::new("3d0c4a4e-7c1b-4f7e-9a43-5d0b5a0f6a11", "/shop", "order.created");
    builder.push("time", AttrKind::String, "2026-08-22T10:30:00Z");
    builder.push("datacontenttype", AttrKind::String, "application/json");
    builder.push("subject", AttrKind::String, "customer/17");
    builder.push("amount", AttrKind::Integer, "25");
    builder.push("region", AttrKind::String, "eu");
    builder.push("test", AttrKind::Boolean, "false");
    builder.with_data(DataKind::Json, Bytes::from_static(DATA))
}
