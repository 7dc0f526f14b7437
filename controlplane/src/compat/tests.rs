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

/// Nobody to ask.
struct Nobody;

impl Adviser for Nobody {
    fn within(&self, _: &Value, _: &Value) -> Opinion {
        Opinion::Unknown
    }
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

fn verdict(mode: Compatibility, old: &Value, new: &Value, adviser: &dyn Adviser) -> Verdict {
    judge(mode, &version("new", new), &[version("old", old)], adviser)
}

#[test]
fn every_pair_of_the_table_has_its_verdict() {
    let pairs: Vec<Pair> = serde_json::from_str(include_str!("../../../tests/fixtures/schema_pairs.json")).expect("the table");
    let mut wrong = Vec::new();
    for Pair { name, old, new, backward, forward } in &pairs {
        for (mode, expected) in [(Compatibility::Backward, backward), (Compatibility::Forward, forward)] {
            match verdict(mode, old, new, &Nobody) {
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
