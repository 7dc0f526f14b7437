use jsonschema::json::conformance;
use serde_json::{Value, json};

use super::meter::Meter;
use super::patterns::Weight;
use super::tape::{Tape, TapeNode};
use super::{CompiledSchema, equality};
use crate::json::Parser;
use crate::problem::Fault;

fn compile(schema: &Value) -> Result<CompiledSchema, Vec<Fault>> {
    CompiledSchema::compile("order".parse().expect("a name"), 3, schema, false)
}

fn accepts(schema: &Value, data: &str) -> bool {
    let schema = compile(schema).expect("compiles");
    Parser::new().parse(data.as_bytes(), |doc| schema.is_valid(doc)).expect("JSON")
}

fn errors(schema: &Value, data: &str) -> Vec<Fault> {
    let schema = compile(schema).expect("compiles");
    Parser::new().parse(data.as_bytes(), |doc| schema.errors(doc, "order:3")).expect("JSON")
}

fn refusal(schema: &Value) -> (String, String) {
    let fault = compile(schema).expect_err("refused").remove(0);
    (fault.pointer, fault.detail)
}

/// `levels` definitions, each trying the next one twice.
fn bomb(levels: usize, keyword: &str) -> Value {
    let definition = |level: usize| {
        let next = json!({"$ref": format!("#/$defs/n{}", level + 1)});
        (format!("n{level}"), if level + 1 == levels { json!({"type": "string"}) } else { json!({keyword: [next, next]}) })
    };
    let definitions: serde_json::Map<_, _> = (0..levels).map(definition).collect();
    json!({"$ref": "#/$defs/n0", "$defs": definitions})
}

const DRAFTS: [&str; 5] = [
    "http://json-schema.org/draft-04/schema#",
    "http://json-schema.org/draft-06/schema#",
    "http://json-schema.org/draft-07/schema#",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
];

#[test]
fn the_tape_conforms_to_the_validators_contract() {
    let document = conformance::document().to_string();
    let meter = Meter::for_checking(100, Weight::default());
    Parser::new().parse(document.as_bytes(), |doc| conformance::assert_conformance::<Tape>(&TapeNode::Doc(doc, &meter))).expect("JSON");
}

#[test]
fn a_schema_is_shared_by_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<CompiledSchema>();
}

#[test]
fn faults_have_pointers_and_no_values() {
    let schema = json!({
        "type": "object",
        "properties": {
            "lines": {"type": "array", "items": {"properties": {"qty": {"type": "integer"}}, "required": ["sku"]}},
            "mail": {"pattern": "^[a-z]+@"}, "kind": {"enum": ["a", "b"]}, "pair": {"prefixItems": [true], "items": false},
            "tags": {"contains": {"const": 1}}, "names": {"propertyNames": {"maxLength": 3}}
        },
        "additionalProperties": false
    });
    let data = r#"{"lines":[{"qty":"s3cret","sku":1},{}],"mail":"s3cret","kind":"s3cret","pair":["s3cret","s3cret"],
        "tags":["s3cret"],"names":{"s3cret":1},"extra":"s3cret2"}"#;
    let faults = errors(&schema, data);
    assert!(faults.iter().all(|fault| fault.schema.as_deref() == Some("order:3") && !fault.detail.contains("s3cret")), "{faults:#?}");
    let mut pointers: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
    pointers.sort_unstable();
    assert_eq!(pointers, ["#", "#/kind", "#/lines/0/qty", "#/lines/1", "#/mail", "#/names", "#/pair/1", "#/tags"], "{faults:#?}");
    assert_eq!(errors(&schema, "{}"), []);
}

#[test]
fn at_most_twenty_faults_are_told() {
    let data = format!("[{}0]", "0,".repeat(5000));
    assert_eq!(errors(&json!({"items": {"type": "string"}}), &data).len(), 20);
}

#[test]
fn every_draft_is_known_by_its_name() {
    let exclusive = |draft: &str| json!({"$schema": draft, "maximum": 5, "exclusiveMaximum": true});
    for draft in ["http://json-schema.org/draft-04/schema#", "https://json-schema.org/draft-04/schema"] {
        assert!(!accepts(&exclusive(draft), "5"), "a boolean there is draft 4");
    }
    for draft in [
        "http://json-schema.org/draft-06/schema#",
        "http://json-schema.org/draft-07/schema#",
        "https://json-schema.org/draft/2019-09/schema",
        "https://json-schema.org/draft/2020-12/schema",
    ] {
        assert_eq!(refusal(&exclusive(draft)).0, "#/exclusiveMaximum", "{draft}");
        assert!(!accepts(&json!({"$schema": draft, "exclusiveMaximum": 5}), "5"), "{draft}");
    }
    assert!(!accepts(&json!({"prefixItems": [{"type": "string"}]}), "[1]"), "2020-12 without a name");
    assert!(accepts(&Value::Bool(true), "1") && !accepts(&Value::Bool(false), "1"));
    for unknown in [json!("https://example.com/mine"), json!("http://json-schema.org/schema#"), json!(7)] {
        assert_eq!(refusal(&json!({"$schema": unknown})).0, "#/$schema");
    }
    assert_eq!(refusal(&json!({"properties": {"a": {"type": "strin"}}})).0, "#/properties/a/type");
    assert_eq!(refusal(&json!([])).0, "#");
}

