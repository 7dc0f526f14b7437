//! Client verbs of the real binary against a small server with canned answers in the shapes of the interfaces.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::convert::Infallible;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

type Script = fn(&str, usize) -> (u16, Value);

/// Answers what `script` says for `METHOD path?query` and remembers every request.
struct Server {
    url: String,
    seen: Arc<Mutex<Vec<(String, String)>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    fn start(script: Script) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&seen);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = Arc::clone(&shared);
                let service = service_fn(move |request| answer(request, script, Arc::clone(&seen)));
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, seen, _runtime: runtime }
    }

    fn run(&self, line: &str, input: &str) -> Output {
        run(&format!("{line} --control {0} --data {0}", self.url), input)
    }

    fn seen(&self) -> Vec<(String, String)> {
        self.seen.lock().unwrap().clone()
    }
}

async fn answer(
    request: Request<Incoming>,
    script: Script,
    seen: Arc<Mutex<Vec<(String, String)>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let line = format!("{} {}", request.method(), request.uri());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let earlier = seen.lock().unwrap().iter().filter(|(other, _)| *other == line).count();
    seen.lock().unwrap().push((line.clone(), String::from_utf8(body.to_vec()).unwrap()));
    let (status, value) = script(&line, earlier);
    let body = match value {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    };
    Ok(Response::builder().status(status).body(Full::from(body)).unwrap())
}

fn run(line: &str, input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_posthorn"));
    command.env_clear().args(line.split_whitespace()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn out(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn put_waits_until_every_connected_node_knows() {
    let server = Server::start(|line, earlier| match line {
        "PUT /v1/topics/orders" => (201, json!({"name": "orders", "revision": 5})),
        "GET /v1/nodes" => {
            let acked = if earlier < 2 { 4 } else { 5 };
            (
                200,
                json!([{"id": "n1", "acked_revision": acked, "connected_since": "2026-01-01T00:00:00Z"},
                         {"id": "gone", "acked_revision": 1, "connected_since": null}]),
            )
        }
        _ => (404, Value::Null),
    });
    let output = server.run("topic put orders --partitions 4 --schema order --retention-age 7d -o json", "");
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    let seen = server.seen();
    assert_eq!(seen.len(), 4);
    let body: Value = serde_json::from_str(&seen[0].1).unwrap();
    assert_eq!(body, json!({"partitions": 4, "schemas": ["order"], "retention": {"age": "7d"}}));
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), json!({"name": "orders", "revision": 5}));
}

#[test]
fn refusals_are_printed_whole_and_exit_1() {
    let server = Server::start(|_, _| {
        (
            422,
            json!({"type": "urn:posthorn:problem:invalid-resource", "title": "The resource cannot be accepted", "status": 422,
            "detail": "two faults", "errors": [{"pointer": "#/ttl", "detail": "too long"}, {"pointer": "#/x", "detail": "unknown"}]}),
        )
    });
    let output = server.run("subscription create --name x --topic orders --url http://127.0.0.1:1/", "");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    for wanted in ["The resource cannot be accepted: two faults", "#/ttl: too long", "#/x: unknown"] {
        assert!(text.contains(wanted), "{text}");
    }
    let body: Value = serde_json::from_str(&server.seen()[0].1).unwrap();
    assert_eq!(body["filters"], json!([{"topic": "orders"}]));
}

#[test]
fn exit_codes_tell_usage_from_absence() {
    assert_eq!(run("topic list --control http://127.0.0.1:9", "").status.code(), Some(69));
    assert_eq!(run("topic list --control https://127.0.0.1:9", "").status.code(), Some(2));
    assert_eq!(run("topic", "").status.code(), Some(2));
    assert_eq!(run("dead-letter purge", "").status.code(), Some(2));
}

#[test]
fn publish_counts_and_names_the_refused_lines() {
    let server = Server::start(|_, earlier| match earlier {
        0 => (202, json!({"id": "1", "status": "accepted"})),
        1 => (503, json!({"title": "Not available just now"})),
        2 => (200, json!({"id": "1", "status": "duplicate"})),
        _ => (
            422,
            json!({"title": "The data does not hold to its schema", "status": 422, "errors": [{"schema": "order:3", "pointer": "#/qty", "detail": "no"}]}),
        ),
    });
    let output = server.run("publish orders -o json", "{\"a\":1}\n\n{\"specversion\":\"1.0\",\"id\":\"1\"}\n{\"qty\":0}\n");
    assert_eq!(output.status.code(), Some(1), "{}", out(&output));
    let sums: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(sums, json!({"accepted": 1, "duplicate": 1, "dead_lettered": 0, "refused": 1}));
    assert!(out(&output).contains("line 4: refused: The data does not hold to its schema\n  order:3 #/qty: no"), "{}", out(&output));
}

#[test]
fn batches_wrap_plain_data_without_touching_it() {
    let server = Server::start(|_, _| {
        (207, json!({"results": [{"status": "accepted"}, {"status": "refused", "problem": {"title": "no", "status": 422}}]}))
    });
    let output = server.run("publish orders - --batch -o json", "{\"n\":1.00}\n{\"specversion\":\"1.0\"}\nnot json\n");
    assert_eq!(output.status.code(), Some(1));
    let sums: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(sums, json!({"accepted": 1, "duplicate": 0, "dead_lettered": 0, "refused": 2}));
    let body = &server.seen()[0].1;
    assert!(body.contains(r#""data":{"n":1.00}}"#) && body.contains(r#""type":"orders""#), "{body}");
}

#[test]
fn tail_resumes_where_the_connection_ended() {
    let server = Server::start(|line, _| {
        if line.contains("cursor=c2") {
            return (200, "id: c3\ndata: {\"cursor\":\"c3\",\"event\":{\"id\":\"3\"}}\n\n".into());
        }
        (200, ": hi\n\nid: c1\ndata: {\"cursor\":\"c1\",\"event\":{\"id\":\"1\"}}\n\nid: c2\ndata: {\"cursor\":\"c2\",\"event\":{\"id\":\"2\"}}\n\n".into())
    });
    let output = server.run("tail orders --from earliest --limit 3 -o json", "");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "{\"id\":\"1\"}\n{\"id\":\"2\"}\n{\"id\":\"3\"}\n");
    assert_eq!(server.seen()[0].0, "GET /v1/topics/orders/events?cursor=earliest");
}

#[test]
fn subscriptions_are_found_by_name_over_pages() {
    let server = Server::start(|line, _| match line {
        "GET /v1/subscriptions" => (200, json!({"items": [{"id": "sub_1", "name": "a"}], "next_page_token": "p2"})),
        "GET /v1/subscriptions?page_token=p2" => (200, json!({"items": [{"id": "sub_2", "name": "b"}], "next_page_token": null})),
        "POST /v1/subscriptions/sub_2/pause" => (200, json!({"id": "sub_2", "status": "paused"})),
        _ => (404, json!({"title": "There is no such resource"})),
    });
    let output = server.run("subscription pause b", "");
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    assert!(out(&output).contains("paused"));
    assert_eq!(server.run("subscription pause nobody", "").status.code(), Some(1));
    let listed = server.run("subscription list", "");
    assert!(String::from_utf8(listed.stdout).unwrap().starts_with("ID     NAME  STATUS"));
}

#[test]
fn dead_letters_are_retried_by_filter_and_purged_one_by_one() {
    let server = Server::start(|line, _| match line {
        "POST /v1/dead-letters/retry" => (202, json!({"retried": 2})),
        "GET /v1/dead-letters?topic=orders" => (200, json!({"items": [{"id": "dl_1"}, {"id": "dl_2"}]})),
        _ => (204, Value::Null),
    });
    assert!(server.run("dead-letter retry --reason attempts_exhausted", "").status.success());
    assert_eq!(serde_json::from_str::<Value>(&server.seen()[0].1).unwrap(), json!({"reason": "attempts_exhausted"}));
    let output = server.run("dead-letter purge --topic orders -o json", "");
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), json!({"purged": 2}), "{}", out(&output));
    assert_eq!(server.seen()[2].0, "DELETE /v1/dead-letters/dl_1");
}

