//! The gRPC door: the same rules, typed.

use posthorn_proto::admin::operations_client::OperationsClient;
use posthorn_proto::admin::schemas_client::SchemasClient;
use posthorn_proto::admin::subscriptions_client::SubscriptionsClient;
use posthorn_proto::admin::topics_client::TopicsClient;
use posthorn_proto::admin::{
    AddSchemaVersionRequest, DeleteTopicRequest, Endpoint, IdRequest, ListRequest, NameRequest, PutSubscriptionRequest, PutTopicRequest,
    Retry, RotateSecretRequest, SchemaVersion, SchemaVersionRequest, Subscription, Topic,
};
use posthorn_proto::rpc;
use prost::Message as _;
use tonic::Code;

use crate::support::Plane;

#[tokio::test]
async fn topics_and_their_faults_are_those_of_rest() {
    let plane = Plane::start().await;
    let mut topics = TopicsClient::connect(plane.url()).await.expect("connects");
    let topic = Topic { name: "orders".into(), partitions: Some(4), ttl: Some("24h".into()), ..Topic::default() };
    let put = PutTopicRequest { topic: Some(topic.clone()), if_match: None };
    let made = topics.put_topic(put).await.expect("made").into_inner();
    assert_eq!((made.revision, made.ttl.as_deref(), made.partitions), (Some(1), Some("1d"), Some(4)));
    assert_eq!(plane.get("/v1/topics/orders").await.is(200, "").body["partitions"], 4);

    let shrunk = Topic { partitions: Some(2), schemas: vec!["nope".into()], ..topic };
    let refused = topics.put_topic(PutTopicRequest { topic: Some(shrunk.clone()), if_match: None }).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let status = rpc::Status::decode(refused.details()).expect("details");
    let faults = rpc::BadRequest::decode(status.details[0].value.as_slice()).expect("a bad request");
    let fields: Vec<&str> = faults.field_violations.iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(fields, ["#/partitions", "#/schemas/0"]);
    let stale = topics.put_topic(PutTopicRequest { topic: Some(shrunk), if_match: Some(7) }).await.expect_err("stale");
    assert_eq!(stale.code(), Code::Aborted);

    let listed = topics.list_topics(ListRequest::default()).await.expect("listed").into_inner();
    assert_eq!(listed.items.len(), 1);
    topics.delete_topic(DeleteTopicRequest { name: "orders".into(), ..DeleteTopicRequest::default() }).await.expect("deleted");
    let gone = topics.get_topic(NameRequest { name: "orders".into() }).await.expect_err("gone");
    assert_eq!(gone.code(), Code::NotFound);
}

#[tokio::test]
async fn schemas_travel_as_json_texts() {
    let plane = Plane::start().await;
    let mut schemas = SchemasClient::connect(plane.url()).await.expect("connects");
    let version = SchemaVersion { name: "order".into(), schema: r#"{"type": "object"}"#.into(), ..SchemaVersion::default() };
    let add = AddSchemaVersionRequest { version: Some(version.clone()), ..Default::default() };
    assert!(schemas.check_schema_version(add.clone()).await.expect("checked").into_inner().compatible);
    let added = schemas.add_schema_version(add).await.expect("added").into_inner();
    assert_eq!((added.version, added.schema.as_str()), (Some(1), r#"{"type":"object"}"#));
    let latest = SchemaVersionRequest { name: "order".into(), version: "latest".into(), if_match: None };
    assert_eq!(schemas.get_schema_version(latest).await.expect("read").into_inner(), added);
    let faulty = AddSchemaVersionRequest { version: Some(SchemaVersion { schema: "{".into(), ..version }), ..Default::default() };
    assert_eq!(schemas.add_schema_version(faulty).await.expect_err("refused").code(), Code::InvalidArgument);
}

#[tokio::test]
async fn subscriptions_go_round() {
    let plane = Plane::start().await;
    let mut subscriptions = SubscriptionsClient::connect(plane.url()).await.expect("connects");
    let wish = Subscription {
        name: "acme".into(),
        filters: vec![r#"{"topic": "orders"}"#.into(), r#"{"exact": {"type": "order.created"}}"#.into()],
        endpoint: Some(Endpoint { url: "https://partner.example/hook".into(), ..Endpoint::default() }),
        retry: Some(Retry { never: Some(true), ..Retry::default() }),
        ..Subscription::default()
    };
    let made = subscriptions.create_subscription(wish.clone()).await.expect("made").into_inner();
    assert!(made.signing[0].secret.as_deref().is_some_and(|secret| secret.starts_with("whsec_")));
    assert_eq!(made.retry.as_ref().map(|retry| retry.schedule.len()), Some(0));
    let id = || IdRequest { id: made.id.clone(), if_match: None };
    let read = subscriptions.get_subscription(id()).await.expect("read").into_inner();
    assert_eq!(read.signing[0].secret.as_deref(), Some("********"));
    assert_eq!(read.filters[0], r#"{"topic":"orders"}"#);
    let mut back = read.clone();
    back.retry.as_mut().expect("there").never = Some(true);
    let put = PutSubscriptionRequest { subscription: Some(back), if_match: read.revision };
    assert_eq!(subscriptions.put_subscription(put).await.expect("unchanged").into_inner().revision, read.revision);
    assert_eq!(subscriptions.pause_subscription(id()).await.expect("paused").into_inner().status.as_deref(), Some("paused"));
    let rotate = RotateSecretRequest { id: made.id.clone(), overlap: Some("1h".into()), if_match: None };
    let rotated = subscriptions.rotate_secret(rotate).await.expect("rotated").into_inner();
    assert_ne!(rotated.signing[0].secret, made.signing[0].secret);
    assert_eq!(rotated.signing[0].previous.len(), 1);
    assert_eq!(subscriptions.test_subscription(id()).await.expect_err("no node").code(), Code::Unavailable);
    let faulty = Subscription { filters: vec!["{".into()], ..wish };
    assert_eq!(subscriptions.create_subscription(faulty).await.expect_err("refused").code(), Code::InvalidArgument);
    subscriptions.delete_subscription(id()).await.expect("deleted");
    let mut operations = OperationsClient::connect(plane.url()).await.expect("connects");
    assert_eq!(operations.list_nodes(()).await.expect("listed").into_inner().items.len(), 0);
}

#[tokio::test]
async fn health_and_reflection_answer() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::health_client::HealthClient;
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let plane = Plane::start().await;
    let channel = tonic::transport::Channel::from_shared(plane.url()).expect("a URL").connect().await.expect("connects");
    let health = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.expect("answers").into_inner();
    assert_eq!(health.status(), ServingStatus::Serving);
    let ask = ServerReflectionRequest { host: String::new(), message_request: Some(MessageRequest::ListServices(String::new())) };
    let mut answers =
        ServerReflectionClient::new(channel).server_reflection_info(tokio_stream::once(ask)).await.expect("answers").into_inner();
    let Some(MessageResponse::ListServicesResponse(listed)) = answers.message().await.expect("a stream").expect("one").message_response
    else {
        panic!("no list")
    };
    assert!(listed.service.iter().any(|service| service.name == "posthorn.admin.v1.Topics"));
}
