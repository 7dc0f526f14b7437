//! Inputs that must be refused, with what the problem must name.

use posthorn_domain::cloudevents::{MAX_ATTRIBUTES, MAX_DEPTH, decode_structured};
use posthorn_domain::problem::{Code, Problem};

use super::{binary, with_members};

fn refused(text: &str) -> Problem {
    decode_structured(&text.to_owned().into()).expect_err(text)
}

#[test]
fn bad_members_are_named() {
    for (members, pointer) in [
        (r#","id":"2""#, "#/id"),
        (r#","\u0069d":"2""#, "#/id"),
        (r#","Foo":"x""#, "#/Foo"),
        (r#","my_ext":"x""#, "#/my_ext"),
        (r#","":"x""#, "#/"),
        (r#","a/b":"x""#, "#/a~1b"),
        (r#","subject":"""#, "#/subject"),
        (r#","subject":5"#, "#/subject"),
        (r#","subject":null,"subject":"x""#, "#/subject"),
        (r#","time":"yesterday""#, "#/time"),
        (r#","time":true"#, "#/time"),
        (r#","expirytime":"2018-04-26""#, "#/expirytime"),
        (r#","dataschema":"/relative""#, "#/dataschema"),
        (r#","dataschema":"""#, "#/dataschema"),
        (r#","datacontenttype":"json""#, "#/datacontenttype"),
        (r#","n":1.5"#, "#/n"),
        (r#","n":1e2"#, "#/n"),
        (r#","n":2147483648"#, "#/n"),
        (r#","n":-2147483649"#, "#/n"),
        (r#","o":{}"#, "#/o"),
        (r#","o":[]"#, "#/o"),
        (r#","s":"\u0007""#, "#/s"),
        (r#","s":"\u0085""#, "#/s"),
        (r#","s":"\ufdd0""#, "#/s"),
        (r#","s":"\ud83f\udfff""#, "#/s"),
        (r#","data":1,"data":1"#, "#/data"),
        (r#","data":null,"data_base64":"""#, "#/data_base64"),
        (r#","data_base64":"AAE""#, "#/data_base64"),
        (r#","data_base64":"-_-_""#, "#/data_base64"),
        (r#","data_base64":5"#, "#/data_base64"),
        (r#","data":{},"datacontenttype":"text/xml""#, "#/data"),
        (r#","data":null,"datacontenttype":"text/xml""#, "#/data"),
    ] {
        let problem = refused(&with_members(members));
        assert_eq!((problem.code(), problem.errors()[0].pointer.as_str()), (Code::InvalidEvent, pointer), "{members}");
        assert!(problem.errors()[0].detail.len() > 10);
    }
}

#[test]
fn required_members_are_demanded() {
    for (text, pointer) in [
        (r#"{}"#, "#/specversion"),
        (r#"{"specversion":null,"id":"1","source":"/s","type":"t"}"#, "#/specversion"),
        (r#"{"specversion":"1.0.2","id":"1","source":"/s","type":"t"}"#, "#/specversion"),
        (r#"{"specversion":1.0,"id":"1","source":"/s","type":"t"}"#, "#/specversion"),
        (r#"{"specversion":"1.0","source":"/s","type":"t"}"#, "#/id"),
        (r#"{"specversion":"1.0","id":1,"source":"/s","type":"t"}"#, "#/id"),
        (r#"{"specversion":"1.0","id":"1","type":"t"}"#, "#/source"),
        (r#"{"specversion":"1.0","id":"1","source":"a b","type":"t"}"#, "#/source"),
        (r#"{"specversion":"1.0","id":"1","source":"","type":"t"}"#, "#/source"),
        (r#"{"specversion":"1.0","id":"1","source":"/s","type":""}"#, "#/type"),
    ] {
        assert_eq!(refused(text).errors()[0].pointer, pointer, "{text}");
    }
}

#[test]
fn bad_json_is_refused_with_its_offset() {
    for (text, offset) in [
        ("", 0),
        ("[]", 0),
        ("{", 1),
        ("{]", 1),
        (r#"{"a"}"#, 4),
        (r#"{"a":}"#, 5),
        (r#"{"a":"b",}"#, 9),
        (r#"{"a":"b" "c":"d"}"#, 9),
        (r#"{"a":"\x"}"#, 6),
        (r#"{"a":"\ud800"}"#, 6),
        (r#"{"a":"\ud800\u0041"}"#, 6),
        (r#"{"a":"\udc00"}"#, 6),
        ("{\"a\":\"\n\"}", 6),
        (r#"{"a":"b"#, 5),
        (r#"{"a":01}"#, 6),
        (r#"{"a":-}"#, 6),
        (r#"{"a":tru}"#, 5),
        (r#"{"data":{"a":[}}"#, 14),
        (r#"{"data":[1,2"#, 8),
        ("\u{feff}{}", 0),
    ] {
        let problem = refused(text);
        assert_eq!(problem.code(), Code::InvalidJson, "{text}");
        assert!(problem.detail().contains(&format!("at byte {offset} of the body")), "{text}: {problem}");
    }
    let after = refused(&format!("{} x", with_members("")));
    assert!(after.detail().starts_with("expected nothing more, found `x`"), "{after}");
    assert!(decode_structured(&b"{\"a\":\"\xff\"}"[..].into()).unwrap_err().detail().contains("not UTF-8 at byte 6"));
}

#[test]
fn nesting_and_counts_have_limits() {
    let nested = |depth: usize| with_members(&format!(r#","data":{}{}"#, "[".repeat(depth), "]".repeat(depth)));
    assert!(decode_structured(&nested(MAX_DEPTH).into()).is_ok());
    assert_eq!(refused(&nested(MAX_DEPTH + 1)).code(), Code::InvalidJson);
    assert_eq!(refused(&nested(1_000_000)).code(), Code::InvalidJson);
    let many: String = (0..MAX_ATTRIBUTES).map(|n| format!(r#","a{n}":"""#)).collect();
    assert!(refused(&with_members(&many)).detail().contains("more than 256 attributes"));
    let long = "a".repeat(256);
    assert!(refused(&with_members(&format!(r#","{long}":"x""#))).detail().contains("255"));
}

#[test]
fn bad_headers_are_named() {
    for (name, value, shown) in [
        ("ce-id", &b"2"[..], "`ce-id`"),
        ("ce-datacontenttype", b"text/xml", "`ce-datacontenttype`"),
        ("ce-my-ext", b"x", "`ce-my-ext`"),
        ("ce-", b"x", "`ce-`"),
        ("ce-data", b"x", "`ce-data`"),
        ("ce-subject", b"", "`ce-subject`"),
        ("ce-time", b"now", "`ce-time`"),
        ("ce-x", b"%C0%A0", "`ce-x`"),
        ("ce-x", b"%ED%A0%80", "`ce-x`"),
        ("ce-x", b"\xff", "`ce-x`"),
        ("ce-x", b"100%", "`ce-x`"),
        ("ce-x", b"%00", "`ce-x`"),
        ("content-type", b"json", "`content-type`"),
    ] {
        let problem = binary(&[(name, value)], b"{}").expect_err(name);
        assert_eq!(problem.code(), Code::InvalidEvent);
        assert!(problem.detail().contains(shown), "{problem}");
    }
    let twice: &[(&str, &[u8])] = &[("content-type", b"a/b"), ("content-type", b"a/b")];
    assert!(binary(twice, b"").unwrap_err().detail().contains("given twice"));
    let only: [(&str, &[u8]); 1] = [("ce-specversion", b"1.0")];
    let problem = posthorn_domain::cloudevents::decode_binary(only.into_iter(), bytes::Bytes::new()).unwrap_err();
    assert!(problem.detail().contains("`ce-id` is missing"), "{problem}");
}
