//! Bad input at every door: a 4xx that names what is wrong, never a 5xx, and the server goes on.

use anyhow::{Context, Result, ensure};
use http::Method;
use posthorn_tests::{Api, World};
use serde_json::json;

/// Method, path, headers by line, body, what the answer must name (empty: nothing in particular).
type Bad = (&'static str, &'static str, &'static str, &'static str, &'static str);

const S: &str = "content-type: application/cloudevents+json";
const B: &str = "content-type: application/cloudevents-batch+json";
const J: &str = "content-type: application/json";
const CE: &str = "ce-specversion: 1.0\nce-id: 1\nce-source: /s\nce-type: t";

const DATA: &[Bad] = &[
    ("POST", "/v1/events", S, "", ""),
    ("POST", "/v1/events", S, "{", ""),
    ("POST", "/v1/events", S, "[]", ""),
    ("POST", "/v1/events", S, "null", ""),
    ("POST", "/v1/events", S, r#"{"id":"1","source":"/s","type":"t"}"#, "specversion"),
    ("POST", "/v1/events", S, r#"{"specversion":"0.3","id":"1","source":"/s","type":"t"}"#, "specversion"),
    ("POST", "/v1/events", S, r#"{"specversion":1.0,"id":"1","source":"/s","type":"t"}"#, "specversion"),
    ("POST", "/v1/events", S, r#"{"specversion":"1.0","source":"/s","type":"t"}"#, "id"),
    ("POST", "/v1/events", S, r#"{"specversion":"1.0","id":"","source":"/s","type":"t"}"#, "id"),
    ("POST", "/v1/events", S, r#"{"specversion":"1.0","id":7,"source":"/s","type":"t"}"#, "id"),
    ("POST", "/v1/events", S, r#"{"specversion":"1.0","id":"1","type":"t"}"#, "source"),
    ("POST", "/v1/events", S, r#"{"specversion":"1.0","id":"1","source":"a b","type":"t"}"#, "source"),
    ("POST", "/v1/events", S, r#"{"specversion":"1.0","id":"1","source":"/s"}"#, "type"),
    ("POST", "/v1/events", S, r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","time":"yesterday"}"#, "time"),
    ("POST", "/v1/events", S, r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":""}"#, "subject"),
    ("POST", "/v1/events", S, r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","dataschema":"no uri"}"#, "dataschema"),
    ("POST", "/v1/events", S, r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"nonsense"}"#, "datacontenttype"),
    ("POST", "/v1/events", S, r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","Upper":"x"}"#, "Upper"),
    ("POST", "/v1/events", S, r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","my_ext":"x"}"#, "my_ext"),
    ("POST", "/v1/events", S, r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","ext":{"a":1}}"#, "ext"),
    ("POST", "/v1/events", S, r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","ext":2147483648}"#, "ext"),
    ("POST", "/v1/events", S, r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","ext":1.5}"#, "ext"),
    ("POST", "/v1/events", S, r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1,"data_base64":"AA=="}"#, "data"),
    ("POST", "/v1/events", S, r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"!"}"#, "data_base64"),
    ("POST", "/v1/events", S, r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","topic":"no good"}"#, "topic"),
    ("POST", "/v1/events", S, r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","topic":7}"#, "topic"),
    ("POST", "/v1/events", B, r#"{"specversion":"1.0"}"#, ""),
    ("POST", "/v1/events", B, "[{]", ""),
    ("POST", "/v1/events", "content-type: application/cloudevents+xml", "<e/>", ""),
    ("POST", "/v1/events", "content-type: text/plain", "x", "ce-"),
    ("POST", "/v1/events", "", "", ""),
    ("POST", "/v1/topics/orders/events", "ce-specversion: 1.0\nce-id: 1\nce-type: t", "x", "source"),
    ("POST", "/v1/topics/orders/events", "ce-specversion: 2.0\nce-id: 1\nce-source: /s\nce-type: t", "x", "specversion"),
    ("POST", "/v1/topics/orders/events", "ce-specversion: 1.0\nce-id: %C0%A0\nce-source: /s\nce-type: t", "x", "id"),
    ("POST", "/v1/topics/orders/events", "content-type: text/plain", "x", ""),
    ("POST", "/v1/topics/no%20good/events", J, "1", ""),
    ("POST", "/v1/topics/%ff/events", J, "1", ""),
    ("POST", "/v1/topics/nowhere/events", J, "1", "nowhere"),
    ("POST", "/v1/topics/orders/events", J, "{\"a\":}", ""),
    ("POST", "/v1/topics/orders/events", "content-type: application/json\ncontent-encoding: gzip", "1", "content-encoding"),
    ("PUT", "/v1/events", S, "{}", ""),
    ("DELETE", "/v1/topics/orders/events", "", "", ""),
    ("GET", "/v1/nothing", "", "", ""),
    ("GET", "/", "", "", ""),
    ("GET", "/v1/topics/nowhere/events?cursor=earliest", "", "", "nowhere"),
    ("GET", "/v1/topics/orders/events?cursor=nonsense", "", "", "cursor"),
    ("GET", "/v1/topics/orders/events?cursor=time:nonsense", "", "", "cursor"),
    ("GET", "/v1/topics/orders/events?cursor=earliest&limit=0", "", "", "limit"),
    ("GET", "/v1/topics/orders/events?cursor=earliest&limit=1001", "", "", "limit"),
    ("GET", "/v1/topics/orders/events?cursor=earliest&limit=many", "", "", "limit"),
    ("GET", "/v1/topics/orders/events?cursor=earliest&wait=61s", "", "", "wait"),
    ("GET", "/v1/topics/orders/events?cursor=earliest&wait=soon", "", "", "wait"),
    ("GET", "/v1/topics/orders/events?cursor=earliest&colour=red", "", "", "colour"),
    ("GET", "/v1/topics/orders/events?cursor=earliest&cursor=latest", "", "", "cursor"),
    ("GET", "/v1/topics/orders/events", "accept: text/event-stream\nlast-event-id: nonsense", "", ""),
];

const CONTROL: &[Bad] = &[
    ("PUT", "/v1/topics/orders", J, "", ""),
    ("PUT", "/v1/topics/orders", J, "{", ""),
    ("PUT", "/v1/topics/orders", J, "[]", ""),
    ("PUT", "/v1/topics/orders", J, r#"{"partitions":1,"partitions":2}"#, "partitions"),
    ("PUT", "/v1/topics/orders", J, r#"{"colour":"red"}"#, "colour"),
    ("PUT", "/v1/topics/orders", J, r#"{"retention":{"colour":"red"}}"#, "colour"),
    ("PUT", "/v1/topics/orders", J, r#"{"partitions":0}"#, "partitions"),
    ("PUT", "/v1/topics/orders", J, r#"{"partitions":1000000000}"#, "partitions"),
    ("PUT", "/v1/topics/orders", J, r#"{"partitions":"4"}"#, "partitions"),
    ("PUT", "/v1/topics/orders", J, r#"{"partitions":1.5}"#, "partitions"),
    ("PUT", "/v1/topics/orders", J, r#"{"durability":"forever"}"#, "durability"),
    ("PUT", "/v1/topics/orders", J, r#"{"on_refusal":"cry"}"#, "on_refusal"),
    ("PUT", "/v1/topics/orders", J, r#"{"ttl":"soon"}"#, "ttl"),
    ("PUT", "/v1/topics/orders", J, r#"{"ttl":"99999999999999999999d"}"#, "ttl"),
    ("PUT", "/v1/topics/orders", J, r#"{"dedup_window":-1}"#, "dedup_window"),
    ("PUT", "/v1/topics/orders", J, r#"{"retention":{"bytes":"lots"}}"#, "bytes"),
    ("PUT", "/v1/topics/orders", J, r#"{"schemas":["nobody"]}"#, "nobody"),
    ("PUT", "/v1/topics/orders", J, r#"{"name":"other"}"#, "name"),
    ("PUT", "/v1/topics/orders", "content-type: text/plain", "{}", ""),
    ("PUT", "/v1/topics/orders", "content-type: application/json\nif-match: nonsense", "{}", ""),
    ("PUT", "/v1/topics/-bad", J, "{}", ""),
    ("PUT", "/v1/topics/no%20good", J, "{}", ""),
    ("PUT", "/v1/topics/%ff", J, "{}", ""),
    ("POST", "/v1/topics/orders", J, "{}", ""),
    ("GET", "/v1/topics?limit=0", "", "", "limit"),
    ("GET", "/v1/topics?limit=x", "", "", "limit"),
    ("GET", "/v1/topics?page_token=nonsense", "", "", "page_token"),
    ("GET", "/v1/topics?colour=red", "", "", "colour"),
    ("GET", "/v1/topics/nowhere", "", "", "nowhere"),
    ("DELETE", "/v1/topics/nowhere", "", "", "nowhere"),
    ("POST", "/v1/schemas/order/versions", J, "{}", "schema"),
    ("POST", "/v1/schemas/order/versions", J, r#"{"schema":7}"#, "schema"),
    ("POST", "/v1/schemas/order/versions", J, r#"{"schema":{"type":"objekt"}}"#, "type"),
    ("POST", "/v1/schemas/order/versions", J, r#"{"schema":{"pattern":"("}}"#, "pattern"),
    ("POST", "/v1/schemas/order/versions", J, r##"{"schema":{"$ref":"#/nowhere"}}"##, "nowhere"),
    ("POST", "/v1/schemas/order/versions", J, r#"{"schema":{"$ref":"file:///etc/passwd"}}"#, "ref"),
    ("POST", "/v1/schemas/order/versions", J, r#"{"schema":{"$schema":"https://nowhere.example/draft-99"}}"#, "schema"),
    ("POST", "/v1/schemas/order/versions", J, r#"{"schema":true,"colour":"red"}"#, "colour"),
    ("POST", "/v1/schemas/order/versions?dry_run=perhaps", J, r#"{"schema":true}"#, "dry_run"),
    ("POST", "/v1/schemas/no%20good/versions", J, r#"{"schema":true}"#, ""),
    ("PUT", "/v1/schemas/order", J, r#"{"compatibility":"sideways"}"#, "compatibility"),
    ("GET", "/v1/schemas/nobody", "", "", "nobody"),
    ("GET", "/v1/schemas/nobody/versions/latest", "", "", "nobody"),
    ("GET", "/v1/schemas/nobody/versions/zero", "", "", ""),
    ("POST", "/v1/subscriptions", J, "{}", "endpoint"),
    ("POST", "/v1/subscriptions", J, r#"{"filters":[],"endpoint":{"url":"http://127.0.0.1/"}}"#, "filters"),
    ("POST", "/v1/subscriptions", J, r#"{"filters":[{"topic":"a b"}],"endpoint":{"url":"http://127.0.0.1/"}}"#, "filters"),
    ("POST", "/v1/subscriptions", J, r#"{"filters":[{"colour":"red"}],"endpoint":{"url":"http://127.0.0.1/"}}"#, "colour"),
    ("POST", "/v1/subscriptions", J, r#"{"filters":[{"topic":"a"}],"endpoint":{"url":"nonsense"}}"#, "url"),
    ("POST", "/v1/subscriptions", J, r#"{"filters":[{"topic":"a"}],"endpoint":{"url":"http://10.0.0.1/"}}"#, "url"),
    ("POST", "/v1/subscriptions", J, r#"{"filters":[{"topic":"a"}],"endpoint":{"url":"http://u:p@127.0.0.1/"}}"#, "url"),
    (
        "POST",
        "/v1/subscriptions",
        J,
        r#"{"filters":[{"topic":"a"}],"endpoint":{"url":"http://127.0.0.1/","headers":{"a b":"c"}}}"#,
        "headers",
    ),
    (
        "POST",
        "/v1/subscriptions",
        J,
        r#"{"filters":[{"topic":"a"}],"endpoint":{"url":"http://127.0.0.1/","headers":{"x":"a\r\nb"}}}"#,
        "headers",
    ),
    (
        "POST",
        "/v1/subscriptions",
        J,
        r#"{"filters":[{"topic":"a"}],"endpoint":{"url":"http://127.0.0.1/","headers":{"webhook-id":"x"}}}"#,
        "headers",
    ),
    (
        "POST",
        "/v1/subscriptions",
        J,
        r#"{"filters":[{"topic":"a"}],"endpoint":{"url":"http://127.0.0.1/","headers":{"host":"x"}}}"#,
        "headers",
    ),
    (
        "POST",
        "/v1/subscriptions",
        J,
        r#"{"filters":[{"topic":"a"}],"endpoint":{"url":"http://127.0.0.1/","auth":[{"type":"magic"}]}}"#,
        "auth",
    ),
    (
        "POST",
        "/v1/subscriptions",
        J,
        r#"{"filters":[{"topic":"a"}],"endpoint":{"url":"http://127.0.0.1/"},"signing":[{"scheme":"standard-webhooks","secret":"whsec_!"}]}"#,
        "secret",
    ),
    (
        "POST",
        "/v1/subscriptions",
        J,
        r#"{"filters":[{"topic":"a"}],"endpoint":{"url":"http://127.0.0.1/"},"signing":[{"scheme":"standard-webhooks","secret":"********"}]}"#,
        "secret",
    ),
    ("POST", "/v1/subscriptions", J, r#"{"filters":[{"topic":"a"}],"endpoint":{"url":"http://127.0.0.1/"},"start":"tomorrow"}"#, "start"),
    ("POST", "/v1/subscriptions", J, r#"{"filters":[{"topic":"a"}],"endpoint":{"url":"http://127.0.0.1/"},"status":"happy"}"#, "status"),
    ("POST", "/v1/subscriptions", J, r#"{"filters":[{"topic":"a"}],"endpoint":{"url":"http://127.0.0.1/"},"limits":{"rate":-1}}"#, "rate"),
    (
        "POST",
        "/v1/subscriptions",
        J,
        r#"{"filters":[{"topic":"a"}],"endpoint":{"url":"http://127.0.0.1/"},"qos":{"dead_letter":"perhaps"}}"#,
        "dead_letter",
    ),
    ("GET", "/v1/subscriptions/nonsense", "", "", ""),
    (
        "PUT",
        "/v1/subscriptions/sub_00000000-0000-7000-8000-000000000000",
        J,
        r#"{"filters":[{"topic":"a"}],"endpoint":{"url":"http://127.0.0.1/"}}"#,
        "",
    ),
    ("POST", "/v1/subscriptions/nonsense/pause", "", "", ""),
    ("POST", "/v1/subscriptions/nonsense/dance", "", "", ""),
    ("POST", "/v1/subscriptions/nonsense/replay", J, "{}", ""),
    ("POST", "/v1/subscriptions/{sub}/replay", J, "{}", "from"),
    ("POST", "/v1/subscriptions/{sub}/replay", J, r#"{"from":"nonsense"}"#, "from"),
    ("POST", "/v1/subscriptions/{sub}/replay", J, r#"{"from":"earliest","to":"nonsense"}"#, "to"),
    ("POST", "/v1/subscriptions/{sub}/rotate-secret", J, r#"{"overlap":"long"}"#, "overlap"),
    ("POST", "/v1/subscriptions/{sub}/rotate-secret", J, r#"{"colour":"red"}"#, "colour"),
    ("GET", "/v1/deliveries?status=happy", "", "", "status"),
    ("GET", "/v1/deliveries?subscription=nonsense", "", "", "subscription"),
    ("GET", "/v1/deliveries?colour=red", "", "", "colour"),
    ("GET", "/v1/deliveries?page_token=nonsense", "", "", "page_token"),
    ("GET", "/v1/deliveries/nonsense", "", "", ""),
    ("GET", "/v1/dead-letters?reason=whim", "", "", "reason"),
    ("GET", "/v1/dead-letters?limit=100000", "", "", "limit"),
    ("GET", "/v1/dead-letters/nonsense", "", "", ""),
    ("POST", "/v1/dead-letters/nonsense/retry", "", "", ""),
    ("POST", "/v1/dead-letters/retry", J, r#"{"colour":"red"}"#, "colour"),
    ("PATCH", "/v1/nodes", "", "", ""),
    ("GET", "/nowhere", "", "", ""),
];

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong_and_nothing_breaks() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    let subscribed = world.subscribe("/hook", json!({})).await?;
    let mut wrong = Vec::new();
    for (door, cases) in [(&world.data, DATA), (&world.control, CONTROL)] {
        for case in cases {
            if let Err(error) = refused(door, case, &subscribed.id).await {
                wrong.push(format!("{} {} [{}] {}: {error:#}", case.0, case.1, case.2.replace('\n', ", "), case.3));
            }
        }
    }
    ensure!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), DATA.len() + CONTROL.len(), wrong.join("\n"));
    world.publish("orders", json!("still there")).await?;
    Ok(())
}

async fn refused(door: &Api, (method, path, headers, body, named): &Bad, sub: &str) -> Result<()> {
    let headers: Vec<(&str, &str)> = headers.lines().filter_map(|line| line.split_once(": ")).collect();
    let reply = door.send(method.parse::<Method>()?, &path.replace("{sub}", sub), &headers, body.to_owned().into()).await?;
    ensure!(reply.status.is_client_error(), "{} {:.300}", reply.status, reply.text());
    reply.problem()?;
    let problem = reply.json()?;
    ensure!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
    let mut said = problem["detail"].as_str().unwrap_or_default().to_owned();
    for error in problem["errors"].as_array().into_iter().flatten() {
        said.push_str(&format!(" {} {}", error["pointer"], error["detail"]));
    }
    ensure!(said.contains(named), "`{named}` is not named: {problem}");
    Ok(())
}

#[tokio::test]
async fn what_is_malformed_is_400_and_unknown_members_are_named() -> Result<()> {
    let world = World::start().await?;
    for (path, body, pointer) in [
        ("/v1/topics/orders", json!({"colour": 1}), "#/colour"),
        ("/v1/topics/orders", json!({"retention": {"weight": 1}}), "#/retention/weight"),
    ] {
        let reply = world.control.put(path, &body).await?;
        ensure!(reply.status == 400 && reply.problem()? == "invalid-request", "{}", reply.text());
        ensure!(reply.json()?["errors"][0]["pointer"] == pointer, "{}", reply.text());
    }
    let spec = json!({"filters": [{"topic": "a"}], "endpoint": {"url": "http://127.0.0.1/", "colour": 1}, "qos": {"smell": 1}, "x": 1});
    let reply = world.control.post("/v1/subscriptions", &spec).await?;
    ensure!(reply.status == 400, "{}", reply.text());
    for pointer in ["#/endpoint/colour", "#/qos/smell", "#/x"] {
        ensure!(reply.text().contains(pointer), "{pointer}: {}", reply.text());
    }
    Ok(())
}

#[tokio::test]
async fn heads_and_bodies_beyond_the_limits_are_refused() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    let long = "x".repeat(100_000);
    let headers: Vec<(&str, &str)> = CE.lines().filter_map(|l| l.split_once(": ")).chain([("ce-long", long.as_str())]).collect();
    for api in [world.data.clone(), world.data.clone().h2c()] {
        let reply = api.send(Method::POST, "/v1/topics/orders/events", &headers, "x".into()).await?;
        ensure!(reply.status == 431, "{} {}", reply.status, reply.text());
    }
    let reply =
        world.control.send(Method::PUT, "/v1/topics/orders", &[("content-type", "application/json")], vec![b' '; 3 << 20].into()).await?;
    ensure!(reply.status == 413 && reply.problem()? == "too-large", "{} {}", reply.status, reply.text());
    world.publish("orders", json!(1)).await.context("it goes on")?;
    Ok(())
}