#[test]
fn formats_are_asserted_when_asked_and_only_then() {
    for draft in [
        "http://json-schema.org/draft-04/schema#",
        "http://json-schema.org/draft-07/schema#",
        "https://json-schema.org/draft/2020-12/schema",
    ] {
        let schema = json!({"$schema": draft, "format": "date-time"});
        for asserted in [true, false] {
            let schema = CompiledSchema::compile("f".parse().expect("a name"), 1, &schema, asserted).expect("compiles");
            let valid = Parser::new().parse(br#""yesterday""#, |doc| schema.is_valid(doc)).expect("JSON");
            assert_eq!(valid, !asserted, "{draft}");
        }
    }
}

#[test]
fn references_stay_in_the_document() {
    for outside in ["https://example.com/a.json", "other.json", "file:///etc/passwd", "https://example.com/a.json#/x"] {
        assert_eq!(refusal(&json!({"properties": {"a/b": {"$ref": outside}}})).0, "#/properties/a~1b/$ref", "{outside}");
    }
    assert_eq!(refusal(&json!({"allOf": [{"$ref": "#/$defs/nowhere"}]})).0, "#/allOf/0/$ref");
    let inside = [
        json!({"$ref": "#/$defs/a%20b", "$defs": {"a b": {"type": "string"}}}),
        json!({"$ref": "#x", "$defs": {"a": {"$anchor": "x", "type": "string"}}}),
        json!({"$id": "https://example.com/root", "$ref": "part", "$defs": {"p": {"$id": "part", "type": "string"}}}),
        json!({"$id": "urn:example:root", "$ref": "#/$defs/p", "$defs": {"p": {"type": "string"}}}),
        json!({"$schema": "http://json-schema.org/draft-07/schema#", "allOf": [{"$ref": "#x"}], "definitions": {"p": {"$id": "#x", "type": "string"}}}),
        json!({"$ref": "#/else/where", "else": {"where": {"type": "string"}}}),
    ];
    for schema in inside {
        assert!(accepts(&schema, r#""text""#) && !accepts(&schema, "1"), "{schema}");
    }
    for draft in DRAFTS {
        for meta in DRAFTS {
            let schema = json!({"$schema": draft, "properties": {"s": {"$ref": meta}}});
            if draft == meta {
                let data = r#"{"s":{"properties":{"a":{"type":1}}}}"#;
                assert!(!accepts(&schema, data) && accepts(&schema, &data.replace('1', "\"string\"")), "{draft}");
            } else {
                assert_eq!(refusal(&schema).0, "#/properties/s/$ref", "{draft} {meta}");
            }
        }
    }
    assert!(!accepts(&json!({"$ref": "https://json-schema.org/draft/2020-12/meta/validation"}), r#"{"type":1}"#));
}

#[test]
fn patterns_are_linear() {
    for pattern in ["^(?=a)b", "(a)\\1", "(?<!a)b", "((a{1,1000}){1,1000}){1,1000}", "("] {
        assert!(refusal(&json!({"properties": {"a": {"pattern": pattern}}})).0.starts_with("#/properties/a"), "{pattern}");
        assert!(compile(&json!({"patternProperties": {pattern: true}})).is_err(), "{pattern}");
    }
    assert!(!accepts(&json!({"pattern": "^(a+)+$"}), &format!("\"{}b\"", "a".repeat(100_000))));
    let many: serde_json::Map<_, _> = (0..129).map(|number| (format!("a{number}"), Value::Bool(true))).collect();
    assert_eq!(refusal(&json!({"patternProperties": many})).0, "#/patternProperties");
}

#[test]
fn a_heavy_pattern_on_long_text_is_refused_before_it_runs() {
    let pattern = "[ab]*a[ab]{2500}x";
    let text = "abbabaabab".repeat(100_000);
    for (schema, data) in [
        (json!({"pattern": pattern}), format!("\"{text}\"")),
        (json!({"patternProperties": {pattern: true}}), format!("{{\"{text}\":1}}")),
        (json!({"propertyNames": {"pattern": pattern}}), format!("{{\"{text}\":1}}")),
    ] {
        let faults = errors(&schema, &data);
        assert!(faults[0].detail.contains("too long"), "{faults:?}");
    }
    assert!(accepts(&json!({"pattern": pattern}), &format!("\"{}x\"", "a".repeat(3000))));
    assert!(accepts(&json!({"pattern": "^[A-Za-z0-9+/]*={0,2}$"}), &format!("\"{text}\"")), "a megabyte of base64");
    let many: Vec<Value> = (0..2001).map(|number| json!({"pattern": number.to_string()})).collect();
    assert!(refusal(&json!({"items": {"anyOf": many}})).1.contains("2001 patterns"));
}

#[test]
fn bombs_are_refused_or_cheap() {
    for keyword in ["anyOf", "oneOf", "allOf"] {
        for levels in 12..=30 {
            match compile(&bomb(levels, keyword)) {
                Ok(schema) => {
                    assert!(levels <= 14, "{levels}");
                    let faults = Parser::new().parse(b"7", |doc| schema.errors(doc, "b:1")).expect("JSON");
                    assert_eq!((faults.len(), faults[0].pointer.as_str()), (1, "#"));
                }
                Err(faults) => assert!(levels >= 14 && faults[0].detail.contains("too complex"), "{levels} {faults:?}"),
            }
        }
        let below = json!({"properties": {"a": bomb(30, keyword)["$defs"]}});
        assert!(compile(&below).is_ok(), "names of members are no keywords");
    }
    let member = |level: usize| json!({"properties": {"a": {"$ref": format!("#/$defs/n{}", level + 1)}}});
    let mut definitions: serde_json::Map<_, _> =
        (0..14).map(|level| (format!("n{level}"), json!({"anyOf": [member(level), member(level)]}))).collect();
    definitions.insert("n14".into(), json!({"type": "string"}));
    assert!(refusal(&json!({"$ref": "#/$defs/n0", "$defs": definitions})).1.contains("too complex"), "through members too");
}

#[test]
fn recursion_is_allowed_and_bounded() {
    let tree = json!({"type": "object", "properties": {"children": {"items": {"$ref": "#"}}}, "required": ["id"]});
    let deep = |leaf: &str| format!("{}{leaf}{}", r#"{"id":1,"children":["#.repeat(30), "]}".repeat(30));
    assert!(accepts(&tree, &deep("")) && !accepts(&tree, &deep("{}")));
    let faults = errors(&tree, &deep("{}"));
    assert_eq!((faults.len(), faults[0].pointer.len()), (1, 1 + 30 * "/children/0".len()));
    for looped in [json!({"$ref": "#"}), json!({"allOf": [{"$ref": "#"}], "type": "string"})] {
        compile(&looped).map(|schema| Parser::new().parse(b"1", |doc| schema.errors(doc, "x:1"))).ok();
    }
}

#[test]
fn recursion_that_doubles_at_each_level_ends() {
    let doubling = |inner: Value| json!({"$defs": {"n": inner}, "$ref": "#/$defs/n"});
    let next = json!({"$ref": "#/$defs/n"});
    let inlined = json!({"anyOf": [{"properties": {"a": next}, "required": ["x"]}, {"properties": {"a": next}, "required": ["y"]}]});
    let data = format!("{}1{}", r#"{"a":"#.repeat(120), "}".repeat(120));
    for schema in [
        doubling(
            json!({"anyOf": [{"properties": {"a": next}, "required": ["x"]}, {"properties": {"a": next}, "required": ["y"]}], "type": "object"}),
        ),
        doubling(json!({"oneOf": [{"properties": {"a": next}}, {"properties": {"a": next}}]})),
        doubling(json!({"allOf": [inlined, inlined, {"not": {"properties": {"a": next}}}]})),
        json!({"$dynamicAnchor": "n", "anyOf": [{"properties": {"a": {"$dynamicRef": "#n"}}, "required": ["x"]}, {"properties": {"a": {"$dynamicRef": "#n"}}, "required": ["y"]}]}),
        doubling(
            json!({"type": "object", "unevaluatedProperties": false, "anyOf": [{"properties": {"a": next}}, {"properties": {"a": next}, "required": ["x"]}]}),
        ),
    ] {
        let faults = errors(&schema, &data);
        assert!((1..=20).contains(&faults.len()), "{schema}: {faults:?}");
    }
}

#[test]
fn no_chain_of_references_exhausts_the_stack() {
    let chain = |length: usize, end: Value| {
        let mut definitions: serde_json::Map<_, _> =
            (0..length).map(|level| (format!("n{level}"), json!({"allOf": [{"$ref": format!("#/$defs/n{}", level + 1)}]}))).collect();
        definitions.insert(format!("n{length}"), end);
        json!({"$ref": "#/$defs/n0", "$defs": definitions})
    };
    assert!(refusal(&chain(20_000, json!(true))).1.contains("contain each other"));
    assert!(refusal(&chain(200, json!(true))).1.contains("contain each other"));
    let mut from_the_end = chain(200, json!(true));
    from_the_end["anyOf"] = [150, 100, 50].map(|level| json!({"$ref": format!("#/$defs/n{level}")})).into();
    assert!(refusal(&from_the_end).1.contains("contain each other"), "whatever is counted first");
    assert!(!accepts(&chain(120, json!({"type": "string"})), "1"));
    // As deep as both limits allow together.
    let recursive = chain(110, json!({"properties": {"a": {"$ref": "#/$defs/n0"}}, "type": "object"}));
    for levels in [3, 100] {
        let data = format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        assert!((1..=20).contains(&errors(&recursive, &data).len()));
    }
    let usual = chain(2, json!({"properties": {"a": {"$ref": "#/$defs/n0"}}, "type": "object"}));
    let data = format!("{}1{}", r#"{"a":"#.repeat(126), "}".repeat(126));
    assert_eq!(errors(&usual, &data)[0].pointer.len(), 1 + 126 * 2);
}

#[test]
fn size_and_depth_are_limited() {
    let deep = (0..200).fold(json!(true), |inner, _| json!({"not": inner}));
    assert!(refusal(&deep).1.contains("128 levels"));
    assert!(refusal(&json!({"description": "x".repeat(super::MAX_SCHEMA_BYTES)})).1.contains("bytes"));
    let hundred: Vec<Value> = (0..300).map(|kind| json!({"properties": {"kind": {"const": kind}}, "required": ["kind"]})).collect();
    assert!(accepts(&json!({"oneOf": hundred}), r#"{"kind":299}"#), "a union of many kinds is fine");
}

#[test]
fn big_arrays_and_objects_cost_what_they_weigh() {
    let numbers: Vec<String> = (0..150_000).map(|number| number.to_string()).collect();
    let array = format!("[{}]", numbers.join(","));
    assert!(accepts(&json!({"uniqueItems": true}), &array));
    assert!(!accepts(&json!({"uniqueItems": true}), &format!("[{},7.0]", numbers.join(","))));
    let lists: Vec<String> = (0..60_000).map(|number| format!(r#"{{"a":[{number}],"b":1}}"#)).collect();
    assert!(accepts(&json!({"uniqueItems": true}), &format!("[{}]", lists.join(","))));
    assert!(!accepts(&json!({"uniqueItems": true}), &format!(r#"[{},{{"b":1.0,"a":[5]}}]"#, lists.join(","))));
    let same = format!("[{array},{array},{array}]");
    assert!(!accepts(&json!({"uniqueItems": true}), &same));
    let options: Vec<Value> = (0..5000).map(|number| json!([number])).collect();
    assert!(!accepts(&json!({"items": {"enum": options}}), &format!("[{}]", "[-1],".repeat(150_000).trim_end_matches(','))));
    let names: Vec<String> = (0..2000).map(|name| format!("n{name}")).collect();
    let members: Vec<String> = (0..100_000).map(|name| format!(r#""m{name}":0"#)).collect();
    assert!(!accepts(&json!({"required": names}), &format!("{{{}}}", members.join(","))));
}

#[test]
fn numbers_are_equal_by_value() {
    for (data, expected, equal) in [
        ("1", json!(1.0), true),
        ("1.0", json!(1), true),
        ("-0", json!(0.0), true),
        ("0.1", json!(0.1), true),
        ("18446744073709551615", json!(u64::MAX), true),
        ("18446744073709551615", json!(18_446_744_073_709_551_615.0_f64), false),
        ("1e19", json!(10_000_000_000_000_000_000_u64), true),
        ("9007199254740993", json!(9_007_199_254_740_992.0_f64), false),
        ("1e300", json!(1e300), true),
        ("true", json!(1), false),
        ("\"1\"", json!(1), false),
        ("[1,{\"a\":2.0}]", json!([1.0, {"a": 2}]), true),
        ("{\"a\":1}", json!({"b": 1}), false),
        ("[]", json!({}), false),
        ("null", json!(null), true),
        ("[1]", json!([1, 2]), false),
    ] {
        assert_eq!(accepts(&json!({"const": expected}), data), equal, "{data} {expected}");
    }
    for (data, unique) in [
        ("[1,1.0]", false),
        ("[{\"a\":1,\"b\":2},{\"b\":2,\"a\":1}]", false),
        ("[[1],[1,1]]", true),
        ("[true,1,\"1\",null,[],{}]", true),
        ("[]", true),
        ("[0,-0]", false),
    ] {
        assert_eq!(Parser::new().parse(data.as_bytes(), equality::is_unique), Ok(unique), "{data}");
    }
}
