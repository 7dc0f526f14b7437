//! gRPC: the EventBroker, the control plane's resources, health and reflection (interfaces §8).

use anyhow::{Context, Result, ensure};
use posthorn_proto::admin::subscriptions_client::SubscriptionsClient;
use posthorn_proto::admin::topics_client::TopicsClient;
use posthorn_proto::admin::{
    Endpoint, IdRequest, ListReplaysRequest, ListRequest, NameRequest, PutTopicRequest, ReplayIdRequest, ReplayRequest, Subscription, Topic,
};
use posthorn_proto::broker::event_broker_client::EventBrokerClient;
use posthorn_proto::broker::publish_result::Result as Published;
use posthorn_proto::broker::{PublishBatchRequest, PublishRequest, Status};
use posthorn_proto::cloudevents::CloudEvent;
use posthorn_proto::cloudevents::cloud_event::Data;
use posthorn_tests::{SOON, World};
use serde_json::json;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

fn request(topic: &str, id: &str, text: &str) -> PublishRequest {
    let event = CloudEvent {
        id: id.into(),
        source: "/grpc".into(),
        spec_version: "1.0".into(),
        r#type: "t.made".into(),
        data: Some(Data::TextData(text.into())),
        ..CloudEvent::default()
    };
    PublishRequest { topic: topic.into(), event: Some(event), idempotency_key: String::new() }
}

#[tokio::test]
async fn events_come_in_by_every_call() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    let subscribed = world.subscribe("/hook", json!({})).await?;
    let mut broker = EventBrokerClient::connect(world.posthorn.broker_url()).await?;
    let first = broker.handle_incoming_event(request("orders", "1", "a")).await?.into_inner();
    ensure!(first.status() == Status::Accepted && first.id == "1" && first.topic == "orders" && first.offset == 0, "{first:?}");
    let again = broker.handle_incoming_message(request("orders", "1", "a")).await?.into_inner();
    ensure!(again.status() == Status::Duplicate && again.offset == first.offset, "{again:?}");
    broker.send_outgoing_event(request("orders", "2", "b")).await?;
    let batch = PublishBatchRequest { requests: vec![request("orders", "3", "c"), request("nowhere", "4", "d")] };
    let results = broker.publish_batch(batch).await?.into_inner().results;
    ensure!(matches!(&results[0].result, Some(Published::Response(r)) if r.id == "3"), "{results:?}");
    ensure!(matches!(&results[1].result, Some(Published::Error(e)) if e.code == Code::NotFound as i32), "{results:?}");
    let stream = tokio_stream::iter([request("orders", "5", "e"), request("orders", "", "f"), request("orders", "6", "g")]);
    let mut answers = broker.publish_stream(stream).await?.into_inner();
    let mut seen = Vec::new();
    while let Some(answer) = answers.message().await? {
        seen.push(match answer.result {
            Some(Published::Response(response)) => response.id,
            Some(Published::Error(error)) => format!("code {}", error.code),
            None => "nothing".into(),
        });
    }
    ensure!(seen == ["5", &format!("code {}", Code::InvalidArgument as i32), "6"], "{seen:?}");
    let got = world.receiver.wait_for("/hook", 5, SOON).await?;
    for request in &got {
        request.verify(&subscribed.secret)?;
        ensure!(request.header("ce-source") == "/grpc");
    }
    let mut bodies: Vec<&[u8]> = got.iter().map(|r| &r.body[..]).collect();
    bodies.sort_unstable();
    ensure!(bodies == [b"a", b"b", b"c", b"e", b"g"], "{bodies:?}");
    // One event, one id: over HTTP it is known.
    let over_http = json!({"specversion": "1.0", "id": "1", "source": "/grpc", "type": "t.made", "topic": "orders"});
    ensure!(world.data.publish(&over_http).await?.status == 200);
    Ok(())
}

