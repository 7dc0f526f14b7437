//! The life of schemas through the doors (interfaces §4, §9): compatibility, references, samples, deprecation, deletion.

use anyhow::{Context, Result, ensure};
use http::Method;
use posthorn_tests::{SOON, World, cli, eventually};
use serde::Deserialize;
use serde_json::{Value, json};

mod references;

/// Whether one version fits the other in each mode.
#[derive(Deserialize)]
struct Pair {
    name: String,
    old: Value,
    new: Value,
    backward: bool,
    forward: bool,
}

async fn mode(world: &World, name: &str, mode: &str) -> Result<Value> {
    let reply = world.control.put(&format!("/v1/schemas/{name}"), &json!({"compatibility": mode})).await?;
    world.written(&reply).await.with_context(|| mode.to_owned())
}

async fn add(world: &World, name: &str, schema: &Value) -> Result<Value> {
    world.control.post(&format!("/v1/schemas/{name}/versions"), &json!({"schema": schema})).await?.expect(201)
}

/// Whether the schema with this name and version takes the data of an event that names it.
async fn takes(world: &World, version: &str, data: &Value) -> Result<bool> {
    let mut event = world.event("any");
    event["schemas"] = json!(version);
    event["data"] = data.clone();
    let reply = world.data.publish(&event).await?;
    match reply.status.as_u16() {
        202 => Ok(true),
        422 if reply.problem()? == "schema-invalid" => Ok(false),
        status => anyhow::bail!("{status}: {}", reply.text()),
    }
}

#[tokio::test]
async fn every_pair_has_its_verdict_and_every_counterexample_is_one() -> Result<()> {
    let pairs: Vec<Pair> = serde_json::from_str(include_str!("../fixtures/schema_pairs.json"))?;
    ensure!(pairs.len() >= 40);
    let world = World::start().await?;
    world.topic("any", json!({})).await?;
    for (n, pair) in pairs.iter().enumerate() {
        verdicts(&world, &format!("p{n}"), pair).await.with_context(|| pair.name.clone())?;
    }
    Ok(())
}

async fn verdicts(world: &World, name: &str, pair: &Pair) -> Result<()> {
    let Pair { old, new, backward, forward, .. } = pair;
    let stored = add(world, name, old).await?;
    // The new one under a name of its own, so that events can be held to it whatever the verdict.
    let other = add(world, &format!("{name}-new"), new).await?;
    world.control.in_force(other["revision"].as_u64().context("a revision")?).await?;
    let versions = format!("/v1/schemas/{name}/versions");
    for (mode, expected) in [("backward", *backward), ("forward", *forward), ("full", *backward && *forward)] {
        let path = format!("{versions}?dry_run=true&compatibility={mode}");
        let report = world.control.post(&path, &json!({"schema": new})).await?.expect(200)?;
        ensure!(report["compatible"] == expected, "{mode}: {report}");
        if expected {
            ensure!(report["counterexample"].is_null(), "{report}");
            continue;
        }
        let data = report.get("counterexample").context("a counterexample")?;
        ensure!(report["pointer"].is_string() && report["undecided"].is_null(), "{mode}: {report}");
        let by_old = takes(world, &format!("{name}:1"), data).await?;
        let by_new = takes(world, &format!("{name}-new:1"), data).await?;
        let taken_by_old = report["direction"] == "backward";
        ensure!(by_old == taken_by_old && by_new != taken_by_old, "{mode}: {report}: old {by_old}, new {by_new}");
    }
    // What is refused is not added, and what fits is.
    super::schemas::mode(world, name, "full").await?;
    let reply = world.control.post(&versions, &json!({"schema": new})).await?;
    if *backward && *forward {
        let same = old == new;
        ensure!(reply.expect(if same { 200 } else { 201 })?["version"] == if same { 1 } else { 2 });
    } else {
        ensure!(reply.problem()? == "schema-incompatible" && reply.status == 409, "{}", reply.text());
        let problem = reply.json()?;
        ensure!(problem.get("counterexample").is_some() && problem["pointer"].is_string(), "{problem}");
        let now = world.control.get(&format!("/v1/schemas/{name}")).await?.expect(200)?;
        ensure!(now["versions"] == json!([1]) && stored["version"] == 1, "{now}");
    }
    Ok(())
}

