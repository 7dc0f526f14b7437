//! Streams, subscriptions and publishing as clients of Nakadi know them (protocols §11), at `/v1/compat/nakadi`.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use posthorn_tests::{Config, Reply, SOON, World, eventually};
use serde_json::{Value, json};

const NAKADI: &str = "/v1/compat/nakadi";

/// An open stream of batches.
struct Batches {
    id: String,
    body: Incoming,
    buffer: BytesMut,
}

impl Batches {
    async fn open(world: &World, path: &str, headers: &[(&str, &str)]) -> Result<Self> {
        let response = world.data.stream(&format!("{NAKADI}{path}"), headers).await?;
        ensure!(response.status() == 200, "{path}: {}", response.status());
        let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        ensure!(header("content-type") == "application/x-json-stream", "{}", header("content-type"));
        Ok(Self { id: header("x-nakadi-streamid"), body: response.into_body(), buffer: BytesMut::new() })
    }

    /// The next batch; `None` at the end.
    async fn next(&mut self) -> Result<Option<Value>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                return Ok(Some(serde_json::from_slice(&self.buffer.split_to(end + 1))?));
            }
            let frame = tokio::time::timeout(SOON, self.body.frame()).await.context("no batch")?;
            let Some(frame) = frame else { return Ok(None) };
            if let Ok(bytes) = frame?.into_data() {
                self.buffer.extend_from_slice(&bytes);
            }
        }
    }

    /// The next batch with events.
    async fn events(&mut self) -> Result<Value> {
        loop {
            let batch = self.next().await?.context("the stream ended")?;
            if batch["events"].is_array() {
                return Ok(batch);
            }
            ensure!(batch.get("info").is_none(), "the stream ended: {batch}");
        }
    }
}

fn ids(batch: &Value) -> Vec<String> {
    batch["events"].as_array().into_iter().flatten().filter_map(|event| event["id"].as_str().map(str::to_owned)).collect()
}

async fn post(world: &World, path: &str, body: &Value) -> Result<Reply> {
    world.data.post(&format!("{NAKADI}{path}"), body).await
}

async fn get(world: &World, path: &str) -> Result<Value> {
    world.data.get(&format!("{NAKADI}{path}")).await?.expect(200)
}

async fn subscribe(world: &World, more: Value) -> Result<String> {
    let mut body = json!({"owning_application": "shop", "event_types": ["orders"]});
    for (name, value) in more.as_object().context("an object")? {
        body[name] = value.clone();
    }
    let made = post(world, "/subscriptions", &body).await?.expect(201)?;
    Ok(made["id"].as_str().context("an id")?.to_owned())
}

async fn commit(world: &World, id: &str, stream: &str, cursors: &[&Value]) -> Result<Reply> {
    let headers = [("content-type", "application/json"), ("x-nakadi-streamid", stream)];
    let path = format!("{NAKADI}/subscriptions/{id}/cursors");
    world.data.send(Method::POST, &path, &headers, json!({"items": cursors}).to_string().into()).await
}

#[tokio::test]
async fn an_event_type_is_streamed_from_the_clients_cursors() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({"partitions": 2})).await?;
    let mut sent = BTreeSet::new();
    for n in 0..6 {
        sent.insert(world.publish_with("orders", json!({"partitionkey": format!("k{n}"), "data": {"text": "a\nb"}})).await?);
    }
    let all = r#"[{"partition":"0","offset":"begin"},{"partition":"1","offset":"begin"}]"#;
    let path = "/event-types/orders/events?stream_limit=6";
    let mut stream = Batches::open(&world, path, &[("x-nakadi-cursors", all)]).await?;
    let (mut seen, mut cursors) = (BTreeSet::new(), Vec::new());
    while let Some(batch) = stream.next().await? {
        if batch.get("info").is_some() {
            ensure!(stream.next().await?.is_none(), "the line that says why is the last");
            break;
        }
        // One event a batch unless more is asked for, each of one partition, its cursor that of its last event.
        ensure!(ids(&batch).len() == 1 && batch["events"][0]["data"]["text"] == "a\nb", "{batch}");
        seen.extend(ids(&batch));
        cursors.push(batch["cursor"].clone());
    }
    ensure!(seen == sent, "{seen:?}");
    // A cursor is exclusive, and only the partitions that are named are read.
    let of_one: Vec<&Value> = cursors.iter().filter(|cursor| cursor["partition"] == cursors[0]["partition"]).collect();
    ensure!(of_one[0]["offset"] == "0" && of_one[0].as_object().is_some_and(|cursor| cursor.len() == 2), "{}", of_one[0]);
    let header = json!([of_one[0]]).to_string();
    let path = "/event-types/orders/events?batch_limit=100&batch_flush_timeout=1";
    let mut stream = Batches::open(&world, path, &[("x-nakadi-cursors", &header)]).await?;
    let batch = stream.events().await?;
    ensure!(ids(&batch).len() == of_one.len() - 1 && batch["cursor"] == **of_one.last().context("a cursor")?, "{batch}");
    // Then batches without events keep it alive, with the same cursor.
    let alive = stream.next().await?.context("the stream ended")?;
    ensure!(alive.get("events").is_none() && alive["cursor"] == batch["cursor"], "{alive}");
    // Without cursors: what comes from now on.
    let mut stream = Batches::open(&world, "/event-types/orders/events", &[]).await?;
    let last = world.publish("orders", json!(1)).await?;
    ensure!(ids(&stream.events().await?) == [last]);
    Ok(())
}

