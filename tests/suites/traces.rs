//! Spans of sampled events (docs/decisions/0033), as an operator finds them in the log of a real process.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use posthorn_tests::{Behaviour, Config, Posthorn, Receiver};
use serde_json::{Value, json};

use crate::kit::{SOON, dead_letters, event, publish, subscribe, topic};

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

fn one<'a>(spans: &'a [Value], name: &str) -> Result<&'a Value> {
    let found = named(spans, name);
    ensure!(found.len() == 1, "{name}: {found:#?}");
    Ok(found[0])
}

fn events(spans: &[Value], name: &str) -> BTreeSet<String> {
    named(spans, name).iter().filter_map(|line| line["span"]["event"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_sampled_event_is_followed_from_its_door_to_its_last_attempt() -> Result<()> {
    let (receiver, mut posthorn) = (Receiver::start().await?, Posthorn::start(tracing(1.0, false)).await?);
    receiver.on("/dead", Behaviour::Status(500));
    topic(&posthorn, "orders", json!({})).await?;
    let well = subscribe(&posthorn, "orders", &receiver.url("/well"), json!({})).await?;
    let dead = subscribe(&posthorn, "orders", &receiver.url("/dead"), json!({"retry": {"schedule": ["10ms"]}})).await?;
    let mut sent = event("orders", "e1");
    sent["traceparent"] = json!(format!("00-{TRACE}-00f067aa0ba902b7-00"));
    posthorn.data().publish(&sent).await?.expect(202)?;
    posthorn.data().publish(&sent).await?.expect(200)?;
    dead_letters(&posthorn, &dead, 1).await?;
    let got = receiver.wait_for("/well", 1, SOON).await?;
    ensure!(got[0].header("ce-traceparent") == sent["traceparent"], "what is delivered is what was sent: {got:?}");
    let spans = spans(&mut posthorn).await?;

    for (name, within) in [("validate", 1), ("route", 2), ("append", 1)] {
        let span = one(&spans, name)?;
        let around = span["spans"].as_array().context("spans")?;
        ensure!(around.len() == within, "{span}");
        ensure!(around[0]["name"] == "accept" && around[0]["event"] == "e1" && around[0]["trace_id"] == TRACE, "{span}");
        ensure!(span["fields"]["time.busy"].is_string() && span["fields"]["time.idle"].is_string(), "{span}");
    }
    ensure!(one(&spans, "route")?["span"]["subscriptions"] == 2, "{spans:#?}");
    ensure!(one(&spans, "append")?["span"]["offset"] == 0, "{spans:#?}");
    let outcomes: Vec<_> = named(&spans, "accept").iter().map(|line| line["span"]["outcome"].clone()).collect();
    ensure!(outcomes == [json!("accepted"), json!("duplicate")], "{outcomes:?}");

    let of = |name: &str, subscription: &str| -> Vec<Value> {
        named(&spans, name).iter().map(|line| line["span"].clone()).filter(|span| span["subscription"] == subscription).collect()
    };
    for name in ["attempt", "settle"] {
        ensure!((of(name, &well).len(), of(name, &dead).len()) == (1, 2), "{name}: {spans:#?}");
        for span in of(name, &well).iter().chain(&of(name, &dead)) {
            ensure!(span["trace_id"] == TRACE && span["parent_id"] == "00f067aa0ba902b7" && span["event"] == "e1", "{span}");
            ensure!(span["message"] == got[0].id(), "{span}");
        }
    }
    ensure!(of("attempt", &well)[0]["status"] == 200 || of("attempt", &well)[0]["status"] == 204, "{spans:#?}");
    let attempts: Vec<_> = of("attempt", &dead).iter().map(|span| (span["attempt"].clone(), span["status"].clone())).collect();
    ensure!(attempts == [(json!(1), json!(500)), (json!(2), json!(500))], "{attempts:?}");
    let ends: Vec<_> = of("settle", &dead).iter().map(|span| span["outcome"].clone()).collect();
    ensure!(ends == [json!("waiting"), json!("dead_lettered")], "{ends:?}");
    ensure!(of("settle", &dead)[0]["next_attempt_at"].is_string(), "{spans:#?}");
    Ok(())
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
