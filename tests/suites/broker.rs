//! The EventBroker by itself: the protobuf format, streams, deadlines, and what it shares with HTTP (interfaces §8).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use posthorn_proto::broker::event_broker_client::EventBrokerClient;
use posthorn_proto::broker::publish_result::Result as Published;
use posthorn_proto::broker::{PublishBatchRequest, PublishRequest};
use posthorn_proto::cloudevents::CloudEvent;
use posthorn_proto::cloudevents::cloud_event::cloud_event_attribute_value::Attr;
use posthorn_proto::cloudevents::cloud_event::{CloudEventAttributeValue, Data};
use posthorn_tests::{Config, SOON, World};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tonic::{Code, Request};

use crate::kit::metric;

fn event(id: &str, attributes: &[(&str, Attr)], data: Option<Data>) -> PublishRequest {
    let attribute = |(name, attr): &(&str, Attr)| ((*name).to_owned(), CloudEventAttributeValue { attr: Some(attr.clone()) });
    let event = CloudEvent {
        id: id.into(),
        source: "/grpc".into(),
        spec_version: "1.0".into(),
        r#type: "t.made".into(),
        attributes: attributes.iter().map(attribute).collect(),
        data,
    };
    PublishRequest { topic: "orders".into(), event: Some(event), idempotency_key: String::new() }
}

async fn world() -> Result<(World, EventBrokerClient<tonic::transport::Channel>)> {
    world_with(Config::default()).await
}

async fn world_with(config: Config) -> Result<(World, EventBrokerClient<tonic::transport::Channel>)> {
    let world = World::with(config).await?;
    world.topic("orders", json!({})).await?;
    let broker = EventBrokerClient::connect(world.posthorn.broker_url()).await?;
    Ok((world, broker))
}

#[tokio::test]
async fn every_kind_of_attribute_and_data_arrives() -> Result<()> {
    let (world, mut broker) = world().await?;
    world.subscribe("/hook", json!({"qos": {"ordering": "key"}})).await?;
    let time = prost_types::Timestamp { seconds: 1_767_225_600, nanos: 500_000_000 };
    let attributes = [
        ("flag", Attr::CeBoolean(true)),
        ("count", Attr::CeInteger(-7)),
        ("text", Attr::CeString("grüße".into())),
        ("raw", Attr::CeBytes(Bytes::from_static(b"\xff\x00"))),
        ("link", Attr::CeUri("https://a.example/b".into())),
        ("ref", Attr::CeUriRef("../c".into())),
        ("time", Attr::CeTimestamp(time)),
        ("partitionkey", Attr::CeString("k".into())),
    ];
    let any = prost_types::Any { type_url: "type.googleapis.com/a.B".into(), value: vec![8, 1] };
    let json = ("datacontenttype", Attr::CeString("application/json".into()));
    let key = ("partitionkey", Attr::CeString("k".into()));
    broker.handle_incoming_event(event("attributes", &attributes, None)).await?;
    broker.handle_incoming_event(event("proto", std::slice::from_ref(&key), Some(Data::ProtoData(any)))).await?;
    broker.handle_incoming_event(event("json text", &[key.clone(), json.clone()], Some(Data::TextData("{ }".into())))).await?;
    broker.handle_incoming_event(event("binary", &[key], Some(Data::BinaryData(Bytes::from_static(b"\x00\xff"))))).await?;
    let got = world.receiver.wait_for("/hook", 4, SOON).await?;
    let first = &got[0];
    for (name, value) in [
        ("ce-flag", "true"),
        ("ce-count", "-7"),
        ("ce-text", "gr%C3%BC%C3%9Fe"),
        ("ce-raw", "/wA="),
        ("ce-link", "https://a.example/b"),
        ("ce-ref", "../c"),
        ("ce-time", "2026-01-01T00:00:00.5Z"),
    ] {
        ensure!(
            first.header(name).trim_end_matches('Z').trim_end_matches('0') == value.trim_end_matches('Z').trim_end_matches('0'),
            "{name}: {first:?}"
        );
    }
    let seen = |n: usize| (got[n].header("content-type").to_owned(), got[n].body.to_vec());
    ensure!(seen(1) == ("application/protobuf".into(), vec![8, 1]), "{:?}", got[1]);
    ensure!(got[1].header("ce-dataschema") == "https://type.googleapis.com/a.B", "{:?}", got[1]);
    ensure!(seen(2) == ("application/json".into(), b"{ }".to_vec()), "{:?}", got[2]);
    ensure!(got[3].body[..] == b"\x00\xff"[..], "{:?}", got[3]);
    Ok(())
}

/// Requests are read ahead of the answers, and the answers come in their order.
#[tokio::test]
async fn a_stream_answers_in_order() -> Result<()> {
    let (_world, mut broker) = world().await?;
    let requests = (0..3000).map(|n| if n % 100 == 99 { event("", &[], None) } else { event(&n.to_string(), &[], None) });
    let mut answers = broker.publish_stream(tokio_stream::iter(requests)).await?.into_inner();
    let (mut n, mut kept) = (0, 0);
    while let Some(answer) = answers.message().await? {
        match answer.result.context("a result")? {
            Published::Response(response) => {
                ensure!(response.id == n.to_string() && response.offset == kept, "{n}: {response:?}");
                kept += 1;
            }
            Published::Error(error) => ensure!(n % 100 == 99 && error.code == Code::InvalidArgument as i32, "{n}: {error:?}"),
        }
        n += 1;
    }
    ensure!((n, kept) == (3000, 2970), "{n} {kept}");
    Ok(())
}

