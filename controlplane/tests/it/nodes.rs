//! The stream between control plane and node, with the node played by the test.

use std::collections::BTreeMap;

use posthorn_domain::node::Question;
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::snapshot::Resource;
use posthorn_proto::snapshot::snapshot_service_client::SnapshotServiceClient;
use posthorn_proto::snapshot::{Ack, ControlMessage, Hello, Nack, NodeAnswer, NodeMessage, NodeQuestion, Reply, node_answer, node_message};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::support::Plane;

struct Node {
    sender: mpsc::Sender<NodeMessage>,
    pushes: Streaming<ControlMessage>,
}

async fn client(plane: &Plane) -> SnapshotServiceClient<Channel> {
    SnapshotServiceClient::connect(plane.url()).await.expect("connects")
}

fn hello(id: &str, revision: u64, control_plane_id: &str) -> Hello {
    Hello { node_id: id.into(), revision, control_plane_id: control_plane_id.into(), version: "1.2.3".into() }
}

impl Node {
    async fn connect(plane: &Plane, revision: u64, control_plane_id: &str) -> Self {
        Self::connect_as(plane, "node-a", revision, control_plane_id).await
    }

    async fn connect_as(plane: &Plane, id: &str, revision: u64, control_plane_id: &str) -> Self {
        let (sender, receiver) = mpsc::channel(8);
        let hello = node_message::Message::Hello(hello(id, revision, control_plane_id));
        sender.send(NodeMessage { message: Some(hello) }).await.expect("open");
        let pushes = client(plane).await.sync(ReceiverStream::new(receiver)).await.expect("a stream").into_inner();
        Self { sender, pushes }
    }

    async fn push(&mut self) -> ControlMessage {
        self.pushes.message().await.expect("a stream").expect("a push")
    }

    async fn ack(&self, push: &ControlMessage, nacks: &[(&str, &str)]) {
        let nacks = nacks.iter().map(|(resource, reason)| Nack { resource: (*resource).into(), reason: (*reason).into() }).collect();
        let ack = Ack { nonce: push.nonce.clone(), revision: push.revision, nacks };
        self.sender.send(NodeMessage { message: Some(node_message::Message::Ack(ack)) }).await.expect("open");
    }
}

fn resources(push: &ControlMessage) -> BTreeMap<&str, Resource> {
    push.changed.iter().map(|update| (update.key.as_str(), serde_json::from_slice(&update.body).expect("a resource"))).collect()
}

