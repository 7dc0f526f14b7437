//! Refusals and bombs; what expressions mean is in `tests/cesql.rs`.

use crate::event::{AttrKind, EventBuilder};
use crate::filter::{FaultKind, Program, View};

#[test]
fn refusals_name_the_place() {
    for (source, at, detail) in [
        ("subject = ", 10, "the end"),
        ("subject == 'a'", 9, "`=` is not expected"),
        ("a = 1 AND", 9, "the end"),
        ("a LIKE b", 7, "string literal"),
        ("a IN (1, )", 9, "not expected"),
        ("a IN 1", 5, "`(` is expected"),
        ("EXISTS (a)", 7, "not an attribute's name"),
        ("'abc", 0, "no closing '"),
        ("99999999999", 0, "32 bits"),
        ("a = 1; b = 2", 5, "has no meaning"),
        ("my_attr = 1", 0, "letters and digits"),
        ("a = 'x' 'y'", 8, "a string is not expected"),
        ("AND a", 0, "before it"),
    ] {
        let refusal = Program::sql(source).expect_err(source);
        assert!(refusal.at == at && refusal.detail.contains(detail), "{source}: {refusal:?}");
    }
}

#[test]
fn equal_meaning_is_equal() {
    let same = |left: &str, right: &str| Program::sql(left).expect("valid") == Program::sql(right).expect("valid");
    assert!(same("a = 1 and B != 'x'", "(A=1) AND (b <> \"x\")"));
    assert!(!same("a = 1", "a = '1'"));
}

#[test]
fn bombs_are_refused_or_bounded() {
    let deep = |open: &str, close: &str, n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
    for source in [
        deep("(", ")", 4000),
        deep("NOT ", "", 2000),
        deep("- ", "", 4000),
        deep("ABS(", ")", 1500),
        deep("1 IN (", ")", 1000),
        format!("1{}", " + 1".repeat(1000)),
        format!("true{}", " AND true".repeat(800)),
        format!("1 IN ({}1)", "1,".repeat(3000)),
        "x".repeat(100_000),
        "'".to_owned(),
    ] {
        assert!(Program::sql(&source).is_err(), "{}", source.chars().take(20).collect::<String>());
    }
    assert!(Program::sql(&deep("(", ")", 32)).is_ok());
    assert!(Program::sql(&format!("a = 1{}", " OR a = 1".repeat(60))).is_ok());
}

#[test]
fn a_hostile_pattern_ends_in_an_error() {
    let mut builder = EventBuilder::new("1", "/s", "t");
    builder.push("long", AttrKind::String, &"a".repeat(1 << 16));
    let event = builder.build();
    let view = View::new("t", &event);
    let program = Program::sql(&format!("long LIKE '%{}b%'", "a_".repeat(2000))).expect("valid");
    assert_eq!(program.evaluate(&view).errors.first().map(|fault| fault.kind), Some(FaultKind::Generic));
    assert!(!program.holds(&view));
    let grown = format!("LENGTH({}long{}) = 0", "UPPER(CONCAT(".repeat(14), ", long))".repeat(14));
    assert!(!Program::sql(&grown).expect("valid").holds(&view));
}
