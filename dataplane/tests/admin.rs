//! The admin door over a real socket.

use std::sync::Arc;

use parking_lot::Mutex;
use posthorn_dataplane::admin::{Admin, Health, Setup, Tasks, install};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

struct Node(Mutex<Vec<String>>);

impl Health for Node {
    fn reasons(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}

#[tokio::test]
async fn the_door_tells_how_the_node_is() {
    let node = Arc::new(Node(Mutex::new(vec!["no snapshot yet".into()])));
    let metrics = install().unwrap();
    metrics::counter!("posthorn_test_total").increment(2);
    let setup = Setup { health: node.clone(), metrics, tasks: Tasks::of_this_runtime(), config: serde_json::json!({"node_id": "n1"}) };
    let admin = Admin::bind(([127, 0, 0, 1], 0).into(), setup).await.unwrap();
    let address = admin.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(admin.run(shutdown.clone()));
    let ask = async |line: &str| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{line} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    };
    let unready = ask("GET /ready").await;
    assert!(unready.starts_with("HTTP/1.1 503") && unready.ends_with(r#"["no snapshot yet"]"#), "{unready}");
    node.0.lock().clear();
    for (line, status, end) in [
        ("GET /ready", "200", "[]"),
        ("GET /live", "200", "live\n"),
        ("HEAD /live", "200", "\r\n\r\n"),
        ("GET /config", "200", r#"{"node_id":"n1"}"#),
        ("GET /other", "404", "}"),
        ("POST /live", "405", "}"),
    ] {
        let text = ask(line).await;
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")) && text.ends_with(end), "{line}: {text}");
    }
    assert!(ask("GET /metrics").await.contains("posthorn_test_total 2"));
    shutdown.cancel();
    task.await.unwrap();
}
