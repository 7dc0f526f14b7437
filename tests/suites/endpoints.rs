//! What endpoints do to us, and what the record says of it: each behaviour with its attempt and, where it ends, its dead letter.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use posthorn_tests::{Behaviour, Config, Posthorn, Receiver, eventually};
use serde_json::{Value, json};

use crate::kit::{SOON, dead_letters, delivery, publish, subscribe, topic};

const PAUSE: Duration = Duration::from_millis(40);

/// A behaviour, and what the one attempt at it must be recorded as.
struct Case {
    name: &'static str,
    behaviour: Behaviour,
    status_code: Option<u16>,
    error: Option<&'static str>,
}

fn case(name: &'static str, behaviour: Behaviour, status_code: Option<u16>, error: Option<&'static str>) -> Case {
    Case { name, behaviour, status_code, error }
}

fn cases() -> Vec<Case> {
    vec![
        case("ok", Behaviour::Ok, Some(200), None),
        case("created", Behaviour::Status(201), Some(201), None),
        case("no-content", Behaviour::Status(204), Some(204), None),
        case("ok-then-close", Behaviour::OkThenClose, Some(200), None),
        case("interim", Behaviour::Interim(3), Some(200), None),
        // Success is decided by the head; a body beyond the limit is left unread.
        case("endless-body", Behaviour::EndlessBody, Some(200), None),
        case("slow-headers", Behaviour::SlowHeaders(PAUSE), None, Some("timeout")),
        case("slow-body", Behaviour::SlowBody(PAUSE), None, Some("timeout")),
        case("endless-headers", Behaviour::EndlessHeaders, None, Some("protocol")),
        case("hang", Behaviour::Hang, None, Some("timeout")),
        case("reset", Behaviour::Reset, None, Some("closed")),
        case("close", Behaviour::Close, None, Some("closed")),
        case("garbage", Behaviour::Garbage, None, Some("protocol")),
        case("moved", Behaviour::Redirect("http://127.0.0.1:1/".into()), Some(302), None),
        case("not-modified", Behaviour::Status(304), Some(304), None),
        case("refused", Behaviour::Status(400), Some(400), None),
        case("not-found", Behaviour::Status(404), Some(404), None),
        case("broken", Behaviour::Status(500), Some(500), None),
        case("odd", Behaviour::Status(799), Some(799), None),
    ]
}

#[tokio::test]
async fn every_behaviour_is_recorded_as_what_it_was() -> Result<()> {
    let receiver = Receiver::start().await?;
    let posthorn = Posthorn::start(Config::default()).await?;
    let cases = cases();
    let mut subscriptions = Vec::new();
    for case in &cases {
        receiver.on(&format!("/{}", case.name), case.behaviour.clone());
        topic(&posthorn, case.name, json!({})).await?;
        // Long where it is not to pass, shorter than what takes its time where it is.
        let timeout = if case.error == Some("timeout") { "700ms" } else { "30s" };
        let members = json!({"retry": {"schedule": []}, "endpoint": {"timeout": timeout}});
        subscriptions.push(subscribe(&posthorn, case.name, &receiver.url(&format!("/{}", case.name)), members).await?);
    }
    // All at once, so that the slow ones wait beside each other.
    for case in &cases {
        publish(&posthorn, case.name, case.name).await?;
    }
    for (case, subscription) in cases.iter().zip(&subscriptions) {
        check(&posthorn, case, subscription).await.with_context(|| case.name)?;
    }
    Ok(())
}

async fn check(posthorn: &Posthorn, case: &Case, subscription: &str) -> Result<()> {
    let succeeded = case.status_code.is_some_and(|status| (200..300).contains(&status));
    let wanted = if succeeded { "delivered" } else { "dead_lettered" };
    let ended = delivery(posthorn, subscription, "it ends", |item| item["status"] == wanted).await?;
    let attempts = ended["attempts"].as_array().context("attempts")?;
    ensure!(attempts.len() == 1, "{ended}");
    let (attempt, number) = (&attempts[0], &attempts[0]["number"]);
    ensure!((&attempt["status_code"], &attempt["error"]) == (&json!(case.status_code), &json!(case.error)), "{ended}");
    ensure!(*number == 1 && attempt["at"].is_string() && attempt["duration_ms"].is_u64(), "{ended}");
    ensure!(ended["next_attempt_at"].is_null() && ended["event_id"] == case.name, "{ended}");
    if !succeeded {
        let word = case.error.map_or_else(|| format!("status_{}", case.status_code.unwrap_or(0)), str::to_owned);
        let letter = dead_letters(posthorn, subscription, 1).await?.remove(0);
        ensure!((&letter["reason"], &letter["delivery"]) == (&json!("attempts_exhausted"), &ended["id"]), "{letter}");
        ensure!(letter["detail"].as_str().is_some_and(|detail| detail.contains(&word)), "{letter}");
        ensure!(letter["event"]["id"] == case.name && letter["attempts"] == 1, "{letter}");
    }
    Ok(())
}

#[tokio::test]
async fn nobody_there_is_refused_and_the_head_of_an_answer_is_kept() -> Result<()> {
    let posthorn = Posthorn::start(Config::default()).await?;
    let gone = Receiver::start().await?.url("/");
    topic(&posthorn, "gone", json!({})).await?;
    let subscription = subscribe(&posthorn, "gone", &gone, json!({"retry": {"schedule": []}})).await?;
    publish(&posthorn, "gone", "e").await?;
    let ended = delivery(&posthorn, &subscription, "it ends", |item| item["status"] == "dead_lettered").await?;
    ensure!(ended["attempts"][0]["error"] == "connect_refused", "{ended}");

    let receiver = Receiver::start().await?;
    receiver.on("/why", Behaviour::Answer { status: 422, headers: vec![], body: "no such order".into() });
    topic(&posthorn, "why", json!({})).await?;
    let subscription = subscribe(&posthorn, "why", &receiver.url("/why"), json!({"retry": {"schedule": []}})).await?;
    publish(&posthorn, "why", "e").await?;
    let ended = delivery(&posthorn, &subscription, "it ends", |item| item["status"] == "dead_lettered").await?;
    ensure!(ended["attempts"][0]["response_head"] == "no such order", "{ended}");
    Ok(())
}

