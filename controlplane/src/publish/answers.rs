//! Questions to nodes over the streams that they opened for it. Each has an id; each is answered or times out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use posthorn_domain::node::Question;
use posthorn_domain::problem::{Code, Problem};
use posthorn_proto::snapshot::node_answer::Message;
use posthorn_proto::snapshot::{NodeAnswer, NodeQuestion, Reply};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::session::check_node_id;
use super::{MAX_NODES, Publisher};

/// Questions that wait to be sent to one node.
pub(super) const QUEUE: usize = 64;
/// Questions to one node that are not answered yet.
const MAX_OPEN: usize = 256;
/// A question that is not answered by then has failed.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const HELLO_WITHIN: Duration = Duration::from_secs(10);

/// The nodes that answer questions.
#[derive(Default)]
pub(crate) struct Answers {
    next: AtomicU64,
    lines: Mutex<BTreeMap<String, Line>>,
}

#[derive(Clone)]
struct Line {
    session: u64,
    questions: mpsc::Sender<Result<NodeQuestion, Status>>,
    open: Arc<Mutex<HashMap<u64, oneshot::Sender<Reply>>>>,
}

/// One node's answer.
pub(crate) struct NodeReply {
    /// Whose.
    pub(crate) node: String,
    /// What it said.
    pub(crate) answer: Result<Value, Problem>,
}

impl Answers {
    /// The ids of the nodes that can be asked.
    pub(crate) fn nodes(&self) -> Vec<String> {
        self.lines.lock().keys().cloned().collect()
    }

    /// Asks every node the same at the same time. The problem is `no-node` when there is none.
    pub(crate) async fn ask_all(&self, question: &Question) -> Result<Vec<NodeReply>, Problem> {
        self.ask_each(self.nodes().into_iter().map(|node| (node, question.clone())).collect()).await
    }

    /// Asks these nodes, each its own, at the same time. The problem is `no-node` when there are none.
    pub(crate) async fn ask_each(&self, questions: Vec<(String, Question)>) -> Result<Vec<NodeReply>, Problem> {
        if questions.is_empty() {
            return Err(no_node());
        }
        let asked = questions.into_iter().map(|(node, question)| async move {
            let answer = self.ask(&node, &question).await;
            NodeReply { node, answer }
        });
        Ok(join_all(asked).await)
    }

    /// Asks one node after the other until one does it: for what must be done once.
    pub(crate) async fn ask_in_turn(&self, question: &Question) -> Result<Vec<NodeReply>, Problem> {
        let mut replies = Vec::new();
        for node in self.nodes() {
            let answer = self.ask(&node, question).await;
            let done = answer.is_ok();
            replies.push(NodeReply { node, answer });
            if done {
                break;
            }
        }
        if replies.is_empty() { Err(no_node()) } else { Ok(replies) }
    }

    /// Asks one node.
    pub(crate) async fn ask(&self, node: &str, question: &Question) -> Result<Value, Problem> {
        let line = self.lines.lock().get(node).cloned().ok_or_else(no_node)?;
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        {
            let mut open = line.open.lock();
            if open.len() >= MAX_OPEN {
                return Err(Problem::new(Code::Unavailable, "the data plane has too many unanswered questions").with_retry_after(1));
            }
            open.insert(id, sender);
        }
        let _forget = Forget { line: &line, id };
        let body = serde_json::to_vec(question).expect("questions have string keys only");
        let sent = line.questions.try_send(Ok(NodeQuestion { id, body: body.into() }));
        sent.map_err(|_| Problem::new(Code::Unavailable, "the data plane takes no questions just now").with_retry_after(1))?;
        match timeout(ANSWER_WITHIN, receiver).await {
            Ok(Ok(reply)) => read(&reply),
            Ok(Err(_)) => Err(Problem::new(Code::NoNode, "the data plane went away while it was asked").with_retry_after(1)),
            Err(_) => Err(Problem::new(Code::Unavailable, "the data plane did not answer within 10s").with_retry_after(5)),
        }
    }
}

fn no_node() -> Problem {
    Problem::new(Code::NoNode, "no data plane is connected that could answer; see /v1/nodes").with_retry_after(1)
}

/// Takes the question off the books however the asking ends.
struct Forget<'a> {
    line: &'a Line,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.line.open.lock().remove(&self.id);
    }
}

fn read(reply: &Reply) -> Result<Value, Problem> {
    let malformed = || Problem::new(Code::Internal, "the data plane's answer cannot be read; is it of another version?");
    let body: Value = serde_json::from_slice(&reply.body).map_err(|_| malformed())?;
    if reply.problem { Err(Problem::from_value(&body).unwrap_or_else(malformed)) } else { Ok(body) }
}

/// Serves one node's answer stream until it goes.
pub(super) async fn run(
    publisher: Arc<Publisher>,
    mut incoming: Streaming<NodeAnswer>,
    questions: mpsc::Sender<Result<NodeQuestion, Status>>,
) {
    if let Err(status) = serve(&publisher.answers, &mut incoming, &questions).await {
        // When the node is gone already there is nobody to tell.
        drop(questions.try_send(Err(status)));
    }
}

async fn serve(
    answers: &Answers,
    incoming: &mut Streaming<NodeAnswer>,
    questions: &mpsc::Sender<Result<NodeQuestion, Status>>,
) -> Result<(), Status> {
    let first = timeout(HELLO_WITHIN, incoming.message()).await.map_err(|_| Status::deadline_exceeded("no hello in time"))??;
    let Some(Message::Hello(hello)) = first.and_then(|message| message.message) else {
        return Err(Status::failed_precondition("the first message must be a hello"));
    };
    check_node_id(&hello.node_id)?;
    let session = answers.next.fetch_add(1, Ordering::Relaxed);
    let line = Line { session, questions: questions.clone(), open: Arc::default() };
    {
        let mut lines = answers.lines.lock();
        if !lines.contains_key(&hello.node_id) && lines.len() >= MAX_NODES {
            return Err(Status::resource_exhausted("too many nodes are connected"));
        }
        lines.insert(hello.node_id.clone(), line.clone());
    }
    let _leave = Leave { answers, node: hello.node_id, session };
    while let Some(message) = incoming.message().await? {
        let Some(Message::Reply(reply)) = message.message else {
            return Err(Status::failed_precondition("only replies may follow the hello"));
        };
        let waiting = line.open.lock().remove(&reply.id);
        if let Some(waiting) = waiting {
            // Whoever asked may have gone meanwhile.
            drop(waiting.send(reply));
        }
    }
    Ok(())
}

/// Takes the node off the list when its stream ends, unless a newer stream of it stands there.
struct Leave<'a> {
    answers: &'a Answers,
    node: String,
    session: u64,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let mut lines = self.answers.lines.lock();
        if lines.get(&self.node).is_some_and(|line| line.session == self.session)
            && let Some(line) = lines.remove(&self.node)
        {
            // Whoever waits for an answer hears at once that there will be none.
            line.open.lock().clear();
        }
    }
}
