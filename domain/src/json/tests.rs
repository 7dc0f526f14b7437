use serde_json::Value;

use super::*;
use crate::json::{Kind, Pointer, fuzz};
use crate::problem::{Code, Problem};

fn fault(data: &str) -> JsonFault {
    Parser::new().parse(data.as_bytes(), |_| ()).expect_err(data)
}

#[test]
fn values_are_read_as_written() {
    let data = r#"{"a":[1,-2,18446744073709551615,1.5,true,null,"\u00e9\n"],"b":{},"c":[]}"#;
    let mut parser = Parser::new();
    let value = parser.parse(data.as_bytes(), |doc| {
        assert_eq!((doc.kind(), doc.len(), doc.depth()), (Kind::Object, 3, 2));
        let list = doc.get("a").expect("there");
        assert_eq!(list.at(0).and_then(Doc::as_i64), Some(1));
        assert_eq!(list.at(1).map(|value| (value.as_i64(), value.as_u64(), value.as_f64())), Some((Some(-2), None, Some(-2.0))));
        assert_eq!(list.at(2).map(|value| (value.as_i64(), value.as_u64())), Some((None, Some(u64::MAX))));
        assert_eq!(list.at(4).and_then(Doc::as_bool), Some(true));
        assert!(list.at(5).is_some_and(Doc::is_null));
        assert_eq!(list.at(6).and_then(Doc::as_str), Some("é\n"));
        assert!(list.at(7).is_none());
        assert!(doc.get("b").is_some_and(Doc::is_empty));
        doc.to_value()
    });
    assert_eq!(value, Ok(serde_json::from_str::<Value>(data).expect("valid")));
}

#[test]
fn pointers_lead_to_values() {
    let find = |doc: Doc<'_>, pointer: &str| doc.find(&pointer.parse::<Pointer>().expect("valid")).map(Doc::to_value);
    let checked = Parser::new().parse(br#"{"a":[{"b/c":7}],"":1,"0":2}"#, |doc| {
        assert_eq!(find(doc, "/a/0/b~1c"), Some(7.into()));
        assert_eq!(find(doc, "/"), Some(1.into()));
        assert_eq!(find(doc, "/0"), Some(2.into()));
        for nowhere in ["/a/1", "/a/00", "/a/-", "/a/0/b", "/0/x"] {
            assert_eq!(find(doc, nowhere), None, "{nowhere}");
        }
        assert_eq!(find(doc, ""), Some(doc.to_value()));
    });
    assert_eq!(checked, Ok(()));
}

