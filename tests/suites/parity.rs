//! One contract, every door: the same events published by HTTP (one at a time and in batches) and by gRPC (each call), with the same
//! outcome. The README's table of parity names these tests.

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::Method;
use posthorn_proto::broker::event_broker_client::EventBrokerClient;
use posthorn_proto::broker::publish_result::Result as Published;
use posthorn_proto::broker::{PublishBatchRequest, PublishRequest, PublishResponse, Status as Kept};
use posthorn_proto::cloudevents::CloudEvent;
use posthorn_proto::cloudevents::cloud_event::cloud_event_attribute_value::Attr;
use posthorn_proto::cloudevents::cloud_event::{CloudEventAttributeValue, Data};
use posthorn_proto::rpc;
use posthorn_tests::{Api, World};
use prost::Message as _;
use serde_json::{Value, json};
use tonic::transport::Channel;
use tonic::{Code, Status};

/// A door and a way through it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Structured,
    HttpBatch,
    Unary,
    GrpcBatch,
    Stream,
}

const WAYS: [Way; 5] = [Way::Structured, Way::HttpBatch, Way::Unary, Way::GrpcBatch, Way::Stream];

/// An event without id and source, and what is to come of it.
struct Case {
    name: &'static str,
    attributes: Value,
    data: Payload,
    wanted: Wanted,
}

