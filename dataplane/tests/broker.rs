//! The data plane's gRPC door over a real socket and a real log (interfaces §8).
#![expect(clippy::unwrap_used, reason = "a test")]
#![allow(dead_code, reason = "the node serves the tests of the HTTP door too")]

#[path = "ingest/node.rs"]
mod node;

use node::Node;
use posthorn_dataplane::broker::{Limits, serve};
use posthorn_proto::broker::event_broker_client::EventBrokerClient;
use posthorn_proto::broker::{PublishBatchRequest, PublishRequest, PublishResult, Status, publish_result};
use posthorn_proto::cloudevents::{CloudEvent, cloud_event::Data};
use tonic::Code;
use tonic::transport::Channel;

async fn start() -> (Node, Channel) {
    let mut node = Node::start().await;
    node.topic("orders", serde_json::json!({}));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = node.shutdown.clone();
    tokio::spawn(serve(
        listener,
        node.pipeline.clone(),
        Limits::default(),
        posthorn_domain::clock::Clock::system(),
        stop.cancelled_owned(),
    ));
    (node, Channel::from_shared(url).unwrap().connect().await.unwrap())
}

fn request(topic: &str, id: &str) -> PublishRequest {
    let event = CloudEvent {
        id: id.into(),
        source: "/tests".into(),
        spec_version: "1.0".into(),
        r#type: "made".into(),
        attributes: Default::default(),
        data: Some(Data::TextData("hello".into())),
    };
    PublishRequest { topic: topic.into(), event: Some(event), idempotency_key: String::new() }
}

/// The id that was accepted, or the code of the error.
fn told(result: PublishResult) -> Result<String, i32> {
    match result.result.unwrap() {
        publish_result::Result::Response(response) => Ok(response.id),
        publish_result::Result::Error(error) => Err(error.code),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_keeps_the_event_and_knows_duplicates() {
    let (_node, channel) = start().await;
    let mut client = EventBrokerClient::new(channel);
    let first = client.handle_incoming_event(request("orders", "1")).await.unwrap().into_inner();
    assert_eq!((first.id.as_str(), first.topic.as_str(), first.status()), ("1", "orders", Status::Accepted));
    let again = client.handle_incoming_message(request("orders", "1")).await.unwrap().into_inner();
    assert_eq!((again.status(), again.partition, again.offset), (Status::Duplicate, first.partition, first.offset));
    let other = client.send_outgoing_event(request("orders", "2")).await.unwrap().into_inner();
    assert_eq!(other.status(), Status::Accepted);
}

#[tokio::test(flavor = "multi_thread")]
async fn problems_are_statuses() {
    let (_node, channel) = start().await;
    let mut client = EventBrokerClient::new(channel);
    let unknown = client.handle_incoming_event(request("nowhere", "1")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let mut bad = request("orders", "1");
    bad.event.as_mut().unwrap().spec_version = "0.3".into();
    assert_eq!(client.handle_incoming_event(bad).await.unwrap_err().code(), Code::InvalidArgument);
    let mut large = request("orders", "1");
    large.event.as_mut().unwrap().data = Some(Data::TextData("x".repeat(70 << 10)));
    assert_eq!(client.handle_incoming_event(large).await.unwrap_err().code(), Code::ResourceExhausted);
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_and_streams_answer_in_order() {
    let (_node, channel) = start().await;
    let mut client = EventBrokerClient::new(channel);
    let requests = vec![request("orders", "a"), request("nowhere", "b"), request("orders", "c")];
    let results = client.publish_batch(PublishBatchRequest { requests }).await.unwrap().into_inner().results;
    let results: Vec<_> = results.into_iter().map(told).collect();
    assert_eq!(results, [Ok("a".into()), Err(Code::NotFound as i32), Ok("c".into())]);
    let requests: Vec<_> = (0..300).map(|n| request("orders", &n.to_string())).collect();
    let mut answers = client.publish_stream(tokio_stream::iter(requests)).await.unwrap().into_inner();
    for n in 0..300 {
        assert_eq!(told(answers.message().await.unwrap().unwrap()), Ok(n.to_string()));
    }
    assert!(answers.message().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_serving() {
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
    let (_node, channel) = start().await;
    let request = HealthCheckRequest { service: "posthorn.broker.v1.EventBroker".into() };
    let answer = HealthClient::new(channel).check(request).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_schemas_are_details() {
    use posthorn_proto::rpc;
    use prost::Message as _;
    let (mut node, channel) = start().await;
    let schema = serde_json::json!({"type": "object", "required": ["n"]});
    node.schema("thing", 1, serde_json::json!({"schema": schema}));
    node.topic("things", serde_json::json!({"schemas": ["thing"]}));
    let mut request = request("things", "1");
    let event = request.event.as_mut().unwrap();
    event.data = Some(Data::BinaryData("{}".into()));
    let ty = posthorn_proto::cloudevents::cloud_event::cloud_event_attribute_value::Attr::CeString("application/json".into());
    let ty = posthorn_proto::cloudevents::cloud_event::CloudEventAttributeValue { attr: Some(ty) };
    event.attributes.insert("datacontenttype".into(), ty);
    let refused = EventBrokerClient::new(channel).handle_incoming_event(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let status = rpc::Status::decode(refused.details()).unwrap();
    let details = rpc::BadRequest::decode(&status.details[0].value[..]).unwrap();
    assert_eq!(details.field_violations.len(), 1, "{details:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_beyond_the_limit_are_not_read() {
    let (_node, channel) = start().await;
    let mut request = request("orders", "1");
    request.event.as_mut().unwrap().data = Some(Data::TextData("x".repeat(2 << 20)));
    let refused = EventBrokerClient::new(channel).handle_incoming_event(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_the_services() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let (_node, channel) = start().await;
    let ask = tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(channel);
    let mut answers = client.server_reflection_info(tokio_stream::iter([ask])).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) = answers.message().await.unwrap().unwrap().message_response else {
        panic!("not a list");
    };
    assert!(list.service.iter().any(|service| service.name == "posthorn.broker.v1.EventBroker"), "{list:?}");
}
