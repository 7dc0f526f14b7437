//! The calls of `EventBroker`: decode, begin, finish, answer.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use posthorn_domain::problem::{Code, Problem};
use posthorn_proto::broker::event_broker_server::EventBroker;
use posthorn_proto::broker::{
    PublishBatchRequest, PublishBatchResponse, PublishRequest, PublishResponse, PublishResult, Status as Kept, publish_result,
};
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::decode::decode;
use super::status::{to_rpc, to_status};
use crate::ingest::{Begun, Outcome, Pipeline, Publish, idempotency_key};

/// Answers to one batch, or one stream, stand in the order of the requests.
type Results = Pin<Box<dyn Stream<Item = Result<PublishResult, Status>> + Send>>;

/// The service. Cheap to clone.
#[derive(Clone)]
pub(super) struct Broker {
    pub(super) pipeline: Arc<Pipeline>,
    /// Events of one stream that are being worked on.
    pub(super) stream_in_flight: usize,
    /// Streams take no more requests after this.
    pub(super) stopping: CancellationToken,
}

#[tonic::async_trait]
impl EventBroker for Broker {
    async fn handle_incoming_event(&self, request: Request<PublishRequest>) -> Result<Response<PublishResponse>, Status> {
        self.one(request).await
    }

    async fn handle_incoming_message(&self, request: Request<PublishRequest>) -> Result<Response<PublishResponse>, Status> {
        self.one(request).await
    }

    async fn send_outgoing_event(&self, request: Request<PublishRequest>) -> Result<Response<PublishResponse>, Status> {
        self.one(request).await
    }

    async fn publish_batch(&self, request: Request<PublishBatchRequest>) -> Result<Response<PublishBatchResponse>, Status> {
        let publisher = authenticate(request.metadata()).map_err(|problem| to_status(&problem))?;
        let requests = request.into_inner().requests;
        let max = self.pipeline.config().max_batch_events;
        if requests.len() > max {
            let detail = format!("the batch has {} events; at most {max} are taken", requests.len());
            return Err(to_status(&Problem::new(Code::TooLarge, detail)));
        }
        // All are begun before the first is waited for, so that one flush serves them.
        let begun: Vec<_> = requests.into_iter().map(|request| self.begin(&publisher, request)).collect();
        let mut results = Vec::with_capacity(begun.len());
        for begun in begun {
            results.push(result(self.finish(begun).await));
        }
        Ok(Response::new(PublishBatchResponse { results }))
    }

    type PublishStreamStream = Results;

    async fn publish_stream(&self, request: Request<Streaming<PublishRequest>>) -> Result<Response<Results>, Status> {
        let publisher = authenticate(request.metadata()).map_err(|problem| to_status(&problem))?;
        let broker = self.clone();
        let answers = request
            .into_inner()
            .take_until(self.stopping.clone().cancelled_owned())
            .map(move |request| {
                let begun = request.map(|request| broker.begin(&publisher, request));
                let broker = broker.clone();
                async move { Ok(result(broker.finish(begun?).await)) }
            })
            .buffered(self.stream_in_flight.max(1));
        Ok(Response::new(Box::pin(answers)))
    }
}

impl Broker {
    async fn one(&self, request: Request<PublishRequest>) -> Result<Response<PublishResponse>, Status> {
        let publisher = authenticate(request.metadata()).map_err(|problem| to_status(&problem))?;
        let begun = self.begin(&publisher, request.into_inner());
        match self.finish(begun).await {
            Ok(outcome) => Ok(Response::new(response(outcome))),
            Err(problem) => Err(to_status(&problem)),
        }
    }

    fn begin(&self, publisher: &str, request: PublishRequest) -> Result<Begun, Problem> {
        let PublishRequest { topic, event, idempotency_key: key } = request;
        let event = event.ok_or_else(|| Problem::new(Code::InvalidRequest, "`event` is missing"))?;
        let key = if key.is_empty() { None } else { Some(idempotency_key(key.as_bytes())?) };
        let topic = Some(topic.as_str()).filter(|topic| !topic.is_empty());
        let event = decode(event)?;
        Ok(self.pipeline.begin(Publish { topic, event, publisher, idempotency_key: key.as_deref() }))
    }

    async fn finish(&self, begun: Result<Begun, Problem>) -> Result<Outcome, Problem> {
        match begun {
            Ok(begun) => self.pipeline.finish(begun).await,
            Err(problem) => {
                self.pipeline.metrics().refused.increment(1);
                Err(problem)
            }
        }
    }
}

/// Who calls, by the call's metadata; nobody is asked who they are yet, so the publisher is anonymous.
fn authenticate(_metadata: &MetadataMap) -> Result<Arc<str>, Problem> {
    Ok("".into())
}

fn result(outcome: Result<Outcome, Problem>) -> PublishResult {
    let result = match outcome {
        Ok(outcome) => publish_result::Result::Response(response(outcome)),
        Err(problem) => publish_result::Result::Error(to_rpc(&problem)),
    };
    PublishResult { result: Some(result) }
}

fn response(outcome: Outcome) -> PublishResponse {
    let told = |warnings: Vec<Arc<str>>| warnings.iter().map(ToString::to_string).collect();
    match outcome {
        Outcome::Accepted { id, topic, partition, offset, warnings } => {
            placed(id.into(), topic.to_string(), partition, offset, Kept::Accepted, told(warnings))
        }
        Outcome::Duplicate { id, topic, partition, offset } => {
            placed(id.into(), topic.to_string(), partition, offset, Kept::Duplicate, Vec::new())
        }
        Outcome::DeadLettered { id, topic, reason, warnings } => {
            PublishResponse { reason: reason.to_string(), ..placed(id.into(), topic.to_string(), 0, 0, Kept::DeadLettered, told(warnings)) }
        }
    }
}

fn placed(id: String, topic: String, partition: u32, offset: u64, status: Kept, warnings: Vec<String>) -> PublishResponse {
    PublishResponse { id, topic, partition, offset, status: status.into(), reason: String::new(), warnings }
}