#[derive(Clone)]
enum Payload {
    Nothing,
    /// JSON as it is written.
    Json(String),
    Text(&'static str),
}

#[derive(Clone, Debug, PartialEq)]
enum Wanted {
    Accepted,
    Duplicate,
    DeadLettered(&'static str),
    /// The problem's code, gRPC's code, and where the schemas find faults.
    Refused(&'static str, Code, Vec<&'static str>),
}

/// What came of it, whatever the door.
#[derive(Debug, PartialEq)]
enum Outcome {
    Accepted,
    Duplicate,
    DeadLettered(String),
    Refused { code: String, faults: Vec<String> },
}

fn cases() -> Vec<Case> {
    let json = |text: &str| Payload::Json(text.into());
    let good = || json(r#"{"total": 1}"#);
    let case = |name, attributes: Value, data, wanted| Case { name, attributes, data, wanted };
    let refused = |code, grpc| Wanted::Refused(code, grpc, Vec::new());
    let bad = |code| refused(code, Code::InvalidArgument);
    let late = |code| refused(code, Code::FailedPrecondition);
    vec![
        case("plain", json!({"topic": "plain"}), good(), Wanted::Accepted),
        case("without data", json!({"topic": "plain"}), Payload::Nothing, Wanted::Accepted),
        case("the type is the topic", json!({"type": "plain"}), good(), Wanted::Accepted),
        case(
            "further attributes",
            json!({"topic": "plain", "subject": "s", "n": 7, "flag": true, "time": "2026-01-01T00:00:00Z"}),
            good(),
            Wanted::Accepted,
        ),
        case("text", json!({"topic": "plain", "datacontenttype": "text/plain"}), Payload::Text("{"), Wanted::Accepted),
        case("a schema holds", json!({"topic": "plain", "schemas": "order:1"}), good(), Wanted::Accepted),
        case(
            "two schemas hold",
            json!({"topic": "plain", "schemas": "order customer:1"}),
            json(r#"{"total": 1, "customer": "a"}"#),
            Wanted::Accepted,
        ),
        case(
            "dataschema",
            json!({"topic": "plain", "dataschema": "https://x.example/v1/schemas/order/versions/1"}),
            good(),
            Wanted::Accepted,
        ),
        case("a foreign dataschema", json!({"topic": "plain", "dataschema": "https://x.example/other"}), good(), Wanted::Accepted),
        case("hops within the limit", json!({"topic": "plain", "hops": 8}), good(), Wanted::Accepted),
        case("sync", json!({"topic": "plain", "durability": "sync", "expirytime": "2100-01-01T00:00:00Z"}), good(), Wanted::Accepted),
        case("unknown topic", json!({"topic": "nowhere"}), good(), refused("topic-unknown", Code::NotFound)),
        case("an attribute's name", json!({"topic": "plain", "Upper": "x"}), good(), bad("invalid-event")),
        case("no such durability", json!({"topic": "plain", "durability": "forever"}), good(), bad("invalid-event")),
        case("no time", json!({"topic": "plain", "expirytime": "soon"}), good(), bad("invalid-event")),
        case("hops that are no number", json!({"topic": "plain", "hops": "many"}), good(), bad("invalid-event")),
        case("version 0", json!({"topic": "plain", "schemas": "order:0"}), good(), bad("invalid-event")),
        case("version x", json!({"topic": "plain", "schemas": "order:x"}), good(), bad("invalid-event")),
        case("no JSON", json!({"topic": "plain"}), json(r#"{"a": 1, "a": 2}"#), bad("invalid-json")),
        case(
            "too large",
            json!({"topic": "plain"}),
            json(&format!("\"{}\"", "x".repeat(2 << 20))),
            refused("too-large", Code::ResourceExhausted),
        ),
        case("unknown schema", json!({"topic": "plain", "schemas": "nobody:1"}), good(), bad("schema-unknown")),
        case("unknown version", json!({"topic": "plain", "schemas": "order:9"}), good(), late("schema-version-unknown")),
        case("one of two is unknown", json!({"topic": "plain", "schemas": "order:1 nobody"}), good(), bad("schema-unknown")),
        case(
            "version by dataschema",
            json!({"topic": "plain", "dataschema": "https://x.example/v1/schemas/order/versions/9"}),
            good(),
            late("schema-version-unknown"),
        ),
        case(
            "the topic's schema",
            json!({"topic": "strict"}),
            json(r#"{"total": -1}"#),
            Wanted::Refused("schema-invalid", Code::InvalidArgument, vec!["order:2 #/total"]),
        ),
        case(
            "faults of two schemas",
            json!({"topic": "plain", "schemas": "order:1 customer:1"}),
            json("{}"),
            Wanted::Refused("schema-invalid", Code::InvalidArgument, vec!["customer:1 #", "order:1 #"]),
        ),
        case(
            "no data for a schema",
            json!({"topic": "strict"}),
            Payload::Nothing,
            Wanted::Refused("schema-invalid", Code::InvalidArgument, vec!["order:2 #"]),
        ),
        case(
            "text for a schema",
            json!({"topic": "strict", "datacontenttype": "text/plain"}),
            Payload::Text("1"),
            Wanted::Refused("schema-invalid", Code::InvalidArgument, vec!["order:2 #"]),
        ),
        case("a schema is required", json!({"topic": "required"}), good(), bad("schema-required")),
        case("expired", json!({"topic": "plain", "expirytime": "2001-01-01T00:00:00Z"}), good(), late("expired")),
        case("too many hops", json!({"topic": "plain", "hops": 9}), good(), late("too-many-hops")),
        case("kept: invalid", json!({"topic": "keeping", "schemas": "order:1"}), json("{}"), Wanted::DeadLettered("schema_invalid")),
        case("kept: unknown", json!({"topic": "keeping", "schemas": "nobody"}), good(), Wanted::DeadLettered("schema_unknown")),
        case("kept: version unknown", json!({"topic": "keeping", "schemas": "order:9"}), good(), Wanted::DeadLettered("schema_unknown")),
        case("kept: required", json!({"topic": "keeping"}), good(), Wanted::DeadLettered("schema_required")),
        case("kept: hops", json!({"topic": "keeping", "schemas": "order:1", "hops": 9}), good(), Wanted::DeadLettered("too_many_hops")),
        case("kept by its schema", json!({"topic": "plain", "schemas": "kept"}), good(), Wanted::DeadLettered("schema_invalid")),
        case(
            "a schema forbids dead letters",
            json!({"topic": "keeping", "schemas": "fleeting"}),
            good(),
            Wanted::Refused("schema-invalid", Code::InvalidArgument, vec!["fleeting:1 #"]),
        ),
    ]
}

async fn world() -> Result<World> {
    let world = World::start().await?;
    let order = json!({"type": "object", "required": ["total"], "properties": {"total": {"type": "number", "minimum": 0}}});
    world.schema("order", order.clone()).await?;
    world.schema_version("order", json!({"schema": order, "assert_formats": true})).await?;
    world.schema("customer", json!({"type": "object", "required": ["customer"]})).await?;
    world.schema_version("kept", json!({"schema": false, "on_refusal": "dead_letter"})).await?;
    world.schema_version("fleeting", json!({"schema": false, "dead_letter": "never"})).await?;
    world.topic("plain", json!({})).await?;
    world.topic("strict", json!({"schemas": ["order"]})).await?;
    world.topic("required", json!({"schema_required": true})).await?;
    world.topic("keeping", json!({"schema_required": true, "on_refusal": "dead_letter"})).await?;
    Ok(world)
}

#[tokio::test]
async fn every_outcome_is_the_same_at_every_door() -> Result<()> {
    let world = world().await?;
    let mut broker = EventBrokerClient::connect(world.posthorn.broker_url()).await?.max_encoding_message_size(64 << 20);
    for case in cases() {
        for way in WAYS {
            let what = format!("{} by {way:?}", case.name);
            let outcome = publish(&world.data, &mut broker, way, &case, &what).await.with_context(|| what.clone())?;
            ensure!(outcome == wanted(&case.wanted), "{what}: {outcome:?} instead of {:?}", case.wanted);
            if case.wanted == Wanted::Accepted {
                let again = publish(&world.data, &mut broker, way, &case, &what).await?;
                ensure!(again == wanted(&Wanted::Duplicate), "{what}, again: {again:?}");
            }
        }
    }
    Ok(())
}

/// What one door keeps the others know, whichever call it came by.
#[tokio::test]
async fn an_event_is_one_event_at_all_doors() -> Result<()> {
    let world = world().await?;
    let mut broker = EventBrokerClient::connect(world.posthorn.broker_url()).await?;
    for first in WAYS {
        let case = &cases()[0];
        for (n, way) in [first].into_iter().chain(WAYS).enumerate() {
            let outcome = publish(&world.data, &mut broker, way, case, &format!("{first:?}")).await?;
            ensure!((outcome == Outcome::Accepted) == (n == 0), "first {first:?}, then {way:?}: {outcome:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_a_refusal_says_beside_its_code_is_the_same() -> Result<()> {
    let world = world().await?;
    let mut broker = EventBrokerClient::connect(world.posthorn.broker_url()).await?;
    let case = cases().into_iter().find(|case| case.name == "unknown version").context("the case")?;
    let reply = world.data.publish_bytes("application/cloudevents+json", structured(&case, "1")?).await?;
    let problem = reply.json()?;
    let revision = problem["revision"].as_u64().context("a revision")?;
    ensure!(problem["detail"].as_str().is_some_and(|text| text.contains(&format!("known up to revision {revision}"))), "{problem}");
    ensure!(problem["known_up_to"] == 2 && reply.headers["retry-after"] == "2", "{problem}");
    let refused = broker.handle_incoming_event(message(&case, "1")?).await.err().context("refused")?;
    let info = info(&details(&refused)?)?;
    ensure!(info.domain == "posthorn" && info.metadata["revision"] == revision.to_string(), "{info:?}");
    ensure!(info.metadata["known_up_to"] == "2" && refused.message() == problem["detail"].as_str().unwrap_or_default(), "{refused:?}");
    ensure!(refused.metadata().get("retry-after").is_some_and(|seconds| seconds == "2"), "{refused:?}");
    Ok(())
}

fn wanted(wanted: &Wanted) -> Outcome {
    match wanted {
        Wanted::Accepted => Outcome::Accepted,
        Wanted::Duplicate => Outcome::Duplicate,
        Wanted::DeadLettered(reason) => Outcome::DeadLettered((*reason).into()),
        Wanted::Refused(code, _, faults) => {
            Outcome::Refused { code: (*code).into(), faults: faults.iter().map(|fault| (*fault).to_owned()).collect() }
        }
    }
}

async fn publish(data: &Api, broker: &mut EventBrokerClient<Channel>, way: Way, case: &Case, id: &str) -> Result<Outcome> {
    let grpc = if let Wanted::Refused(_, grpc, _) = case.wanted { grpc } else { Code::Ok };
    let answer = match way {
        Way::Structured => {
            let reply = data.publish_bytes("application/cloudevents+json", structured(case, id)?).await?;
            let body = reply.json()?;
            if reply.status.as_u16() >= 400 {
                ensure!(reply.problem().is_ok(), "{body}");
                return refusal(&body);
            }
            ensure!(reply.status == if body["status"] == "duplicate" { 200 } else { 202 }, "{} {body}", reply.status);
            return kept(&body);
        }
        Way::HttpBatch => {
            let batch = format!("[{}]", structured(case, id)?);
            let headers = [("content-type", "application/cloudevents-batch+json")];
            let reply = data.send(Method::POST, "/v1/events", &headers, batch.into()).await?;
            let result = reply.json()?["results"][0].take();
            let refused = result["status"] == "refused";
            ensure!(reply.status == if refused { 207 } else { 202 }, "{} {result}", reply.status);
            return if refused { refusal(&result["problem"]) } else { kept(&result) };
        }
        Way::Unary => match broker.handle_incoming_event(message(case, id)?).await {
            Ok(response) => Published::Response(response.into_inner()),
            Err(status) => {
                let inner = rpc::Status::decode(status.details())?;
                ensure!(inner.code == status.code() as i32 && inner.message == status.message(), "{status:?}");
                Published::Error(inner)
            }
        },
        Way::GrpcBatch => {
            let batch = PublishBatchRequest { requests: vec![message(case, id)?] };
            let mut results = broker.publish_batch(batch).await?.into_inner().results;
            results.pop().and_then(|result| result.result).context("one result")?
        }
        Way::Stream => {
            let mut answers = broker.publish_stream(tokio_stream::iter([message(case, id)?])).await?.into_inner();
            answers.message().await?.and_then(|answer| answer.result).context("one answer")?
        }
    };
    match answer {
        Published::Response(response) => told(&response),
        Published::Error(status) => {
            ensure!(status.code == grpc as i32, "code {}: {}", status.code, status.message);
            refused(&status)
        }
    }
}

fn kept(body: &Value) -> Result<Outcome> {
    ensure!(body["id"].is_string() && body["topic"].is_string(), "{body}");
    Ok(match body["status"].as_str() {
        Some("accepted") => Outcome::Accepted,
        Some("duplicate") => Outcome::Duplicate,
        Some("dead_lettered") => Outcome::DeadLettered(body["reason"].as_str().unwrap_or_default().into()),
        _ => bail!("{body}"),
    })
}

fn refusal(problem: &Value) -> Result<Outcome> {
    let code = problem["type"].as_str().and_then(|kind| kind.strip_prefix("urn:posthorn:problem:")).context("a code of ours")?;
    let faults = problem["errors"].as_array().cloned().unwrap_or_default();
    let text = |fault: &Value| Some(format!("{} {}", fault["schema"].as_str()?, fault["pointer"].as_str()?));
    Ok(Outcome::Refused { code: code.into(), faults: sorted(faults.iter().filter_map(text)) })
}

fn told(response: &PublishResponse) -> Result<Outcome> {
    ensure!(!response.id.is_empty() && !response.topic.is_empty(), "{response:?}");
    Ok(match response.status() {
        Kept::Accepted => Outcome::Accepted,
        Kept::Duplicate => Outcome::Duplicate,
        Kept::DeadLettered => Outcome::DeadLettered(response.reason.clone()),
        Kept::Unspecified => bail!("{response:?}"),
    })
}

fn refused(status: &rpc::Status) -> Result<Outcome> {
    let code = info(status)?.reason;
    let bad = status.details.iter().find(|detail| detail.type_url.ends_with("google.rpc.BadRequest"));
    let violations = bad.map(|bad| rpc::BadRequest::decode(&bad.value[..])).transpose()?.unwrap_or_default().field_violations;
    ensure!(status.code != Code::InvalidArgument as i32 || !violations.is_empty(), "a bad request says where: {status:?}");
    let text = |violation: &rpc::bad_request::FieldViolation| {
        Some(format!("{} {}", violation.description.strip_prefix('`')?.split_once("`: ")?.0, violation.field))
    };
    let faults = violations.iter().filter(|violation| violation.field.starts_with('#')).filter_map(text);
    Ok(Outcome::Refused { code, faults: sorted(faults) })
}

fn sorted(faults: impl Iterator<Item = String>) -> Vec<String> {
    let mut faults: Vec<String> = faults.collect();
    faults.sort();
    faults
}

fn details(status: &Status) -> Result<rpc::Status> {
    Ok(rpc::Status::decode(status.details())?)
}

fn info(status: &rpc::Status) -> Result<rpc::ErrorInfo> {
    let info = status.details.iter().find(|detail| detail.type_url.ends_with("google.rpc.ErrorInfo")).context("an ErrorInfo")?;
    Ok(rpc::ErrorInfo::decode(&info.value[..])?)
}

fn attributes(case: &Case, id: &str) -> Value {
    let mut event = json!({"specversion": "1.0", "id": id, "source": "/parity", "type": "t.made"});
    if matches!(case.data, Payload::Json(_)) {
        event["datacontenttype"] = json!("application/json");
    }
    for (name, value) in case.attributes.as_object().into_iter().flatten() {
        event[name] = value.clone();
    }
    event
}

/// The JSON format; the data as it is written.
fn structured(case: &Case, id: &str) -> Result<String> {
    let head = attributes(case, id).to_string();
    let head = head.strip_suffix('}').context("an object")?;
    Ok(match &case.data {
        Payload::Nothing => format!("{head}}}"),
        Payload::Json(text) => format!("{head},\"data\":{text}}}"),
        Payload::Text(text) => format!("{head},\"data\":{}}}", json!(text)),
    })
}

/// The protobuf format.
fn message(case: &Case, id: &str) -> Result<PublishRequest> {
    let mut given = attributes(case, id);
    let mut take =
        |name: &str| given.as_object_mut().and_then(|given| given.remove(name)).and_then(|value| Some(value.as_str()?.to_owned()));
    let (spec_version, id, source, r#type) = (take("specversion"), take("id"), take("source"), take("type"));
    let value = |value: &Value| match value {
        Value::Bool(value) => Attr::CeBoolean(*value),
        Value::Number(number) => Attr::CeInteger(number.as_i64().and_then(|number| i32::try_from(number).ok()).unwrap_or_default()),
        other => Attr::CeString(other.as_str().unwrap_or_default().into()),
    };
    let attribute = |(name, given): (&String, &Value)| (name.clone(), CloudEventAttributeValue { attr: Some(value(given)) });
    let event = CloudEvent {
        id: id.context("an id")?,
        source: source.context("a source")?,
        spec_version: spec_version.context("a version")?,
        r#type: r#type.context("a type")?,
        attributes: given.as_object().into_iter().flatten().map(attribute).collect(),
        data: match &case.data {
            Payload::Nothing => None,
            Payload::Json(text) => Some(Data::BinaryData(Bytes::from(text.clone()))),
            Payload::Text(text) => Some(Data::TextData((*text).into())),
        },
    };
    Ok(PublishRequest { topic: String::new(), event: Some(event), idempotency_key: String::new() })
}
