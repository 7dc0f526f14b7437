//! The tape against serde_json's tree: the same validator must say the same about the same document.

use posthorn_domain::json::Parser;
use posthorn_domain::schema::CompiledSchema;
use serde_json::{Value, json};

const DRAFTS: [&str; 5] = [
    "http://json-schema.org/draft-04/schema#",
    "http://json-schema.org/draft-06/schema#",
    "http://json-schema.org/draft-07/schema#",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
];

/// Schemas that together use most keywords. What a draft does not know it ignores, or refuses: then it is left out.
fn schemas() -> Vec<Value> {
    vec![
        json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": ["string", "null"]}}, "required": ["a"], "additionalProperties": false}),
        json!({"additionalProperties": {"type": "number", "multipleOf": 0.5}, "minProperties": 1, "maxProperties": 3, "patternProperties": {"^[a-c]$": true}}),
        json!({"properties": {"a": {"minimum": 1, "maximum": 10}, "b": {"minLength": 2, "maxLength": 4, "pattern": "é"}, "d": {"uniqueItems": true, "minItems": 1, "maxItems": 4}}}),
        json!({"properties": {"c": {"enum": [1, "x", null, [1, 2], {"k": 1.0}]}, "d": {"items": {"enum": ["x", 2, true]}}, "e": {"enum": [1]}}}),
        json!({"properties": {"c": {"const": {"k": 1}}, "d": {"contains": {"const": 2}}, "e": {"const": 1.0}}, "propertyNames": {"maxLength": 1}}),
        json!({"anyOf": [{"required": ["a", "b"]}, {"properties": {"c": {"type": "object"}}, "required": ["c"]}], "not": {"required": ["z"]}}),
        json!({"oneOf": [{"required": ["a"]}, {"required": ["b"]}, {"properties": {"d": {"type": "array"}}, "required": ["d"]}]}),
        json!({"if": {"properties": {"a": {"type": "integer"}}}, "then": {"required": ["b"]}, "else": {"required": ["c"]}, "dependencies": {"a": ["b"], "b": {"required": ["d"]}}}),
        json!({"definitions": {"n": {"properties": {"c": {"$ref": "#/definitions/n"}, "k": {"type": "integer"}}}}, "allOf": [{"$ref": "#/definitions/n"}]}),
        json!({"allOf": [{"properties": {"a": true}}], "unevaluatedProperties": {"type": "string"}, "dependentRequired": {"a": ["c"]}, "dependentSchemas": {"b": {"required": ["d"]}}}),
        json!({"properties": {"d": {"prefixItems": [{"type": "string"}], "items": {"type": "integer"}, "unevaluatedItems": false, "minContains": 1, "contains": {"type": "integer"}}}}),
        json!({"properties": {"a": {"format": "date-time"}, "b": {"format": "email"}, "c": {"format": "ipv4"}}}),
    ]
}

fn documents() -> Vec<Value> {
    vec![
        json!({"a": 1, "b": "é1", "c": {"k": 1}, "d": ["x", 2, true, 2.0]}),
        json!({"a": 10.0, "b": null, "d": [], "e": 1}),
        json!({"c": {"c": {"c": {"k": 1}}, "k": 1.0}, "d": [{"k": 1}, {"k": 1}], "z": false}),
        json!({"a": "2026-01-01T00:00:00Z", "b": "a@b.example", "c": "127.0.0.1", "long": -0.5}),
        json!([1, [2], {"a": 1}]),
    ]
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % limit
    }
}

fn scalar(random: &mut Random) -> Value {
    let scalars = [
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(1.0),
        json!(2),
        json!(10.5),
        json!(-3),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!("x"),
        json!("é1"),
        json!("ééé"),
        json!([]),
        json!({}),
        json!([1, 2]),
        json!({"k": 1}),
        json!("2026-13-01T00:00:00Z"),
    ];
    scalars[random.below(scalars.len())].clone()
}

/// Changes one place of the document.
fn mutate(value: &mut Value, random: &mut Random) {
    match value {
        Value::Object(members) if random.below(3) > 0 => {
            let names = ["a", "b", "c", "d", "e", "k", "z", "long"];
            let name = names[random.below(names.len())];
            match (members.get_mut(name), random.below(3)) {
                (Some(member), 0 | 1) => mutate(member, random),
                (Some(_), _) => drop(members.remove(name)),
                (None, _) => drop(members.insert(name.into(), scalar(random))),
            }
        }
        Value::Array(items) if random.below(3) > 0 && !items.is_empty() => {
            let index = random.below(items.len());
            match random.below(3) {
                0 => drop(items.remove(index)),
                1 => items.push(scalar(random)),
                _ => mutate(&mut items[index], random),
            }
        }
        _ => *value = scalar(random),
    }
}

#[test]
fn the_tape_and_the_tree_agree() {
    let mut random = Random(0x5eed_0001_u64);
    let mut parser = Parser::new();
    let (mut compared, mut held) = (0, 0);
    for draft in DRAFTS {
        for mut schema in schemas() {
            schema["$schema"] = draft.into();
            let Ok(tree) = jsonschema::options().should_validate_formats(true).build(&schema) else { continue };
            let tape = CompiledSchema::compile("d".parse().expect("a name"), 1, &schema, true)
                .unwrap_or_else(|faults| panic!("{schema}: {faults:?}"));
            for mut document in documents() {
                for _ in 0..60 {
                    let text = document.to_string();
                    let (holds, faults) = parser.parse(text.as_bytes(), |doc| (tape.is_valid(doc), tape.errors(doc, "d:1"))).expect("JSON");
                    assert_eq!(holds, tree.is_valid(&document), "{schema}\n{text}");
                    let mut expected: Vec<String> =
                        tree.iter_errors(&document).map(|error| format!("#{}", error.instance_path())).collect();
                    let mut pointers: Vec<String> = faults.into_iter().map(|fault| fault.pointer).collect();
                    expected.sort();
                    pointers.sort();
                    assert_eq!(pointers, expected, "{schema}\n{text}");
                    compared += 1;
                    held += usize::from(holds);
                    mutate(&mut document, &mut random);
                }
            }
        }
    }
    assert!(compared > 14_000 && held > compared / 10 && held < compared * 9 / 10, "{held} of {compared}");
}
