//! The link to the control plane against a real gRPC server: pushes, answers to them, doubts, restarts, questions, reports.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use posthorn_dataplane::control::cache::Cache;
use posthorn_dataplane::control::{Client, Plane, Setup, Status as LinkStatus};
use posthorn_domain::clock::Clock;
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::node::Question;
use posthorn_domain::problem::Problem;
use posthorn_domain::sealing::SealingKey;
use posthorn_domain::snapshot::{Delta, Nack};
use posthorn_proto::snapshot::snapshot_service_server::{SnapshotService, SnapshotServiceServer};
use posthorn_proto::snapshot::{
    Ack, ControlMessage, Hello, NodeAnswer, NodeMessage, NodeQuestion, ResourceUpdate, node_answer, node_message,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

struct Recorder(mpsc::Sender<(Delta, bool)>);

impl Plane for Recorder {
    fn apply<'a>(&'a self, delta: &'a Delta, full: bool) -> BoxFuture<'a, Vec<Nack>> {
        Box::pin(async move {
            self.0.send((delta.clone(), full)).await.unwrap();
            let bad = delta.changed.iter().filter(|(_, resource)| resource.document.read().unwrap()["bad"] == true);
            bad.map(|(key, _)| Nack { resource: key.as_str().into(), reason: "bad".into() }).collect()
        })
    }

    fn answer<'a>(&'a self, question: Question) -> BoxFuture<'a, Result<Value, Problem>> {
        Box::pin(async move { Ok(serde_json::to_value(question).unwrap()) })
    }
}

type Out<T> = Pin<Box<dyn futures_util::Stream<Item = Result<T, Status>> + Send>>;
type Line<I, O> = (Streaming<I>, mpsc::Sender<Result<O, Status>>);

struct Fake {
    syncs: mpsc::Sender<Line<NodeMessage, ControlMessage>>,
    answers: mpsc::Sender<Line<NodeAnswer, NodeQuestion>>,
}

#[tonic::async_trait]
impl SnapshotService for Fake {
    type SyncStream = Out<ControlMessage>;
    type AnswerStream = Out<NodeQuestion>;

