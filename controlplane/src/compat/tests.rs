//! The verdicts of a table of pairs, and what holds of every verdict.

use std::sync::Arc;

use posthorn_domain::json::Parser;
use posthorn_domain::names::{References, SchemaRef};
use posthorn_domain::resource::Compatibility;
use posthorn_domain::schema::{Bundle, CompiledSchema};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::make::{Filled, Maker};
use super::*;

#[derive(Deserialize)]
struct Pair {
    name: String,
    old: Value,
    new: Value,
    backward: bool,
    forward: bool,
}

fn version(label: &str, schema: &Value) -> Version {
    let bundle = Bundle::new(schema, &References::new(), &()).expect("a bundle");
    let reference = SchemaRef { name: "s".parse().expect("a name"), version: 1 };
    let compiled = CompiledSchema::of(reference, &bundle, false).expect("compiles");
    Version { label: label.into(), bundle: Arc::new(bundle), compiled: Arc::new(compiled), formats: false }
}

fn takes(version: &Version, value: &Value) -> bool {
    Parser::new().parse(value.to_string().as_bytes(), |doc| version.compiled.is_valid(doc)).expect("JSON")
}

fn verdict(mode: Compatibility, old: &Value, new: &Value) -> Verdict {
    judge(mode, &version("new", new), &[version("old", old)])
}

#[test]
fn every_pair_of_the_table_has_its_verdict() {
    let pairs: Vec<Pair> = serde_json::from_str(include_str!("../../../tests/fixtures/schema_pairs.json")).expect("the table");
    let mut wrong = Vec::new();
    for Pair { name, old, new, backward, forward } in &pairs {
        for (mode, expected) in [(Compatibility::Backward, backward), (Compatibility::Forward, forward)] {
            match verdict(mode, old, new) {
                Verdict::Fits { .. } if *expected => {}
                Verdict::Refuted(found) if !expected => {
                    let (inner, outer) = if mode == Compatibility::Backward { (old, new) } else { (new, old) };
                    assert!(takes(&version("", inner), &found.counterexample), "{name}: {found:?}");
                    assert!(!takes(&version("", outer), &found.counterexample) && !found.faults.is_empty(), "{name}: {found:?}");
                }
                other => wrong.push(format!("{name}, {mode}: {other:?}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_that_were_not_declared_are_taken_as_not_sent_and_told() {
    let old = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let new = json!({"type": "object", "properties": {"a": {"type": "string"}, "note": {"type": "integer"}}});
    let fits = Verdict::Fits { assumed: BTreeSet::from(["note".to_owned()]) };
    assert_eq!(verdict(Compatibility::Full, &old, &new), fits);
    let closed = json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}});
    let Verdict::Refuted(found) = verdict(Compatibility::Backward, &closed, &new) else { panic!("it said what else may be sent") };
    assert_eq!(found.counterexample, json!({"note": ""}));
}

#[test]
fn transitive_modes_look_at_every_version() {
    let schema = |most: u32| json!({"type": "integer", "maximum": most});
    let earlier = [version("s:2", &schema(5)), version("s:1", &schema(9))];
    let new = version("new", &schema(7));
    assert_eq!(judge(Compatibility::Backward, &new, &earlier), Verdict::Fits { assumed: BTreeSet::new() });
    let Verdict::Refuted(found) = judge(Compatibility::BackwardTransitive, &new, &earlier) else { panic!("9 is more than 7") };
    assert_eq!((found.taken_by.as_str(), found.refused_by.as_str(), found.direction), ("s:1", "new", "backward"));
    let Verdict::Refuted(found) = judge(Compatibility::Forward, &new, &earlier) else { panic!("7 is more than 5") };
    assert_eq!((found.taken_by.as_str(), found.refused_by.as_str()), ("new", "s:2"));
}

#[test]
fn what_neither_way_answers_is_undecided() {
    // True, but by arithmetic that is not done here.
    let old = json!({"type": "integer", "multipleOf": 2, "allOf": [{"multipleOf": 3}]});
    let Verdict::Undecided(gap) = verdict(Compatibility::Backward, &old, &json!({"type": "integer", "multipleOf": 6})) else {
        panic!("who told it?")
    };
    assert_eq!((gap.direction, gap.with.as_str(), gap.pointer.as_str()), ("backward", "old", ""));
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(true)),
        Just(json!({"type": "null"})),
        Just(json!({"type": "boolean"})),
        (0..3_i32, 3..6_i32).prop_map(|(min, max)| json!({"type": "integer", "minimum": min, "maximum": max})),
        (0..3_i32).prop_map(|min| json!({"type": "number", "exclusiveMinimum": min})),
        (1..4_i32).prop_map(|of| json!({"type": "integer", "multipleOf": of})),
        (0..3_u32, 2..5_u32).prop_map(|(min, max)| json!({"type": "string", "minLength": min, "maxLength": max})),
        prop_oneof![Just("^a"), Just("^[ab]+$"), Just("b$"), Just("^a{1,3}$")].prop_map(|p| json!({"type": "string", "pattern": p})),
        proptest::collection::vec(0..4_i32, 1..3).prop_map(|values| json!({"enum": values})),
        Just(json!({"const": "a"})),
    ]
}

