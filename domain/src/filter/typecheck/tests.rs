//! What may be there must include what is there: schemas and data at random, drafts 4 to 2020-12.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::path::Path;
use super::shape::Shape;
use super::values::{Kinds, Possible, same};
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

pub(super) fn data() -> impl Strategy<Value = Value> {
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

pub(super) fn schema() -> impl Strategy<Value = Value> {
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

pub(super) fn holds(compiled: &CompiledSchema, value: &Value) -> bool {
    Parser::new().parse(value.to_string().as_bytes(), |doc| compiled.is_valid(doc)).expect("JSON")
}

pub(super) fn compiled(schema: &Value) -> Option<CompiledSchema> {
    CompiledSchema::compile("order".parse().expect("a name"), 1, schema, false).ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, max_global_rejects: 1_000_000, ..ProptestConfig::default() })]

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