/// Waits for the control plane to have booked what was sent to it.
async fn until(plane: &Plane, holds: impl Fn(&Value) -> bool) -> Value {
    loop {
        let nodes = plane.get("/v1/nodes").await.body;
        if holds(&nodes) {
            return nodes;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_new_node_gets_all_with_secrets_and_then_deltas() {
    let plane = Plane::start().await;
    plane.call("POST", "/v1/schemas/order/versions", json!({"schema": true})).await.is(201, "");
    plane.call("PUT", "/v1/topics/orders", json!({"schemas": ["order"]})).await.is(201, "");
    let made = plane.subscribe("orders", json!({})).await;
    let mut node = Node::connect(&plane, 0, "").await;
    let full = node.push().await;
    assert!((full.full, full.last, full.revision) == (true, true, 3));
    assert!(full.control_plane_id.starts_with("cp_"));
    let keys: Vec<&str> = full.changed.iter().map(|update| update.key.split('/').next().expect("a kind")).collect();
    assert_eq!(keys, ["schema-infos", "schemas", "topics", "subscriptions"], "what is needed comes before what needs it");
    let subscription = format!("subscriptions/{}", made.body["id"].as_str().expect("an id"));
    let resource = &resources(&full)[subscription.as_str()];
    assert_eq!(resource.document["signing"][0]["secret"], "********");
    assert_eq!(resource.revealed()["signing"][0]["secret"], made.body["signing"][0]["secret"]);
    node.ack(&full, &[]).await;

    plane.call("PUT", "/v1/topics/orders", json!({"schemas": ["order"], "partitions": 2})).await.is(200, "");
    let delta = node.push().await;
    assert!((delta.full, delta.last, delta.revision) == (false, true, 4));
    assert_eq!(resources(&delta).keys().collect::<Vec<_>>(), [&"topics/orders"]);
    assert_eq!((resources(&delta)["topics/orders"].revision, resources(&delta)["topics/orders"].incarnation), (4, 2));
    node.ack(&delta, &[]).await;
    plane.send("DELETE", &format!("/v1/{subscription}"), &[], "").await.is(204, "");
    let delta = node.push().await;
    assert_eq!(delta.removed, [subscription]);
    node.ack(&delta, &[]).await;
    let nodes = until(&plane, |nodes| nodes[0]["acked_revision"] == 5).await;
    assert_eq!((&nodes[0]["id"], &nodes[0]["version"], &nodes[0]["nacked"]), (&json!("node-a"), &json!("1.2.3"), &json!([])));
    assert!(nodes[0]["snapshot_age_seconds"].is_u64());
}

#[tokio::test]
async fn what_a_node_cannot_use_is_shown_until_it_can() {
    let plane = Plane::start().await;
    plane.call("PUT", "/v1/topics/a", json!({})).await.is(201, "");
    plane.call("PUT", "/v1/topics/b", json!({})).await.is(201, "");
    let mut node = Node::connect(&plane, 0, "").await;
    let full = node.push().await;
    node.ack(&full, &[("topics/a", "no such disk"), ("topics/b", "nor this")]).await;
    let nodes = until(&plane, |nodes| nodes[0]["nacked"][1]["resource"] == "topics/b").await;
    assert_eq!(nodes[0]["nacked"][0], json!({"resource": "topics/a", "reason": "no such disk"}));
    plane.call("PUT", "/v1/topics/a", json!({"partitions": 2})).await.is(200, "");
    let delta = node.push().await;
    node.ack(&delta, &[]).await;
    let nodes = until(&plane, |nodes| nodes[0]["acked_revision"] == 3).await;
    assert_eq!(nodes[0]["nacked"], json!([{"resource": "topics/b", "reason": "nor this"}]));
}

#[tokio::test]
async fn changes_gather_while_a_push_is_unanswered() {
    let plane = Plane::start().await;
    let mut node = Node::connect(&plane, 0, "").await;
    let first = node.push().await;
    for n in 0..3 {
        plane.call("PUT", &format!("/v1/topics/t{n}"), json!({})).await.is(201, "");
    }
    // A late answer to a push that never was does not count as the answer.
    node.ack(&ControlMessage { nonce: "other".into(), ..first.clone() }, &[]).await;
    node.ack(&first, &[]).await;
    let second = node.push().await;
    assert_eq!((second.revision, second.changed.len(), second.full), (3, 3, false), "one push for all that came meanwhile");
}

#[tokio::test]
async fn a_node_that_comes_back_gets_what_it_missed() {
    let plane = Plane::start().await;
    plane.call("PUT", "/v1/topics/a", json!({})).await.is(201, "");
    let mut node = Node::connect(&plane, 0, "").await;
    let full = node.push().await;
    node.ack(&full, &[]).await;
    until(&plane, |nodes| nodes[0]["acked_revision"] == 1).await;
    drop(node);
    until(&plane, |nodes| nodes == &json!([])).await;
    plane.call("PUT", "/v1/topics/b", json!({})).await.is(201, "");

    let mut known = Node::connect(&plane, 1, &full.control_plane_id).await;
    let delta = known.push().await;
    assert_eq!((delta.full, resources(&delta).keys().copied().collect::<Vec<_>>()), (false, vec!["topics/b"]));
    known.ack(&delta, &[]).await;
    let mut stranger = Node::connect_as(&plane, "node-b", 1, "cp_other").await;
    let full = stranger.push().await;
    assert_eq!((full.full, full.changed.len()), (true, 2), "another control plane's revisions mean nothing here");
    let mut ahead = Node::connect_as(&plane, "node-c", 99, &full.control_plane_id).await;
    assert!(ahead.push().await.full, "a revision that never was is a doubt");
    let mut even = Node::connect_as(&plane, "node-d", 2, &full.control_plane_id).await;
    let empty = even.push().await;
    assert_eq!((empty.full, empty.last, empty.changed.len()), (false, true, 0));

    let folder = plane.stop().await;
    assert!(known.pushes.message().await.is_err(), "the stream ends with the control plane");
    let plane = Plane::start_in(folder).await;
    let mut back = Node::connect(&plane, 2, &full.control_plane_id).await;
    let push = back.push().await;
    assert_eq!((push.full, &push.control_plane_id), (false, &full.control_plane_id), "it is the same control plane after a restart");
    let mut behind = Node::connect_as(&plane, "node-e", 1, &full.control_plane_id).await;
    assert!(behind.push().await.full, "what was before the restart is not known in detail");
}

#[tokio::test]
async fn a_second_stream_of_a_node_takes_the_place_of_the_first() {
    let plane = Plane::start().await;
    let mut first = Node::connect(&plane, 0, "").await;
    first.push().await;
    let mut second = Node::connect(&plane, 0, "").await;
    let push = second.push().await;
    assert_eq!(first.pushes.message().await.expect_err("ended").code(), tonic::Code::Aborted);
    second.ack(&push, &[]).await;
    assert_eq!(until(&plane, |nodes| nodes[0]["id"] == "node-a").await.as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_large_snapshot_is_cut_and_answered_once() {
    let plane = Plane::start().await;
    let long = "x".repeat(900 << 10);
    for n in 0..3 {
        plane.call("POST", "/v1/schemas/big/versions", json!({"schema": {"description": format!("{n}{long}")}})).await.is(201, "");
    }
    let mut node = Node::connect(&plane, 0, "").await;
    let parts = [node.push().await, node.push().await, node.push().await];
    assert_eq!(parts.each_ref().map(|part| part.last), [false, false, true]);
    assert!(parts.iter().all(|part| part.nonce == parts[0].nonce && part.full && (1..=2).contains(&part.changed.len())));
    node.ack(&parts[2], &[]).await;
    until(&plane, |nodes| nodes[0]["acked_revision"] == 3).await;
}

#[tokio::test]
async fn a_stream_without_a_hello_is_ended() {
    let plane = Plane::start().await;
    for first in [Some(node_message::Message::Ack(Ack::default())), Some(node_message::Message::Hello(hello("", 0, ""))), None] {
        let (sender, receiver) = mpsc::channel(1);
        sender.send(NodeMessage { message: first }).await.expect("open");
        let mut pushes = client(&plane).await.sync(ReceiverStream::new(receiver)).await.expect("a stream").into_inner();
        assert!(pushes.message().await.is_err());
    }
}

/// A node that answers each question by `answer`.
async fn answering(plane: &Plane, id: &str, answer: impl Fn(Question) -> Result<Value, Problem> + Send + 'static) {
    let (sender, receiver) = mpsc::channel(8);
    sender.send(NodeAnswer { message: Some(node_answer::Message::Hello(hello(id, 0, ""))) }).await.expect("open");
    let mut questions = client(plane).await.answer(ReceiverStream::new(receiver)).await.expect("a stream").into_inner();
    tokio::spawn(async move {
        while let Ok(Some(NodeQuestion { id, body })) = questions.message().await {
            let answered = answer(serde_json::from_slice(&body).expect("a question"));
            let (body, problem) = match answered {
                Ok(body) => (body, false),
                Err(problem) => (problem.to_value(), true),
            };
            let reply = Reply { id, body: body.to_string().into(), problem };
            sender.send(NodeAnswer { message: Some(node_answer::Message::Reply(reply)) }).await.expect("open");
        }
    });
    while plane.get("/v1/dead-letters").await.status == 503 {
        tokio::task::yield_now().await;
    }
}

fn dead_letters(question: Question) -> Result<Value, Problem> {
    match question {
        Question::DeadLetters { filter, limit, page_token } => {
            Ok(json!({"items": [{"id": "dl_1", "saw": [filter.topic, limit, page_token]}], "next_page_token": "more"}))
        }
        Question::DeadLetter { .. } => Err(Problem::new(Code::NotFound, "not here")),
        Question::RetryDeadLetters { .. } => Ok(json!({"retried": 4})),
        Question::DeleteDeadLetters { filter } if filter.reason.is_some() => Ok(json!({"deleted": 2})),
        Question::DeleteDeadLetter { .. } => Ok(Value::Null),
        Question::Subscription { .. } => Ok(json!({"in_flight": 1, "waiting": 2, "lag": 3, "breaker": "open", "last_error": null})),
        Question::Replay { from, to, .. } => Ok(json!({"replay": "rpl_1", "events": 7, "saw": [from, to]})),
        Question::Sample { topic, limit } => {
            let event = |offset: u64, data: Value| json!({"topic": topic, "partition": 0, "offset": offset, "id": "1", "at": "2026-01-02T03:04:05Z", "bytes": 1, "json": true, "data": data});
            Ok(json!([event(0, json!({"topic": topic})), event(1, json!({"n": limit}))]))
        }
        _ => Err(Problem::new(Code::Internal, "not asked here")),
    }
}

#[tokio::test]
async fn questions_are_answered_by_the_nodes() {
    let plane = Plane::start().await;
    answering(&plane, "node-a", dead_letters).await;
    let listed = plane.get("/v1/dead-letters?topic=orders&limit=7&page_token=tok").await;
    assert_eq!(listed.is(200, "").body["items"][0]["saw"], json!(["orders", 7, "tok"]));
    assert_eq!(listed.body["next_page_token"], "more");
    let id = format!("dl_{}", "0".repeat(32));
    plane.get(&format!("/v1/dead-letters/{id}")).await.is(404, "not-found");
    plane.get("/v1/dead-letters/dl_1").await.is(404, "not-found");
    plane.send("DELETE", &format!("/v1/dead-letters/{id}"), &[], "").await.is(204, "");
    let retried = plane.call("POST", "/v1/dead-letters/retry", json!({"topic": "orders"})).await;
    assert_eq!(retried.is(202, "").body, json!({"retried": 4}));
    let purged = plane.send("DELETE", "/v1/dead-letters?reason=attempts_exhausted", &[], "").await;
    assert_eq!(purged.is(200, "").body, json!({"deleted": 2}));
    plane.call("POST", "/v1/dead-letters/retry", json!({"reason": "nope"})).await.is(400, "invalid-request");
    let made = plane.subscribe("orders", json!({})).await;
    let path = made.header("location");
    assert_eq!(plane.get(path).await.is(200, "").body["state"]["breaker"], "open");
    let replay = plane.call("POST", &format!("{path}/replay"), json!({"from": "earliest"})).await;
    assert_eq!(replay.is(202, "").body["saw"], json!(["earliest", null]));

    plane.call("POST", "/v1/schemas/order/versions", json!({"schema": true})).await.is(201, "");
    plane.call("PUT", "/v1/topics/orders", json!({"schemas": ["order"]})).await.is(201, "");
    let tried = plane.call("POST", "/v1/schemas/order/versions?dry_run=true&sample=5", json!({"schema": {"required": ["n"]}})).await;
    let sample = &tried.is(200, "").body["sample"];
    assert_eq!(
        (&sample["checked"], &sample["invalid"], &sample["examples"][0]["data"]),
        (&json!(2), &json!(1), &json!({"topic": "orders"}))
    );
}
