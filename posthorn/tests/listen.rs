//! `listen` against requests that the reference implementation of Standard Webhooks signed.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

use posthorn_domain::clock::Clock;
use standardwebhooks::Webhook;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

struct Listener {
    child: Child,
    lines: BufReader<ChildStdout>,
    address: String,
}

impl Listener {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_posthorn"));
        let mut child = command.env_clear().args(["listen", "--port", "0"]).args(args).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut listener = Self { child, lines, address: String::new() };
        let first = listener.line();
        let document: serde_json::Value = serde_json::from_str(first.strip_prefix("listening ").unwrap()).unwrap();
        listener.address = document["address"].as_str().unwrap().to_owned();
        listener
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    fn post(&self, id: &str, signature: &str, timestamp: u64, body: &str) -> u16 {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request = format!(
            "POST /hook HTTP/1.1\r\nhost: x\r\nconnection: close\r\nwebhook-id: {id}\r\nwebhook-timestamp: {timestamp}\r\nwebhook-signature: {signature}\r\nposthorn-attempt: 1\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn signed(&self, secret: &str, body: &str) -> u16 {
        let now = Clock::system().now().unix_seconds();
        let signature = Webhook::new(secret).unwrap().sign("msg_1", now.try_into().unwrap(), body.as_bytes()).unwrap();
        self.post("msg_1", &signature, now, body)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn good_signatures_pass_and_bad_ones_do_not() {
    let mut listener = Listener::start(&["--secret", OTHER, "--secret", SECRET]);
    assert_eq!(listener.signed(SECRET, "{\"a\":1}"), 200);
    let line = listener.line();
    assert!(line.starts_with("POST /hook  verified  7 bytes  answered 200") && line.contains("webhook-id=msg_1"), "{line}");
    assert_eq!(listener.signed("whsec_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "{}"), 401);
    assert!(listener.line().contains("BAD (no entry of webhook-signature verifies)"));
    let now = Clock::system().now().unix_seconds();
    assert_eq!(listener.post("msg_1", "v1,AAAA", now - 1000, ""), 401);
    assert!(listener.line().contains("too old"));
}

#[test]
fn it_fails_as_told() {
    let mut listener = Listener::start(&["--fail-first", "2", "-o", "json"]);
    let statuses = [(); 3].map(|()| listener.post("m", "v1,AAAA", 1, "x"));
    assert_eq!(statuses, [503, 503, 200]);
    let line: serde_json::Value = serde_json::from_str(&listener.line()).unwrap();
    assert_eq!((&line["verified"], &line["bytes"], &line["body"]), (&serde_json::Value::Null, &1.into(), &"x".into()));
}

#[test]
fn a_secret_that_is_none_is_a_usage_error() {
    let output = Command::new(env!("CARGO_BIN_EXE_posthorn")).args(["listen", "--secret", "hello"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