#[tokio::test]
async fn a_batch_that_a_limit_keeps_from_filling_goes_out_at_once() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({"partitions": 1})).await?;
    let id = subscribe(&world, json!({"read_from": "begin"})).await?;
    let mut sent = Vec::new();
    for n in 0..10 {
        sent.push(world.publish("orders", json!(n)).await?);
    }
    // Batches are waited for as long as may be, which is longer than this test waits for one.
    let begin = r#"[{"partition":"0","offset":"begin"}]"#;
    let limited = "/event-types/orders/events?batch_limit=3&stream_limit=10&batch_flush_timeout=3600&stream_timeout=4200";
    let mut stream = Batches::open(&world, limited, &[("x-nakadi-cursors", begin)]).await?;
    for want in sent.chunks(3) {
        ensure!(ids(&stream.events().await?) == want);
    }
    ensure!(stream.next().await?.is_some_and(|last| last["info"].is_object()) && stream.next().await?.is_none());
    // Nor is there anything to wait for as long as the client commits nothing.
    let path = format!("/subscriptions/{id}/events?batch_limit=4&max_uncommitted_events=6&batch_flush_timeout=3600");
    let mut stream = Batches::open(&world, &path, &[]).await?;
    for want in [&sent[..4], &sent[4..6]] {
        ensure!(ids(&stream.events().await?) == want);
    }
    Ok(())
}