#[test]
fn a_key_twice_is_refused_wherever_it_is() {
    let twice = |pointer: &str, key: &str| JsonFault::DuplicateKey { pointer: pointer.into(), key: key.into() };
    assert_eq!(fault(r#"{"role":1,"role":2}"#), twice("#", "role"));
    assert_eq!(fault(r#"{"a":[0,{"x":{"k":1,"\u006b":2}}]}"#), twice("#/a/1/x", "k"));
    assert_eq!(fault(r#"[[],{"a":{"b":1}},{"a/b":1,"a/b":1}]"#), twice("#/2", "a~1b"));
    let many: Vec<String> = (0..500).chain([77]).map(|key| format!(r#""k{key}":{{"k{key}":1}}"#)).collect();
    assert_eq!(fault(&format!("{{{}}}", many.join(","))), twice("#", "k77"));
    for size in 0..40 {
        let keys: Vec<String> = (0..size).map(|key| format!(r#""k{key}":[{{"k0":0}}]"#)).collect();
        assert_eq!(Parser::new().parse(format!("{{{}}}", keys.join(",")).as_bytes(), |doc| doc.len()), Ok(size));
    }
    // Of one length, and with the same eight bytes at either end.
    for size in [2, 12, 13, 40] {
        let mut alike: Vec<String> = (0..size).map(|key| format!(r#""beginning {key:03} and its end":0"#)).collect();
        assert_eq!(Parser::new().parse(format!("{{{}}}", alike.join(",")).as_bytes(), |doc| doc.len()), Ok(size));
        alike[size - 1] = alike[0].clone();
        assert_eq!(fault(&format!("{{{}}}", alike.join(","))), twice("#", "beginning 000 and its end"));
    }
}

#[test]
fn depth_ends_at_the_limit() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(Parser::new().parse(nested(MAX_DEPTH).as_bytes(), |doc| doc.depth()), Ok(MAX_DEPTH));
    assert_eq!(fault(&nested(MAX_DEPTH + 1)), JsonFault::TooDeep);
    assert_eq!(fault(&nested(100_000)), JsonFault::TooDeep);
    assert_eq!(fault(&format!("{}1{}", r#"{"a":"#.repeat(MAX_DEPTH + 1), "}".repeat(MAX_DEPTH + 1))), JsonFault::TooDeep);
}

#[test]
fn numbers_that_do_not_fit_are_refused() {
    for number in ["18446744073709551616", "-9223372036854775809", "1e999", "-1e999", "123456789012345678901234567890"] {
        assert!(matches!(fault(&format!(r#"{{"n":{number}}}"#)), JsonFault::Number { offset } if offset >= 5), "{number}");
    }
    for number in ["18446744073709551615", "-9223372036854775808", "1e308", "-0", "1e-400", "12345678901234567890.5"] {
        assert!(Parser::new().parse(number.as_bytes(), |_| ()).is_ok(), "{number}");
    }
}

#[test]
fn what_is_not_json_is_refused_with_its_place() {
    assert_eq!(fault(""), JsonFault::Empty);
    assert_eq!(fault(" \n "), JsonFault::Empty);
    for (data, place) in [
        ("{\"a\":1,}", 7),
        ("[1 2]", 3),
        ("[\n1,\n tru]", 5),
        ("1 2", 2),
        ("{} x", 3),
        ("\"\\ud800\"", 1),
        ("\"a", 1),
        ("{'a':1}", 1),
        ("\"\u{1}\"", 1),
        ("NaN", 0),
        ("01", 1),
        ("[", 0),
    ] {
        let fault = fault(data);
        assert!(matches!(fault, JsonFault::Syntax { offset, .. } if offset.abs_diff(place) <= 6), "{data:?}: {fault:?}");
    }
    let refused = Parser::new().parse(b"\"ab\xff\"", |_| ());
    assert_eq!(refused, Err(JsonFault::Utf8 { offset: 3 }));
    assert_eq!(Problem::from(JsonFault::TooDeep).code(), Code::InvalidJson);
}

#[test]
fn a_parser_is_used_again_after_faults_and_gives_memory_back() {
    let mut parser = Parser::new();
    let large = format!("[{}0]", "0,".repeat(3 << 20));
    for _ in 0..2 {
        assert!(parser.parse(b"{", |_| ()).is_err());
        assert_eq!(parser.parse(large.as_bytes(), |doc| doc.len()), Ok((3 << 20) + 1));
        assert_eq!(parser.parse(b"[1]", |doc| doc.len()), Ok(1));
        assert!(parser.scratch.capacity() <= KEEP_BYTES && parser.tape.0.capacity() * 24 <= KEEP_BYTES);
    }
}

#[test]
fn keys_by_the_thousand_are_no_trap() {
    let keys: Vec<String> = (0..60_000).map(|key| format!(r#""{key}":0"#)).collect();
    assert_eq!(Parser::new().parse(format!("{{{}}}", keys.join(",")).as_bytes(), |doc| doc.len()), Ok(60_000));
}

#[test]
fn the_corpus_reads_as_serde_json_reads_it() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz-corpus/json");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus") {
        let data = std::fs::read(entry.expect("an entry").path()).expect("a file");
        fuzz::tape_against_serde(&data);
        for cut in 0..data.len() {
            fuzz::tape_against_serde(&data[..cut]);
        }
        files += 1;
    }
    assert!(files >= 8);
}

#[test]
fn mutated_documents_read_as_serde_json_reads_them() {
    let seeds =
        [r#"{"a":[1,-2.5e3,true,null,"\u00e9\n\ud83d\ude00"],"b":{"c":"é"},"d":1e10}"#, r#"[[],{},"",0,-0.0,1.0E+2,{"k":[{"k":0}]}]"#];
    let tokens = [
        r#"""#,
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\\",
        "0",
        "-",
        "e",
        ".",
        "\\u",
        "d8",
        " ",
        "\n",
        "\0",
        "tru",
        "null",
        "é",
        "9999999999",
        "+",
        "1e5",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).expect("31 bits") % below
    };
    for _ in 0..30_000 {
        let mut data = seeds[random(seeds.len())].as_bytes().to_vec();
        for _ in 0..=random(3) {
            let place = random(data.len());
            match random(4) {
                0 => data[place] = u8::try_from(random(256)).expect("a byte"),
                1 => drop(data.remove(place)),
                2 => drop(data.splice(place..place, tokens[random(tokens.len())].bytes())),
                _ => data.truncate(place + 1),
            }
            if data.is_empty() {
                break;
            }
        }
        fuzz::tape_against_serde(&data);
    }
}
