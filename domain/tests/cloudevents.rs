//! The CloudEvents codec through its public functions: vectors, real payloads, bad inputs, properties, mutations.

#[path = "cloudevents/bad_inputs.rs"]
mod bad_inputs;
#[path = "cloudevents/mutations.rs"]
mod mutations;
#[path = "cloudevents/properties.rs"]
mod properties;

use bytes::Bytes;
use posthorn_domain::cloudevents::{
    decode_batch, decode_binary, decode_header_value, decode_structured, encode_header_value, has_ce_headers, structured_len,
    structured_parts,
};
use posthorn_domain::event::{AttrKind, DataKind, Event};
use serde_json::Value;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/cloudevents-headers.json");
const GITHUB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/github-webhooks/events.jsonl");

fn structured(text: &str) -> Event {
    decode_structured(&Bytes::copy_from_slice(text.as_bytes())).expect(text)
}

/// A structured event with these members besides the required ones.
fn with_members(members: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{members}}}"#)
}

fn binary(extra: &[(&str, &[u8])], body: &'static [u8]) -> Result<Event, posthorn_domain::problem::Problem> {
    let required: [(&str, &[u8]); 4] = [("ce-specversion", b"1.0"), ("CE-Id", b"1"), ("ce-source", b"/s"), ("ce-type", b"t")];
    decode_binary(required.into_iter().chain(extra.iter().copied()), Bytes::from_static(body))
}

#[test]
fn header_values_agree_with_the_vectors() {
    let vectors: Vec<Value> = serde_json::from_slice(&std::fs::read(VECTORS).unwrap()).unwrap();
    assert_eq!(vectors.len(), 13);
    for vector in vectors {
        let expected = vector["expected"].as_str();
        if let Some(value) = vector["value"].as_str() {
            assert_eq!(Some(&*encode_header_value(value)), expected);
            assert_eq!(decode_header_value(expected.unwrap().as_bytes()).as_deref(), Ok(value));
        } else {
            let header = vector["header_value"].as_str().unwrap();
            assert_eq!(decode_header_value(header.as_bytes()).as_deref().ok(), expected, "{header}");
        }
    }
    assert!(decode_header_value(b"100%").is_err());
    assert_eq!(decode_header_value(b"say \"hi\"").as_deref(), Ok("say \"hi\""));
}

#[test]
fn real_payloads_keep_their_bytes() {
    let file = std::fs::read_to_string(GITHUB).unwrap();
    assert_eq!(file.lines().count(), 329);
    for line in file.lines() {
        let body = Bytes::copy_from_slice(line.as_bytes());
        let event = decode_structured(&body).unwrap();
        assert!(body.as_ptr_range().contains(&event.data().as_ptr()), "data is a slice of the body");
        let parts = structured_parts(&event, None);
        assert_eq!(parts.data.as_ptr(), event.data().as_ptr(), "data is spliced in without a copy");
        assert_eq!(parts.size(), structured_len(&event, None));
        let whole = parts.to_bytes();
        assert_eq!(decode_structured(&whole).unwrap(), event);
        assert_eq!(serde_json::from_slice::<Value>(&whole).unwrap(), serde_json::from_str::<Value>(line).unwrap());
    }
    let batch = Bytes::from(format!("[{}]", file.lines().collect::<Vec<_>>().join(", ")));
    let events = decode_batch(&batch, 329).unwrap();
    assert!(events.len() == 329 && events.iter().all(Result::is_ok));
    assert_eq!(decode_batch(&batch, 328).unwrap_err().status(), 413);
}

