//! The life of one node's stream: hello, push, answer, wait, push…

use std::sync::Arc;
use std::time::Duration;

use posthorn_proto::snapshot::node_message::Message;
use posthorn_proto::snapshot::{Ack, ControlMessage, Hello, NodeMessage, Report};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tonic::{Status, Streaming};

use super::Publisher;
use super::nodes::Registration;
use super::push::Push;

/// A node that has not said hello by then is dropped.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// A node that has not answered a push by then is dropped; it will come again and get what it needs.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Nacks of one answer that are kept, and bytes of each reason.
const MAX_NACKS: usize = 1000;
const MAX_REASON: usize = 1000;

/// What the stream carries to the node.
pub(super) type Outgoing = mpsc::Sender<Result<ControlMessage, Status>>;

/// Runs until the node goes, is replaced or does not answer.
pub(super) async fn run(publisher: Arc<Publisher>, mut incoming: Streaming<NodeMessage>, outgoing: Outgoing) {
    let end = match serve(&publisher, &mut incoming, &outgoing).await {
        Ok(()) => return,
        Err(status) => status,
    };
    tracing::info!(reason = end.message(), "node's stream ended");
    // When the node is gone already there is nobody to tell.
    drop(outgoing.try_send(Err(end)));
}

async fn serve(publisher: &Publisher, incoming: &mut Streaming<NodeMessage>, outgoing: &Outgoing) -> Result<(), Status> {
    let hello = timeout(HELLO_WITHIN, hello(incoming)).await.map_err(|_| Status::deadline_exceeded("no hello in time"))??;
    let known = hello.control_plane_id == publisher.identity && hello.revision > 0;
    let base = known.then_some(hello.revision);
    let registration = publisher.nodes.enter(&hello.node_id, &hello.version, base.unwrap_or(0));
    let registration = registration.ok_or_else(|| Status::resource_exhausted("too many nodes are connected"))?;
    tracing::info!(node = hello.node_id, version = hello.version, revision = hello.revision, known, "node connected");
    let ended = registration.ended.clone();
    let session = Session { publisher, registration, incoming, outgoing, pushes: 0 };
    tokio::select! {
        () = ended.cancelled() => Err(Status::aborted("the node opened another stream")),
        end = session.push_for_ever(base) => end,
    }
}

async fn hello(incoming: &mut Streaming<NodeMessage>) -> Result<Hello, Status> {
    let first = incoming.message().await?.and_then(|message| message.message);
    let Some(Message::Hello(hello)) = first else { return Err(Status::failed_precondition("the first message must be a hello")) };
    check_node_id(&hello.node_id)?;
    Ok(hello)
}

/// Node ids end up in answers and logs.
pub(super) fn check_node_id(id: &str) -> Result<(), Status> {
    if id.is_empty() || id.len() > 200 || id.chars().any(char::is_control) {
        return Err(Status::invalid_argument("node_id must be 1 to 200 bytes without control characters"));
    }
    Ok(())
}

struct Session<'a> {
    publisher: &'a Publisher,
    registration: Registration<'a>,
    incoming: &'a mut Streaming<NodeMessage>,
    outgoing: &'a Outgoing,
    pushes: u64,
}

impl Session<'_> {
    async fn push_for_ever(mut self, mut base: Option<u64>) -> Result<(), Status> {
        let mut changed = self.publisher.changed.subscribe();
        loop {
            changed.mark_unchanged();
            base = Some(self.push(base).await?);
            let not_before = Instant::now() + self.publisher.debounce;
            self.wait_for_change(&mut changed, base.unwrap_or(0)).await?;
            sleep_until(not_before).await;
        }
    }

    /// Until there is something newer than `acked`, or the node goes.
    async fn wait_for_change(&mut self, changed: &mut tokio::sync::watch::Receiver<u64>, acked: u64) -> Result<(), Status> {
        tokio::select! {
            newer = changed.wait_for(|revision| *revision > acked) => {
                newer.map(drop).map_err(|_| Status::unavailable("the control plane is shutting down"))
            }
            unexpected = next_ack(self.publisher, self.incoming) => {
                // A late or repeated answer changes nothing; a closed stream ends the session.
                unexpected.map(drop)
            }
        }
    }

    /// Sends one push and waits for its answer. Gives the revision that the node has now.
    async fn push(&mut self, base: Option<u64>) -> Result<u64, Status> {
        self.pushes += 1;
        let nonce = self.pushes.to_string();
        let mut push = self.publisher.push_from(base, nonce.clone());
        let sent_at = self.publisher.clock.now();
        self.send(&mut push).await?;
        let ack = timeout(ANSWER_WITHIN, self.answer(&nonce)).await.map_err(|_| Status::deadline_exceeded("a push was not answered"))??;
        let nacks = ack.nacks.into_iter().take(MAX_NACKS).map(|nack| (cut(nack.resource), cut(nack.reason)));
        let nacks: Vec<(String, String)> = nacks.collect();
        if !nacks.is_empty() {
            tracing::warn!(resources = nacks.len(), first = nacks[0].0, reason = nacks[0].1, "node could not use resources");
        }
        metrics::counter!("posthorn_snapshot_pushes_total", "kind" => if push.full { "full" } else { "delta" }).increment(1);
        metrics::counter!("posthorn_snapshot_nacks_total").increment(nacks.len() as u64);
        self.registration.acked(&push, sent_at, nacks);
        Ok(push.revision)
    }

    async fn send(&mut self, push: &mut Push) -> Result<(), Status> {
        for message in push {
            let sent = timeout(ANSWER_WITHIN, self.outgoing.send(Ok(message))).await;
            sent.map_err(|_| Status::deadline_exceeded("a push was not taken"))?.map_err(|_| Status::cancelled("the node went"))?;
        }
        Ok(())
    }

    /// The answer to this push; answers to others are late and are passed over.
    async fn answer(&mut self, nonce: &str) -> Result<Ack, Status> {
        loop {
            let ack = next_ack(self.publisher, self.incoming).await?;
            if ack.nonce == nonce {
                return Ok(ack);
            }
        }
    }
}

/// The next answer; reports that come between are passed on.
async fn next_ack(publisher: &Publisher, incoming: &mut Streaming<NodeMessage>) -> Result<Ack, Status> {
    loop {
        match incoming.message().await?.map(|message| message.message) {
            Some(Some(Message::Ack(ack))) => return Ok(ack),
            Some(Some(Message::Report(report))) => pass_on(publisher, report)?,
            Some(_) => return Err(Status::failed_precondition("only answers to pushes and reports may follow the hello")),
            None => return Err(Status::cancelled("the node went")),
        }
    }
}

/// A report that finds no room is lost; the node repeats it on its next stream.
fn pass_on(publisher: &Publisher, report: Report) -> Result<(), Status> {
    let id = report.subscription.parse().map_err(|_| Status::invalid_argument("a report must name a subscription"))?;
    if publisher.gone.try_send((id, cut(report.reason))).is_err() {
        tracing::warn!(subscription = %id, "too many reports at once; one was left for later");
    }
    Ok(())
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_REASON {
        text.truncate(text.floor_char_boundary(MAX_REASON));
    }
    text
}
