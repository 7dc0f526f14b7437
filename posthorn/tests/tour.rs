//! The README's five minutes, run line by line as a reader would, on free ports instead of the default ones.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

const README: &str = include_str!("../../README.md");

#[test]
fn the_five_minutes_work_as_written() {
    let folder = tempfile::tempdir().unwrap();
    let listeners: Vec<_> = (0..6).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let ports: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap().port().to_string()).collect();
    drop(listeners);
    let [http, control, broker, admin, receiver, late] = ports.as_slice() else { panic!("six ports") };
    let mut script = tour();
    for (written, free) in [(":8080", http), (":9090", admin), (":9999", receiver), (" 9999", receiver), (":9998", late), (" 9998", late)] {
        assert!(script.contains(written), "{written}");
        script = script.replace(written, &format!("{}{free}", &written[..1]));
    }
    // A line that fails must not leave servers behind.
    let script = format!("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{script}");
    let beside = Path::new(env!("CARGO_BIN_EXE_posthorn")).parent().unwrap().display().to_string();
    let path = format!("{beside}:{}", std::env::var("PATH").unwrap());
    let mut bash = Command::new("bash");
    bash.args(["-e", "-c", &script]).current_dir(folder.path()).env("PATH", path);
    for (door, port) in [("HTTP", http), ("CONTROL", control), ("BROKER", broker), ("ADMIN", admin)] {
        bash.env(format!("POSTHORN_{door}__LISTEN"), format!("127.0.0.1:{port}"));
    }
    bash.env("POSTHORN_DATA_URL", format!("http://127.0.0.1:{http}")).env("POSTHORN_CONTROL_URL", format!("http://127.0.0.1:{control}"));
    let output = bash.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for part in
        [r#""status":"accepted""#, r##""pointer":"#/total""##, r#""status":"duplicate""#, "POST /hook  verified", "node-", "_total{"]
    {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0, "the tour cleans up after itself");
}

/// The shell blocks of the chapter "Five minutes".
fn tour() -> String {
    let chapter = README.split("## Five minutes").nth(1).unwrap().split("\n## ").next().unwrap();
    chapter.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap()).collect()
}
