//! The calls of `EventBroker`: decode, begin, finish, answer.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use posthorn_domain::clock::Clock;
use posthorn_domain::direction::Direction;
use posthorn_domain::hops::{DELIVERY_HEADER, HOPS_HEADER};
use posthorn_domain::problem::{Code, Problem};
use posthorn_proto::broker::event_broker_server::EventBroker;
use posthorn_proto::broker::{
    PublishBatchRequest, PublishBatchResponse, PublishRequest, PublishResponse, PublishResult, Status as Kept, publish_result,
};
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::deadline;
use super::decode::decode;
use super::status::{to_rpc, to_status, too_large};
use crate::ingest::{Begun, Held, Outcome, Pipeline, Publish, idempotency_key, relayed};

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
    /// The time.
    pub(super) clock: Clock,
}

/// What is true of all events of one call.
struct Call {
    /// Empty when nobody was authenticated.
    publisher: Arc<str>,
    direction: Direction,
    /// When a Posthorn sent it: the hops that its metadata tells.
    relayed: Option<u32>,
    timeout: Option<Duration>,
}

/// An event that was begun, and its part of the budget.
struct Pending {
    begun: Result<Begun, Problem>,
    _held: Option<Held>,
}

#[tonic::async_trait]
impl EventBroker for Broker {
    async fn handle_incoming_event(&self, request: Request<PublishRequest>) -> Result<Response<PublishResponse>, Status> {
        self.one(request, Direction::Incoming).await
    }

    async fn handle_incoming_message(&self, request: Request<PublishRequest>) -> Result<Response<PublishResponse>, Status> {
        self.one(request, Direction::Incoming).await
    }

    async fn send_outgoing_event(&self, request: Request<PublishRequest>) -> Result<Response<PublishResponse>, Status> {
        self.one(request, Direction::Outgoing).await
    }

    async fn publish_batch(&self, request: Request<PublishBatchRequest>) -> Result<Response<PublishBatchResponse>, Status> {
        let call = self.call(request.metadata(), self.pipeline.config().default_direction)?;
        let requests = request.into_inner().requests;
        let max = self.pipeline.config().max_batch_events;
        if requests.len() > max {
            let detail = format!("the batch has {} events; at most {max} are taken", requests.len());
            return Err(to_status(&Problem::new(Code::TooLarge, detail)));
        }
        let started = self.clock.instant();
        // All are begun before the first is waited for, so that one flush serves them.
        let begun: Vec<_> = requests.into_iter().map(|request| self.begin(&call, request)).collect();
        let finished = async {
            let mut results = Vec::with_capacity(begun.len());
            for begun in begun {
                results.push(result(self.finish(begun).await));
            }
            Ok(Response::new(PublishBatchResponse { results }))
        };
        let answer = deadline::within(call.timeout, finished).await;
        self.pipeline.metrics().seconds.record(started.elapsed());
        answer
    }

    type PublishStreamStream = Results;

    async fn publish_stream(&self, request: Request<Streaming<PublishRequest>>) -> Result<Response<Results>, Status> {
        let call = self.call(request.metadata(), self.pipeline.config().default_direction)?;
        let (broker, timeout) = (self.clone(), call.timeout);
        // No task an event: what was begun is polled here, and answered in order. As long as so many have no answer, or the client
        // takes no answers, no further request is read, and HTTP/2's flow control tells the client.
        let answers = request
            .into_inner()
            .take_until(self.stopping.clone().cancelled_owned())
            .map(move |request| {
                let begun = request.map(|request| broker.begin(&call, request)).map_err(too_large);
                let broker = broker.clone();
                async move { Ok(result(broker.finish(begun?).await)) }
            })
            .buffered(self.stream_in_flight.max(1));
        Ok(Response::new(Box::pin(deadline::Until::new(timeout, Box::pin(answers)))))
    }
}

impl Broker {
    async fn one(&self, request: Request<PublishRequest>, direction: Direction) -> Result<Response<PublishResponse>, Status> {
        let call = self.call(request.metadata(), direction)?;
        let started = self.clock.instant();
        let begun = self.begin(&call, request.into_inner());
        let finished = async { self.finish(begun).await.map(response).map_err(|problem| to_status(&problem)) };
        let answer = deadline::within(call.timeout, finished).await;
        self.pipeline.metrics().seconds.record(started.elapsed());
        answer.map(Response::new)
    }

    fn call(&self, metadata: &MetadataMap, direction: Direction) -> Result<Call, Status> {
        let publisher = authenticate(metadata).map_err(|problem| to_status(&problem))?;
        let hops = metadata.get(HOPS_HEADER).map(|hops| hops.as_encoded_bytes());
        let relayed = relayed(metadata.contains_key(DELIVERY_HEADER), hops);
        Ok(Call { publisher, direction, relayed, timeout: deadline::of(metadata) })
    }

    fn begin(&self, call: &Call, request: PublishRequest) -> Pending {
        // The transport has read the message already; what is held here is what goes on to be worked on.
        match self.pipeline.budget().take(request.encoded_len()) {
            Ok(held) => Pending { begun: self.begin_held(call, request), _held: Some(held) },
            Err(problem) => Pending { begun: Err(problem), _held: None },
        }
    }

    fn begin_held(&self, call: &Call, request: PublishRequest) -> Result<Begun, Problem> {
        let PublishRequest { topic, event, idempotency_key: key } = request;
        let event = event.ok_or_else(|| Problem::new(Code::InvalidRequest, "`event` is missing"))?;
        let key = if key.is_empty() { None } else { Some(idempotency_key(key.as_bytes())?) };
        let topic = Some(topic.as_str()).filter(|topic| !topic.is_empty());
        let event = decode(event)?;
        let Call { publisher, direction, relayed, .. } = call;
        let (direction, relayed) = (*direction, *relayed);
        Ok(self.pipeline.begin(Publish { topic, event, publisher, idempotency_key: key.as_deref(), direction, relayed }))
    }

    async fn finish(&self, pending: Pending) -> Result<Outcome, Problem> {
        match pending.begun {
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