#[tokio::test]
async fn gone_disables_the_subscription() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.on("/gone", Behaviour::Gone);
    let posthorn = Posthorn::start(Config::default()).await?;
    topic(&posthorn, "gone", json!({})).await?;
    let subscription = subscribe(&posthorn, "gone", &receiver.url("/gone"), json!({})).await?;
    publish(&posthorn, "gone", "last").await?;
    let ended = delivery(&posthorn, &subscription, "it ends", |item| item["status"] == "dead_lettered").await?;
    ensure!(ended["attempts"][0]["error"].is_null() && ended["attempts"][0]["status_code"] == 410, "{ended}");
    let letter = dead_letters(&posthorn, &subscription, 1).await?.remove(0);
    ensure!(letter["reason"] == "endpoint_gone", "{letter}");
    let disabled = || async {
        let shown = posthorn.control().get(&format!("/v1/subscriptions/{subscription}")).await.ok()?.json().ok()?;
        (shown["status"] == "disabled" && shown["status_reason"].is_string()).then_some(())
    };
    eventually("the subscription is disabled, with a reason", SOON, disabled).await?;
    publish(&posthorn, "gone", "after").await?;
    subscribe(&posthorn, "gone", &receiver.url("/awake"), json!({"start": "earliest"})).await?;
    receiver.wait_for_unique("/awake", 2, SOON).await?;
    ensure!(receiver.tally("/gone").total == 1, "{:?}", receiver.tally("/gone"));
    Ok(())
}

#[tokio::test]
async fn an_endpoint_that_asks_for_time_gets_it() -> Result<()> {
    let receiver = Receiver::start().await?;
    let posthorn = Posthorn::start(Config::default()).await?;
    // Status, what it asks for, and at least and at most how many seconds until the next attempt. A day is the longest.
    let cases = [
        ("busy", 429, "2", 2, 3),
        ("down", 503, "90", 90, 91),
        ("date", 429, "Fri, 01 Jan 2999 00:00:00 GMT", 86_400, 86_401),
        ("past", 503, "Wed, 21 Oct 2015 07:28:00 GMT", 1, 2),
        ("nonsense", 429, "soon", 1, 2),
        ("broken", 500, "90", 1, 2),
    ];
    for (name, status, value, ..) in cases {
        let answers = vec![Behaviour::RetryAfter { status, value: value.into() }, Behaviour::Ok];
        receiver.on(&format!("/{name}"), Behaviour::Sequence(answers));
        topic(&posthorn, name, json!({})).await?;
    }
    for (name, status, value, least, most) in cases {
        let retry = json!({"retry": {"schedule": ["1s"], "jitter": 0}});
        let subscription = subscribe(&posthorn, name, &receiver.url(&format!("/{name}")), retry).await?;
        publish(&posthorn, name, name).await?;
        let waiting =
            delivery(&posthorn, &subscription, "it waits", |item| item["attempts"].as_array().is_some_and(|list| !list.is_empty())).await?;
        ensure!(waiting["attempts"][0]["status_code"] == status, "{name}: {waiting}");
        if least > 2 {
            let wait = seconds(&waiting["next_attempt_at"])? - seconds(&waiting["attempts"][0]["at"])?;
            ensure!((least..=most + 5).contains(&wait), "{name} asked for {value}, waits {wait} s: {waiting}");
            ensure!(waiting["status"] == "waiting", "{waiting}");
        } else {
            let ended = delivery(&posthorn, &subscription, "it is delivered", |item| item["status"] == "delivered").await?;
            let wait = millis(&ended["attempts"][1]["at"])? - millis(&ended["attempts"][0]["at"])?;
            ensure!(wait >= least * 1000, "{name} asked for {value}, waited {wait} ms: {ended}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_hanging_endpoint_holds_nobody_up() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.on("/hang", Behaviour::Hang);
    receiver.on("/endless", Behaviour::SlowBody(Duration::from_secs(60)));
    let posthorn = Posthorn::start(Config::default().set("node.shards", json!(1))).await?;
    topic(&posthorn, "shared", json!({})).await?;
    for path in ["/hang", "/endless"] {
        subscribe(&posthorn, "shared", &receiver.url(path), json!({"endpoint": {"timeout": "60s"}, "limits": {"in_flight": 64}})).await?;
    }
    subscribe(&posthorn, "shared", &receiver.url("/good"), json!({})).await?;
    for number in 0..300 {
        publish(&posthorn, "shared", &format!("e{number}")).await?;
    }
    // Far less time than one of the hanging requests takes.
    receiver.wait_for_unique("/good", 300, SOON).await?;
    ensure!(receiver.tally("/hang").peak_in_flight <= 64, "{:?}", receiver.tally("/hang"));
    Ok(())
}

fn seconds(time: &Value) -> Result<i64> {
    Ok(millis(time)? / 1000)
}

/// An RFC 3339 time as milliseconds.
fn millis(time: &Value) -> Result<i64> {
    let text = time.as_str().with_context(|| format!("no time: {time}"))?;
    Ok(text.parse::<jiff::Timestamp>()?.as_millisecond())
}