#[tokio::test]
async fn refusals_have_the_codes_of_the_contract() -> Result<()> {
    let world = World::start().await?;
    world.schema("order", json!({"type": "object"})).await?;
    world.topic("orders", json!({})).await?;
    let mut broker = EventBrokerClient::connect(world.posthorn.broker_url()).await?;
    let with = |topic: &str, id: &str, attributes: &[(&str, &str)]| {
        let mut request = request(topic, id, "text");
        if let Some(event) = &mut request.event {
            for (name, value) in attributes {
                let value = posthorn_proto::cloudevents::cloud_event::CloudEventAttributeValue {
                    attr: Some(posthorn_proto::cloudevents::cloud_event::cloud_event_attribute_value::Attr::CeString((*value).into())),
                };
                event.attributes.insert((*name).into(), value);
            }
        }
        request
    };
    let cases = [
        (with("nowhere", "1", &[]), Code::NotFound),
        (with("orders", "", &[]), Code::InvalidArgument),
        (with("no good", "1", &[]), Code::InvalidArgument),
        (with("orders", "1", &[("Bad-Name", "x")]), Code::InvalidArgument),
        (with("orders", "1", &[("durability", "forever")]), Code::InvalidArgument),
        (with("orders", "1", &[("schemas", "order:9")]), Code::FailedPrecondition),
        (with("orders", "1", &[("schemas", "nobody:1")]), Code::InvalidArgument),
        (with("orders", "1", &[("schemas", "order:1")]), Code::InvalidArgument),
        (with("orders", "1", &[("expirytime", "2001-01-01T00:00:00Z")]), Code::FailedPrecondition),
        (PublishRequest { topic: "orders".into(), event: None, idempotency_key: String::new() }, Code::InvalidArgument),
    ];
    for (request, code) in cases {
        let shown = format!("{request:?}");
        let refused = broker.handle_incoming_event(request).await.err().with_context(|| shown.clone())?;
        // The topic's name is malformed: as over HTTP it may also count as unknown.
        let unknown = shown.contains("no good") && refused.code() == Code::NotFound;
        ensure!(refused.code() == code || unknown, "{shown}: {refused:?}");
        ensure!(!refused.message().is_empty(), "{shown}");
    }
    Ok(())
}

