use super::*;
use crate::event::{AttrKind, EventBuilder};
use crate::fields::Faults;
use crate::filter::View;
use crate::json::Parser;
use serde_json::json;

fn atoms(filter: &serde_json::Value) -> Vec<Atom> {
    let mut faults = Faults::default();
    Filter::parse(filter, "", &mut faults).expect("valid").atoms()
}

#[test]
fn comparisons_become_conditions() {
    let text = |text: &str| Literal::Text(text.into());
    let number = |value: i64| Literal::Number(value.into());
    let sub = |test| vec![attribute("subject", test)];
    let data = |pointer: &str, test| vec![Atom { place: Place::Data(pointer.parse().expect("a pointer")), test }];
    for (filter, wanted) in [
        (json!({"sql": "subject = 'a'"}), sub(Test::Equals(text("a")))),
        (json!({"sql": "'a' = subject"}), sub(Test::Exists)),
        (json!({"sql": "subject = 10"}), sub(Test::Equals(number(10)))),
        (json!({"sql": "10 < subject"}), sub(Test::Range(Bound::Excluded(10i64.into()), Bound::Unbounded))),
        (json!({"sql": "subject LIKE 'a%'"}), sub(Test::Prefix("a".into()))),
        (json!({"sql": "subject LIKE '%_a'"}), sub(Test::Suffix("a".into()))),
        (json!({"sql": "subject LIKE 'a\\_'"}), sub(Test::Equals(text("a_")))),
        (json!({"sql": "subject IN ('a', 'b')"}), sub(Test::OneOf([text("a"), text("b")].into()))),
        (json!({"sql": "subject IN ('010')"}), sub(Test::Exists)),
        (json!({"sql": "subject IN (5)"}), sub(Test::OneOf([number(5), number(1)].into()))),
        (json!({"sql": "subject = 'a' OR subject = 'b'"}), sub(Test::OneOf([text("a"), text("b")].into()))),
        (json!({"sql": "subject = 'a' OR id = 'b'"}), vec![]),
        (json!({"sql": "NOT subject = 'a'"}), vec![]),
        (json!({"cel": "event.subject == 'a'"}), sub(Test::Equals(text("a")))),
        (json!({"cel": "event.subject"}), sub(Test::Equals(text("true")))),
        (json!({"cel": "data.n == 7.0"}), data("/n", Test::Equals(number(7)))),
        (json!({"cel": "data.s.startsWith('x')"}), data("/s", Test::Prefix("x".into()))),
        (json!({"cel": "data.s in ['x', 1]"}), data("/s", Test::OneOf([text("x"), number(1)].into()))),
        (json!({"cel": "has(data.s)"}), data("/s", Test::Exists)),
        (json!({"cel": "!has(data.s)"}), vec![]),
        (json!({"data": {"/n": {"ge": 7}}}), data("/n", Test::Range(Bound::Included(7i64.into()), Bound::Unbounded))),
        (json!({"data": {"/n": {"exists": false}}}), vec![]),
        (json!({"any": [{"exact": {"subject": "a"}}, {"sql": "subject = 'b'"}]}), sub(Test::OneOf([text("a"), text("b")].into()))),
        (json!({"not": {"exact": {"subject": "a"}}}), vec![]),
    ] {
        assert_eq!(atoms(&filter), wanted, "{filter}");
    }
    assert_eq!(atoms(&json!({"sql": "type = 'a' AND (subject = 'b' AND n > 1)"})).len(), 3);
}

/// Whatever the event: a filter that holds has all its conditions.
#[test]
fn what_holds_has_its_conditions() {
    let literals = ["'10'", "'010'", "10", "1", "TRUE", "'true'", "'TRUE'", "'x'", "0"];
    let mut filters: Vec<serde_json::Value> = Vec::new();
    for literal in literals {
        for operator in ["=", "!=", "<", ">="] {
            filters.push(json!({"sql": format!("n {operator} {literal}")}));
            filters.push(json!({"sql": format!("{literal} {operator} n")}));
        }
        filters.push(json!({"sql": format!("n IN ({literal}, 'y')")}));
        filters.push(json!({"sql": format!("n = {literal} OR n = 2")}));
        let cel = literal.to_lowercase();
        for operator in ["==", "!=", "<", ">="] {
            filters.push(json!({"cel": format!("event.n {operator} {cel}")}));
            filters.push(json!({"cel": format!("{cel} {operator} data.n")}));
        }
        filters.push(json!({"cel": format!("data.n in [{cel}, 2] || event.n in [{cel}]")}));
    }
    for like in ["1%", "%0", "%1%", "t_ue", "10"] {
        filters.push(json!({"sql": format!("n LIKE '{like}'")}));
    }
    let values = [
        (AttrKind::Integer, "10"),
        (AttrKind::Integer, "1"),
        (AttrKind::Boolean, "true"),
        (AttrKind::Boolean, "false"),
        (AttrKind::String, "10"),
        (AttrKind::String, "010"),
        (AttrKind::String, "TRUE"),
        (AttrKind::String, "x"),
    ];
    let mut held = 0;
    for filter in &filters {
        let filter = Filter::parse(filter, "", &mut Faults::default()).expect("valid");
        let atoms = filter.atoms();
        for (kind, value) in values {
            let mut builder = EventBuilder::new("1", "/s", "t");
            builder.push("n", kind, value);
            let event = builder.build();
            let data =
                if kind == AttrKind::String || value == "010" { json!({"n": value}).to_string() } else { format!("{{\"n\": {value}}}") };
            let view = View::new("t", &event);
            let checked = Parser::new().parse(data.as_bytes(), |doc| {
                let view = View { data: Some(doc), ..view };
                if filter.matches(&view) {
                    held += 1;
                    assert!(atoms.iter().all(|atom| atom.holds(&view)), "{filter:?} {kind:?} {value}: {atoms:?}");
                }
            });
            checked.expect("JSON");
        }
    }
    assert!(held > 200, "{held}");
}
