//! The planes apart: each goes on without the other (I7), and they find together again.

use anyhow::{Context, Result, ensure};
use posthorn_tests::process::Mode;
use posthorn_tests::{Config, Posthorn, Receiver, SOON, eventually};
use serde_json::{Value, json};

struct Apart {
    control: Posthorn,
    data: Posthorn,
    receiver: Receiver,
}

impl Apart {
    async fn start() -> Result<Self> {
        let control = Posthorn::start_as(Mode::ControlPlane, Config::default()).await?;
        let doors = control.doors();
        ensure!(doors.control.is_some() && doors.data.is_none() && doors.broker.is_none(), "{doors:?}");
        let config = Config::default().set("control.url", json!(control.url_of_control()));
        let data = Posthorn::start_as(Mode::DataPlane, config).await?;
        let doors = data.doors();
        ensure!(doors.data.is_some() && doors.broker.is_some() && doors.admin.is_some() && doors.control.is_none(), "{doors:?}");
        Ok(Self { control, data, receiver: Receiver::start().await? })
    }

    async fn write(&self, path: &str, body: &Value) -> Result<Value> {
        let control = self.control.control();
        let reply = if path == "/v1/subscriptions" { control.post(path, body).await? } else { control.put(path, body).await? };
        ensure!(reply.status.is_success(), "{}", reply.text());
        let body = reply.json()?;
        control.in_force(body["revision"].as_u64().context("a revision")?).await?;
        Ok(body)
    }

    async fn subscribe(&self, path: &str) -> Result<Value> {
        let spec = json!({"name": path, "filters": [{"topic": "**"}], "endpoint": {"url": self.receiver.url(path)}});
        self.write("/v1/subscriptions", &spec).await
    }

    async fn publish(&self, topic: &str, id: &str) -> Result<()> {
        let event = json!({"specversion": "1.0", "id": id, "source": "/t", "type": "t", "topic": topic});
        self.data.data().publish(&event).await?.expect(202)?;
        Ok(())
    }
}

#[tokio::test]
async fn apart_they_work_as_one() -> Result<()> {
    let apart = Apart::start().await?;
    apart.write("/v1/topics/orders", &json!({})).await?;
    let subscribed = apart.subscribe("/hook").await?;
    apart.publish("orders", "1").await?;
    let got = apart.receiver.wait_for("/hook", 1, SOON).await?;
    got[0].verify(subscribed["signing"][0]["secret"].as_str().context("a secret")?)?;
    // What only the node knows is asked at the control plane.
    let control = apart.control.control();
    eventually("the delivery is told", SOON, || async {
        let list = control.get("/v1/deliveries?event_id=1").await.ok()?.json().ok()?;
        (list["items"][0]["status"] == "delivered").then_some(())
    })
    .await?;
    let nodes = control.get("/v1/nodes").await?.expect(200)?;
    ensure!(nodes.as_array().is_some_and(|n| n.len() == 1) && nodes[0]["connected_since"].is_string(), "{nodes}");
    Ok(())
}

#[tokio::test]
async fn without_the_control_plane_the_data_plane_goes_on_and_starts_again() -> Result<()> {
    let mut apart = Apart::start().await?;
    apart.write("/v1/topics/orders", &json!({})).await?;
    let subscribed = apart.subscribe("/hook").await?;
    let secret = subscribed["signing"][0]["secret"].as_str().context("a secret")?;
    apart.control.kill9();
    apart.publish("orders", "while-away").await?;
    apart.receiver.wait_for_unique("/hook", 1, SOON).await?;
    // Killed as well, it starts from its copy on disk.
    apart.data.kill9();
    apart.data.restart().await?;
    ensure!(apart.data.admin().get("/ready").await?.status == 200);
    apart.publish("orders", "after-restart").await?;
    apart.receiver.wait_for_unique("/hook", 2, SOON).await?;
    let got = apart.receiver.received("/hook");
    got.last().context("one")?.verify(secret)?;
    // Back again, with changes.
    apart.control.restart().await?;
    apart.write("/v1/topics/news", &json!({})).await?;
    apart.subscribe("/more").await?;
    apart.publish("news", "changed").await?;
    apart.receiver.wait_for_unique("/more", 1, SOON).await?;
    apart.receiver.wait_for_unique("/hook", 3, SOON).await?;
    Ok(())
}

