//! The gRPC door for nodes: `posthorn.snapshot.v1`.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use posthorn_proto::snapshot::snapshot_service_server::SnapshotService;
use posthorn_proto::snapshot::{ControlMessage, NodeAnswer, NodeMessage, NodeQuestion};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{Publisher, answers, session};

/// Messages on their way to one node; each is at most about a mebibyte.
const QUEUE: usize = 4;

/// Serves nodes. Who may call will be decided here, once nodes have credentials.
#[derive(Clone)]
pub(crate) struct SnapshotDoor {
    /// What is served.
    pub(crate) publisher: Arc<Publisher>,
    /// Cancelled when the control plane shuts down: streams end, nodes come again elsewhere or later.
    pub(crate) closing: CancellationToken,
}

type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl SnapshotService for SnapshotDoor {
    type SyncStream = Boxed<ControlMessage>;
    type AnswerStream = Boxed<NodeQuestion>;

    async fn sync(&self, request: Request<Streaming<NodeMessage>>) -> Result<Response<Self::SyncStream>, Status> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let publisher = self.publisher.clone();
        let session = session::run(publisher, request.into_inner(), sender.clone());
        tokio::spawn(until_closed(self.closing.clone(), sender, session));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn answer(&self, request: Request<Streaming<NodeAnswer>>) -> Result<Response<Self::AnswerStream>, Status> {
        let (sender, receiver) = mpsc::channel(answers::QUEUE);
        let publisher = self.publisher.clone();
        let session = answers::run(publisher, request.into_inner(), sender.clone());
        tokio::spawn(until_closed(self.closing.clone(), sender, session));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// Runs a stream's session until it ends, the peer stops listening or the control plane closes.
async fn until_closed<T>(closing: CancellationToken, sender: mpsc::Sender<Result<T, Status>>, session: impl Future<Output = ()>) {
    tokio::select! {
        () = session => {}
        () = sender.closed() => {}
        () = closing.cancelled() => {
            // A full queue means that the node is not reading; its stream just ends.
            drop(sender.try_send(Err(Status::unavailable("the control plane is shutting down"))));
        }
    }
}