/// A client that takes no answers is not read from without end; once it takes them, all come.
#[tokio::test]
async fn a_stream_is_read_no_faster_than_its_answers_are_taken() -> Result<()> {
    const MANY: usize = 300_000;
    let (world, _) = world().await?;
    let channel =
        tonic::transport::Endpoint::from_shared(world.posthorn.broker_url())?.initial_stream_window_size(65_535).connect().await?;
    let (requests, receiver) = tokio::sync::mpsc::channel(1);
    let call = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut answers = EventBrokerClient::new(channel).publish_stream(call).await?.into_inner();
    // The event is refused, so that nothing but the answer is made of it.
    let refused = || PublishRequest { topic: "nowhere".into(), ..event("1", &[], None) };
    let mut sent = 0;
    while sent < MANY && tokio::time::timeout(Duration::from_secs(3), requests.reserve()).await.is_ok() {
        requests.send(refused()).await?;
        sent += 1;
    }
    ensure!(sent < MANY, "all {MANY} requests were read although no answer was taken");
    drop(requests);
    let mut answered = 0;
    while answers.message().await?.is_some() {
        answered += 1;
    }
    ensure!(answered == sent, "{answered} answers to {sent} requests");
    Ok(())
}

#[tokio::test]
async fn a_stream_ends_at_its_deadline() -> Result<()> {
    let (_world, mut broker) = world().await?;
    let (requests, receiver) = tokio::sync::mpsc::channel(1);
    requests.send(event("1", &[], None)).await?;
    let mut call = Request::new(tokio_stream::wrappers::ReceiverStream::new(receiver));
    call.metadata_mut().insert("grpc-timeout", "5S".parse()?);
    let mut answers = broker.publish_stream(call).await?.into_inner();
    ensure!(matches!(answers.message().await?.and_then(|answer| answer.result), Some(Published::Response(_))));
    let ended = answers.message().await.err().context("the deadline passes")?;
    ensure!(ended.code() == Code::DeadlineExceeded, "{ended:?}");
    drop(requests);
    Ok(())
}

/// What HTTP holds is not there for gRPC: one budget of bytes for both.
#[tokio::test]
async fn the_bytes_in_flight_are_shared_with_http() -> Result<()> {
    let limit = "64KiB";
    let ingest = json!({"max_event_bytes": limit, "max_batch_bytes": limit, "max_in_flight_bytes": limit});
    let (world, mut broker) = world_with(Config::with(json!({"ingest": ingest}))).await?;
    let big = |id: &str| event(id, &[], Some(Data::BinaryData(vec![0; 30 << 10].into())));
    broker.handle_incoming_event(big("1")).await?;
    let mut slow = tokio::net::TcpStream::connect(world.data.address()).await?;
    slow.write_all(b"POST /v1/topics/orders/events HTTP/1.1\r\nhost: a\r\nce-id: 0\r\nce-source: /s\r\nce-type: t\r\nce-specversion: 1.0\r\ncontent-length: 60000\r\n\r\n")
        .await?;
    posthorn_tests::eventually("HTTP holds its part", SOON, || async {
        metric(&world.posthorn, "posthorn_ingest_in_flight_bytes").await.ok().filter(|bytes| *bytes >= 60_000.0)
    })
    .await?;
    let refused = broker.handle_incoming_event(big("2")).await.err().context("the budget is used up")?;
    ensure!(refused.code() == Code::ResourceExhausted && refused.metadata().contains_key("retry-after"), "{refused:?}");
    let batch = PublishBatchRequest { requests: vec![event("3", &[], None), big("4")] };
    let results = broker.publish_batch(batch).await?.into_inner().results;
    ensure!(matches!(&results[0].result, Some(Published::Response(_))), "{results:?}");
    ensure!(matches!(&results[1].result, Some(Published::Error(error)) if error.code == Code::ResourceExhausted as i32), "{results:?}");
    drop(slow);
    posthorn_tests::eventually("the budget is given back", SOON, || {
        let mut broker = broker.clone();
        async move { broker.handle_incoming_event(big("5")).await.ok() }
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn messages_beyond_the_limits_are_refused_as_over_http() -> Result<()> {
    let (_world, broker) = world().await?;
    let mut broker = broker.max_encoding_message_size(64 << 20);
    let huge = || event("1", &[], Some(Data::BinaryData(vec![0; 9 << 20].into())));
    let refused = broker.handle_incoming_event(huge()).await.err().context("beyond a message")?;
    ensure!(refused.code() == Code::ResourceExhausted, "{refused:?}");
    let mut answers = broker.publish_stream(tokio_stream::iter([event("0", &[], None), huge()])).await?.into_inner();
    answers.message().await?.context("the first is answered")?;
    let refused = answers.message().await.err().context("beyond a message")?;
    ensure!(refused.code() == Code::ResourceExhausted, "{refused:?}");
    let many = PublishBatchRequest { requests: (0..1001).map(|n| event(&n.to_string(), &[], None)).collect() };
    let refused = broker.publish_batch(many).await.err().context("beyond a batch")?;
    ensure!(refused.code() == Code::ResourceExhausted, "{refused:?}");
    let mut small = Request::new(event("2", &[], None));
    small.set_timeout(Duration::from_secs(20));
    broker.handle_incoming_event(small).await?;
    Ok(())
}
