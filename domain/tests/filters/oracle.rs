//! Generated CEL through this engine and through the `cel` crate. Where both give a value it is the same one; where one
//! gives an error, so does the other, but for what is listed.

use cel::{Context, Program as Theirs};
use posthorn_domain::event::{AttrKind, EventBuilder};
use posthorn_domain::filter::{Program as Ours, View};
use posthorn_domain::json::Parser;
use serde_json::{Value, json};

use super::Random;

const EXPRESSIONS: usize = 4_000;

/// Numbers are doubles, as in JSON data for CEL.
fn data() -> Value {
    json!({"n": 7.0, "h": 0.5, "s": "abc", "e": "", "t": true, "f": false, "z": null, "l": [1.0, 2.0, 3.0], "o": [], "w": ["a", "b"],
        "m": {"a": 1.0, "b": "x"}, "q": [{"k": 1.0}, {"k": 2.0}, {}]})
}

/// A type of its own, so that integers are signed for the other engine too.
#[derive(serde::Serialize)]
struct Attributes {
    r#type: &'static str,
    n: i64,
    flag: bool,
}

#[test]
fn the_cel_crate_agrees() {
    let mut random = Random(5);
    let mut context = Context::default();
    context.add_variable("data", cel::to_value(data()).unwrap()).unwrap();
    context.add_variable("event", cel::to_value(Attributes { r#type: "order.created", n: 3, flag: true }).unwrap()).unwrap();
    let mut builder = EventBuilder::new("1", "/s", "order.created");
    builder.push("n", AttrKind::Integer, "3");
    builder.push("flag", AttrKind::Boolean, "true");
    let event = builder.build();
    let view = View::new("t", &event);
    let (mut values, mut errors, mut differences) = (0, 0, Vec::new());
    let text = data().to_string();
    let run = Parser::new().parse(text.as_bytes(), |doc| {
        let view = View { data: Some(doc), ..view };
        for _ in 0..EXPRESSIONS {
            let source = boolean(&mut random, 3, &[]);
            let ours = Ours::cel(&source).unwrap_or_else(|refusal| panic!("{source}: {refusal}"));
            let outcome = ours.evaluate(&view);
            let ours = outcome.errors.is_empty().then_some(outcome.value);
            let theirs = Theirs::compile(&source).unwrap_or_else(|error| panic!("{source}: {error}")).execute(&context).ok().map(shown);
            match (&ours, &theirs) {
                (Some(ours), Some(theirs)) if ours == theirs => values += 1,
                (None, None) => errors += 1,
                _ => differences.push(format!("{source}\n    ours {ours:?}, theirs {theirs:?}, {:?}", outcome.errors)),
            }
        }
    });
    run.expect("JSON");
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences[..differences.len().min(40)].join("\n"));
    assert!(values > EXPRESSIONS / 3 && errors > EXPRESSIONS / 20, "{values} values, {errors} errors");
}

fn shown(value: cel::Value) -> Value {
    match value {
        cel::Value::Bool(value) => value.into(),
        other => format!("{other:?}").into(),
    }
}

/// An expression that is a boolean, or an error.
fn boolean(random: &mut Random, depth: usize, variables: &[&str]) -> String {
    if depth == 0 {
        return random.pick(&["true", "false", "data.t", "data.f", "event.flag", "data.x", "data.n == 7.0", "1 / 0 == 1"]).to_owned();
    }
    let depth = depth - 1;
    match random.below(16) {
        0 | 1 => format!("({} && {})", boolean(random, depth, variables), boolean(random, depth, variables)),
        2 | 3 => format!("({} || {})", boolean(random, depth, variables), boolean(random, depth, variables)),
        4 => format!("!({})", boolean(random, depth, variables)),
        5 => format!(
            "({} ? {} : {})",
            boolean(random, depth, variables),
            boolean(random, depth, variables),
            boolean(random, depth, variables)
        ),
        6 | 7 => {
            let operator = random.pick(&["==", "!=", "<", "<=", ">", ">="]);
            format!("({} {operator} {})", number(random, depth, variables), number(random, depth, variables))
        }
        8 => {
            let operator = random.pick(&["==", "!=", "<", ">="]);
            format!("({} {operator} {})", text(random, depth), text(random, depth))
        }
        9 => {
            let method = random.pick(&["startsWith", "endsWith", "contains"]);
            format!("{}.{method}({})", text(random, depth), text(random, depth))
        }
        10 => format!("has({})", random.pick(&["data.n", "data.x", "data.z", "data.m.a", "data.m.x", "event.flag", "event.gone"])),
        // The other engine makes an error of null as a key.
        11 if random.below(2) == 0 => {
            format!("({} in {})", random.pick(&["'a'", "data.s", "'b'", "1"]), random.pick(&["data.m", "{'a': 1}"]))
        }
        11 => format!("({} in {})", scalar(random), random.pick(&["data.l", "data.w", "data.o", "[1, 'a', true]"])),
        12 => format!("({} == {})", scalar(random), scalar(random)),
        13 => {
            let variable = ["x", "y", "u"][variables.len().min(2)];
            let macro_name = random.pick(&["all", "exists", "exists_one"]);
            let list = random.pick(&["data.l", "data.o", "[1.0, 2.5]"]);
            let inner: Vec<&str> = variables.iter().copied().chain([variable]).collect();
            format!("{list}.{macro_name}({variable}, {})", boolean(random, depth, &inner))
        }
        14 => format!(
            "({} == {})",
            random.pick(&["data.l", "data.m", "data.o", "[1, 2, 3]", "{'a': 1, 'b': 'x'}", "[]"]),
            random.pick(&["data.l", "[1.0, 2.0, 3.0]", "data.m", "[]"])
        ),
        _ => format!("data.q.exists(z, z.k == {})", number(random, 0, &[])),
    }
}

fn number(random: &mut Random, depth: usize, variables: &[&str]) -> String {
    if !variables.is_empty() && random.below(3) == 0 {
        return random.pick(variables).to_owned();
    }
    if depth == 0 || random.below(2) == 0 {
        return random
            .pick(&[
                "1",
                "2u",
                "2.5",
                "-3",
                "data.n",
                "data.h",
                "event.n",
                "0",
                "data.l[1]",
                "data.x",
                "size(data.l)",
                "-9223372036854775808",
            ])
            .to_owned();
    }
    let operator = random.pick(&["+", "-", "*", "/"]);
    match random.below(6) {
        0 => format!("int({})", number(random, depth - 1, variables)),
        1 => format!("double({})", number(random, depth - 1, variables)),
        2 => format!("size({})", text(random, depth - 1)),
        _ => format!("({} {operator} {})", number(random, depth - 1, variables), number(random, depth - 1, variables)),
    }
}

fn text(random: &mut Random, depth: usize) -> String {
    if depth == 0 || random.below(2) == 0 {
        return random
            .pick(&["'a'", "'abc'", "''", "data.s", "data.e", "event.type", "data.w[0]", "data.m.b", "data.x", "string(1)"])
            .to_owned();
    }
    format!("({} + {})", text(random, depth - 1), text(random, depth - 1))
}

fn scalar(random: &mut Random) -> &'static str {
    random.pick(&["1", "1.0", "'a'", "true", "null", "data.n", "data.s", "data.z", "data.t", "2u", "7"])
}
