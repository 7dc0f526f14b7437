//! Real events on the whole way: schemas, topics, all three modes in, all four formats out, verified and read by others'
//! libraries.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cloudevents::{AttributesReader, Event};
use http::Method;
use posthorn_tests::fixtures::{GithubEvent, github_events, github_schemas};
use posthorn_tests::{Api, Behaviour, Received, Reply, SOON, World};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

const FORMATS: [&str; 4] = ["binary", "structured", "batch", "data"];

#[tokio::test]
async fn real_events_in_every_mode_arrive_in_every_format() -> Result<()> {
    let world = World::start().await?;
    register(&world).await?;
    let mut secrets = BTreeMap::new();
    for format in FORMATS {
        let subscribed = world.subscribe(&format!("/{format}"), json!({"endpoint": {"format": format}})).await?;
        secrets.insert(format, subscribed.secret);
    }
    let events = github_events()?;
    let mut kept = BTreeMap::new();
    for event in &events {
        for (mode, id) in [("structured", event.id.clone()), ("binary", format!("{}-b", event.id))] {
            let reply = if mode == "binary" { binary(&world.data, event, &id).await? } else { structured(&world.data, event).await? };
            agrees(event, reply.status.as_u16(), &reply.json()?).with_context(|| format!("{mode} {id}: {}", reply.text()))?;
            if event.valid {
                kept.insert(id, event);
            }
        }
    }
    for chunk in events.chunks(50) {
        kept.extend(batch(&world.data, chunk).await?);
    }
    ensure!(kept.len() == 3 * 277, "{}", kept.len());
    arrived(&world, &kept, &secrets).await
}

async fn register(world: &World) -> Result<()> {
    let schemas = github_schemas()?;
    ensure!(schemas.len() == 58);
    let mut revision = 0;
    for (name, schema) in &schemas {
        let added = world.control.post(&format!("/v1/schemas/{name}/versions"), &json!({"schema": schema})).await?.expect(201)?;
        ensure!(added["version"] == 1 && added["name"] == *name, "{added}");
        let topic = json!({"schemas": [name], "schema_required": true, "partitions": 2, "durability": "log"});
        let made = world.control.put(&format!("/v1/topics/{name}"), &topic).await?.expect(201)?;
        revision = made["revision"].as_u64().context("a revision")?;
    }
    world.control.in_force(revision).await
}

async fn structured(data: &Api, event: &GithubEvent) -> Result<Reply> {
    data.publish_bytes("application/cloudevents+json; charset=utf-8", event.line.clone()).await
}

async fn binary(data: &Api, event: &GithubEvent, id: &str) -> Result<Reply> {
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", id),
        ("ce-source", &event.source),
        ("ce-type", &event.kind),
        ("ce-schemas", &event.schemas),
        ("content-type", "application/json"),
    ];
    let path = format!("/v1/topics/{}/events", event.topic);
    data.send(Method::POST, &path, &headers, event.data.get().to_owned().into()).await
}

async fn batch<'a>(data: &Api, chunk: &'a [GithubEvent]) -> Result<Vec<(String, &'a GithubEvent)>> {
    // By text, so that the data stays as it is.
    let texts: Vec<String> = chunk.iter().map(|e| e.line.replacen(&e.id, &format!("{}-c", e.id), 1)).collect();
    let reply = data.publish_bytes("application/cloudevents-batch+json", format!("[{}]", texts.join(","))).await?;
    let all_good = chunk.iter().all(|e| e.valid);
    let results = reply.expect(if all_good { 202 } else { 207 })?;
    let results = results["results"].as_array().context("results")?;
    ensure!(results.len() == chunk.len());
    let mut kept = Vec::new();
    for (event, result) in chunk.iter().zip(results) {
        if event.valid {
            agrees(event, 202, result)?;
            ensure!(result["id"] == format!("{}-c", event.id), "the order of the request: {result}");
            kept.push((format!("{}-c", event.id), event));
        } else {
            ensure!(result["status"] == "refused", "{}: {result}", event.id);
            agrees(event, 422, &result["problem"])?;
        }
    }
    Ok(kept)
}

