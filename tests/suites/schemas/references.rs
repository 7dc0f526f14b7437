//! References between registered schemas.

use anyhow::{Context, Result, ensure};
use posthorn_tests::{Config, World};
use serde_json::{Value, json};

use super::{add, mode, takes};

#[tokio::test]
async fn references_are_settled_at_registration_and_followed_by_nodes() -> Result<()> {
    let mut world = World::start().await?;
    world.topic("any", json!({})).await?;
    add(&world, "money", &json!({"$defs": {"amount": {"type": "integer", "minimum": 0}}, "$ref": "#/$defs/amount"})).await?;
    let seven = json!({"$schema": "http://json-schema.org/draft-07/schema#", "$id": "https://example.com/party",
        "definitions": {"name": {"type": "string", "minLength": 1}}, "type": "object",
        "properties": {"name": {"$ref": "#/definitions/name"}, "owes": {"$ref": "posthorn:schema/money/1"}}});
    add(&world, "party", &seven).await?;
    let order = json!({"$id": "https://example.com/order", "type": "object", "properties": {
        "buyer": {"$ref": "party"}, "name": {"$ref": "https://example.com/party#/definitions/name"},
        "total": {"$ref": "posthorn:schema/money/1#/$defs/amount"}, "parts": {"items": {"$ref": "https://example.com/order"}}}});
    let added = add(&world, "order", &order).await?;
    let pinned = json!({"https://example.com/party": "party:1", "posthorn:schema/money/1": "money:1"});
    ensure!(added["references"] == pinned, "{added}");
    // A newer version with the same `$id` changes nothing for what is registered.
    let newer = add(&world, "party", &json!({"$id": "https://example.com/party", "definitions": {"name": {"type": "null"}}})).await?;
    world.control.in_force(newer["revision"].as_u64().context("a revision")?).await?;
    for (data, fits) in [
        (json!({"buyer": {"name": "a", "owes": 1}, "name": "b", "total": 3}), true),
        (json!({"buyer": {"name": ""}}), false),
        (json!({"buyer": {"owes": -1}}), false),
        (json!({"name": ""}), false),
        (json!({"total": -1}), false),
        (json!({"parts": [{"parts": [{"total": -1}]}]}), false),
        (json!({"parts": [{"parts": [{"total": 1}]}]}), true),
    ] {
        ensure!(takes(&world, "order:1", &data).await? == fits, "{data}");
    }
    // A node that starts from its own snapshot knows them too.
    world.posthorn.restart().await?;
    (world.data, world.control) = (world.posthorn.data(), world.posthorn.control());
    ensure!(!takes(&world, "order:1", &json!({"buyer": {"owes": -1}})).await?);
    ensure!(world.control.get("/v1/schemas/order/versions/1").await?.expect(200)?["references"] == pinned);
    Ok(())
}

#[tokio::test]
async fn references_that_lead_nowhere_are_refused_with_their_place() -> Result<()> {
    let world = World::start().await?;
    add(&world, "money", &json!({"$id": "https://example.com/money", "$defs": {"a": true}})).await?;
    for (reference, hint) in [
        ("posthorn:schema/money/2", "money:2"),
        ("posthorn:schema/other/1", "other:1"),
        ("posthorn:schema/money/latest", "posthorn:schema/{name}/{version}"),
        ("posthorn:schema/money", "posthorn:schema/{name}/{version}"),
        ("posthorn:schema/self/1", "self:1"),
        ("https://example.com/none", "register it first"),
        ("none.json", "none.json"),
        ("posthorn:schema/money/1#/$defs/b", "nowhere"),
        ("https://example.com/money#anchor", "nowhere"),
        ("#/$defs/none", "nowhere"),
    ] {
        let schema = json!({"properties": {"x": {"items": [{"$ref": reference}]}}, "$schema": "http://json-schema.org/draft-07/schema#"});
        let refused = world.control.post("/v1/schemas/self/versions", &json!({"schema": schema})).await?;
        let problem = refused.json()?;
        ensure!(refused.status == 422 && refused.problem()? == "invalid-resource", "{reference}: {problem}");
        ensure!(problem["errors"][0]["pointer"] == "#/schema/properties/x/items/0/$ref", "{reference}: {problem}");
        ensure!(problem["errors"][0]["detail"].as_str().is_some_and(|detail| detail.contains(hint)), "{reference}: {problem}");
    }
    // Data that looks like a reference is none.
    add(&world, "self", &json!({"const": {"$ref": "posthorn:schema/none/1"}, "properties": {"$ref": {"type": "string"}}})).await?;
    Ok(())
}

#[tokio::test]
async fn limits_count_through_references() -> Result<()> {
    let world = World::start().await?;
    // Each level tries the next one twice; no document by itself is much.
    add(&world, "l0", &json!({"type": "string"})).await?;
    let mut refused = None;
    for level in 1..20 {
        let below = json!({"$ref": format!("posthorn:schema/l{}/1", level - 1)});
        let reply = world.control.post(&format!("/v1/schemas/l{level}/versions"), &json!({"schema": {"anyOf": [below, below]}})).await?;
        if reply.status != 201 {
            refused = Some((level, reply.json()?));
            break;
        }
    }
    let (level, problem) = refused.context("2^19 ways are too many")?;
    ensure!(level > 5 && problem.to_string().contains("too complex"), "{level}: {problem}");
    Ok(())
}

#[tokio::test]
async fn compatibility_sees_through_references_and_circles() -> Result<()> {
    let world = World::start().await?;
    add(&world, "money", &json!({"type": "integer", "minimum": 0})).await?;
    add(&world, "money", &json!({"type": "integer"})).await?;
    let node = |money: u32| {
        json!({"$id": "https://example.com/node", "type": "object", "required": ["v"], "properties": {
            "v": {"$ref": format!("posthorn:schema/money/{money}")}, "next": {"$ref": "https://example.com/node"}}})
    };
    add(&world, "node", &node(1)).await?;
    mode(&world, "node", "backward").await?;
    ensure!(add(&world, "node", &node(2)).await?["version"] == 2);
    let refused = world.control.post("/v1/schemas/node/versions", &json!({"schema": {"$comment": "again", "allOf": [node(1)]}})).await?;
    let problem: Value = refused.json()?;
    ensure!(refused.status == 409 && problem["counterexample"]["v"].as_i64().is_some_and(|v| v < 0), "{problem}");
    ensure!(problem["pointer"] == "#/v" && problem["direction"] == "backward", "{problem}");
    Ok(())
}

#[tokio::test]
async fn declared_schemas_may_refer_to_each_other() -> Result<()> {
    let declared = json!([
        {"name": "money", "schema": {"type": "integer"}},
        {"name": "order", "schema": {"properties": {"total": {"$ref": "posthorn:schema/money/1"}}}},
    ]);
    let world = World::with(Config::default().set("schemas", declared)).await?;
    let version = world.control.get("/v1/schemas/order/versions/latest").await?.expect(200)?;
    ensure!(version["references"] == json!({"posthorn:schema/money/1": "money:1"}), "{version}");
    Ok(())
}
