//! The demonstration succeeds: it is the shortest test of everything together.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::process::Command;

#[test]
fn every_expectation_of_the_demonstration_holds() {
    let output = Command::new(env!("CARGO_BIN_EXE_posthorn")).arg("demo").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("ok all") && !text.contains('\x1b'), "{text}");
}

#[test]
fn without_its_data_it_says_where_they_belong() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_posthorn")).arg("demo").arg("--events").arg(folder.path()).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("holds no events.jsonl"));
}