fn schema() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(3, 12, 3, |inner| {
        let name = prop_oneof![Just("a"), Just("b"), Just("xa")];
        let members = proptest::collection::btree_map(name, inner.clone(), 0..3);
        let required = proptest::sample::subsequence(vec!["a", "b"], 0..=2);
        let rest = prop_oneof![Just(json!(null)), Just(json!(false)), inner.clone()];
        prop_oneof![
            (members, required, rest, any::<bool>()).prop_map(|(members, required, rest, by_pattern)| {
                let mut schema = json!({"type": "object", "properties": members, "required": required});
                if !rest.is_null() {
                    schema["additionalProperties"] = rest;
                }
                if by_pattern {
                    schema["patternProperties"] = json!({"^x": {"type": ["integer", "string"]}});
                }
                schema
            }),
            (inner.clone(), 0..2_u32, 1..4_u32)
                .prop_map(|(items, min, max)| json!({"type": "array", "items": items, "minItems": min, "maxItems": max})),
            proptest::collection::vec(inner.clone(), 1..3)
                .prop_map(|prefix| json!({"type": "array", "prefixItems": prefix, "items": false})),
            (inner.clone(), any::<bool>()).prop_map(|(item, unique)| json!({"type": "array", "contains": item, "uniqueItems": unique})),
            proptest::collection::vec(inner.clone(), 1..3).prop_map(|any| json!({"anyOf": any})),
            proptest::collection::vec(inner.clone(), 1..3).prop_map(|one| json!({"oneOf": one})),
            proptest::collection::vec(inner.clone(), 1..3).prop_map(|all| json!({"allOf": all})),
            inner.clone().prop_map(|not| json!({"not": not})),
            (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| json!({"if": a, "then": b, "else": c})),
        ]
    })
}

/// The schema, or one a little different.
fn pair() -> impl Strategy<Value = (Value, Value)> {
    let related = (schema(), schema(), 0..6_usize).prop_map(|(one, other, way)| match way {
        0 => (one.clone(), json!({"anyOf": [one, other]})),
        1 => (json!({"allOf": [one, other]}), one),
        2 => (one.clone(), json!({"not": {"not": one}})),
        3 => (json!({"properties": {"a": one}, "required": ["a"]}), json!({"properties": {"a": {"anyOf": [other, one]}}})),
        4 => (one.clone(), json!({"$ref": "#/$defs/x", "$defs": {"x": one}})),
        _ => (one, other),
    });
    prop_oneof![related, (schema(), schema())]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 300, ..ProptestConfig::default() })]

    /// What is called compatible is so for every value that can be made of the one; what refutes is one value's, not the other's.
    #[test]
    fn verdicts_hold_for_values((old, new) in pair(), seed in 0..8_usize) {
        let (from, to) = (version("old", &old), version("new", &new));
        match verdict(Compatibility::Backward, &old, &new) {
            Verdict::Refuted(found) => {
                prop_assert!(takes(&from, &found.counterexample) && !takes(&to, &found.counterexample), "{found:?}");
            }
            Verdict::Fits { .. } => {
                let (of_old, of_new) = (from.bundle.graph().expect("a graph"), to.bundle.graph().expect("a graph"));
                let (mut shapes, patterns) = (Shapes::default(), Patterns::default());
                let inner = read::read(&of_old, false, &mut shapes);
                let outer = read::read(&of_new, false, &mut shapes);
                let search = Search::new(&shapes, &patterns, (inner, &from.compiled), (outer, &to.compiled));
                let mut maker = Maker::new(&shapes, &patterns);
                for n in 0..60 + seed {
                    let filled = [Filled::Least, Filled::Most, Filled::Some][n % 3];
                    // Values of the old one, and of the new one that happen to be the old one's too.
                    let root = if n % 4 == 0 { outer } else { inner };
                    let Some(value) = maker.value(&Conj::from([root]), filled) else { continue };
                    let unsaid = search.relies(&Conj::from([inner]), &value, 0);
                    prop_assert!(!takes(&from, &value) || takes(&to, &value) || unsaid, "{value}");
                }
            }
            Verdict::Undecided(_) => {}
        }
    }
}

/// Changes the `nth` text member to a number; `false` when there are not so many.
fn retype(schema: &mut Value, nth: &mut usize) -> bool {
    match schema {
        Value::Object(keywords) if keywords.get("type") == Some(&json!("string")) && !keywords.contains_key("enum") => {
            if *nth == 0 {
                *schema = json!({"type": "integer"});
                return true;
            }
            *nth -= 1;
            false
        }
        Value::Object(keywords) => keywords.values_mut().any(|value| retype(value, nth)),
        Value::Array(items) => items.iter_mut().any(|value| retype(value, nth)),
        _ => false,
    }
}

#[test]
fn real_schemas_fit_themselves_and_a_change_deep_in_them_is_found() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/github-webhooks/schemas");
    let mut names: Vec<_> = std::fs::read_dir(folder).expect("schemas").map(|entry| entry.expect("a file").path()).collect();
    names.sort();
    let mut open = Vec::new();
    for (n, path) in names.iter().enumerate().step_by(12) {
        let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("text")).expect("JSON");
        let old = version("old", &schema);
        let same = judge(Compatibility::Full, &version("new", &schema), std::slice::from_ref(&old));
        assert_eq!(same, Verdict::Fits { assumed: BTreeSet::new() }, "{path:?}");
        let mut changed = schema.clone();
        if !retype(&mut changed, &mut (n % 7)) {
            continue;
        }
        match judge(Compatibility::Backward, &version("new", &changed), &[old]) {
            Verdict::Refuted(_) => {}
            other => open.push(format!("{path:?}: {other:?}")),
        }
    }
    assert!(names.len() > 50 && open.is_empty(), "{}", open.join("\n"));
}