#[test]
fn a_schema_is_wrapped_and_an_incompatible_one_exits_1() {
    let server = Server::start(|line, _| match line {
        "POST /v1/schemas/order/versions?dry_run=true&sample=10" => (200, json!({"compatible": false, "counterexample": 1})),
        "POST /v1/schemas/order/versions" => (201, json!({"version": 1})),
        _ => (404, Value::Null),
    });
    assert_eq!(server.run("schema check order --file - --sample 10", "type: object\n").status.code(), Some(1));
    assert_eq!(server.run("schema add order --file - --ttl 1h", "{\"schema\": true}").status.code(), Some(0));
    let bodies: Vec<Value> = server.seen().iter().map(|(_, body)| serde_json::from_str(body).unwrap()).collect();
    assert_eq!(bodies, [json!({"schema": {"type": "object"}}), json!({"schema": true, "ttl": "1h"})]);
}

#[test]
fn readers_are_read_and_moved() {
    let server = Server::start(|line, _| match line {
        "PUT /v1/readers/r" => (201, json!({"name": "r", "topic": "orders"})),
        "GET /v1/readers/r/events?limit=5&member=a" => {
            (200, json!({"events": [{"cursor": "c1A", "event": {"id": "1"}}, {"cursor": "c1B", "event": {"id": "2"}}], "cursor": "c1B"}))
        }
        "POST /v1/readers/r/cursor?member=a" => (200, json!({"cursor": "c1B"})),
        _ => (404, Value::Null),
    });
    let made = server.run("reader put r --topic orders --filter {\"exact\":{\"type\":\"a\"}}", "");
    assert_eq!(made.status.code(), Some(0), "{}", out(&made));
    let read = server.run("reader read r --limit 5 --member a --commit", "");
    assert_eq!(read.status.code(), Some(0), "{}", out(&read));
    assert_eq!(String::from_utf8_lossy(&read.stdout), "{\"id\":\"1\"}\n{\"id\":\"2\"}\n");
    let bodies: Vec<Value> = server.seen().iter().filter_map(|(_, body)| serde_json::from_str(body).ok()).collect();
    assert_eq!(bodies, [json!({"topic": "orders", "filters": [{"exact": {"type": "a"}}]}), json!({"cursor": "c1B"})]);
    assert_eq!(server.run("reader get none", "").status.code(), Some(1));
}
