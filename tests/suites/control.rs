//! The control plane over REST: resources, preconditions, secrets, and what subscriptions can be told (interfaces §4, §9).

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use posthorn_tests::{Behaviour, Received, SOON, World, eventually};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};

const HIDDEN: &str = "********";

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

async fn act(world: &World, id: &str, action: &str, body: Value) -> Result<Value> {
    let reply = world.control.post(&format!("/v1/subscriptions/{id}/{action}"), &body).await?;
    world.written(&reply).await.with_context(|| action.to_owned())
}

#[tokio::test]
async fn a_topic_is_made_read_changed_and_deleted() -> Result<()> {
    let world = World::start().await?;
    world.schema("order", json!({"type": "object"})).await?;
    let spec = json!({"name": "orders", "partitions": 4, "schemas": ["order"], "schema_required": true, "on_refusal": "reject",
        "durability": "sync", "ttl": "24h", "retention": {"age": "7d", "bytes": "10GiB"}, "dedup_window": "10m"});
    let made = world.control.put("/v1/topics/orders", &spec).await?;
    let body = made.expect(201)?;
    for (member, value) in [("partitions", json!(4)), ("schemas", json!(["order"])), ("name", json!("orders"))] {
        ensure!(body[member] == value, "{body}");
    }
    for member in ["revision", "created_at", "updated_at"] {
        ensure!(!body[member].is_null(), "{member}: {body}");
    }
    let etag = made.headers.get("etag").context("an ETag")?.clone();
    let read = world.control.get("/v1/topics/orders").await?;
    ensure!(read.expect(200)? == body && read.headers.get("etag") == Some(&etag));
    // What was read can be written back: nothing changes.
    let same = world.control.put("/v1/topics/orders", &body).await?;
    ensure!(same.expect(200)?["revision"] == body["revision"], "{}", same.text());
    let mut more = spec.clone();
    more["partitions"] = 8.into();
    let changed = world.control.put("/v1/topics/orders", &more).await?.expect(200)?;
    ensure!(changed["partitions"] == 8 && changed["revision"].as_u64() > body["revision"].as_u64(), "{changed}");
    let fewer = world.control.put("/v1/topics/orders", &spec).await?;
    ensure!(fewer.status.is_client_error() && fewer.text().contains("partitions"), "{}", fewer.text());
    ensure!(world.control.delete("/v1/topics/orders").await?.status == 204);
    ensure!(world.control.get("/v1/topics/orders").await?.problem()? == "not-found");
    eventually("the data plane forgets it", SOON, || async {
        (world.data.publish(&world.event("orders")).await.ok()?.status == 404).then_some(())
    })
    .await
}

#[tokio::test]
async fn stale_preconditions_are_412_and_tell_the_current_etag() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    let subscribed = world.subscribe("/hook", json!({})).await?;
    let mut body = subscribed.body.clone();
    body["name"] = "renamed".into();
    for (path, body) in [("/v1/topics/orders".to_owned(), json!({"partitions": 2})), (format!("/v1/subscriptions/{}", subscribed.id), body)]
    {
        let send = |etag: String, method: Method, body: String| {
            let (control, path) = (world.control.clone(), path.clone());
            async move { control.send(method, &path, &[("if-match", &etag), ("content-type", "application/json")], body.into()).await }
        };
        let current = world.control.get(&path).await?.headers.get("etag").context("an ETag")?.to_str()?.to_owned();
        let stale = send("\"999999\"".into(), Method::PUT, body.to_string()).await?;
        ensure!(stale.status == 412 && stale.problem()? == "precondition-failed", "{}: {}", stale.status, stale.text());
        ensure!(stale.headers.get("etag").is_some_and(|e| *e == *current), "{:?}", stale.headers);
        send(current.clone(), Method::PUT, body.to_string()).await?.expect(200)?;
        ensure!(send(current, Method::DELETE, String::new()).await?.status == 412);
        let now = world.control.get(&path).await?.headers.get("etag").context("an ETag")?.to_str()?.to_owned();
        let deleted = send(now, Method::DELETE, String::new()).await?;
        // The topic may be refused while a subscription needs it; not for its revision.
        ensure!(deleted.status == 204, "{}: {}", deleted.status, deleted.text());
    }
    Ok(())
}

