//! The two doors for publishers side by side: HTTP batches against streams of the EventBroker, on a Posthorn that runs already.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use posthorn_proto::broker::PublishRequest;
use posthorn_proto::broker::event_broker_client::EventBrokerClient;
use posthorn_proto::broker::publish_result::Result as Published;
use posthorn_proto::cloudevents::CloudEvent;
use posthorn_proto::cloudevents::cloud_event::cloud_event_attribute_value::Attr;
use posthorn_proto::cloudevents::cloud_event::{CloudEventAttributeValue, Data};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use crate::client::Client;
use crate::payload::ORDER;
use crate::wall;

/// Events of one HTTP batch.
const BATCH: u64 = 100;
/// Requests that a stream may be ahead of its answers.
const AHEAD: usize = 512;

/// Where to, and how much.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data door.
    pub data: SocketAddr,
    /// The EventBroker.
    pub broker: SocketAddr,
    /// A topic that takes the order of this harness without a schema.
    pub topic: String,
    /// Events of one measurement; a multiple of 100 times the lanes.
    pub events: u64,
    /// Connections, and streams.
    pub lanes: u64,
    /// Rounds; each measures both.
    pub rounds: u64,
}

/// Measures both in turn and prints events a second, round by round.
///
/// # Errors
/// When a door does not answer or refuses an event.
pub async fn run(options: &Options) -> Result<()> {
    let Options { events, lanes, .. } = *options;
    ensure!(lanes > 0 && events > 0 && events % (BATCH * lanes) == 0, "events must be a multiple of {} ", BATCH * lanes.max(1));
    println!("{events} events over {lanes} connections: HTTP batches of {BATCH}, then one stream each");
    for round in 0..options.rounds {
        let http = timed(events, round, options, http_lane).await?;
        let grpc = timed(events, round, options, grpc_lane).await?;
        println!("http {http:.0}/s, grpc {grpc:.0}/s, grpc/http {:.2}", grpc / http);
    }
    Ok(())
}

async fn timed<F>(events: u64, round: u64, options: &Options, lane: impl Fn(Options, String, u64) -> F) -> Result<f64>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let began = Instant::now();
    let run = format!("{}-{round}-{}", std::process::id(), wall::micros());
    let mut running = JoinSet::new();
    for number in 0..options.lanes {
        running.spawn(lane(options.clone(), format!("{run}-{number}"), events / options.lanes));
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    Ok(events as f64 / began.elapsed().as_secs_f64())
}

async fn http_lane(options: Options, source: String, events: u64) -> Result<()> {
    let client = Client::new(options.data);
    for first in (0..events).step_by(usize::try_from(BATCH)?) {
        let event =
            |n| format!(r#"{{"specversion":"1.0","id":"{n}","source":"/h/{source}","type":"t","data":{ORDER}}}"#).replace('\n', " ");
        let body = format!("[{}]", (first..first + BATCH).map(event).collect::<Vec<_>>().join(","));
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("/v1/topics/{}/events", options.topic))
            .header("host", options.data.to_string())
            .header("content-type", "application/cloudevents-batch+json")
            .body(Full::from(body))?;
        let answer = client.send(request).await?;
        ensure!(answer.status() == 202, "{}: {}", answer.status(), String::from_utf8_lossy(answer.body()));
    }
    Ok(())
}

async fn grpc_lane(options: Options, source: String, events: u64) -> Result<()> {
    let mut broker = EventBrokerClient::connect(format!("http://{}", options.broker)).await?;
    let (sender, requests) = mpsc::channel(AHEAD);
    let topic = options.topic;
    let sending = tokio::spawn(async move {
        let data = Bytes::from_static(ORDER.as_bytes());
        for n in 0..events {
            let json = CloudEventAttributeValue { attr: Some(Attr::CeString("application/json".into())) };
            let event = CloudEvent {
                id: n.to_string(),
                source: format!("/g/{source}"),
                spec_version: "1.0".into(),
                r#type: "t".into(),
                attributes: [("datacontenttype".to_owned(), json)].into(),
                data: Some(Data::BinaryData(data.clone())),
            };
            let request = PublishRequest { topic: topic.clone(), event: Some(event), idempotency_key: String::new() };
            if sender.send(request).await.is_err() {
                return;
            }
        }
    });
    let mut answers = broker.publish_stream(ReceiverStream::new(requests)).await?.into_inner();
    let mut accepted = 0;
    while let Some(answer) = answers.next().await {
        match answer?.result.context("an empty answer")? {
            Published::Response(_) => accepted += 1,
            Published::Error(status) => anyhow::bail!("refused: {}", status.message),
        }
    }
    sending.await?;
    ensure!(accepted == events, "{accepted} of {events} were answered");
    Ok(())
}
