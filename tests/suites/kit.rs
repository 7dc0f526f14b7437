//! What the fault suites share: topics, subscriptions, events, and what Posthorn says of deliveries and of itself.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use posthorn_tests::{Posthorn, eventually};
use serde_json::{Value, json};

/// Longer than anything takes on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(40);

/// Makes a topic and waits until it is in force.
pub(crate) async fn topic(posthorn: &Posthorn, name: &str, members: Value) -> Result<()> {
    let mut body = json!({"name": name, "partitions": 1});
    lay(&mut body, members);
    let reply = posthorn.control().put(&format!("/v1/topics/{name}"), &body).await?;
    ensure!(reply.status.is_success(), "topic {name}: {} {}", reply.status, reply.text());
    in_force(posthorn, &reply.json()?).await
}

/// Makes a subscription to one topic and waits until it is in force; gives its id.
pub(crate) async fn subscribe(posthorn: &Posthorn, topic: &str, url: &str, members: Value) -> Result<String> {
    let made = subscribe_only(posthorn, topic, url, members).await?;
    in_force(posthorn, &made).await?;
    id(&made)
}

/// As [`subscribe`], without waiting; gives what was answered.
pub(crate) async fn subscribe_only(posthorn: &Posthorn, topic: &str, url: &str, members: Value) -> Result<Value> {
    let mut body = json!({"name": "test", "owner": "test", "filters": [{"topic": topic}], "endpoint": {"url": url}});
    lay(&mut body, members);
    posthorn.control().post("/v1/subscriptions", &body).await?.expect(201)
}

/// Waits until the written resource is in force on every node.
pub(crate) async fn in_force(posthorn: &Posthorn, resource: &Value) -> Result<()> {
    posthorn.control().in_force(resource["revision"].as_u64().context("a revision")?).await
}

/// The resource's id.
pub(crate) fn id(resource: &Value) -> Result<String> {
    Ok(resource["id"].as_str().context("an id")?.to_owned())
}

/// A structured event.
pub(crate) fn event(topic: &str, id: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/suites", "type": "test.happened", "topic": topic,
        "datacontenttype": "application/json", "data": {"id": id}})
}

/// Publishes one event that must be accepted; gives its offset.
pub(crate) async fn publish(posthorn: &Posthorn, topic: &str, id: &str) -> Result<u64> {
    let answer = posthorn.data().publish(&event(topic, id)).await?.expect(202)?;
    answer["offset"].as_u64().with_context(|| format!("no offset: {answer}"))
}

/// Waits until what is settled now is stored: a table is in force on a node once each shard has written a checkpoint with it.
pub(crate) async fn stored(posthorn: &Posthorn) -> Result<()> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    topic(posthorn, &format!("stored-{}", NUMBER.fetch_add(1, Ordering::Relaxed)), json!({})).await
}

pub(crate) async fn checkpoints_above(posthorn: &Posthorn, count: f64) -> Result<()> {
    let probe = || async { metric(posthorn, "posthorn_checkpoints_total").await.ok().filter(|now| *now > count) };
    eventually("checkpoints are written", SOON, probe).await.map(drop)
}

/// Everything that is in a topic, gaps too, as the pages give it.
pub(crate) async fn read_all(posthorn: &Posthorn, topic: &str) -> Result<Vec<Value>> {
    let mut entries = Vec::new();
    let mut cursor = "earliest".to_owned();
    loop {
        let page = posthorn.data().get(&format!("/v1/topics/{topic}/events?limit=1000&cursor={cursor}")).await?.expect(200)?;
        let new = page["events"].as_array().context("events")?;
        if new.is_empty() {
            return Ok(entries);
        }
        entries.extend(new.iter().cloned());
        page["cursor"].as_str().context("a cursor")?.clone_into(&mut cursor);
    }
}

/// The ids of the events among what [`read_all`] gave.
pub(crate) fn ids(entries: &[Value]) -> Vec<String> {
    entries.iter().filter_map(|entry| entry["event"]["id"].as_str()).map(str::to_owned).collect()
}

/// The first delivery of a subscription that `wanted` holds of, once there is one.
pub(crate) async fn delivery(posthorn: &Posthorn, subscription: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let path = format!("/v1/deliveries?subscription={subscription}");
    let probe = || async { pick(&posthorn.control().get(&path).await.ok()?.json().ok()?, &wanted) };
    match eventually(what, SOON, probe).await {
        Ok(found) => Ok(found),
        Err(error) => {
            let now = posthorn.control().get(&path).await.map(|reply| reply.text()).unwrap_or_default();
            Err(error.context(format!("deliveries: {now:.2000}")))
        }
    }
}

fn pick(page: &Value, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
    page["items"].as_array()?.iter().find(|item| wanted(item)).cloned()
}

/// Waits until a subscription has `count` dead letters; gives them.
pub(crate) async fn dead_letters(posthorn: &Posthorn, subscription: &str, count: usize) -> Result<Vec<Value>> {
    let path = format!("/v1/dead-letters?subscription={subscription}&limit=100");
    let probe = || async {
        let items = posthorn.control().get(&path).await.ok()?.json().ok()?["items"].as_array()?.clone();
        (items.len() >= count).then_some(items)
    };
    let found = eventually(&format!("{count} dead letters"), SOON, probe).await?;
    ensure!(found.len() == count, "{} dead letters instead of {count}: {found:?}", found.len());
    Ok(found)
}

/// The sum of all samples of a metric, 0 when it is not there.
pub(crate) async fn metric(posthorn: &Posthorn, name: &str) -> Result<f64> {
    let text = posthorn.admin().get("/metrics").await?.text();
    let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
    Ok(text.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

/// Lays members over an object, level by level.
fn lay(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                lay(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}
