//! What may be there must include what is there: schemas and data at random, drafts 4 to 2020-12.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::path::Path;
use super::shape::Shape;
use super::values::{Kinds, Possible, same};
use super::{Demand, Findings, check};
use crate::direction::Direction;
use crate::event::{AttrKind, Event, EventBuilder};
use crate::fields::Faults;
use crate::filter::{Filter, View};
use crate::json::{Parser, Pointer};
use crate::schema::CompiledSchema;

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..6).prop_map(Value::from),
        (-3_i64..6).prop_map(|n| json!(n as f64 / 2.0)),
        "[ab]{0,3}".prop_map(Value::from),
    ]
}

fn data() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((key(), inner), 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("b"), Just("c"), Just("0")].prop_map(str::to_owned)
}

fn keyword(inner: BoxedStrategy<Value>) -> impl Strategy<Value = (String, Value)> {
    let kind = prop_oneof![Just("object"), Just("object"), Just("array"), Just("string"), Just("integer"), Just("number"), Just("null")];
    let kinds = prop_oneof![
        3 => kind.clone().prop_map(Value::from),
        1 => prop::collection::btree_set(kind, 1..3).prop_map(|kinds| Value::from(kinds.into_iter().collect::<Vec<_>>())),
    ];
    let members = prop::collection::vec((key(), inner.clone()), 0..4).prop_map(|members| Value::Object(members.into_iter().collect()));
    let pattern = prop_oneof![Just("^a"), Just("[ab]"), Just("^\\d$"), Just(".")].prop_map(str::to_owned);
    let patterns = prop::collection::vec((pattern, inner.clone()), 1..3).prop_map(|map| Value::Object(map.into_iter().collect()));
    let some = |most: usize| prop::collection::vec(inner.clone(), 1..most).prop_map(Value::from);
    let named = |name: &'static str, value: BoxedStrategy<Value>| value.prop_map(move |value| (name.to_owned(), value)).boxed();
    let reference = prop_oneof![Just("#"), Just("#/definitions/x"), Just("#/definitions/y"), Just("#/properties/a")];
    prop_oneof![
        4 => named("type", kinds.boxed()),
        4 => named("properties", members.boxed()),
        2 => named("additionalProperties", inner.clone()),
        2 => named("additionalProperties", Just(json!(false)).boxed()),
        1 => named("patternProperties", patterns.boxed()),
        1 => named("unevaluatedProperties", Just(json!(false)).boxed()),
        2 => named("required", prop::collection::btree_set(key(), 1..3).prop_map(|keys| Value::from(keys.into_iter().collect::<Vec<_>>())).boxed()),
        1 => named("enum", prop::collection::vec(data(), 1..5).prop_map(|mut values| { values.dedup(); Value::from(values) }).boxed()),
        1 => named("const", data().boxed()),
        2 => named("minimum", (-3_i64..4).prop_map(Value::from).boxed()),
        2 => named("maximum", (-1_i64..5).prop_map(Value::from).boxed()),
        1 => named("minLength", (0_u64..3).prop_map(Value::from).boxed()),
        1 => named("maxLength", (0_u64..3).prop_map(Value::from).boxed()),
        1 => named("items", inner.clone()),
        1 => named("prefixItems", some(3).boxed()),
        1 => named("minItems", (0_u64..3).prop_map(Value::from).boxed()),
        1 => named("maxItems", (0_u64..3).prop_map(Value::from).boxed()),
        1 => named("allOf", some(3).boxed()),
        1 => named("anyOf", some(3).boxed()),
        1 => named("oneOf", some(3).boxed()),
        1 => named("not", inner.clone()),
        1 => named("if", inner.clone()),
        1 => named("then", inner.clone()),
        1 => named("else", inner),
        1 => named("$ref", reference.prop_map(Value::from).boxed()),
    ]
}

fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(json!({})), Just(json!(false)), Just(json!({"type": "string"})), Just(json!({"type": "number"}))];
    let nested = leaf.prop_recursive(3, 40, 6, |inner| {
        prop::collection::vec(keyword(inner.boxed()), 1..5).prop_map(|keywords| Value::Object(keywords.into_iter().collect()))
    });
    let draft = prop_oneof![
        Just("http://json-schema.org/draft-04/schema#"),
        Just("http://json-schema.org/draft-06/schema#"),
        Just("http://json-schema.org/draft-07/schema#"),
        Just("https://json-schema.org/draft/2019-09/schema"),
        Just("https://json-schema.org/draft/2020-12/schema"),
    ];
    let keywords = prop::collection::vec(keyword(nested.clone().boxed()), 1..6);
    (keywords, draft, nested.clone(), nested).prop_map(|(keywords, draft, x, y)| {
        let mut map: Map<String, Value> = keywords.into_iter().collect();
        map.insert("$schema".into(), draft.into());
        map.insert("definitions".into(), json!({"x": x, "y": y}));
        Value::Object(map)
    })
}

const PATHS: [&str; 9] = ["", "/a", "/b", "/c", "/0", "/a/b", "/a/a", "/b/0", "/a/b/c"];

fn admits(possible: &Possible<'_>, value: Option<&Value>) -> bool {
    let Some(value) = value else { return possible.missing };
    let listed = possible.values.as_ref().is_none_or(|values| values.iter().any(|known| same(known, value)));
    possible.kinds.has(Kinds::of(value)) && listed && (possible.values.is_some() || possible.admits(value))
}

fn holds(compiled: &CompiledSchema, value: &Value) -> bool {
    Parser::new().parse(value.to_string().as_bytes(), |doc| compiled.is_valid(doc)).expect("JSON")
}

fn compiled(schema: &Value) -> Option<CompiledSchema> {
    CompiledSchema::compile("order".parse().expect("a name"), 1, schema, false).ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, max_global_rejects: 1_000_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_there_was_possible(schema in schema(), values in prop::collection::vec(data(), 12)) {
        let Some(compiled) = compiled(&schema) else { return Ok(()) };
        let shape = Shape::new(&schema);
        for value in values.iter().filter(|value| holds(&compiled, value)) {
            for path in PATHS {
                let pointer: Pointer = path.parse().expect("a pointer");
                let possible = shape.at(&Path::from(&pointer).0);
                prop_assert!(admits(&possible, value.pointer(path)), "{schema}\n{value} at `{path}`: {possible:?}");
            }
        }
    }
}

fn assertion() -> impl Strategy<Value = Value> {
    let path = prop::sample::select(&PATHS[1..]);
    let operator = prop_oneof![
        3 => (prop::sample::select(vec!["eq", "ne"]), data()),
        3 => (prop::sample::select(vec!["lt", "le", "gt", "ge"]), scalar().prop_filter("a number or text", |value| value.is_number() || value.is_string())),
        1 => (Just("in"), prop::collection::vec(scalar(), 1..3).prop_map(Value::from)),
        2 => (Just("exists"), any::<bool>().prop_map(Value::from)),
        1 => (prop::sample::select(vec!["prefix", "suffix"]), "[ab]{1,2}".prop_map(Value::from)),
        1 => (Just("regex"), Just(json!("^a"))),
    ];
    prop::collection::vec((path, operator), 1..3).prop_map(|places| {
        let places = places.into_iter().map(|(path, (operator, operand))| (path.to_owned(), json!({operator: operand})));
        json!({"data": Value::Object(places.collect())})
    })
}

