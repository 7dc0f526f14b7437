//! The demonstration succeeds: it is the shortest test of everything together.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::fs;
use std::path::Path;
use std::process::Command;

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/github-webhooks");

#[test]
fn every_expectation_of_the_demonstration_holds() {
    let output = Command::new(env!("CARGO_BIN_EXE_posthorn")).arg("demo").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("ok all") && !text.contains('\x1b'), "{text}");
}

#[test]
fn one_verdict_that_differs_fails_it_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("schemas")).unwrap();
    for entry in fs::read_dir(Path::new(RECORDED).join("schemas")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join("schemas").join(path.file_name().unwrap())).unwrap();
    }
    fs::copy(Path::new(RECORDED).join("events.jsonl"), folder.path().join("events.jsonl")).unwrap();
    let verdicts = fs::read_to_string(Path::new(RECORDED).join("verdicts.jsonl")).unwrap();
    let line = verdicts.lines().find(|line| line.contains("com.github.push") && line.contains("true")).unwrap();
    fs::write(folder.path().join("verdicts.jsonl"), verdicts.replace(line, &line.replace("true", "false"))).unwrap();

    let output = Command::new(env!("CARGO_BIN_EXE_posthorn")).arg("demo").arg("--events").arg(folder.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let id = line.split('"').nth(3).unwrap();
    assert!(text.contains(&format!("FAILED structured: not as verdicts.jsonl says: {id}")), "{text}");
}

#[test]
fn without_its_data_it_says_where_they_belong() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_posthorn")).arg("demo").arg("--events").arg(folder.path()).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("holds no events.jsonl"));
}