#[tokio::test]
async fn parameters_that_make_no_sense_are_refused() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    let id = subscribe(&world, json!({})).await?;
    for (path, header, status) in [
        ("/event-types/none/events", "", 404),
        ("/event-types/orders/events?batch_limit=5&stream_limit=4", "", 422),
        ("/event-types/orders/events?max_uncommitted_events=4", "", 400),
        ("/event-types/orders/events", "not json", 400),
        ("/event-types/orders/events", r#"[{"partition":"7","offset":"begin"}]"#, 422),
        ("/event-types/orders/events", r#"[{"partition":"0","offset":"12"}]"#, 422),
        ("/subscriptions/none/events", "", 404),
        ("/nothing", "", 404),
    ] {
        let headers: Vec<(&str, &str)> = if header.is_empty() { Vec::new() } else { vec![("x-nakadi-cursors", header)] };
        let reply = world.data.send(Method::GET, &format!("{NAKADI}{path}"), &headers, Bytes::new()).await?;
        let problem = reply.json()?;
        ensure!(reply.status.as_u16() == status && problem["status"] == status && problem["title"].is_string(), "{path}: {}", reply.text());
    }
    let too_long = world.data.get(&format!("{NAKADI}/subscriptions/{id}/events?commit_timeout=61")).await?;
    ensure!(too_long.status == 422, "{}", too_long.text());
    for (body, status) in [
        (json!({"owning_application": "a"}), 400),
        (json!({"owning_application": "a", "event_types": ["none"]}), 422),
        (json!({"owning_application": "a", "event_types": []}), 422),
        (json!({"owning_application": "a", "event_types": ["orders"], "read_from": "cursors"}), 422),
        (json!({"owning_application": "a", "event_types": ["orders"], "x": 1}), 400),
    ] {
        let reply = post(&world, "/subscriptions", &body).await?;
        ensure!(reply.status.as_u16() == status, "{body}: {} {}", reply.status, reply.text());
    }
    Ok(())
}

#[tokio::test]
async fn subscriptions_are_known_by_what_they_are() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    world.topic("customers", json!({})).await?;
    world.publish("orders", json!(1)).await?;
    let body = json!({"owning_application": "shop", "event_types": ["orders", "customers"]});
    let made = post(&world, "/subscriptions", &body).await?;
    ensure!(made.status == 201, "{}", made.text());
    let made = made.json()?;
    ensure!(made["consumer_group"] == "default" && made["read_from"] == "end", "{made}");
    // The set of event types counts, other members do not.
    let same = json!({"owning_application": "shop", "event_types": ["customers", "orders"], "read_from": "begin"});
    let again = post(&world, "/subscriptions", &same).await?;
    ensure!(again.status == 200 && again.json()?["id"] == made["id"], "{}", again.text());
    let other = subscribe(&world, json!({"consumer_group": "other", "read_from": "begin"})).await?;
    let id = made["id"].as_str().context("an id")?;
    ensure!(get(&world, &format!("/subscriptions/{id}")).await? == made);
    let first = get(&world, "/subscriptions?owning_application=shop&limit=1").await?;
    ensure!(first["items"][0]["id"] == *id, "{first}");
    let next = first["_links"]["next"]["href"].as_str().context("a link")?;
    let second = world.data.get(next).await?.expect(200)?;
    ensure!(second["items"][0]["id"] == *other && second["_links"].get("next").is_none(), "{second}");
    ensure!(get(&world, "/subscriptions?event_type=customers").await?["items"].as_array().is_some_and(|items| items.len() == 1));
    // They are none of ours.
    ensure!(world.data.get("/v1/readers").await?.expect(200)?["items"] == json!([]));
    let path = format!("{NAKADI}/subscriptions/{id}");
    ensure!(world.data.put(&path, &made).await?.status == 204);
    ensure!(world.data.put(&path, &json!({"owning_application": "x", "event_types": ["orders"]})).await?.status == 422);
    // At the end, and at the beginning.
    let cursors = get(&world, &format!("/subscriptions/{id}/cursors")).await?;
    ensure!(cursors["items"][1]["event_type"] == "orders" && cursors["items"][1]["offset"] == "0", "{cursors}");
    let cursors = get(&world, &format!("/subscriptions/{other}/cursors")).await?;
    ensure!(cursors["items"][0]["offset"] == "begin", "{cursors}");
    let from = json!({"consumer_group": "third", "read_from": "cursors",
        "initial_cursors": [{"event_type": "orders", "partition": "0", "offset": "0"}]});
    let third = subscribe(&world, from).await?;
    ensure!(get(&world, &format!("/subscriptions/{third}/cursors")).await?["items"][0]["offset"] == "0");
    ensure!(world.data.delete(&path).await?.status == 204 && world.data.get(&path).await?.status == 404);
    Ok(())
}