#[test]
fn structured_data_is_kept_by_its_kind() {
    for (members, kind, data, ty) in [
        (r#","data": { "a" : 1 } "#, DataKind::Json, r#"{ "a" : 1 }"#, Some("application/json")),
        (r#","data":"I'm a string""#, DataKind::Json, r#""I'm a string""#, Some("application/json")),
        (r#","data":null"#, DataKind::Json, "null", Some("application/json")),
        (r#","datacontenttype":null,"data":1"#, DataKind::Json, "1", Some("application/json")),
        (r#","data":[1],"datacontenttype":"a/b+JSON""#, DataKind::Json, "[1]", Some("a/b+JSON")),
        (r#","data":"<a>\n\ud83d\ude00","datacontenttype":"text/xml""#, DataKind::Text, "<a>\n😀", Some("text/xml")),
        (r#","data":"","datacontenttype":"text/plain""#, DataKind::Text, "", Some("text/plain")),
        (r#","data_base64":"AAEC""#, DataKind::Binary, "\0\u{1}\u{2}", None),
        (r#","data_base64":"eyJhIjoxfQ==","datacontenttype":"text/json""#, DataKind::Json, r#"{"a":1}"#, Some("text/json")),
        (r#","data_base64":null"#, DataKind::None, "", None),
        ("", DataKind::None, "", None),
    ] {
        let event = structured(&with_members(members));
        assert_eq!((event.data_kind(), &event.data()[..]), (kind, data.as_bytes()), "{members}");
        assert_eq!(event.get("datacontenttype"), ty, "{members}");
        assert_eq!(structured(std::str::from_utf8(&structured_parts(&event, None).to_bytes()).unwrap()), event);
    }
}

#[test]
fn attribute_types_are_kept() {
    let event = structured(&with_members(r#","n":-2147483648,"b":false,"s":"\"\\\/\u00e9","unset":null,"zero":-0"#));
    let kinds: Vec<_> = event.attrs().skip(3).map(|attr| (attr.name, attr.kind, attr.value)).collect();
    assert_eq!(
        kinds,
        [
            ("n", AttrKind::Integer, "-2147483648"),
            ("b", AttrKind::Boolean, "false"),
            ("s", AttrKind::String, "\"\\/é"),
            ("zero", AttrKind::Integer, "0"),
        ]
    );
    let written = structured_parts(&event, Some("orders"));
    assert_eq!(written.size(), structured_len(&event, Some("orders")));
    let expected =
        r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","n":-2147483648,"b":false,"s":"\"\\/é","zero":0,"topic":"orders"}"#;
    assert_eq!(written.to_bytes(), expected);
    assert_eq!(structured_parts(&event.with_attr("topic", "old"), Some("orders")).to_bytes(), expected);
}

#[test]
fn binary_mode_reads_headers_and_keeps_the_body() {
    let event = binary(&[("content-type", b"application/json"), ("ce-note", b"Bod%C3%B8"), ("accept", b"*/*")], b" {\"a\":1}\n").unwrap();
    assert_eq!((event.id(), event.get("note"), event.get("accept")), ("1", Some("Bodø"), None));
    assert_eq!((event.data_kind(), &event.data()[..]), (DataKind::Json, &b" {\"a\":1}\n"[..]));
    for (ty, body, kind) in [
        ("text/plain", &b"x"[..], DataKind::Text),
        ("application/soap+xml; charset=UTF-8", b"<x/>", DataKind::Text),
        ("text/plain; charset=iso-8859-1", b"x", DataKind::Binary),
        ("text/plain", b"\xff", DataKind::Binary),
        ("image/png", b"x", DataKind::Binary),
        ("application/json", b"", DataKind::None),
    ] {
        assert_eq!(binary(&[("Content-Type", ty.as_bytes())], body).unwrap().data_kind(), kind, "{ty}");
    }
    assert_eq!(binary(&[], b"{}").unwrap().data_kind(), DataKind::Binary);
    assert!(has_ce_headers([("host", &b"x"[..]), ("Ce-Id", b"1")].into_iter()));
    assert!(!has_ce_headers([("host", &b"x"[..]), ("cete", b"1")].into_iter()));
}

#[test]
fn a_batch_judges_each_event_alone() {
    let good = with_members(r#","data":{ }"#);
    let body = Bytes::from(format!(" [ {good} , 7, {{\"specversion\":\"1.0\",\"id\":\"\"}},{good}\n] "));
    let events = decode_batch(&body, 4).unwrap();
    assert_eq!(events.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false, true]);
    assert!(body.as_ptr_range().contains(&events[3].as_ref().unwrap().data().as_ptr()));
    let problem = events[2].as_ref().unwrap_err();
    assert_eq!(problem.errors()[0].pointer, "#/2/id");
    assert!(problem.detail().starts_with("event 2 of the batch: `id`"), "{problem}");
    assert!(decode_batch(&Bytes::from_static(b"[]"), 0).unwrap().is_empty());
    for bad in ["", "{}", "[", "[{}", "[{},]", "[{} {}]", "[{}] x", "[[}]", "[tru]"] {
        assert_eq!(decode_batch(&Bytes::from_static(bad.as_bytes()), 9).expect_err(bad).status(), 400);
    }
}