/// Whether the answer is what the independent validator's verdict asks for.
fn agrees(event: &GithubEvent, status: u16, body: &Value) -> Result<()> {
    if event.valid {
        ensure!(status == 202 && body["status"] == "accepted" && body["topic"] == event.topic, "valid, but {status}: {body}");
        ensure!(body["partition"].is_u64() && body["offset"].is_u64(), "no position: {body}");
        return Ok(());
    }
    ensure!(status == 422 && body["type"] == "urn:posthorn:problem:schema-invalid", "not valid, but {status}: {body}");
    let errors = body["errors"].as_array().context("errors")?;
    ensure!((1..=20).contains(&errors.len()), "{} errors", errors.len());
    for error in errors {
        ensure!(error["schema"] == event.schemas, "{error}");
        ensure!(error["pointer"].as_str().is_some_and(|p| p == "#" || p.starts_with("#/")), "{error}");
        ensure!(error["detail"].as_str().is_some_and(|d| !d.is_empty()), "{error}");
    }
    Ok(())
}

async fn arrived(world: &World, kept: &BTreeMap<String, &GithubEvent>, secrets: &BTreeMap<&str, String>) -> Result<()> {
    let wanted = kept.len() as u64;
    let mut ids_of = BTreeMap::new();
    for format in FORMATS {
        let path = format!("/{format}");
        let seen = || -> Result<BTreeMap<String, String>> {
            let mut seen = BTreeMap::new();
            for request in world.receiver.received(&path) {
                request.verify(&secrets[format]).with_context(|| format!("{format} {}", request.id()))?;
                for (id, data) in open(format, &request)? {
                    seen.insert(id, data);
                }
            }
            Ok(seen)
        };
        if format == "batch" {
            posthorn_tests::eventually("all events in batches", SOON, || {
                let count = seen().map_or(0, |s| s.len() as u64);
                std::future::ready((count >= wanted).then_some(()))
            })
            .await?;
        } else {
            world.receiver.wait_for_unique(&path, wanted, SOON).await?;
        }
        let seen = seen()?;
        ensure!(seen.len() == kept.len(), "{format}: {} of {}", seen.len(), kept.len());
        if format == "data" {
            let mut sent: Vec<&str> = kept.values().map(|e| e.data.get()).collect();
            let mut got: Vec<&str> = seen.values().map(String::as_str).collect();
            sent.sort_unstable();
            got.sort_unstable();
            ensure!(sent == got, "the data format changed bytes");
        } else {
            for (id, data) in &seen {
                let event = kept.get(id).with_context(|| format!("{format}: {id} was not accepted"))?;
                ensure!(data == event.data.get(), "{format} {id}: other bytes");
            }
        }
        if format != "batch" {
            ensure!(world.receiver.tally(&path).duplicate == 0, "{format}: duplicates in normal running");
            let ids: BTreeSet<String> = world.receiver.received(&path).iter().map(|r| r.id().to_owned()).collect();
            ids_of.insert(format, ids);
        }
    }
    ensure!(ids_of["binary"] == ids_of["structured"] && ids_of["binary"] == ids_of["data"], "an event has one webhook-id");
    Ok(())
}

/// The events in a request by id (by `webhook-id` where the format has no attributes), with the bytes of their data.
fn open(format: &str, request: &Received) -> Result<Vec<(String, String)>> {
    let text = String::from_utf8(request.body.to_vec())?;
    match format {
        "binary" => {
            let event = request.event()?;
            attributes(&event)?;
            ensure!(request.header("content-type") == "application/json", "{}", request.header("content-type"));
            Ok(vec![(event.id().to_owned(), text)])
        }
        "structured" => {
            ensure!(request.header("content-type").starts_with("application/cloudevents+json"));
            attributes(&request.event()?)?;
            Ok(vec![spliced(&text)?])
        }
        "batch" => {
            for event in request.batch()? {
                attributes(&event)?;
            }
            let events: Vec<Box<RawValue>> = serde_json::from_str(&text)?;
            events.iter().map(|e| spliced(e.get())).collect()
        }
        _ => {
            ensure!(request.headers.keys().all(|name| !name.as_str().starts_with("ce-")), "{:?}", request.headers);
            Ok(vec![(request.id().to_owned(), text)])
        }
    }
}

fn attributes(event: &Event) -> Result<()> {
    let topic = event.extension("topic").context("no topic")?.to_string();
    ensure!(event.ty().starts_with(&format!("com.{topic}")), "{topic} {}", event.ty());
    ensure!(event.extension("schemas").context("no schemas")?.to_string() == format!("{topic}:1"));
    Ok(())
}

fn spliced(text: &str) -> Result<(String, String)> {
    #[derive(Deserialize)]
    struct Structured<'a> {
        id: String,
        #[serde(borrow)]
        data: &'a RawValue,
    }
    let event: Structured<'_> = serde_json::from_str(text)?;
    Ok((event.id, event.data.get().to_owned()))
}

