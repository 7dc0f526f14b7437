//! The subset's meaning, its errors, and what is refused.

use serde_json::{Value, json};

use crate::event::{AttrKind, EventBuilder};
use crate::filter::{Evaluation, FaultKind, Program, View};
use crate::json::Parser;

const DATA: &str = r#"{"n": 7, "half": 0.5, "big": 9007199254740993, "s": "héllo", "t": true, "null": null, "list": [1, 2, 3], "empty": [],
    "lines": [{"sku": "A-1", "qty": 2}, {"sku": "B-2"}], "map": {"a": 1, "b": {"c": "d"}}, "0": "zero"}"#;

fn on<R>(source: &str, data: Option<&str>, use_it: impl FnOnce(&Program, &View<'_>) -> R) -> R {
    let program = Program::cel(source).unwrap_or_else(|refusal| panic!("{source}: {refusal}"));
    let mut builder = EventBuilder::new("1", "/s", "order.created");
    builder.push("count", AttrKind::Integer, "3");
    builder.push("flag", AttrKind::Boolean, "true");
    builder.push("time", AttrKind::String, "2026-08-22T10:30:00.5+02:00");
    let event = builder.build();
    let view = View::new("orders", &event);
    match data {
        None => use_it(&program, &view),
        Some(data) => Parser::new().parse(data.as_bytes(), |doc| use_it(&program, &View { data: Some(doc), ..view })).expect("JSON"),
    }
}

fn evaluate(source: &str) -> Evaluation {
    on(source, Some(DATA), |program, view| {
        let outcome = program.evaluate(view);
        assert_eq!(program.holds(view), outcome.passes(), "{source}");
        outcome
    })
}

#[track_caller]
fn gives(source: &str, value: Value) {
    let outcome = evaluate(source);
    assert_eq!((outcome.value, outcome.errors), (value, vec![]), "{source}");
}

#[track_caller]
fn fails(source: &str, kind: FaultKind) {
    let outcome = evaluate(source);
    assert_eq!(outcome.errors.iter().map(|fault| fault.kind).collect::<Vec<_>>(), [kind], "{source}: {}", outcome.value);
}

#[track_caller]
fn all_true(sources: &[&str]) {
    for source in sources {
        gives(source, json!(true));
    }
}

#[test]
fn attributes_and_places_are_read() {
    all_true(&[
        "event.type == 'order.created' && event['source'] == '/s'",
        "event.topic == 'orders' && event.direction == 'incoming' && event.specversion == '1.0'",
        "event.count == 3 && event.count + 1 == 4 && event.flag",
        "data.n == 7 && data.lines[0].sku == 'A-1' && data['map']['b'].c == 'd'",
        "data.lines[1u].sku == 'B-2' && data.lines[1.0].sku == 'B-2'",
        "data['0'] == 'zero'",
        "data.big == 9007199254740993",
        "data['null'] == null && data.t",
        "size(data) == 11 && size(event) == 9 && data.s.size() == 5 && size(data.list) == 3 && size(b'ab') == 2",
        "has(data.n) && !has(data.x) && has(data.map.a) && !has(data.map.x)",
        "has(event.time) && !has(event.subject)",
        "'time' in event && !('subject' in event) && 'a' in data.map && !('x' in data.map)",
        "2 in data.list && !(4 in data.list) && 2.0 in data.list && event.type in ['x', 'order.created']",
        "data.lines.exists(line, has(line.qty) && line.qty == 2)",
    ]);
    fails("data.x", FaultKind::MissingAttribute);
    fails("event.subject == 'x'", FaultKind::MissingAttribute);
    fails("data.list[3]", FaultKind::Generic);
    fails("data.list.a", FaultKind::Generic);
    fails("data.map[0]", FaultKind::MissingAttribute);
    fails("has(data.x.y)", FaultKind::MissingAttribute);
    let outcome = on("data.n == 7", None, |program, view| program.evaluate(view));
    assert_eq!(outcome.errors.first().map(|fault| fault.kind), Some(FaultKind::MissingAttribute));
}

#[test]
fn operators_follow_cel() {
    all_true(&[
        "1 + 2 * 3 - 4 == 3 && 7 / 2 == 3 && -7 / 2 == -3 && -7 % 2 == -1",
        "1u + 2u == 3u && 1 == 1u && 1 == 1.0 && 1 < 1.5 && 2u > 1.5",
        "data.n + 1.0 == 8.0 && int(data.n) + 1 == 8 && data.n > 6 && data.half < 1",
        "'a' + 'b' == 'ab' && b'a' + b'b' == b'ab' && [1] + [2] == [1, 2] && data.list + [4] == [1, 2, 3, 4]",
        "'a' < 'b' && false < true && b'a' < b'b'",
        "'a' != 1 && null != 0 && [1, 'a'] == [1.0, 'a'] && {'a': 1} == {'a': 1.0} && data.map != {}",
        "{'a': [1], 2: 'x'}[2u] == 'x' && [1, 2][1] == 2",
        "true ? true : data.x && !(false ? data.x : false)",
        "!false && !!true && -(-3) == 3 && --3 == 3",
        "-9223372036854775808 < 0 && 0xff == 255 && -0x1 == -1 && 1e3 == 1000.0 && .5 == 0.5",
        "1.0 / 0.0 > 1e308 && !(0.0 / 0.0 == 0.0 / 0.0)",
        "data.lines == [{'sku': 'A-1', 'qty': 2}, {'qty': null, 'sku': 'B-2'}] || true",
        "'\\u00e9\\x41\\101\\n' == 'éAA\\n' && r'\\n' != '\\n' && '''a'b\nc''' == \"a'b\\nc\" && b'\\xff' == b'\\377'",
    ]);
    fails("1 + 1.0 == 2.0", FaultKind::Generic);
    fails("data.n + 1", FaultKind::Generic);
    fails("1 + 1u", FaultKind::Generic);
    fails("9223372036854775807 + 1", FaultKind::Math);
    fails("0u - 1u", FaultKind::Math);
    fails("-9223372036854775808 / -1", FaultKind::Math);
    fails("-(-9223372036854775808)", FaultKind::Math);
    fails("1 / 0", FaultKind::Math);
    fails("1 % 0 == 0", FaultKind::Math);
    fails("1 < 'a'", FaultKind::Generic);
    fails("!1", FaultKind::Generic);
    fails("{'a': 1, 'a': 2}", FaultKind::MissingAttribute);
}

#[test]
fn what_decides_absorbs_errors() {
    all_true(&[
        "data.x == 1 || true",
        "true || data.x == 1",
        "!(data.x == 1 && false)",
        "!(false && data.x)",
        "data.x || 1 / 0 > 0 || true",
        "data.list.exists(x, x == 3 || 1 / 0 == 0)",
        "!data.list.all(x, x < 3 && 1 / 0 == 0) || true",
        "data.lines.exists(line, line.qty == 2)",
        "!data.lines.all(line, line.qty != 2)",
        "data.empty.all(x, false) && !data.empty.exists(x, true) && !data.empty.exists_one(x, true)",
        "data.list.exists_one(x, x > 2) && !data.list.exists_one(x, x > 1)",
        "data.map.all(key, key in ['a', 'b']) && {'k': 1}.exists(k, k == 'k') && event.exists(name, name == 'flag')",
        "data.list.all(x, data.list.exists(y, y == x))",
        "data.list.all(x, [x, 4].exists(x, x == 4))",
        "[data.n].all(event, event == 7)",
    ]);
    fails("data.x == 1 || false", FaultKind::MissingAttribute);
    fails("data.x == 1 && true", FaultKind::MissingAttribute);
    fails("data.lines.all(line, line.qty == 2)", FaultKind::MissingAttribute);
    fails("data.lines.exists(line, line.qty == 9)", FaultKind::MissingAttribute);
    fails("data.lines.exists_one(line, line.qty == 2)", FaultKind::MissingAttribute);
    fails("data.n.all(x, true)", FaultKind::Generic);
    fails("data.list.all(x, 1)", FaultKind::Generic);
    fails("1 && true", FaultKind::Generic);
    fails("data.x ? true : true", FaultKind::MissingAttribute);
}

#[test]
fn functions_convert_and_look_inside() {
    all_true(&[
        "event.type.startsWith('order.') && event.type.endsWith('ed') && event.type.contains('.cr')",
        "event.type.matches('^order') && matches(event.type, 'cr.ated$') && !event.type.matches('^created')",
        "'ÀB'.lower() == 'àb' && 'àb'.upper() == 'ÀB' && 'ÀB'.lowerAscii() == 'Àb' && ' a '.trim() == 'a'",
        "int('-7') == -7 && int(2.9) == 2 && int(-2.9) == -2 && int(7u) == 7 && int(data.n) == 7",
        "uint('7') == 7u && uint(7) == 7u && uint(2.9) == 2u && double('1.5') == 1.5 && double(2) == 2.0",
        "string(7) == '7' && string(1.5) == '1.5' && string(true) == 'true' && string(b'a') == 'a' && string(data.n) == '7'",
        "bool('true') && !bool('F') && bytes('a') == b'a' && dyn(1) == 1",
        "type(1) == int && type(data.n) == double && type('a') == string && type(data.list) == list && type(data) == map",
        "type(null) == null_type && type(int) == type && type(1u) == uint && type(true) == bool && type(b'') == bytes",
        "type(timestamp(0)) == google.protobuf.Timestamp && type(duration('1s')) == google.protobuf.Duration",
        "timestamp(event.time) == timestamp('2026-08-22T08:30:00.500Z') && timestamp(event.time) > timestamp(0)",
        "timestamp('2026-08-22T08:30:00Z') + duration('1h30m') == timestamp('2026-08-22T10:00:00Z')",
        "timestamp('2026-08-22T08:30:00Z') - timestamp('2026-08-22T08:00:00Z') == duration('30m')",
        "duration('1.5s') + duration('500ms') == duration('2s') && duration('-1h') < duration('0') && -duration('1s') == duration('-1s')",
        "timestamp(event.time).getFullYear() == 2026 && timestamp(event.time).getMonth() == 7 && timestamp(event.time).getDate() == 22",
        "timestamp(event.time).getHours() == 8 && timestamp(event.time).getMilliseconds() == 500 && timestamp(event.time).getDayOfWeek() == 6",
        "duration('3730s').getHours() == 1 && duration('3730s').getMinutes() == 62 && duration('90s').getSeconds() == 90",
        "string(duration('90.5s')) == '90.5s' && int(timestamp('1970-01-01T00:01:00Z')) == 60",
    ]);
    gives("timestamp(event.time)", json!("2026-08-22T08:30:00.5Z"));
    gives("event", evaluate("event").value);
    for source in [
        "int('a')",
        "int(1e300)",
        "uint(-1)",
        "double('x')",
        "bool('yes')",
        "string(b'\\xff')",
        "timestamp('2026')",
        "duration('1')",
        "duration('1d')",
    ] {
        assert!(!evaluate(source).errors.is_empty(), "{source}");
    }
}

#[test]
fn refusals_name_the_place() {
    for (source, at, detail) in [
        ("", 0, "the end"),
        ("data.n ==", 9, "the end"),
        ("data.n = 7", 7, "has no meaning"),
        ("total > 1", 0, "`total` is unknown"),
        ("event.Type == 'a'", 6, "lower-case"),
        ("event.data.x", 6, "`data`"),
        ("data.lines.map(x, x)", 11, "left out"),
        ("data.s.foo()", 7, "no method"),
        ("foo(1)", 0, "no function"),
        ("size(1, 2)", 0, "one argument"),
        ("data.s.matches(data.s)", 15, "string literal"),
        ("data.s.matches('(')", 0, "not a regular expression"),
        ("has(data)", 3, "takes a field"),
        ("has(data['a'])", 3, "takes a field"),
        ("data.list.all(1, true)", 14, "variable's name"),
        ("data.list.all(x, true) && x", 26, "unknown"),
        ("9223372036854775808", 0, "64 bits"),
        ("1x", 1, "number ends"),
        ("'abc", 0, "no closing"),
        (r"'\q'", 1, "not an escape"),
        ("for == 1", 0, "reserved"),
        ("(1", 2, "`)` is expected"),
        ("1 2", 2, "not expected"),
        ("data.n == 1 # x", 12, "has no meaning"),
    ] {
        let refusal = Program::cel(source).expect_err(source);
        assert!(refusal.at == at && refusal.detail.contains(detail), "{source}: {refusal:?}");
    }
}

#[test]
fn comments_and_lines_are_read() {
    all_true(&["// every one\ndata.n == 7 // and more\n  && true"]);
    let refusal = Program::cel("data.n\n == x").expect_err("faulty");
    assert_eq!((refusal.line, refusal.column), (2, 5));
}

#[test]
fn bombs_are_refused_or_run_out_of_steps() {
    let deep = |open: &str, close: &str, n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
    for source in [
        deep("(", ")", 5000),
        deep("[", "]", 2000),
        deep("!", "", 5000),
        deep("- ", "", 3000),
        deep("{1:", "}", 1500),
        deep("int(", ")", 1000),
        deep("true?true:", "", 600),
        deep("data[", "]", 1500),
        format!("data{}", ".a".repeat(3000)),
        format!("1{}", "+1".repeat(3000)),
        format!("true{}", "&&true".repeat(1000)),
        format!("[{}]", "1,".repeat(4000)),
        "a".repeat(100_000),
        deep("[1].all(x,", ")", 40),
    ] {
        assert!(Program::cel(&source).is_err(), "{}", &source[..20]);
    }
    for source in [format!("[1][0]{}", ".a".repeat(250)), format!("1{} == 0", " + 1".repeat(120)), format!("[1]{}", "[0]".repeat(120))] {
        assert!(!on(&source, Some(DATA), |program, view| program.holds(view)), "deep to the left: {}", &source[..20]);
    }
    let nested = format!("{}true{}", "data.list.all(x, ".repeat(12), ")".repeat(12));
    fails(&nested.replace("data.list", "[1,2,3,4,5,6,7,8,9,10]"), FaultKind::Generic);
    let long = format!("[{}]", "1,".repeat(20_000).trim_end_matches(','));
    let source = "data.all(x, data.exists(y, y == 2) || true)";
    let outcome = on(source, Some(&long), |program, view| program.evaluate(view));
    assert_eq!(outcome.errors.first().map(|fault| fault.kind), Some(FaultKind::Generic));
    let once = on("data.all(x, x == 1)", Some(&long), |program, view| program.holds(view));
    assert!(once, "one pass always fits");
}