    async fn sync(&self, request: Request<Streaming<NodeMessage>>) -> Result<Response<Self::SyncStream>, Status> {
        let (sender, receiver) = mpsc::channel(16);
        self.syncs.send((request.into_inner(), sender)).await.map_err(|_| Status::unavailable("over"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn answer(&self, request: Request<Streaming<NodeAnswer>>) -> Result<Response<Self::AnswerStream>, Status> {
        let (sender, receiver) = mpsc::channel(16);
        self.answers.send((request.into_inner(), sender)).await.map_err(|_| Status::unavailable("over"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

struct World {
    syncs: mpsc::Receiver<Line<NodeMessage, ControlMessage>>,
    answers: mpsc::Receiver<Line<NodeAnswer, NodeQuestion>>,
    deltas: mpsc::Receiver<(Delta, bool)>,
    gone: mpsc::Sender<(SubscriptionId, &'static str)>,
    status: LinkStatus,
    shutdown: CancellationToken,
    client: tokio::task::JoinHandle<()>,
}

async fn world(dir: &Path, key: Arc<SealingKey>) -> World {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (syncs_in, syncs) = mpsc::channel(4);
    let (answers_in, answers) = mpsc::channel(16);
    let server = tonic::transport::Server::builder().add_service(SnapshotServiceServer::new(Fake { syncs: syncs_in, answers: answers_in }));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let (deltas, gone, status, shutdown, client) = client(dir, key, address);
    World { syncs, answers, deltas, gone, status, shutdown, client }
}

type Running = (
    mpsc::Receiver<(Delta, bool)>,
    mpsc::Sender<(SubscriptionId, &'static str)>,
    LinkStatus,
    CancellationToken,
    tokio::task::JoinHandle<()>,
);

fn client(dir: &Path, key: Arc<SealingKey>, address: SocketAddr) -> Running {
    let (recorder, deltas) = mpsc::channel(16);
    let (gone_in, gone) = mpsc::channel(16);
    let setup = Setup {
        node_id: "n1".into(),
        control_url: format!("http://{address}"),
        version: "1".into(),
        plane: Arc::new(Recorder(recorder)),
        cache: Cache::new(dir, key),
        gone,
        clock: Clock::system(),
    };
    let (client, status) = Client::new(setup).unwrap();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(client.run(shutdown.clone()));
    (deltas, gone_in, status, shutdown, task)
}

fn push(revision: u64, full: bool, changed: &[(&str, Value)], removed: &[&str]) -> ControlMessage {
    let update = |(key, document): &(&str, Value)| ResourceUpdate {
        key: (*key).into(),
        body: json!({"revision": revision, "incarnation": 1, "document": document}).to_string().into_bytes().into(),
    };
    ControlMessage {
        nonce: format!("n{revision}"),
        revision,
        control_plane_id: "cp".into(),
        full,
        changed: changed.iter().map(update).collect(),
        removed: removed.iter().map(|key| (*key).into()).collect(),
        last: true,
    }
}

async fn hello(stream: &mut Streaming<NodeMessage>) -> Hello {
    let Some(node_message::Message::Hello(hello)) = stream.message().await.unwrap().unwrap().message else { panic!("no hello") };
    hello
}

async fn ack(stream: &mut Streaming<NodeMessage>) -> Ack {
    let Some(node_message::Message::Ack(ack)) = stream.message().await.unwrap().unwrap().message else { panic!("no ack") };
    ack
}

fn keys(delta: &Delta) -> (Vec<&str>, Vec<&str>) {
    (delta.changed.keys().map(|key| key.as_str()).collect(), delta.removed.iter().map(|key| key.as_str()).collect())
}

fn key() -> Arc<SealingKey> {
    Arc::new(SealingKey::generate().unwrap())
}

#[tokio::test]
async fn pushes_are_applied_answered_and_kept() {
    let (dir, key) = (tempfile::tempdir().unwrap(), key());
    let mut world = world(dir.path(), key.clone()).await;
    let (mut from, to) = world.syncs.recv().await.unwrap();
    assert_eq!(hello(&mut from).await.revision, 0);
    let mut first = push(5, true, &[("topics/a", json!({"v": 1}))], &[]);
    first.last = false;
    to.send(Ok(first)).await.unwrap();
    to.send(Ok(push(5, true, &[("topics/b", json!({"bad": true}))], &[]))).await.unwrap();
    let answer = ack(&mut from).await;
    assert_eq!((answer.nonce.as_str(), answer.revision, answer.nacks[0].resource.as_str()), ("n5", 5, "topics/b"));
    let (delta, full) = world.deltas.recv().await.unwrap();
    assert_eq!((keys(&delta), full), ((vec!["topics/a", "topics/b"], vec![]), true));

    to.send(Ok(push(6, false, &[("topics/a", json!({"v": 2, "bad": true}))], &[]))).await.unwrap();
    assert_eq!(ack(&mut from).await.nacks.len(), 2, "an unchanged bad resource stays listed");
    world.deltas.recv().await.unwrap();

    // A delta that leads back is a doubt: a full snapshot is asked for, and only what differs is applied.
    to.send(Ok(push(4, false, &[], &["topics/a"]))).await.unwrap();
    let (mut from, to) = world.syncs.recv().await.unwrap();
    assert_eq!(hello(&mut from).await.revision, 0);
    to.send(Ok(push(7, true, &[("topics/a", json!({"bad": true}))], &[]))).await.unwrap();
    assert_eq!(ack(&mut from).await.nacks.len(), 1);
    assert_eq!(keys(&world.deltas.recv().await.unwrap().0), (vec!["topics/a"], vec!["topics/b"]));

    // The stream breaks: the node comes again from where it is.
    drop((from, to));
    let (mut from, to) = world.syncs.recv().await.unwrap();
    let again = hello(&mut from).await;
    assert_eq!((again.revision, again.control_plane_id.as_str()), (7, "cp"));
    to.send(Ok(push(7, false, &[], &[]))).await.unwrap();
    assert_eq!(ack(&mut from).await.revision, 7);
    world.shutdown.cancel();
    world.client.await.unwrap();

    // Started with nobody there: the last good version first, then the bad one, which is named again.
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let (mut deltas, _gone, mut status, shutdown, task) = client(dir.path(), key, nowhere);
    status.ready.wait_for(|ready| *ready).await.unwrap();
    assert_eq!(*status.revision.borrow(), 7);
    let (good, bad) = (deltas.recv().await.unwrap().0, deltas.recv().await.unwrap().0);
    let document = |delta: &Delta| delta.changed.values().next().unwrap().document.read().unwrap();
    assert_eq!((document(&good), document(&bad)), (json!({"v": 1}), json!({"bad": true})));
    shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn questions_are_answered_and_gone_endpoints_reported_until_acted_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(dir.path(), key()).await;
    let (mut answers, ask) = world.answers.recv().await.unwrap();
    assert!(matches!(answers.message().await.unwrap().unwrap().message, Some(node_answer::Message::Hello(_))));
    let question = json!({"ask": "sample", "topic": "a", "limit": 1});
    for (id, body) in BTreeMap::from([(1, question.to_string()), (2, "{}".to_owned())]) {
        ask.send(Ok(NodeQuestion { id, body: body.into_bytes().into() })).await.unwrap();
        let Some(node_answer::Message::Reply(reply)) = answers.message().await.unwrap().unwrap().message else { panic!() };
        assert_eq!((reply.id, reply.problem), (id, id == 2));
    }
    let (mut from, to) = world.syncs.recv().await.unwrap();
    hello(&mut from).await;
    let id = SubscriptionId::make();
    world.gone.send((id, "endpoint_gone")).await.unwrap();
    let is_report = |message: NodeMessage| matches!(message.message, Some(node_message::Message::Report(report)) if report.subscription == id.to_string());
    assert!(is_report(from.message().await.unwrap().unwrap()));
    drop((from, to));
    let (mut from, _to) = world.syncs.recv().await.unwrap();
    hello(&mut from).await;
    assert!(is_report(from.message().await.unwrap().unwrap()), "said again on the next stream");
    world.status.connected.wait_for(|connected| *connected).await.unwrap();
    world.shutdown.cancel();
    world.client.await.unwrap();
}
