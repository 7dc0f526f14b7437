//! Spans of sampled events (docs/decisions/0033), as an operator finds them in the log of a real process.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use posthorn_tests::{Config, Posthorn, Receiver};
use serde_json::{Value, json};

use crate::kit::{SOON, event, publish, subscribe, topic};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn tracing(sample: f64, follow: bool) -> Config {
    let tracing = json!({"sample": sample, "follow_publishers": follow});
    // The level of the other lines is not that of spans.
    Config::with(json!({"logging": {"format": "json", "level": "warn"}, "tracing": tracing}))
}

/// Ends the process and gives the closed spans of this name: their own fields and those of the spans around them.
async fn spans(posthorn: &mut Posthorn) -> Result<Vec<Value>> {
    posthorn.terminate().await?;
    let text = posthorn.stderr();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    // What the node says of its own work is sampled too; a span without a topic is within one that has it.
    let topic = |line: &Value| line["span"].get("topic").or_else(|| line["spans"][0].get("topic")).cloned();
    Ok(lines.filter(|line| line["target"] == "posthorn::trace" && topic(line) == Some(json!("orders"))).collect())
}

fn named<'a>(spans: &'a [Value], name: &str) -> Vec<&'a Value> {
    spans.iter().filter(|line| line["span"]["name"] == name).collect()
}

fn events(spans: &[Value], name: &str) -> BTreeSet<String> {
    named(spans, name).iter().filter_map(|line| line["span"]["event"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn half_of_the_events_are_the_same_half_at_both_ends_over_a_restart() -> Result<()> {
    let (receiver, mut posthorn) = (Receiver::start().await?, Posthorn::start(tracing(0.5, false)).await?);
    topic(&posthorn, "orders", json!({})).await?;
    for number in 0..200 {
        publish(&posthorn, "orders", &format!("e{number}")).await?;
    }
    let accepted = events(&spans(&mut posthorn).await?, "accept");
    ensure!((50..150).contains(&accepted.len()), "{}", accepted.len());
    posthorn.restart().await?;
    subscribe(&posthorn, "orders", &receiver.url("/hook"), json!({"start": "earliest"})).await?;
    receiver.wait_for_unique("/hook", 200, SOON).await?;
    let delivered = spans(&mut posthorn).await?;
    ensure!(events(&delivered, "attempt") == accepted, "{:?} and {accepted:?}", events(&delivered, "attempt"));
    Ok(())
}

#[tokio::test]
async fn without_a_share_only_what_a_followed_publisher_samples_is_traced() -> Result<()> {
    for (follow, expected) in [(false, vec![]), (true, vec!["sampled".to_owned()])] {
        let (receiver, mut posthorn) = (Receiver::start().await?, Posthorn::start(tracing(0.0, follow)).await?);
        topic(&posthorn, "orders", json!({})).await?;
        subscribe(&posthorn, "orders", &receiver.url("/hook"), json!({})).await?;
        for (id, flags) in [("sampled", "01"), ("not", "00")] {
            let mut sent = event("orders", id);
            sent["traceparent"] = json!(format!("00-{TRACE}-00f067aa0ba902b7-{flags}"));
            posthorn.data().publish(&sent).await?.expect(202)?;
        }
        receiver.wait_for_unique("/hook", 2, SOON).await?;
        let spans = spans(&mut posthorn).await?;
        for name in ["accept", "attempt"] {
            ensure!(events(&spans, name).into_iter().collect::<Vec<_>>() == expected, "{follow} {name}: {spans:#?}");
        }
        ensure!(follow || spans.is_empty(), "{spans:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_environment_sets_the_share_and_a_wrong_one_is_refused_by_name() -> Result<()> {
    let check = |share: &'static str| async move {
        let environment = [("POSTHORN_TRACING__SAMPLE", share)];
        posthorn_tests::cli::run(&["config", "check"], &environment, "").await
    };
    let good = check("0.25").await?;
    ensure!(good.code == Some(0), "{good:?}");
    let bad = check("1.5").await?;
    ensure!(bad.code != Some(0) && bad.stderr.contains("tracing.sample"), "{bad:?}");
    Ok(())
}
