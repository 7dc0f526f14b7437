//! Answers the control plane's questions, on a stream of their own so that a slow answer holds up no push.

use std::sync::Arc;
use std::time::Duration;

use posthorn_domain::problem::{Code, Problem};
use posthorn_proto::snapshot::node_answer::Message;
use posthorn_proto::snapshot::snapshot_service_client::SnapshotServiceClient;
use posthorn_proto::snapshot::{Hello, NodeAnswer, NodeQuestion, Reply};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

use super::Plane;
use super::backoff::Backoff;

/// Questions that are worked on at the same time; further ones wait unread.
pub(super) const AT_ONCE: usize = 16;
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Keeps the stream open for as long as it is polled. Answers under way go on without it.
pub(super) async fn run(channel: Channel, hello: Hello, plane: Arc<dyn Plane>, slots: Arc<Semaphore>) {
    let mut backoff = Backoff::default();
    loop {
        if let Err(status) = serve(&channel, hello.clone(), &plane, &slots, &mut backoff).await {
            tracing::debug!(reason = status.message(), "the stream of questions ended");
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

async fn serve(
    channel: &Channel,
    hello: Hello,
    plane: &Arc<dyn Plane>,
    slots: &Arc<Semaphore>,
    backoff: &mut Backoff,
) -> Result<(), Status> {
    let (replies, outgoing) = mpsc::channel(AT_ONCE);
    drop(replies.try_send(NodeAnswer { message: Some(Message::Hello(hello)) }));
    let mut client = SnapshotServiceClient::new(channel.clone());
    let mut questions = client.answer(ReceiverStream::new(outgoing)).await?.into_inner();
    while let Some(question) = questions.message().await? {
        backoff.reset();
        let Ok(slot) = slots.clone().acquire_owned().await else { return Ok(()) };
        let (plane, replies) = (plane.clone(), replies.clone());
        tokio::spawn(async move {
            let reply = reply(&*plane, question).await;
            // The stream may have ended meanwhile; whoever asked has given up then.
            drop(replies.send(NodeAnswer { message: Some(Message::Reply(reply)) }).await);
            drop(slot);
        });
    }
    Ok(())
}

async fn reply(plane: &dyn Plane, NodeQuestion { id, body }: NodeQuestion) -> Reply {
    let answer = match serde_json::from_slice(&body) {
        Ok(question) => tokio::time::timeout(ANSWER_WITHIN, plane.answer(question)).await.unwrap_or_else(|_| Err(too_slow())),
        Err(_) => Err(Problem::new(Code::InvalidRequest, "this node does not know the question; is it of an older version?")),
    };
    let problem = answer.is_err();
    let body = answer.unwrap_or_else(|problem| problem.to_value()).to_string().into_bytes().into();
    Reply { id, body, problem }
}

fn too_slow() -> Problem {
    Problem::new(Code::Unavailable, "the node did not find the answer in time").with_retry_after(5)
}
