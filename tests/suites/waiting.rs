//! More deliveries wait for another attempt than memory holds: they survive a kill, and neighbours do not feel them (issue 6 §2).

use anyhow::{Context, Result, ensure};
use posthorn_tests::{Behaviour, Config, Posthorn, Receiver, eventually};
use serde_json::json;
use tokio::task::JoinSet;

use crate::kit::{SOON, event, publish, subscribe, topic};

/// Twice what a subscription holds of them in memory, and more.
const EVENTS: u64 = 2400;

#[tokio::test(flavor = "multi_thread")]
async fn thousands_that_wait_survive_a_kill_and_all_go_out() -> Result<()> {
    let (receiver, mut posthorn) = (Receiver::start().await?, Posthorn::start(Config::default()).await?);
    // The event's fault, so that no breaker opens and every event is tried.
    receiver.on("/waits", Behaviour::Status(400));
    topic(&posthorn, "many", json!({"durability": "log"})).await?;
    let retry = json!({"schedule": ["1h", "1h"], "jitter": 0});
    let id = subscribe(&posthorn, "many", &receiver.url("/waits"), json!({"retry": retry, "limits": {"in_flight": 64}})).await?;
    let mut publishers = JoinSet::new();
    for publisher in 0..8 {
        let data = posthorn.data();
        publishers.spawn(async move {
            for number in 0..EVENTS / 8 {
                data.publish(&event("many", &format!("e{publisher}-{number}"))).await?.expect(202)?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = publishers.join_next().await {
        done??;
    }
    receiver.wait_for_unique("/waits", EVENTS, SOON).await?;
    settled(&posthorn, &id).await?;
    posthorn.kill9();
    posthorn.restart().await?;
    subscribe(&posthorn, "many", &receiver.url("/other"), json!({})).await?;
    publish(&posthorn, "many", "new").await?;
    receiver.wait_for_unique("/other", 1, SOON).await?;
    settled(&posthorn, &id).await?;
    let tally = receiver.tally("/waits");
    ensure!(tally.unique == EVENTS + 1, "{tally:?}");
    // The subscription is deleted with all that waits of it.
    posthorn.control().delete(&format!("/v1/subscriptions/{id}")).await?;
    posthorn.terminate().await?;
    posthorn.restart().await?;
    ensure!(posthorn.control().get(&format!("/v1/subscriptions/{id}")).await?.status == 404, "it is there again");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_goes_out_beyond_what_memory_holds() -> Result<()> {
    let (receiver, mut posthorn) = (Receiver::start().await?, Posthorn::start(Config::default()).await?);
    receiver.on("/due", Behaviour::Status(400));
    topic(&posthorn, "due", json!({"durability": "log"})).await?;
    // Late enough that all wait at once, before the first is tried again.
    let retry = json!({"schedule": ["10s", "1s", "1s"], "jitter": 0});
    subscribe(&posthorn, "due", &receiver.url("/due"), json!({"retry": retry, "limits": {"in_flight": 64}})).await?;
    let count = 1500;
    for number in 0..count {
        publish(&posthorn, "due", &format!("e{number}")).await?;
    }
    receiver.wait_for_unique("/due", count, SOON).await?;
    posthorn.kill9();
    receiver.on("/due", Behaviour::Ok);
    posthorn.restart().await?;
    let again = || {
        let requests = receiver.received("/due");
        let second: std::collections::BTreeSet<_> =
            requests.iter().filter(|request| request.header("posthorn-attempt") == "2").map(|request| request.id().to_owned()).collect();
        let first = requests.iter().filter(|request| request.header("posthorn-attempt") == "1").count();
        // What the kill repeated as a first attempt was delivered by it.
        std::future::ready((second.len() + first >= 2 * usize::try_from(count).unwrap_or(0)).then_some(()))
    };
    eventually("all second attempts", SOON, again).await
}

/// Waits until nothing is under way and much waits.
async fn settled(posthorn: &Posthorn, id: &str) -> Result<()> {
    let path = format!("/v1/subscriptions/{id}");
    let probe = || async {
        let state = posthorn.control().get(&path).await.ok()?.json().ok()?["state"].clone();
        (state["in_flight"] == 0 && state["lag"] == 0 && state["waiting"].as_u64() >= Some(1000)).then_some(())
    };
    eventually("all deliveries wait", SOON, probe).await.with_context(|| path.clone())
}