#[tokio::test]
async fn modes_are_set_read_and_kept() -> Result<()> {
    let world = World::start().await?;
    add(&world, "order", &json!({"type": "integer", "maximum": 9})).await?;
    let read = world.control.get("/v1/schemas/order").await?;
    ensure!(read.expect(200)?["compatibility"] == "none");
    for name in ["none", "backward", "forward", "full", "backward_transitive", "forward_transitive", "full_transitive"] {
        ensure!(mode(&world, "order", name).await?["compatibility"] == name);
    }
    let unknown = world.control.put("/v1/schemas/order", &json!({"compatibility": "sideways"})).await?;
    ensure!(unknown.problem()? == "invalid-resource" && unknown.text().contains("sideways"), "{}", unknown.text());
    let stale = read.headers.get("etag").context("an ETag")?.to_str()?;
    let headers = [("if-match", stale), ("content-type", "application/json")];
    let refused =
        world.control.send(Method::PUT, "/v1/schemas/order", &headers, json!({"compatibility": "none"}).to_string().into()).await?;
    ensure!(refused.status == 412 && refused.problem()? == "precondition-failed", "{}", refused.text());
    // Transitive: the latest alone would allow it.
    mode(&world, "order", "none").await?;
    add(&world, "order", &json!({"type": "integer", "maximum": 5})).await?;
    mode(&world, "order", "backward").await?;
    let seven = json!({"schema": {"type": "integer", "maximum": 7}});
    let path = "/v1/schemas/order/versions?dry_run=true";
    ensure!(world.control.post(path, &seven).await?.expect(200)?["compatible"] == true);
    mode(&world, "order", "backward_transitive").await?;
    let report = world.control.post(path, &seven).await?.expect(200)?;
    ensure!(report["compatible"] == false && report["taken_by"] == "order:1", "{report}");
    // A content that is there already is answered with its version, whatever the mode.
    let again = world.control.post("/v1/schemas/order/versions", &json!({"schema": {"type": "integer", "maximum": 5}})).await?;
    ensure!(again.expect(200)?["version"] == 2);
    let shown = world.data.get("/v1/schemas/order").await?.expect(200)?;
    ensure!(shown == world.control.get("/v1/schemas/order").await?.expect(200)?, "{shown}");
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_decided_needs_an_override() -> Result<()> {
    let world = World::start().await?;
    // An array of which something is not evaluated: nothing here reasons about that.
    let old = json!({"contains": {"type": "integer"}, "type": "array", "unevaluatedItems": {"type": "string", "minLength": 2}});
    let new = json!({"contains": {"type": "integer"}, "type": "array", "unevaluatedItems": {"type": "string", "minLength": 1}});
    add(&world, "odd", &old).await?;
    mode(&world, "odd", "backward").await?;
    let refused = world.control.post("/v1/schemas/odd/versions", &json!({"schema": new})).await?;
    let problem = refused.json()?;
    ensure!(refused.problem()? == "schema-incompatible" && problem["undecided"] == true, "{problem}");
    ensure!(
        problem["counterexample"].is_null() && problem["detail"].as_str().is_some_and(|text| text.contains("cannot be decided")),
        "{problem}"
    );
    let added = world.control.post("/v1/schemas/odd/versions?override=true", &json!({"schema": new})).await?;
    ensure!(added.expect(201)?["version"] == 2);
    // A proven fault cannot be overridden.
    let refuted = world.control.post("/v1/schemas/odd/versions?override=true", &json!({"schema": {"type": "object"}})).await?;
    ensure!(refuted.status == 409, "{}", refuted.text());
    Ok(())
}

#[tokio::test]
async fn a_sample_reports_what_would_be_refused() -> Result<()> {
    let world = World::start().await?;
    world.schema("order", json!({"type": "object"})).await?;
    world.topic("orders", json!({"schemas": ["order"], "partitions": 3})).await?;
    for n in 0..12 {
        world.publish("orders", json!({"qty": n})).await?;
    }
    let body = json!({"schema": {"type": "object", "properties": {"qty": {"type": "integer", "maximum": 8}}}});
    let path = "/v1/schemas/order/versions";
    let report = world.control.post(&format!("{path}?dry_run=true&sample=100"), &body).await?.expect(200)?;
    ensure!(report["sample"]["checked"] == 12 && report["sample"]["invalid"] == 3 && report["compatible"] == true, "{report}");
    let examples = report["sample"]["examples"].as_array().context("examples")?;
    ensure!(
        examples.len() == 3 && examples.iter().all(|one| one["errors"][0]["pointer"] == "#/qty" && one["topic"] == "orders"),
        "{report}"
    );
    // The last ones, over all partitions.
    let last = world.control.post(&format!("{path}?dry_run=true&sample=5"), &body).await?.expect(200)?;
    ensure!(last["sample"]["checked"] == 5 && last["sample"]["invalid"] == 3, "{last}");
    ensure!(world.control.get("/v1/schemas/order").await?.expect(200)?["versions"] == json!([1]));
    let added = world.control.post(&format!("{path}?sample=100"), &body).await?.expect(201)?;
    ensure!(added["version"] == 2 && added["sample"]["invalid"] == 3, "{added}");
    Ok(())
}

fn order(world: &World) -> Value {
    let mut event = world.event("orders");
    event["data"] = json!({});
    event
}

#[tokio::test]
async fn publishers_are_told_of_a_deprecated_version() -> Result<()> {
    let world = World::start().await?;
    world.schema("order", json!({"type": "object"})).await?;
    world.topic("orders", json!({"schemas": ["order"]})).await?;
    let answer = world.data.publish(&order(&world)).await?.expect(202)?;
    ensure!(answer.get("warnings").is_none(), "{answer}");
    let path = "/v1/schemas/order/versions/1";
    let before = world.control.get(path).await?.expect(200)?;
    let changed = world.written(&world.control.put(path, &json!({"deprecated": "use `order:2` \"soon\""})).await?).await?;
    ensure!(changed["deprecated"] == "use `order:2` \"soon\"" && changed["schema"] == before["schema"], "{changed}");
    let answer = world.data.publish(&order(&world)).await?.expect(202)?;
    let warning = answer["warnings"][0].as_str().context("a warning")?;
    ensure!(warning.contains("order:1") && warning.contains("use `order:2` \"soon\"") && answer["status"] == "accepted", "{answer}");
    let batch = world.data.publish_batch(&[order(&world)]).await?.expect(202)?;
    ensure!(batch["results"][0]["warnings"][0] == warning, "{batch}");
    // Read, changed and written back as a whole; the content itself never changes.
    let mut whole = changed.clone();
    whole["deprecated"] = Value::Null;
    let back = world.written(&world.control.put(path, &whole).await?).await?;
    ensure!(back["deprecated"].is_null(), "{back}");
    let answer = world.data.publish(&order(&world)).await?.expect(202)?;
    ensure!(answer.get("warnings").is_none(), "{answer}");
    whole["schema"] = json!({"type": "array"});
    ensure!(world.control.put(path, &whole).await?.problem()? == "invalid-resource");
    ensure!(world.control.put(path, &json!({})).await?.problem()? == "invalid-request");
    ensure!(world.control.put("/v1/schemas/order/versions/7", &json!({"deprecated": "x"})).await?.problem()? == "not-found");
    Ok(())
}

#[tokio::test]
async fn schemas_are_read_at_both_planes_with_entity_tags() -> Result<()> {
    let world = World::start().await?;
    world.schema("order", json!({"type": "object"})).await?;
    for path in [
        "/v1/schemas",
        "/v1/schemas/order",
        "/v1/schemas/order/versions",
        "/v1/schemas/order/versions/1",
        "/v1/schemas/order/versions/latest",
    ] {
        let control = world.control.get(path).await?;
        let body = control.expect(200)?;
        for door in [&world.control, &world.data] {
            let read = door.get(path).await?;
            ensure!(read.expect(200)? == body, "{path}: {}", read.text());
            let tag = read.headers.get("etag").context("an ETag")?.to_str()?.to_owned();
            let again = door.send(Method::GET, path, &[("if-none-match", &format!("\"0\", W/{tag}"))], Default::default()).await?;
            ensure!(again.status == 304 && again.body.is_empty() && again.headers.get("etag").is_some_and(|own| *own == *tag), "{path}");
            let other = door.send(Method::GET, path, &[("if-none-match", "\"0\"")], Default::default()).await?;
            ensure!(other.expect(200)? == body, "{path}");
        }
    }
    ensure!(world.data.get("/v1/schemas/none/versions").await?.status == 404);
    Ok(())
}

#[tokio::test]
async fn schemas_in_use_are_not_deleted() -> Result<()> {
    let world = World::start().await?;
    world.schema("order", json!({"$id": "https://example.com/order", "type": "object"})).await?;
    world.schema("line", json!({"$ref": "posthorn:schema/order/1"})).await?;
    world.topic("orders", json!({"schemas": ["order"]})).await?;
    let body = json!({"filters": [{"any": [{"exact": {"dataschema": "https://example.com/order"}}]}], "endpoint": {"url": world.receiver.url("/x")}});
    let subscription = world.control.post("/v1/subscriptions", &body).await?.expect(201)?;
    let id = subscription["id"].as_str().context("an id")?.to_owned();
    for path in ["/v1/schemas/order/versions/1", "/v1/schemas/order"] {
        let refused = world.control.delete(path).await?;
        let users = json!(["topics/orders", "schemas/line/1", format!("subscriptions/{id}")]);
        ensure!(refused.status == 409 && refused.problem()? == "in-use" && refused.json()?["used_by"] == users, "{}", refused.text());
    }
    for path in
        ["/v1/topics/orders".to_owned(), "/v1/schemas/line".to_owned(), format!("/v1/subscriptions/{id}"), "/v1/schemas/order".to_owned()]
    {
        let deleted = world.control.delete(&path).await?;
        ensure!(deleted.status == 204, "{path}: {}", deleted.text());
    }
    ensure!(world.control.get("/v1/schemas/order").await?.problem()? == "not-found");
    ensure!(world.control.delete("/v1/schemas/order").await?.problem()? == "not-found");
    ensure!(world.control.get("/v1/schemas").await?.expect(200)?["items"] == json!([]));
    eventually("the data plane forgets it", SOON, || async {
        (world.data.get("/v1/schemas/order").await.ok()?.status == 404).then_some(())
    })
    .await?;
    // Numbers are not used again.
    ensure!(add(&world, "order", &json!(true)).await?["version"] == 2);
    Ok(())
}

#[tokio::test]
async fn the_command_line_checks_adds_and_deprecates() -> Result<()> {
    let world = World::start().await?;
    let environment = [("POSTHORN_CONTROL_URL", world.control.url("")), ("POSTHORN_DATA_URL", world.data.url(""))];
    let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let run = |line: &str, input: &str| {
        let (words, input) = (line.split(' ').map(str::to_owned).collect::<Vec<_>>(), input.to_owned());
        let environment = environment.clone();
        async move { cli::run(&words.iter().map(String::as_str).collect::<Vec<_>>(), &environment, &input).await }
    };
    let narrow = r#"{"type": "object", "required": ["qty", "sku"]}"#;
    ensure!(run("schema add order --file -", r#"{"type": "object", "required": ["qty"]}"#).await?.code == Some(0));
    let checked = run("schema check - --against order -o json", narrow).await?;
    ensure!(checked.code == Some(1) && checked.stderr.contains("none"), "{checked:?}");
    let report: Value = serde_json::from_str(&checked.stdout)?;
    ensure!(report["compatible"] == false && report["counterexample"].get("qty").is_some(), "{report}");
    ensure!(run("schema set-compatibility order forward", "").await?.code == Some(0));
    ensure!(run("schema check - --against order", narrow).await?.code == Some(0));
    ensure!(run("schema check - --against order --compatibility full", narrow).await?.code == Some(1));
    ensure!(run("schema add order --file - --dry-run --sample 10", narrow).await?.code == Some(0));
    ensure!(run("schema add order --file -", r#"{"type": "object"}"#).await?.code == Some(1));
    ensure!(run("schema add order --file -", narrow).await?.code == Some(0));
    ensure!(run("schema deprecate order 1 old", "").await?.code == Some(0));
    ensure!(world.control.get("/v1/schemas/order/versions/1").await?.expect(200)?["deprecated"] == "old");
    ensure!(run("schema deprecate order 1", "").await?.code == Some(0));
    ensure!(run("schema delete order 1", "").await?.code == Some(0));
    ensure!(world.control.get("/v1/schemas/order").await?.expect(200)?["versions"] == json!([2]));
    ensure!(run("schema delete order", "").await?.code == Some(0));
    ensure!(run("schema check -", narrow).await?.code == Some(2));
    Ok(())
}