#[tokio::test]
async fn changes_made_while_a_data_plane_was_away_reach_it() -> Result<()> {
    let mut apart = Apart::start().await?;
    apart.write("/v1/topics/orders", &json!({})).await?;
    let gone = apart.subscribe("/gone").await?;
    apart.data.kill9();
    let control = apart.control.control();
    control.put("/v1/topics/orders", &json!({"ttl": "1h"})).await?.expect(200)?;
    control.put("/v1/topics/news", &json!({})).await?.expect(201)?;
    ensure!(control.delete(&format!("/v1/subscriptions/{}", gone["id"].as_str().context("an id")?)).await?.status == 204);
    // Without a node, what only nodes know cannot be told.
    let nobody = control.get("/v1/deliveries").await?;
    ensure!(nobody.status == 503 && nobody.problem()? == "no-node", "{}: {}", nobody.status, nobody.text());
    apart.data.restart().await?;
    apart.subscribe("/stays").await?;
    apart.publish("news", "1").await?;
    apart.receiver.wait_for_unique("/stays", 1, SOON).await?;
    ensure!(apart.receiver.tally("/gone").total == 0);
    Ok(())
}

#[tokio::test]
async fn two_nodes_follow_one_control_plane() -> Result<()> {
    let apart = Apart::start().await?;
    let config = Config::default().set("control.url", json!(apart.control.url_of_control()));
    let second = Posthorn::start_as(Mode::DataPlane, config).await?;
    let control = apart.control.control();
    let nodes = eventually("both are known", SOON, || async {
        let nodes = control.get("/v1/nodes").await.ok()?.json().ok()?;
        (nodes.as_array()?.len() == 2).then_some(nodes)
    })
    .await?;
    ensure!(nodes[0]["id"] != nodes[1]["id"], "{nodes}");
    apart.write("/v1/topics/orders", &json!({})).await?;
    apart.subscribe("/hook").await?;
    apart.publish("orders", "first").await?;
    let event = json!({"specversion": "1.0", "id": "second", "source": "/t", "type": "t", "topic": "orders"});
    second.data().publish(&event).await?.expect(202)?;
    apart.receiver.wait_for_unique("/hook", 2, SOON).await?;
    // A list gathers from both.
    eventually("both nodes tell", SOON, || async {
        let list = control.get("/v1/deliveries?status=delivered").await.ok()?.json().ok()?;
        (list["items"].as_array()?.len() == 2).then_some(())
    })
    .await
}

#[tokio::test]
async fn a_data_plane_needs_to_know_its_control_plane() -> Result<()> {
    let error = Posthorn::start_as(Mode::DataPlane, Config::default()).await.err().context("it started without `control.url`")?;
    let said = format!("{error:#}");
    ensure!(said.contains("exit status: 64") && said.contains("control.url"), "{said}");
    Ok(())
}

#[tokio::test]
async fn what_a_node_does_not_allow_is_not_reached_and_its_neighbours_work() -> Result<()> {
    // The control plane allows a range that the node does not.
    let wide = Config::default().set("delivery.allow_cidrs", json!(["127.0.0.0/8", "10.0.0.0/8"]));
    let control = Posthorn::start_as(Mode::ControlPlane, wide).await?;
    let config = Config::default().set("control.url", json!(control.url_of_control()));
    let data = Posthorn::start_as(Mode::DataPlane, config).await?;
    let apart = Apart { control, data, receiver: Receiver::start().await? };
    apart.write("/v1/topics/orders", &json!({})).await?;
    let spec = json!({"name": "far", "filters": [{"topic": "**"}], "endpoint": {"url": "http://10.0.0.1/"}, "retry": {"schedule": []}});
    let far = apart.write("/v1/subscriptions", &spec).await?;
    apart.subscribe("/hook").await?;
    apart.publish("orders", "1").await?;
    apart.receiver.wait_for_unique("/hook", 1, SOON).await?;
    // Nacked by name, or a dead letter for what was not allowed: either way somebody is told.
    let control = apart.control.control();
    eventually("somebody is told", SOON, || async {
        let nodes = control.get("/v1/nodes").await.ok()?.json().ok()?;
        let letters = control.get("/v1/dead-letters?reason=egress_forbidden").await.ok()?.json().ok()?;
        let nacked = nodes[0]["nacked"].to_string().contains(far["id"].as_str()?);
        (nacked || letters["items"][0]["subscription"] == far["id"]).then_some(())
    })
    .await
}