fn condition() -> impl Strategy<Value = String> {
    let path = prop_oneof![
        Just("data.a"),
        Just("data.b"),
        Just("data.c"),
        Just("data.a.b"),
        Just("data.b[0]"),
        Just("data.a['c']"),
        Just("data.a.b.c"),
        Just("event.specversion"),
        Just("event.source"),
        Just("event.x")
    ];
    let value = prop_oneof![
        Just("1".to_owned()),
        Just("0".to_owned()),
        Just("-1".to_owned()),
        Just("2u".to_owned()),
        Just("0.5".to_owned()),
        Just("'a'".to_owned()),
        Just("'1.0'".to_owned()),
        Just("''".to_owned()),
        Just("true".to_owned()),
        Just("null".to_owned()),
    ];
    let leaf = prop_oneof![
        4 => (path.clone(), prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]), value.clone()).prop_map(|(path, op, value)| format!("{path} {op} {value}")),
        1 => (path.clone(), prop::sample::select(vec!["==", "<"]), value.clone()).prop_map(|(path, op, value)| format!("{value} {op} {path}")),
        1 => (path.clone(), path.clone()).prop_map(|(a, b)| format!("{a} == {b}")),
        1 => path.clone().prop_map(|path| format!("has({path})")).prop_filter("a field", |text| !text.contains('[')),
        1 => path.clone().prop_map(str::to_owned),
        1 => (path.clone(), prop::sample::select(vec!["startsWith", "endsWith", "contains"])).prop_map(|(path, f)| format!("{path}.{f}('a')")),
        1 => (path.clone(), value.clone()).prop_map(|(path, value)| format!("{path} in [{value}, 'b']")),
        1 => (path.clone(), value.clone()).prop_map(|(path, value)| format!("{value} in {path}")),
        1 => (path.clone(), value.clone()).prop_map(|(path, value)| format!("{path} + {value} == {value}")),
        2 => (path.clone(), prop::sample::select(vec!["all", "exists", "exists_one"]), prop::sample::select(vec!["x", "x.a", "x.b.c"]), value.clone())
            .prop_map(|(path, macro_, variable, value)| format!("{path}.{macro_}(x, {variable} == {value})")),
        1 => value.prop_map(|value| format!("{value} == {value}")),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone(), prop::sample::select(vec!["&&", "||"])).prop_map(|(a, b, op)| format!("({a}) {op} ({b})")),
            inner.clone().prop_map(|inner| format!("!({inner})")),
            (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a}) ? ({b}) : ({c})")),
        ]
    })
}

fn sql() -> impl Strategy<Value = String> {
    let name =
        prop_oneof![Just("id"), Just("source"), Just("type"), Just("specversion"), Just("topic"), Just("direction"), Just("x"), Just("n")];
    let value = prop_oneof![
        Just("''"),
        Just("'1.0'"),
        Just("'orders'"),
        Just("'incoming'"),
        Just("'1'"),
        Just("1"),
        Just("-5"),
        Just("TRUE"),
        Just("'a'")
    ];
    let leaf = prop_oneof![
        3 => (name.clone(), prop::sample::select(vec!["=", "!=", "<", "<=", ">", ">="]), value.clone()).prop_map(|(name, op, value)| format!("{name} {op} {value}")),
        2 => (value.clone(), prop::sample::select(vec!["=", "!=", "<"]), name.clone()).prop_map(|(value, op, name)| format!("{value} {op} {name}")),
        1 => (value.clone(), value.clone()).prop_map(|(a, b)| format!("{a} = {b}")),
        1 => name.clone().prop_map(|name| format!("EXISTS {name}")),
        1 => (name.clone(), value.clone(), value.clone()).prop_map(|(name, a, b)| format!("{name} IN ({a}, {b})")),
        1 => (name.clone(), prop::sample::select(vec!["'1%'", "'%'", "'in_oming'"])).prop_map(|(name, like)| format!("{name} LIKE {like}")),
        1 => (name.clone(), value.clone()).prop_map(|(name, value)| format!("{name} + 1 = {value}")),
        1 => (name.clone(), value.clone()).prop_map(|(name, value)| format!("BOOL({name}) = {value}")),
        1 => name.prop_map(|name| name.to_owned()),
        1 => prop::sample::select(vec!["TRUE", "FALSE", "1", "'true'", "NOPE(1)"]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone(), prop::sample::select(vec!["AND", "OR", "XOR"]))
                .prop_map(|(a, b, op)| format!("({a}) {op} ({b})")),
            inner.prop_map(|inner| format!("NOT ({inner})")),
        ]
    })
}

