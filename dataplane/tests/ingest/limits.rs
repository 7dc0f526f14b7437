//! What is too large, too slow, or too much at once.

use std::time::Duration;

use posthorn_dataplane::config;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::node::{Node, event, http_limits, ingest_limits};

const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");

async fn raw(node: &Node, text: &str) -> String {
    let mut stream = TcpStream::connect(node.addr).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // An answer may be followed by a reset when not all was read.
    stream.read_to_end(&mut answer).await.ok();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn too_large_is_413_at_every_door() {
    let mut node = Node::with(http_limits(), config::Ingest { max_event_bytes: 1000, max_batch_events: 2, ..ingest_limits() }).await;
    node.topic("orders", json!({}));
    let announced =
        raw(&node, "POST /v1/topics/orders/events HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 1001\r\n\r\n").await;
    assert!(announced.starts_with("HTTP/1.1 413"), "{announced}");
    let chunk = "a".repeat(0x800);
    let head = "POST /v1/topics/orders/events HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunked = raw(&node, &format!("{head}800\r\n{chunk}\r\n")).await;
    assert!(chunked.starts_with("HTTP/1.1 413"), "{chunked}");
    let event_too_large = node.publish("1", json!({"data": "a".repeat(1000)})).await;
    assert_eq!(event_too_large.problem(), (413, "too-large".into()));
    let batch = json!([event("1", json!({})), event("2", json!({})), event("3", json!({}))]);
    let answer = node.post("/v1/events", &[("content-type", "application/cloudevents-batch+json")], batch.to_string()).await;
    assert_eq!(answer.problem(), (413, "too-large".into()));
}

#[tokio::test]
async fn media_types_and_encodings_that_are_not_spoken_are_415() {
    let node = Node::start().await;
    for headers in [
        [("content-type", "application/cloudevents+xml"), ("x", "y")],
        [("content-encoding", "gzip"), STRUCTURED],
        [("content-encoding", "identity, br"), STRUCTURED],
    ] {
        assert_eq!(node.post("/v1/events", &headers, "x").await.problem(), (415, "unsupported-media-type".into()));
    }
}

#[tokio::test]
async fn heads_that_are_too_large_are_431() {
    let node = Node::with(config::Http { max_header_bytes: 1000, ..http_limits() }, ingest_limits()).await;
    let value = "a".repeat(1000);
    assert_eq!(node.post("/v1/events", &[("x", &value)], "").await.problem(), (431, "headers-too-large".into()));
    let huge = raw(&node, &format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(100_000))).await;
    assert!(huge.is_empty() || huge.starts_with("HTTP/1.1 431"), "{huge}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408() {
    let node = Node::with(config::Http { body_timeout: Duration::from_millis(50), ..http_limits() }, ingest_limits()).await;
    let answer = raw(&node, "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc").await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let node = Node::with(config::Http { header_timeout: Duration::from_millis(50), ..http_limits() }, ingest_limits()).await;
    for start in ["", "P", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\n"] {
        let answer = raw(&node, start).await;
        assert!(!answer.contains("200"), "{answer}");
    }
}

#[tokio::test]
async fn too_much_in_flight_is_429() {
    let mut node = Node::with(http_limits(), config::Ingest { max_in_flight_bytes: 1000, ..ingest_limits() }).await;
    node.topic("orders", json!({}));
    let body = event("1", json!({"data": "a".repeat(1000)})).to_string();
    let answer = node.post("/v1/events", &[STRUCTURED], body).await;
    assert_eq!(answer.problem(), (429, "rate-limited".into()));
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(node.publish("1", json!({})).await.status, 202, "what was held is given back");
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed() {
    let node = Node::with(config::Http { max_connections: 1, ..http_limits() }, ingest_limits()).await;
    let mut first = TcpStream::connect(node.addr).await.unwrap();
    first.write_all(b"OPTIONS /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert_eq!(first.read_u8().await.unwrap(), b'H');
    assert_eq!(raw(&node, "").await, "");
}

#[tokio::test]
async fn http_2_in_the_clear_is_served_on_the_same_port() {
    let node = Node::start().await;
    let stream = hyper_util::rt::TokioIo::new(TcpStream::connect(node.addr).await.unwrap());
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, stream).await.unwrap();
    let serving = tokio::spawn(connection);
    let request = || http::Request::get("http://x/v1/schemas").body(http_body_util::Full::<bytes::Bytes>::default()).unwrap();
    assert_eq!(sender.send_request(request()).await.unwrap().status(), 200);
    node.shutdown.cancel();
    serving.await.unwrap().unwrap();
}