#[tokio::test]
async fn commits_move_a_subscription_and_only_by_cursors_of_the_stream() -> Result<()> {
    let mut world = World::start().await?;
    world.topic("orders", json!({"partitions": 1})).await?;
    let id = subscribe(&world, json!({"read_from": "begin"})).await?;
    let mut sent = Vec::new();
    for n in 0..8 {
        sent.push(world.publish("orders", json!(n)).await?);
    }
    let path = format!("/subscriptions/{id}/events?max_uncommitted_events=3");
    let mut stream = Batches::open(&world, &path, &[]).await?;
    let stats = get(&world, &format!("/subscriptions/{id}/stats")).await?;
    let partition = &stats["items"][0]["partitions"][0];
    ensure!(partition["state"] == "assigned" && partition["stream_id"] == *stream.id, "{stats}");
    ensure!(stats["items"][0]["event_type"] == "orders" && partition["unconsumed_events"] == 8, "{stats}");
    let mut cursors = Vec::new();
    for want in &sent[..3] {
        let batch = stream.events().await?;
        ensure!(ids(&batch) == [want.clone()], "{batch}");
        cursors.push(batch["cursor"].clone());
    }
    ensure!(cursors[0]["event_type"] == "orders" && cursors[0]["cursor_token"].is_string(), "{}", cursors[0]);
    // Only one stream a partition.
    let second = world.data.get(&format!("{NAKADI}{path}")).await?;
    ensure!(second.status == 409, "{} {}", second.status, second.text());
    // What did not come on this stream is refused.
    let mut ahead = cursors[2].clone();
    ahead["offset"] = json!("3");
    for (stream, cursor) in [(stream.id.as_str(), &ahead), ("another", &cursors[0])] {
        let reply = commit(&world, &id, stream, &[cursor]).await?;
        ensure!(reply.status == 422, "{} {}", reply.status, reply.text());
    }
    ensure!(commit(&world, "none", &stream.id, &[&cursors[0]]).await?.status == 404);
    ensure!(commit(&world, &id, &stream.id, &[&cursors[1]]).await?.status == 204);
    let outdated = commit(&world, &id, &stream.id, &[&cursors[0], &cursors[2]]).await?;
    let results: Vec<Value> =
        outdated.expect(200)?["items"].as_array().context("items")?.iter().map(|item| item["result"].clone()).collect();
    ensure!(results == ["outdated", "committed"], "{results:?}");
    // The stream had paused, and goes on.
    let batch = stream.events().await?;
    ensure!(ids(&batch) == [sent[3].clone()], "{batch}");
    // What was not committed is given again after a crash.
    drop(stream);
    world.posthorn.kill9();
    world.posthorn.restart().await?;
    (world.data, world.control) = (world.posthorn.data(), world.posthorn.control());
    ensure!(get(&world, &format!("/subscriptions/{id}/cursors")).await?["items"][0]["offset"] == "2");
    let mut stream = Batches::open(&world, &path, &[]).await?;
    ensure!(ids(&stream.events().await?) == [sent[3].clone()]);
    // A reset ends the stream.
    let items = json!({"items": [{"event_type": "orders", "partition": "0", "offset": "begin"}]});
    let reset = format!("{NAKADI}/subscriptions/{id}/cursors");
    let reply = world.data.send(Method::PATCH, &reset, &[("content-type", "application/json")], items.to_string().into()).await?;
    ensure!(reply.status == 204, "{} {}", reply.status, reply.text());
    loop {
        match stream.next().await? {
            Some(batch) if batch.get("info").is_some() => break,
            Some(_) => {}
            None => bail!("the stream ended without a word"),
        }
    }
    let mut stream = Batches::open(&world, &path, &[]).await?;
    ensure!(ids(&stream.events().await?) == [sent[0].clone()]);
    Ok(())
}

#[tokio::test]
async fn a_stream_that_does_not_commit_is_closed_and_another_goes_on() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({"partitions": 2})).await?;
    let id = subscribe(&world, json!({"read_from": "begin"})).await?;
    let mut sent = BTreeSet::new();
    for n in 0..10 {
        sent.insert(world.publish_with("orders", json!({"partitionkey": format!("k{n}")})).await?);
    }
    let silent = format!("/subscriptions/{id}/events?max_uncommitted_events=100&batch_limit=100&batch_flush_timeout=1&commit_timeout=8");
    let mut first = Batches::open(&world, &silent, &[]).await?;
    let mut had = ids(&first.events().await?);
    let mut last = Value::Null;
    while let Some(batch) = first.next().await? {
        had.extend(ids(&batch));
        last = batch;
    }
    ensure!(had.len() == 10 && last["info"]["debug"].as_str().is_some_and(|why| why.contains("commit timeout")), "{last}");
    // Nothing of it was committed: another stream gets all, at once.
    let path = format!("/subscriptions/{id}/events?max_uncommitted_events=100&batch_limit=3&batch_flush_timeout=1");
    let mut second = Batches::open(&world, &path, &[]).await?;
    let mut seen = BTreeSet::new();
    while seen.len() < 10 {
        let batch = second.events().await?;
        ensure!(ids(&batch).len() <= 3, "{batch}");
        seen.extend(ids(&batch));
        ensure!(commit(&world, &id, &second.id, &[&batch["cursor"]]).await?.status == 204);
    }
    ensure!(seen == sent);
    // A second stream takes one of the two partitions over, for nothing of it is uncommitted.
    let third = Batches::open(&world, &path, &[]).await?;
    eventually("each has one", SOON, || async {
        let stats = get(&world, &format!("/subscriptions/{id}/stats")).await.ok()?;
        let partitions = stats["items"][0]["partitions"].as_array()?.clone();
        let holders: BTreeSet<_> = partitions.iter().filter_map(|one| one["stream_id"].as_str()).collect();
        (holders == BTreeSet::from([second.id.as_str(), third.id.as_str()])).then_some(())
    })
    .await?;
    drop((second, third));
    eventually("nobody reads", SOON, || async {
        let stats = get(&world, &format!("/subscriptions/{id}/stats")).await.ok()?;
        let partitions = stats["items"][0]["partitions"].as_array()?.clone();
        partitions.iter().all(|one| one["state"] == "unassigned").then_some(())
    })
    .await
}

