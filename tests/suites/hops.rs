//! Posthorns that feed each other stop (docs/decisions/0020): two real nodes in a ring, in every format of delivery.

use anyhow::{Context, Result, ensure};
use posthorn_tests::{Behaviour, Config, SOON, World, eventually};
use serde_json::{Value, json};

/// A node whose topic feeds the other's, without a window for duplicates that would end the ring before the hops do.
async fn feed(from: &World, to: &World, format: &str) -> Result<()> {
    let spec = json!({"dedup_window": "0s", "max_hops": 3, "on_refusal": "dead_letter"});
    from.topic("ring", spec.clone()).await?;
    to.topic("ring", spec).await?;
    let endpoint = json!({"url": to.data.url("/v1/topics/ring/events"), "format": format});
    let made = from.control.post("/v1/subscriptions", &json!({"filters": [{"topic": "ring"}], "endpoint": endpoint})).await?;
    from.written(&made).await.map(drop)
}

async fn ring(format: &str) -> Result<(World, World)> {
    let (a, b) = (World::start().await?, World::start().await?);
    feed(&a, &b, format).await?;
    feed(&b, &a, format).await?;
    Ok((a, b))
}

async fn events(world: &World) -> Result<Vec<Value>> {
    let page = world.data.get("/v1/topics/ring/events?cursor=earliest&limit=100").await?.expect(200)?;
    Ok(page["events"].as_array().context("events")?.iter().map(|entry| entry["event"].clone()).collect())
}

#[tokio::test]
async fn two_nodes_that_feed_each_other_stop() -> Result<()> {
    for format in ["binary", "structured", "batch", "data"] {
        let (a, b) = ring(format).await.context(format)?;
        let sent = json!({"specversion": "1.0", "id": "1", "source": "/ring", "type": "t.made", "topic": "ring",
            "datacontenttype": "application/json", "data": {"n": 1}});
        a.data.publish(&sent).await?.expect(202)?;
        // a keeps 0 and 2 hops, b 1 and 3; the fourth hop is a's to refuse, and it keeps it as a dead letter.
        let letters = a.listed("/v1/dead-letters?reason=too_many_hops", 1, |_| true).await.context(format)?;
        ensure!(letters[0]["event"]["hops"] == 4, "{format}: {}", letters[0]);
        let hops = |events: &[Value]| events.iter().map(|event| event["hops"].clone()).collect::<Vec<_>>();
        ensure!(hops(&events(&a).await?) == [Value::Null, json!(2)], "{format}: {:?}", events(&a).await?);
        ensure!(hops(&events(&b).await?) == [json!(1), json!(3)], "{format}: {:?}", events(&b).await?);
        // It is over: what b sends next to a is answered, and nothing more comes of it.
        eventually("nothing is under way", SOON, || async {
            let mut still = 0;
            for world in [&a, &b] {
                let listed = world.control.get("/v1/deliveries").await.ok()?.json().ok()?;
                still += listed["items"].as_array()?.iter().filter(|item| item["status"] != "delivered").count();
            }
            (still == 0).then_some(())
        })
        .await?;
        ensure!(events(&a).await?.len() + events(&b).await?.len() == 4, "{format}");
    }
    Ok(())
}

#[tokio::test]
async fn the_limit_is_the_topics_else_the_servers_and_refuses() -> Result<()> {
    let world = World::with(Config::with(json!({"ingest": {"max_hops": 1}}))).await?;
    world.topic("default", json!({})).await?;
    world.topic("more", json!({"max_hops": 2})).await?;
    world.topic("none", json!({"max_hops": 0})).await?;
    let relayed = [("posthorn-delivery", "dlv_x"), ("content-type", "application/json")];
    for (topic, hops, status) in [("default", "0", 202), ("default", "1", 422), ("more", "1", 202), ("more", "2", 422), ("none", "0", 422)]
    {
        let mut headers = relayed.to_vec();
        headers.push(("ce-hops", hops));
        let reply = world.publish_binary(topic, &format!("{topic}{hops}"), &headers, "{}").await?;
        ensure!(reply.status == status, "{topic} {hops}: {} {}", reply.status, reply.text());
        if status == 422 {
            ensure!(reply.problem()? == "too-many-hops", "{}", reply.text());
        }
    }
    let faulty = world.control.put("/v1/topics/faulty", &json!({"max_hops": 1001})).await?;
    ensure!(faulty.status == 422 && faulty.text().contains("max_hops"), "{}", faulty.text());
    Ok(())
}

/// Only the receiver counts, so an endpoint that is no Posthorn sees what it always saw.
#[tokio::test]
async fn other_endpoints_see_nothing_of_it() -> Result<()> {
    let world = World::start().await?;
    world.topic("ring", json!({})).await?;
    world.subscribe("/hook", json!({})).await?;
    world.receiver.on("/hook", Behaviour::Ok);
    world.publish("ring", json!(1)).await?;
    let got = world.receiver.wait_for("/hook", 1, SOON).await?;
    ensure!(got[0].header("ce-hops").is_empty() && got[0].header("posthorn-hops").is_empty(), "{got:?}");
    Ok(())
}
