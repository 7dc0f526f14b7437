//! Cursors, pages, long polls, streams, what is gone and what is damaged.

use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use posthorn_storage::log::segments::Config;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::node::{Node, http_limits, ingest_limits};

async fn node(partitions: u32) -> Node {
    let mut node = Node::start().await;
    node.topic("orders", json!({"partitions": partitions}));
    node
}

fn ids(page: &Value) -> Vec<String> {
    page["events"].as_array().unwrap().iter().map(|entry| entry["event"]["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn pages_follow_each_other_and_every_entry_can_be_resumed_from() {
    let node = node(3).await;
    for n in 0..10 {
        node.publish(&n.to_string(), json!({})).await;
    }
    let (mut read, mut cursor) = (Vec::new(), "earliest".to_owned());
    loop {
        let page = node.read("orders", &format!("limit=3&cursor={cursor}")).await;
        if ids(&page).is_empty() {
            break;
        }
        for (n, entry) in page["events"].as_array().unwrap().iter().enumerate() {
            let rest = node.read("orders", &format!("cursor={}", entry["cursor"].as_str().unwrap())).await;
            assert_eq!(ids(&rest).len(), 10 - read.len() - n - 1);
        }
        read.extend(ids(&page));
        cursor = page["cursor"].as_str().unwrap().to_owned();
    }
    read.sort();
    assert_eq!(read, (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn latest_and_a_wait_give_what_comes_from_now_on() {
    let node = node(2).await;
    node.publish("old", json!({})).await;
    assert_eq!(node.read("orders", "cursor=latest&wait=1ms").await["events"], json!([]));
    let reading = node.read("orders", "cursor=latest&wait=30s");
    let publishing = async {
        // Until the reader stands at the end, an event may count as old; so publish until it has seen one.
        for n in 0.. {
            node.publish(&format!("new{n}"), json!({})).await;
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        page = reading => assert!(ids(&page)[0].starts_with("new")),
        () = publishing => {}
    }
}

#[tokio::test]
async fn times_are_places() {
    let node = node(1).await;
    node.publish("1", json!({})).await;
    assert_eq!(ids(&node.read("orders", "cursor=time:2026-01-01T00:00:00Z").await).len(), 1);
    assert_eq!(ids(&node.read("orders", "cursor=time:2099-01-01T00:00:00Z").await).len(), 0);
}

#[tokio::test]
async fn bad_reads_are_told() {
    let mut node = node(2).await;
    node.topic("narrow", json!({"partitions": 1}));
    node.publish("1", json!({})).await;
    let wide = node.read("orders", "").await["cursor"].as_str().unwrap().to_owned();
    for query in ["cursor=x", "cursor=time:noon", "filter=a+%3D", "limit=0", "wait=2m", "x=1", &format!("cursor={wide}")] {
        let topic = if query.contains(&wide) { "narrow" } else { "orders" };
        let answer = node.get(&format!("/v1/topics/{topic}/events?{query}")).await;
        assert_eq!(answer.problem(), (400, "invalid-request".into()), "{query}");
    }
    assert_eq!(node.get("/v1/topics/nope/events").await.problem(), (404, "topic-unknown".into()));
    let other_life = posthorn_domain::position::Cursor { incarnation: 99, next: vec![0, 0] };
    let answer = node.get(&format!("/v1/topics/orders/events?cursor={other_life}")).await;
    assert_eq!(answer.problem(), (410, "cursor-expired".into()));
    let earliest = answer.json()["earliest"].as_str().unwrap().to_owned();
    assert_eq!(ids(&node.read("orders", &format!("cursor={earliest}")).await).len(), 1);
}

#[tokio::test]
async fn below_retention_is_410_with_the_earliest() {
    let log = Config { segment_bytes: 4096, ..Config::default() };
    let mut node = Node::on(tempfile::tempdir().unwrap(), http_limits(), ingest_limits(), log).await;
    node.topic("orders", json!({"retention": {"age": "1s"}}));
    let start = node.read("orders", "").await["cursor"].as_str().unwrap().to_owned();
    for n in 0..20 {
        node.publish(&n.to_string(), json!({"data": "a".repeat(1000)})).await;
    }
    node.log.enforce_retention(posthorn_domain::clock::Clock::system().now().after(Duration::from_secs(3600)));
    let answer = node.get(&format!("/v1/topics/orders/events?cursor={start}")).await;
    assert_eq!(answer.problem(), (410, "cursor-expired".into()));
    let earliest = answer.json()["earliest"].as_str().unwrap().to_owned();
    assert_eq!(node.get(&format!("/v1/topics/orders/events?cursor={earliest}")).await.status, 200);
}

#[tokio::test]
async fn damage_is_an_entry_of_its_own() {
    let node = node(1).await;
    for n in 0..3 {
        node.publish(&n.to_string(), json!({"durability": "sync"})).await;
    }
    let file = node.dir.path().join("log/orders/0/00000000000000000000.seg");
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let page = node.read("orders", "").await;
    assert_eq!(page["events"][2]["gap"], json!({"partition": 0, "from": 2, "to": 3, "reason": "damaged"}));
    assert_eq!((page["events"].as_array().unwrap().len(), &page["events"][2]["cursor"]), (3, &page["cursor"]));
}

/// Reads server-sent events from a connection of its own until `enough` have come.
async fn stream(node: &Node, last_event_id: Option<&str>, enough: usize) -> Vec<(String, Value)> {
    let tcp = TcpStream::connect(node.addr).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(async move { connection.await.ok() });
    let mut request = Request::get("/v1/topics/orders/events?cursor=earliest").header("host", "x").header("accept", "text/event-stream");
    if let Some(id) = last_event_id {
        request = request.header("last-event-id", id);
    }
    let mut response = sender.send_request(request.body(Full::<bytes::Bytes>::default()).unwrap()).await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["content-type"]), (200, &"text/event-stream".parse().unwrap()));
    let mut text = String::new();
    while text.matches("\n\n").count() < enough {
        let Some(frame) = response.body_mut().frame().await else { break };
        text.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
    }
    let field = |block: &str, name: &str| block.lines().filter_map(|line| line.strip_prefix(name)).collect::<Vec<_>>().join("\n");
    text.split_terminator("\n\n").map(|block| (field(block, "id: "), serde_json::from_str(&field(block, "data: ")).unwrap())).collect()
}

#[tokio::test]
async fn a_stream_goes_on_where_it_broke() {
    let node = node(2).await;
    for n in 0..4 {
        node.publish(&n.to_string(), json!({"data": {"a": n}})).await;
    }
    let all = stream(&node, None, 4).await;
    assert!(all.iter().all(|(id, data)| data["cursor"] == *id && data["event"]["topic"] == "orders"));
    let rest = stream(&node, Some(&all[1].0), 2).await;
    assert_eq!(rest, all[2..]);
}

#[tokio::test]
async fn a_stream_brings_what_comes_and_ends_with_the_node() {
    let node = node(1).await;
    let endless = stream(&node, None, usize::MAX);
    let acting = async {
        node.publish("1", json!({})).await;
        while ids(&node.read("orders", "").await).is_empty() {}
        // A second reader that has the event proves that the stream could have it too.
        stream(&node, None, 1).await;
        node.shutdown.cancel();
    };
    let (seen, ()) = tokio::join!(endless, acting);
    assert!(seen.len() <= 1);
}