#[tokio::test]
async fn all_faults_are_told_at_once_with_their_places() -> Result<()> {
    let world = World::start().await?;
    let spec = json!({
        "filters": [{"exact": {"type": 7}}], "signing": [{"scheme": "none"}], "retry": {"schedule": ["soon"], "jitter": 4},
        "limits": {"in_flight": 0}, "qos": {"ordering": "strict"}, "endpoint": {"url": "ftp://x/", "format": "avro", "timeout": "-1s"},
    });
    let reply = world.control.post("/v1/subscriptions", &spec).await?;
    ensure!(reply.status.is_client_error(), "{}", reply.text());
    reply.problem()?;
    let body = reply.json()?;
    let pointers: BTreeSet<&str> = body["errors"].as_array().context("errors")?.iter().filter_map(|e| e["pointer"].as_str()).collect();
    for wanted in [
        "filters/0",
        "signing/0/scheme",
        "retry/schedule/0",
        "retry/jitter",
        "limits/in_flight",
        "qos/ordering",
        "endpoint/url",
        "endpoint/format",
        "endpoint/timeout",
    ] {
        ensure!(pointers.iter().any(|p| p.starts_with("#/") && p.contains(wanted)), "{wanted} is not in {pointers:?}");
    }
    Ok(())
}

#[tokio::test]
async fn secrets_are_shown_once_and_kept_when_written_back() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    let auth = json!([{"type": "basic", "username": "u", "password": "very-secret"}]);
    let subscribed = world.subscribe("/hook", json!({"endpoint": {"auth": auth}})).await?;
    ensure!(
        subscribed.secret.starts_with("whsec_") && text(&subscribed.body, "/endpoint/auth/0/password") != "very-secret",
        "{}",
        subscribed.body
    );
    let path = format!("/v1/subscriptions/{}", subscribed.id);
    let read = world.read(&path).await?;
    ensure!(text(&read, "/signing/0/secret") == HIDDEN && text(&read, "/endpoint/auth/0/password") == HIDDEN, "{read}");
    let list = world.control.get("/v1/subscriptions").await?.text();
    ensure!(!list.contains("very-secret") && !list.contains(&subscribed.secret));
    let mut back = read.clone();
    back["name"] = "renamed".into();
    world.written(&world.control.put(&path, &back).await?).await?;
    world.publish("orders", json!(1)).await?;
    let got = world.receiver.wait_for("/hook", 1, SOON).await?;
    got[0].verify(&subscribed.secret)?;
    ensure!(got[0].header("authorization") == format!("Basic {}", STANDARD.encode("u:very-secret")));
    ensure!(
        !world.posthorn.stderr().contains("very-secret") && !world.posthorn.stderr().contains(&subscribed.secret),
        "a secret is in the log"
    );
    Ok(())
}

#[tokio::test]
async fn a_rotated_secret_signs_beside_the_old_one() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    let subscribed = world.subscribe("/hook", json!({})).await?;
    let rotated = act(&world, &subscribed.id, "rotate-secret", json!({"overlap": "24h"})).await?;
    let fresh = text(&rotated, "/signing/0/secret").to_owned();
    ensure!(fresh.starts_with("whsec_") && fresh != subscribed.secret, "{rotated}");
    ensure!(!rotated.to_string().contains(&subscribed.secret), "the old secret is shown: {rotated}");
    world.publish("orders", json!(1)).await?;
    let got = world.receiver.wait_for("/hook", 1, SOON).await?;
    ensure!(got[0].header("webhook-signature").split(' ').filter(|s| s.starts_with("v1,")).count() == 2);
    got[0].verify(&fresh)?;
    got[0].verify(&subscribed.secret)?;
    // Without overlap the old one ends at once.
    let again = act(&world, &subscribed.id, "rotate-secret", json!({"overlap": "0s"})).await?;
    world.publish("orders", json!(2)).await?;
    let got = world.receiver.wait_for("/hook", 2, SOON).await?;
    got[1].verify(text(&again, "/signing/0/secret"))?;
    ensure!(got[1].verify(&fresh).is_err(), "rotated out without overlap, and still signing");
    Ok(())
}