#[tokio::test]
async fn a_stream_may_choose_its_partitions_and_ends_when_it_is_told_to() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({"partitions": 2})).await?;
    let id = subscribe(&world, json!({})).await?;
    let ask = json!({"partitions": [{"event_type": "orders", "partition": "1"}], "batch_flush_timeout": 1, "stream_keep_alive_limit": 1});
    // It lives for one keep-alive batch, so the answer has an end.
    let first = post(&world, &format!("/subscriptions/{id}/events"), &ask).await?;
    let lines: Vec<Value> = first.text().lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(first.status == 200 && lines.len() == 2 && lines.iter().all(|line| line["cursor"]["partition"] == "1"), "{lines:?}");
    ensure!(lines[1]["info"].is_object(), "{lines:?}");
    let holder = Batches::open(&world, &format!("/subscriptions/{id}/events"), &[]).await?;
    let taken = post(&world, &format!("/subscriptions/{id}/events"), &ask).await?;
    ensure!(taken.status == 409, "{} {}", taken.status, taken.text());
    drop(holder);
    let timed = "/event-types/orders/events?batch_flush_timeout=1&stream_timeout=1";
    let answer = tokio::time::timeout(Duration::from_secs(60), world.data.get(&format!("{NAKADI}{timed}"))).await.context("no end")??;
    ensure!(answer.text().lines().last().is_some_and(|line| line.contains("stream timeout")), "{}", answer.text());
    Ok(())
}

#[tokio::test]
async fn a_list_of_events_is_checked_whole_before_the_first_is_kept() -> Result<()> {
    let world = World::with(Config::default()).await?;
    world.schema("order", json!({"type": "object", "required": ["n"]})).await?;
    world.topic("orders", json!({"schemas": ["order"], "schema_required": true})).await?;
    let path = "/event-types/orders/events";
    let event = |id: &str, data: Value| json!({"specversion": "1.0", "id": id, "source": "/s", "type": "t", "datacontenttype": "application/json", "data": data});
    let bad = post(&world, path, &json!([event("1", json!({"n": 1})), event("2", json!({}))])).await?;
    ensure!(bad.status == 422, "{} {}", bad.status, bad.text());
    let items = bad.json()?;
    ensure!(items[0]["eid"] == "1" && items[0]["publishing_status"] == "aborted" && items[0]["step"] == "none", "{items}");
    ensure!(items[1]["eid"] == "2" && items[1]["publishing_status"] == "failed" && items[1]["step"] == "validating", "{items}");
    let page = world.data.get("/v1/topics/orders/events").await?.expect(200)?;
    ensure!(page["events"] == json!([]), "{page}");
    let plain = json!({"metadata": {"eid": "3", "occurred_at": "2026-01-01T00:00:00Z"}, "n": 3});
    let good = post(&world, path, &json!([event("1", json!({"n": 1})), plain])).await?;
    ensure!(good.status == 200, "{} {}", good.status, good.text());
    let page = world.data.get("/v1/topics/orders/events").await?.expect(200)?;
    let ids: BTreeSet<&str> = page["events"].as_array().into_iter().flatten().filter_map(|one| one["event"]["id"].as_str()).collect();
    ensure!(ids == BTreeSet::from(["1", "3"]), "{page}");
    ensure!(post(&world, "/event-types/none/events", &json!([])).await?.status == 404);
    ensure!(post(&world, path, &json!({})).await?.status == 400);
    Ok(())
}