fn attributes() -> impl Strategy<Value = Value> {
    let pair = prop::sample::select(vec!["subject", "x", "specversion", "topic", "direction", "source"]);
    let pairs = prop::collection::vec((pair, prop::sample::select(vec!["1.0", "orders", "incoming", "a", "1"])), 1..3);
    (prop::sample::select(vec!["exact", "prefix", "suffix"]), pairs).prop_map(
        |(dialect, pairs)| json!({dialect: Value::Object(pairs.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect())}),
    )
}

fn filter() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => assertion(),
        4 => condition().prop_map(|text| json!({"cel": text})),
        2 => sql().prop_map(|text| json!({"sql": text})),
        1 => attributes(),
        1 => prop::sample::select(vec!["orders", "**", "invoices"]).prop_map(|topic| json!({"topic": topic})),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(|filters| json!({"all": filters})),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|filters| json!({"any": filters})),
            inner.prop_map(|filter| json!({"not": filter})),
        ]
    })
}

fn event() -> impl Strategy<Value = Event> {
    let text = || prop::sample::select(vec!["1", "-5", "a", "true", "1.0", "orders", "/s"]);
    let n = prop_oneof![Just((AttrKind::Integer, "1")), Just((AttrKind::Boolean, "true")), Just((AttrKind::String, ""))];
    (text(), text(), text(), prop::option::of(text()), prop::option::of(n)).prop_map(|(id, source, ty, x, n)| {
        let mut builder = EventBuilder::new(id, source, ty);
        if let Some(x) = x {
            builder.push("x", AttrKind::String, x);
        }
        if let Some((kind, n)) = n {
            builder.push("n", kind, n);
        }
        builder.build()
    })
}

/// One filter against the schema, as it is read when there is none too.
fn findings(filter: &Filter, schema: Option<&Value>) -> Findings {
    let demands: Vec<Demand<'_>> = schema.iter().map(|schema| Demand { name: "order", versions: vec![(1, *schema)] }).collect();
    check(std::slice::from_ref(filter), "/filters", Some("orders"), &demands)
}

fn parsed(filter: &Value) -> Option<Filter> {
    Filter::parse(filter, "/filters/0", &mut Faults::default())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, max_global_rejects: 1_000_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_refused_matches_nothing(
        schema in schema(), filters in prop::collection::vec(filter(), 6), values in prop::collection::vec(data(), 12), event in event(),
        outgoing in any::<bool>()
    ) {
        let Some(compiled) = compiled(&schema) else { return Ok(()) };
        let filters: Vec<Filter> = filters.iter().filter_map(parsed).collect();
        let never: Vec<&Filter> = filters.iter().filter(|filter| !findings(filter, Some(&schema)).never.is_empty()).collect();
        let nowhere: Vec<&Filter> = filters.iter().filter(|filter| !findings(filter, None).never.is_empty()).collect();
        let direction = if outgoing { Direction::Outgoing } else { Direction::Incoming };
        let view = View { direction, ..View::new("orders", &event) };
        for filter in &nowhere {
            prop_assert!(!filter.matches(&view), "{filter:?} matches {event:?}");
        }
        for value in &values {
            let holds = holds(&compiled, value);
            let checked = Parser::new().parse(value.to_string().as_bytes(), |doc| {
                let view = View { data: Some(doc), ..view };
                let refused = nowhere.iter().chain(never.iter().filter(|_| holds));
                refused.filter(|filter| filter.matches(&view)).map(|filter| format!("{filter:?}")).collect::<Vec<_>>()
            });
            prop_assert_eq!(checked.expect("JSON"), Vec::<String>::new(), "{}\n{}", &schema, value);
        }
    }
}