fn verify_ed25519(request: &Received, public: &str) -> Result<()> {
    let key = STANDARD.decode(public.strip_prefix("whpk_").context("whpk_")?)?;
    let content = [format!("{}.{}.", request.id(), request.header("webhook-timestamp")).as_bytes(), &request.body].concat();
    let signatures = request.header("webhook-signature");
    let good = signatures.split(' ').filter_map(|s| s.strip_prefix("v1a,")).any(|signature| {
        let signature = STANDARD.decode(signature).unwrap_or_default();
        UnparsedPublicKey::new(&ED25519, &key).verify(&content, &signature).is_ok()
    });
    ensure!(good, "{signatures}");
    Ok(())
}

#[tokio::test]
async fn an_ed25519_key_is_made_and_its_public_half_shown() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    let signing = json!([{"scheme": "standard-webhooks", "key": "ed25519"}, {"scheme": "standard-webhooks"}]);
    let subscribed = world.subscribe("/hook", json!({"signing": signing})).await?;
    ensure!(subscribed.secret.starts_with("whsk_"), "{}", subscribed.body);
    let public = text(&subscribed.body, "/signing/0/public_key").to_owned();
    let read = world.read(&format!("/v1/subscriptions/{}", subscribed.id)).await?;
    ensure!(text(&read, "/signing/0/public_key") == public && text(&read, "/signing/0/secret") == HIDDEN, "{read}");
    world.publish("orders", json!({"n": 1})).await?;
    let got = world.receiver.wait_for("/hook", 1, SOON).await?;
    verify_ed25519(&got[0], &public)?;
    got[0].verify(text(&subscribed.body, "/signing/1/secret"))?;
    Ok(())
}

#[tokio::test]
async fn lists_come_in_pages() -> Result<()> {
    let world = World::start().await?;
    for n in 0..7 {
        world.control.put(&format!("/v1/topics/t{n}"), &json!({})).await?.expect(201)?;
        world.control.post(&format!("/v1/schemas/s{n}/versions"), &json!({"schema": true})).await?.expect(201)?;
        world.subscribe(&format!("/h{n}"), json!({})).await?;
    }
    for (resource, key) in [("topics", "name"), ("schemas", "name"), ("subscriptions", "id")] {
        let mut seen = BTreeSet::new();
        let mut path = format!("/v1/{resource}?limit=3");
        let mut pages = 0;
        loop {
            let page = world.read(&path).await?;
            let items = page["items"].as_array().context("items")?;
            ensure!(items.len() <= 3 && items.iter().all(|i| seen.insert(text(i, &format!("/{key}")).to_owned())), "{page}");
            pages += 1;
            match page["next_page_token"].as_str() {
                Some(token) => path = format!("/v1/{resource}?limit=3&page_token={token}"),
                None => break,
            }
        }
        ensure!(seen.len() == 7 && pages == 3, "{resource}: {seen:?} in {pages}");
    }
    Ok(())
}

#[tokio::test]
async fn schemas_have_versions_and_the_same_content_is_the_same_version() -> Result<()> {
    let world = World::start().await?;
    let body = json!({"schema": {"type": "object", "properties": {"a": {"type": "integer"}}}, "ttl": "1h", "assert_formats": false});
    let path = "/v1/schemas/order/versions";
    let one = world.control.post(path, &body).await?.expect(201)?;
    let same = world.control.post(path, &body).await?.expect(200)?;
    ensure!(one["version"] == 1 && same["version"] == 1, "{one} {same}");
    let check = world.control.post(&format!("{path}?dry_run=true"), &json!({"schema": {"type": "string"}})).await?.expect(200)?;
    ensure!(check["compatible"].is_boolean(), "{check}");
    let two = world
        .control
        .post(path, &json!({"schema": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}}}))
        .await?
        .expect(201)?;
    ensure!(two["version"] == 2, "{two}");
    let info = world.read("/v1/schemas/order").await?;
    ensure!(info["versions"] == json!([1, 2]), "a dry run must not register: {info}");
    ensure!(world.read(&format!("{path}/latest")).await?["version"] == 2);
    let read = world.read(&format!("{path}/1")).await?;
    ensure!(read["schema"] == body["schema"] && read["ttl"] == "1h", "{read}");
    ensure!(world.control.get(&format!("{path}/3")).await?.problem()? == "not-found");
    // Where a schema cannot be one, the place is named.
    let wrong = world.control.post(path, &json!({"schema": {"type": "objekt"}})).await?;
    ensure!(wrong.status.is_client_error() && wrong.text().contains("type"), "{}", wrong.text());
    let remote = world.control.post(path, &json!({"schema": {"$ref": "https://elsewhere.example/s.json"}})).await?;
    ensure!(remote.status.is_client_error(), "{}", remote.text());
    Ok(())
}