#[tokio::test]
async fn the_control_planes_resources_are_there_too() -> Result<()> {
    let world = World::start().await?;
    let url = world.posthorn.url_of_control();
    let mut topics = TopicsClient::connect(url.clone()).await?;
    let topic = Topic { name: "orders".into(), partitions: Some(2), ..Topic::default() };
    let made = topics.put_topic(PutTopicRequest { topic: Some(topic.clone()), if_match: None }).await?.into_inner();
    ensure!(world.read("/v1/topics/orders").await?["revision"].as_u64() == made.revision && made.partitions == Some(2), "{made:?}");
    let listed = topics.list_topics(ListRequest::default()).await?.into_inner();
    ensure!(listed.items == [made], "{listed:?}");
    let stale = topics.put_topic(PutTopicRequest { topic: Some(topic), if_match: Some(999) }).await.err().context("stale")?;
    ensure!(stale.code() == Code::Aborted, "{stale:?}");
    let missing = topics.get_topic(NameRequest { name: "nowhere".into() }).await.err().context("missing")?;
    ensure!(missing.code() == Code::NotFound, "{missing:?}");
    let wrong = Topic { name: "orders".into(), durability: Some("forever".into()), ..Topic::default() };
    let wrong = topics.put_topic(PutTopicRequest { topic: Some(wrong), if_match: None }).await.err().context("wrong")?;
    ensure!(wrong.code() == Code::InvalidArgument && wrong.message().contains("durability"), "{wrong:?}");
    let mut subscriptions = SubscriptionsClient::connect(url).await?;
    let endpoint = Endpoint { url: world.receiver.url("/hook"), ..Endpoint::default() };
    let spec = Subscription { filters: vec![r#"{"topic": "orders"}"#.into()], endpoint: Some(endpoint), ..Subscription::default() };
    let made = subscriptions.create_subscription(spec).await?.into_inner();
    let secret = made.signing[0].secret.clone().context("shown once")?;
    world.control.in_force(made.revision.context("a revision")?).await?;
    let read = subscriptions.get_subscription(IdRequest { id: made.id.clone(), if_match: None }).await?.into_inner();
    ensure!(read.signing[0].secret.as_deref() == Some("********"), "{read:?}");
    world.publish("orders", json!(1)).await?;
    world.receiver.wait_for("/hook", 1, SOON).await?[0].verify(&secret)?;
    Ok(())
}

#[tokio::test]
async fn a_replay_is_begun_watched_and_ended() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    let id = world.subscribe("/again", json!({"filters": [{"topic": "orders"}]})).await?.id;
    for number in 0..3 {
        world.publish("orders", json!(number)).await?;
    }
    world.receiver.wait_for_unique("/again", 3, SOON).await?;
    let mut subscriptions = SubscriptionsClient::connect(world.posthorn.url_of_control()).await?;
    let range = ReplayRequest { id: id.clone(), from: "earliest".into(), to: None, rate: Some(0.001) };
    let begun = subscriptions.replay_subscription(range.clone()).await?.into_inner();
    ensure!(begun.events == 3, "{begun:?}");
    let one = ReplayIdRequest { id: id.clone(), replay: begun.replay.clone() };
    let found = subscriptions.get_replay(one.clone()).await?.into_inner();
    ensure!((found.state.as_str(), found.rate, found.events, &found.ended_at) == ("running", Some(0.001), 3, &None), "{found:?}");
    let cancelled = subscriptions.cancel_replay(one).await?.into_inner();
    ensure!(cancelled.state == "cancelled" && cancelled.ended_at.is_some(), "{cancelled:?}");
    let listed = subscriptions.list_replays(ListReplaysRequest { id: id.clone(), ..ListReplaysRequest::default() }).await?.into_inner();
    ensure!(listed.items == [cancelled] && listed.next_page_token.is_none(), "{listed:?}");
    let unknown = ReplayIdRequest { id, replay: "rpl_00000000000000000000000000000000".into() };
    let missing = subscriptions.get_replay(unknown).await.err().context("missing")?;
    ensure!(missing.code() == Code::NotFound, "{missing:?}");
    let wrong = ReplayRequest { rate: Some(-1.0), ..range };
    let wrong = subscriptions.replay_subscription(wrong).await.err().context("wrong")?;
    ensure!(wrong.code() == Code::InvalidArgument && wrong.message().contains("replay"), "{wrong:?}");
    Ok(())
}

#[tokio::test]
async fn health_and_reflection_on_both_doors() -> Result<()> {
    let world = World::start().await?;
    let doors = [
        (world.posthorn.broker_url(), vec!["posthorn.broker.v1.EventBroker"]),
        (world.posthorn.url_of_control(), vec!["posthorn.admin.v1.Topics", "posthorn.admin.v1.Subscriptions", "posthorn.snapshot.v1"]),
    ];
    for (url, services) in doors {
        let channel = tonic::transport::Endpoint::from_shared(url.clone())?.connect().await?;
        let health = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await?.into_inner();
        ensure!(health.status == 1, "{url}: {health:?}");
        let ask = ServerReflectionRequest { host: String::new(), message_request: Some(MessageRequest::ListServices(String::new())) };
        let mut answers = ServerReflectionClient::new(channel).server_reflection_info(tokio_stream::iter([ask])).await?.into_inner();
        let answer = answers.message().await?.context("an answer")?;
        let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else { anyhow::bail!("{answer:?}") };
        let names: Vec<String> = list.service.into_iter().map(|s| s.name).collect();
        for service in services {
            ensure!(names.iter().any(|n| n.starts_with(service)), "{url}: {service} is not in {names:?}");
        }
    }
    Ok(())
}