#[tokio::test]
async fn a_request_has_the_headers_of_the_contract_and_all_attempts_one_id() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    world.receiver.on("/hook", Behaviour::FailFirst { n: 1, status: 400 });
    let spec = json!({
        "endpoint": {
            "url": world.receiver.url("/hook?fixed=1"), "headers": {"x-tenant": "7"}, "query": {"v": "2 ü"},
            "auth": [{"type": "basic", "username": "u", "password": "p:w"}],
        },
        "retry": {"schedule": ["10ms"], "jitter": 0},
    });
    let subscribed = world.subscribe("/hook", spec).await?;
    let headers = [("content-type", "text/plain; charset=utf-8"), ("ce-subject", "Euro %E2%82%AC"), ("ce-myext", "kept")];
    let reply = world.publish_binary("orders", "e-1", &headers, "hello").await?;
    ensure!(reply.expect(202)?["id"] == "e-1");
    let requests = world.receiver.wait_for("/hook", 2, SOON).await?;
    for (n, request) in requests.iter().enumerate() {
        request.verify(&subscribed.secret)?;
        ensure!(request.method == "POST");
        let expected = [
            ("content-type", "text/plain; charset=utf-8"),
            ("ce-specversion", "1.0"),
            ("ce-id", "e-1"),
            ("ce-source", "/tests"),
            ("ce-type", "t.made"),
            ("ce-topic", "orders"),
            ("ce-subject", "Euro%20%E2%82%AC"),
            ("ce-myext", "kept"),
            ("x-tenant", "7"),
            ("authorization", &format!("Basic {}", STANDARD.encode("u:p:w"))),
            ("posthorn-attempt", &(n + 1).to_string()),
            ("posthorn-replay", ""),
        ];
        for (name, value) in expected {
            ensure!(request.header(name) == value, "{name}: {:?} instead of {value:?}", request.header(name));
        }
        ensure!(request.header("user-agent").starts_with("posthorn/"), "{}", request.header("user-agent"));
        ensure!(request.header("posthorn-delivery").starts_with("dlv_"));
        ensure!(request.id().starts_with("msg_"));
        ensure!(&request.body[..] == b"hello");
        let pairs: BTreeMap<_, _> = url::form_urlencoded::parse(request.query.as_bytes()).into_owned().collect();
        ensure!(pairs == BTreeMap::from([("fixed".into(), "1".into()), ("v".into(), "2 ü".into())]), "{}", request.query);
    }
    ensure!(requests[0].id() == requests[1].id());
    ensure!(requests[0].header("posthorn-delivery") == requests[1].header("posthorn-delivery"));
    Ok(())
}

#[tokio::test]
async fn binary_data_and_no_data_pass_every_format_unchanged() -> Result<()> {
    let world = World::start().await?;
    world.topic("bytes", json!({})).await?;
    for format in FORMATS {
        world.subscribe(&format!("/{format}"), json!({"endpoint": {"format": format}})).await?;
    }
    let bytes: Vec<u8> = (0..=255).collect();
    world.publish_binary("bytes", "raw", &[("content-type", "application/octet-stream")], bytes.clone()).await?.expect(202)?;
    for format in FORMATS {
        let got = world.receiver.wait_for(&format!("/{format}"), 1, SOON).await?;
        let event = match format {
            "structured" => serde_json::from_slice::<Value>(&got[0].body)?,
            "batch" => serde_json::from_slice::<Value>(&got[0].body)?[0].clone(),
            _ => {
                ensure!(got[0].body == bytes, "{format}");
                ensure!(got[0].header("content-type") == "application/octet-stream");
                continue;
            }
        };
        ensure!(event["data_base64"] == STANDARD.encode(&bytes) && event.get("data").is_none(), "{format}: {event}");
    }
    // Without data, and with the JSON value null: not the same.
    world.publish_with("bytes", json!({"id": "nothing"})).await?;
    world.publish_with("bytes", json!({"id": "null", "data": null, "datacontenttype": "application/json"})).await?;
    let got = world.receiver.wait_for("/structured", 3, SOON).await?;
    let events: Vec<Value> = got.iter().map(|r| serde_json::from_slice(&r.body)).collect::<Result<_, _>>()?;
    let by_id = |id: &str| events.iter().find(|e| e["id"] == id).context("missing");
    ensure!(by_id("nothing")?.get("data").is_none(), "{events:?}");
    ensure!(by_id("null")?.get("data") == Some(&Value::Null), "{events:?}");
    let got = world.receiver.wait_for("/binary", 3, SOON).await?;
    let body = |id: &str| got.iter().find(|r| r.header("ce-id") == id).map(|r| r.body.clone()).context("missing");
    ensure!(body("nothing")?.is_empty() && &body("null")?[..] == b"null");
    Ok(())
}