#[tokio::test]
async fn the_description_names_every_route() -> Result<()> {
    let world = World::start().await?;
    let described = world.read("/openapi.json").await?;
    ensure!(described["openapi"].as_str().is_some_and(|v| v.starts_with("3.1")), "{}", described["openapi"]);
    let wanted = [
        ("/v1/topics", "get"),
        ("/v1/topics/{name}", "get put delete"),
        ("/v1/schemas", "get"),
        ("/v1/schemas/{name}", "get put"),
        ("/v1/schemas/{name}/versions", "post"),
        ("/v1/schemas/{name}/versions/{version}", "get"),
        ("/v1/subscriptions", "get post"),
        ("/v1/subscriptions/{id}", "get put delete"),
        ("/v1/subscriptions/{id}/pause", "post"),
        ("/v1/subscriptions/{id}/resume", "post"),
        ("/v1/subscriptions/{id}/verify", "post"),
        ("/v1/subscriptions/{id}/test", "post"),
        ("/v1/subscriptions/{id}/replay", "post"),
        ("/v1/subscriptions/{id}/rotate-secret", "post"),
        ("/v1/deliveries", "get"),
        ("/v1/deliveries/{id}", "get"),
        ("/v1/dead-letters", "get"),
        ("/v1/dead-letters/{id}", "get delete"),
        ("/v1/dead-letters/{id}/retry", "post"),
        ("/v1/dead-letters/retry", "post"),
        ("/v1/nodes", "get"),
    ];
    for (path, methods) in wanted {
        for method in methods.split(' ') {
            ensure!(described["paths"][path][method].is_object(), "{method} {path} is missing");
        }
    }
    // Every reference leads somewhere.
    let whole = described.to_string();
    for part in whole.split("\"$ref\":\"#").skip(1) {
        let pointer = part.split('"').next().unwrap_or_default();
        ensure!(described.pointer(pointer).is_some(), "{pointer}");
    }
    Ok(())
}

#[tokio::test]
async fn paused_means_nothing_is_sent_and_nothing_is_lost() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({"partitions": 2})).await?;
    let subscribed = world.subscribe("/hook", json!({})).await?;
    world.subscribe("/other", json!({})).await?;
    world.publish("orders", json!(0)).await?;
    world.receiver.wait_for("/hook", 1, SOON).await?;
    ensure!(act(&world, &subscribed.id, "pause", json!({})).await?["status"] == "paused");
    for n in 0..20 {
        world.publish_with("orders", json!({"subject": format!("s{n}")})).await?;
    }
    world.receiver.wait_for_unique("/other", 21, SOON).await?;
    ensure!(world.receiver.tally("/hook").total == 1, "sent while paused");
    ensure!(act(&world, &subscribed.id, "resume", json!({})).await?["status"] == "active");
    let tally = world.receiver.wait_for_unique("/hook", 21, SOON).await?;
    ensure!(tally.duplicate == 0, "{tally:?}");
    Ok(())
}

