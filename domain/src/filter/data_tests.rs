use serde_json::{Value, json};

use crate::event::EventBuilder;
use crate::fields::Faults;
use crate::filter::{Program, View};
use crate::json::Parser;

fn read(body: &Value) -> Result<Program, String> {
    let mut faults = Faults::default();
    let program = Program::data(body, "/filters/0/data", &mut faults);
    faults.result("it", program).map_err(|problem| format!("{:?}", problem.errors().first().map(|fault| (&fault.pointer, &fault.detail))))
}

fn holds(body: Value, data: &Value) -> bool {
    let program = read(&body).expect("valid");
    let event = EventBuilder::new("1", "/s", "t").build();
    let text = data.to_string();
    let view = View::new("t", &event);
    Parser::new().parse(text.as_bytes(), |doc| program.holds(&View { data: Some(doc), ..view })).expect("JSON")
}

#[test]
fn operators_mean_what_they_say() {
    let data =
        json!({"total": 120.5, "n": 7, "s": "A-17", "t": true, "null": null, "list": [1, {"a": "b"}], "a/b": 1, "map": {"x": 1}, "0": 5});
    for (body, wanted) in [
        (json!({"/total": {"gt": 100}}), true),
        (json!({"/total": {"gt": 100, "lt": 120}}), false),
        (json!({"/n": {"eq": 7.0}}), true),
        (json!({"/n": {"ne": 7}}), false),
        (json!({"/n": {"ne": "7"}}), true),
        (json!({"/n": {"ge": 7, "le": 7}}), true),
        (json!({"/n": {"gt": "6"}}), false),
        (json!({"/s": {"gt": "A-16", "prefix": "A-", "suffix": "7"}}), true),
        (json!({"/s": {"regex": "^A-[0-9]+$"}}), true),
        (json!({"/s": {"regex": "17"}}), true),
        (json!({"/n": {"prefix": "7"}}), false),
        (json!({"/n": {"in": [1, 7]}}), true),
        (json!({"/n": {"in": ["7"]}}), false),
        (json!({"/list": {"in": [[1, {"a": "b"}], 3]}}), true),
        (json!({"/null": {"eq": null}}), true),
        (json!({"/null": {"exists": true}}), true),
        (json!({"/list": {"eq": [1, {"a": "b"}]}}), true),
        (json!({"/map": {"eq": {"x": 1.0}}}), true),
        (json!({"/list/1/a": {"eq": "b"}}), true),
        (json!({"/a~1b": {"eq": 1}}), true),
        (json!({"/0": {"eq": 5}}), true),
        (json!({"": {"exists": true}}), true),
        (json!({"/missing": {"exists": false}}), true),
        (json!({"/missing/deep": {"exists": false}}), true),
        (json!({"/missing": {"ne": 1}}), false),
        (json!({"/missing": {"eq": null}}), false),
        (json!({"/n": {"eq": 7}, "/t": {"eq": true}}), true),
        (json!({"/n": {"eq": 7}, "/t": {"eq": false}}), false),
    ] {
        assert_eq!(holds(body.clone(), &data), wanted, "{body}");
    }
}

#[test]
fn without_data_every_place_is_missing() {
    let event = EventBuilder::new("1", "/s", "t").build();
    let view = View::new("t", &event);
    assert!(!read(&json!({"/a": {"ne": 1}})).expect("valid").holds(&view));
    assert!(read(&json!({"/a": {"exists": false}})).expect("valid").holds(&view));
}

#[test]
fn faults_name_their_place() {
    for (body, place) in [
        (json!([]), "#/filters/0/data\""),
        (json!({}), "#/filters/0/data\""),
        (json!({"total": {"gt": 1}}), "#/filters/0/data/total\""),
        (json!({"/total": 1}), "#/filters/0/data/~1total\""),
        (json!({"/total": {}}), "#/filters/0/data/~1total\""),
        (json!({"/total": {"above": 1}}), "#/filters/0/data/~1total/above\""),
        (json!({"/total": {"gt": [1]}}), "#/filters/0/data/~1total/gt\""),
        (json!({"/total": {"in": []}}), "#/filters/0/data/~1total/in\""),
        (json!({"/total": {"exists": 1}}), "#/filters/0/data/~1total/exists\""),
        (json!({"/total": {"prefix": ""}}), "#/filters/0/data/~1total/prefix\""),
        (json!({"/total": {"regex": "("}}), "#/filters/0/data/~1total/regex\""),
        (json!({"/total": {"in": vec![1; 300]}}), "#/filters/0/data/~1total/in\""),
        (json!({"/total": {"eq": "x".repeat(9000)}}), "#/filters/0/data\""),
    ] {
        let fault = read(&body).expect_err("faulty");
        assert!(fault.contains(place), "{body}: {fault}");
    }
    let deep = (0..60).fold(json!(1), |inner, _| json!([inner]));
    assert!(read(&json!({"/a": {"eq": deep}})).is_err());
}

#[test]
fn blanks_do_not_matter_and_meaning_does() {
    let one = read(&serde_json::from_str(r#"{ "/a" : {"gt": 1} }"#).expect("JSON")).expect("valid");
    let same = read(&json!({"/a": {"gt": 1}})).expect("valid");
    let other = read(&json!({"/a": {"gt": 2}})).expect("valid");
    assert_eq!(one, same);
    assert_ne!(one, other);
    assert_eq!(one.source(), r#"{"/a":{"gt":1}}"#);
}