#[tokio::test]
async fn a_replay_is_marked_and_has_the_same_ids() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    let subscribed = world.subscribe("/hook", json!({"filters": [{"topic": "orders"}, {"exact": {"subject": "yes"}}]})).await?;
    for subject in ["yes", "no", "yes"] {
        world.publish_with("orders", json!({"subject": subject})).await?;
    }
    world.receiver.wait_for("/hook", 2, SOON).await?;
    let replay = |body: Value| {
        let (control, path) = (world.control.clone(), format!("/v1/subscriptions/{}/replay", subscribed.id));
        async move { control.post(&path, &body).await?.expect(202) }
    };
    replay(json!({"from": "earliest"})).await?;
    let got = world.receiver.wait_for("/hook", 4, SOON).await?;
    let ids = |part: &[Received]| part.iter().map(|r| r.id().to_owned()).collect::<BTreeSet<_>>();
    ensure!(ids(&got[..2]) == ids(&got[2..]) && ids(&got).len() == 2);
    ensure!(
        got[..2].iter().all(|r| r.header("posthorn-replay").is_empty()) && got[2..].iter().all(|r| r.header("posthorn-replay") == "true")
    );
    replay(json!({"from": "time:2001-01-01T00:00:00Z", "to": "time:2002-01-01T00:00:00Z"})).await?;
    let page = world.data.get("/v1/topics/orders/events?cursor=earliest&limit=1").await?.expect(200)?;
    replay(json!({"from": page["cursor"]})).await?;
    let got = world.receiver.wait_for("/hook", 5, SOON).await?;
    ensure!(got[4].header("ce-id") == got[1].header("ce-id") && got.len() == 5, "from after the first event");
    Ok(())
}

#[tokio::test]
async fn the_test_endpoint_sends_a_signed_event_and_tells_the_outcome() -> Result<()> {
    let world = World::start().await?;
    let subscribed = world.subscribe("/hook", json!({})).await?;
    let path = format!("/v1/subscriptions/{}/test", subscribed.id);
    let good = world.control.post(&path, &json!({})).await?.expect(200)?;
    ensure!(good["status_code"] == 200 && good["error"].is_null(), "{good}");
    world.receiver.wait_for("/hook", 1, SOON).await?[0].verify(&subscribed.secret)?;
    world.receiver.on("/hook", Behaviour::Answer { status: 500, headers: vec![], body: "oh no".into() });
    let bad = world.control.post(&path, &json!({})).await?.expect(200)?;
    ensure!(bad["status_code"] == 500 && text(&bad, "/response_head").contains("oh no"), "{bad}");
    world.receiver.on("/hook", Behaviour::Reset);
    let bad = world.control.post(&path, &json!({})).await?.expect(200)?;
    ensure!(bad["status_code"].is_null() && bad["error"].is_string(), "{bad}");
    Ok(())
}

#[tokio::test]
async fn a_deleted_subscription_gets_nothing_more() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    let subscribed = world.subscribe("/hook", json!({"retry": {"schedule": vec!["50ms"; 50], "jitter": 0}})).await?;
    world.receiver.on("/hook", Behaviour::Status(400));
    world.publish("orders", json!(1)).await?;
    world.receiver.wait_for("/hook", 1, SOON).await?;
    let path = format!("/v1/subscriptions/{}", subscribed.id);
    ensure!(world.control.delete(&path).await?.status == 204);
    ensure!(world.control.get(&path).await?.problem()? == "not-found");
    // A later write is in force, so the deletion is too.
    world.subscribe("/marker", json!({})).await?;
    let before = eventually("attempts under way end", SOON, || async {
        let now = world.receiver.tally("/hook");
        (now.in_flight == 0).then_some(now.total)
    })
    .await?;
    world.publish("orders", json!(2)).await?;
    world.receiver.wait_for("/marker", 1, SOON).await?;
    ensure!(world.receiver.tally("/hook").total <= before + 1, "{before} {:?}", world.receiver.tally("/hook"));
    Ok(())
}

#[tokio::test]
async fn a_subscription_starts_where_it_says() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({"partitions": 2})).await?;
    for n in 0..4 {
        world.publish_with("orders", json!({"subject": format!("s{n}")})).await?;
    }
    world.subscribe("/latest", json!({})).await?;
    world.subscribe("/earliest", json!({"start": "earliest"})).await?;
    world.subscribe("/long-ago", json!({"start": "time:2001-01-01T00:00:00Z"})).await?;
    world.subscribe("/future", json!({"start": "time:2999-01-01T00:00:00Z"})).await?;
    world.publish("orders", json!("now")).await?;
    for path in ["/earliest", "/long-ago"] {
        world.receiver.wait_for_unique(path, 5, SOON).await?;
    }
    world.receiver.wait_for_unique("/latest", 1, SOON).await?;
    ensure!(world.receiver.tally("/latest").total == 1, "{:?}", world.receiver.tally("/latest"));
    Ok(())
}

#[tokio::test]
async fn filters_take_what_they_say_and_nothing_else() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders.eu", json!({})).await?;
    world.topic("orders.us", json!({})).await?;
    let cases = [
        ("/topic", json!([{"topic": "orders.eu"}]), 3),
        ("/pattern", json!([{"topic": "orders.*"}]), 6),
        ("/exact", json!([{"exact": {"type": "order.made"}}]), 2),
        ("/prefix", json!([{"prefix": {"type": "order."}}]), 4),
        ("/suffix", json!([{"suffix": {"type": ".made"}}]), 2),
        ("/all", json!([{"all": [{"topic": "orders.eu"}, {"prefix": {"type": "order."}}]}]), 2),
        ("/any", json!([{"any": [{"exact": {"type": "order.made"}}, {"exact": {"type": "other"}}]}]), 4),
        ("/not", json!([{"not": {"prefix": {"type": "order."}}}]), 2),
        ("/two", json!([{"topic": "orders.us"}, {"exact": {"type": "other"}}]), 1),
    ];
    for (path, filters, _) in &cases {
        world.subscribe(path, json!({"filters": filters})).await?;
    }
    for topic in ["orders.eu", "orders.us"] {
        for kind in ["order.made", "order.gone", "other"] {
            world.publish_with(topic, json!({"type": kind})).await?;
        }
    }
    world.receiver.wait_for_unique("/pattern", 6, SOON).await?;
    for (path, _, count) in cases {
        let tally = world.receiver.wait_for_unique(path, count, SOON).await?;
        ensure!(tally.total == count, "{path}: {tally:?}");
    }
    Ok(())
}

#[tokio::test]
async fn nodes_tell_what_they_have() -> Result<()> {
    let world = World::start().await?;
    let made = world.topic("orders", json!({})).await?;
    let nodes = world.read("/v1/nodes").await?;
    let node = &nodes[0];
    ensure!(node["acked_revision"].as_u64() >= made["revision"].as_u64() && node["nacked"] == json!([]), "{nodes}");
    ensure!(node["id"].is_string() && node["connected_since"].is_string() && node["snapshot_age_seconds"].is_number(), "{nodes}");
    Ok(())
}

#[tokio::test]
async fn endpoints_in_guarded_ranges_are_refused_unless_allowed() -> Result<()> {
    let config = posthorn_tests::Config::default().set("delivery.allow_cidrs", json!(["127.0.0.1/32"]));
    let world = World::with(config).await?;
    let guarded = [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://0x7f000002/",
        "http://127.2/",
        "http://100.64.0.1/",
        "http://192.0.2.1/",
        "http://[fd00::1]/",
        "http://[64:ff9b::a00:1]/",
        "http://[2002:a00:1::]/",
        "http://0/",
        "http://224.0.0.1/",
    ];
    for url in guarded {
        let spec = json!({"filters": [{"topic": "**"}], "endpoint": {"url": url}});
        let reply = world.control.post("/v1/subscriptions", &spec).await?;
        ensure!(reply.status == 422 && reply.text().contains("#/endpoint/url"), "{url}: {} {}", reply.status, reply.text());
    }
    world.subscribe("/allowed", json!({})).await?;
    // A name is looked up when it is connected to; what it leads to is guarded just so.
    world.topic("orders", json!({})).await?;
    let port = world.receiver.address().port();
    let spec = json!({"endpoint": {"url": format!("https://localhost:{port}/named")}, "retry": {"schedule": []}});
    let named = world.subscribe("/named", spec).await?;
    world.publish("orders", json!(1)).await?;
    let found = world.listed(&format!("/v1/deliveries?subscription={}", named.id), 1, |d| d["attempts"][0].is_object()).await?;
    ensure!(world.receiver.tally("/named").total == 0, "{found:?}");
    Ok(())
}
