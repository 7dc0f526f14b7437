//! The health of endpoints: when they are only probed, how they come back, what they may ask for, how many retries a node makes,
//! and what the subscription says of all this.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use posthorn_proto::admin::IdRequest;
use posthorn_proto::admin::subscriptions_client::SubscriptionsClient;
use posthorn_tests::{Behaviour, Config, Posthorn, Receiver, eventually};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::kit::{SOON, metric, publish, read_all, subscribe, topic};

/// One attempt, and the next one long after the test.
fn once() -> Value {
    json!({"schedule": ["1h"], "jitter": 0})
}

async fn start(config: Config) -> Result<(Posthorn, Receiver)> {
    let posthorn = Posthorn::start(config).await?;
    topic(&posthorn, "orders", json!({})).await?;
    Ok((posthorn, Receiver::start().await?))
}

async fn publish_all(posthorn: &Posthorn, prefix: &str, count: usize) -> Result<()> {
    for number in 0..count {
        publish(posthorn, "orders", &format!("{prefix}{number}")).await?;
    }
    Ok(())
}

async fn state(posthorn: &Posthorn, subscription: &str) -> Result<Value> {
    Ok(posthorn.control().get(&format!("/v1/subscriptions/{subscription}")).await?.expect(200)?["state"].clone())
}

/// Waits until the state is as wanted; gives it.
async fn shows(posthorn: &Posthorn, subscription: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let found = eventually(what, SOON, || async { state(posthorn, subscription).await.ok().filter(&wanted) }).await;
    match found {
        Ok(state) => Ok(state),
        Err(error) => Err(error.context(state(posthorn, subscription).await?.to_string())),
    }
}

/// One sample of a metric, by name and label as they stand.
async fn sample(posthorn: &Posthorn, line: &str) -> Result<f64> {
    let text = posthorn.admin().get("/metrics").await?.text();
    let value = text.lines().find_map(|one| one.strip_prefix(line)?.trim().parse().ok());
    value.with_context(|| format!("{line} is not among the metrics"))
}

fn is_open(state: &Value, reason: &str) -> bool {
    state["breaker"] != "closed" && state["breaker_reason"] == reason
}

#[tokio::test]
async fn mixed_results_open_the_breaker_by_their_share() -> Result<()> {
    let (posthorn, receiver) = start(Config::default()).await?;
    let mut answers: Vec<_> = (0..10).flat_map(|_| [Behaviour::Ok, Behaviour::Status(500)]).collect();
    answers.push(Behaviour::Status(500));
    receiver.on("/mixed", Behaviour::Sequence(answers));
    let members = json!({"retry": once(), "limits": {"in_flight": 1}});
    let mixed = subscribe(&posthorn, "orders", &receiver.url("/mixed"), members.clone()).await?;
    let well = subscribe(&posthorn, "orders", &receiver.url("/well"), members).await?;
    publish_all(&posthorn, "a", 19).await?;
    receiver.wait_for("/mixed", 19, SOON).await?;
    let before = shows(&posthorn, &mixed, "nineteen have ended", |state| state["in_flight"] == 0 && state["waiting"] == 9).await?;
    ensure!(before["breaker"] == "closed" && before["breaker_reason"].is_null() && before["breaker_since"].is_null(), "{before}");
    publish_all(&posthorn, "b", 3).await?;
    let open = shows(&posthorn, &mixed, "it is open", |state| state["breaker"] == "open" && state["next_probe_at"].is_string()).await?;
    ensure!(is_open(&open, "failure_share") && open["breaker_since"].is_string() && open["concurrency"] == 1, "{open}");
    ensure!(sample(&posthorn, "posthorn_breaker_openings_total{reason=\"failure_share\"}").await? == 1.0);
    // The same over gRPC.
    let mut client = SubscriptionsClient::connect(posthorn.url_of_control()).await?;
    let read = client.get_subscription(IdRequest { id: mixed.clone(), if_match: None }).await?.into_inner();
    let said = read.state.context("a state")?;
    ensure!(said.breaker_reason.as_deref() == Some("failure_share") && said.concurrency == 1 && !said.retries_held, "{said:?}");
    ensure!(said.breaker_since.as_deref() == open["breaker_since"].as_str(), "{said:?} {open}");
    // The neighbour does not notice, and the partner's recovery is noticed at once.
    receiver.wait_for_unique("/well", 22, SOON).await?;
    let neighbour = shows(&posthorn, &well, "the neighbour is done", |state| state["in_flight"] == 0).await?;
    ensure!(neighbour["breaker"] == "closed" && neighbour["failing_since"].is_null(), "{neighbour}");
    receiver.on("/mixed", Behaviour::Ok);
    publish(&posthorn, "orders", "back").await?;
    let closed = shows(&posthorn, &mixed, "it is closed", |state| state["breaker"] == "closed" && state["lag"] == 0).await?;
    ensure!(closed["breaker_reason"].is_null() && closed["next_probe_at"].is_null(), "{closed}");
    ensure!(sample(&posthorn, "posthorn_subscriptions{breaker=\"closed\"}").await? == 2.0);
    ensure!(metric(&posthorn, "posthorn_breakers_open").await? == 0.0);
    Ok(())
}

#[tokio::test]
async fn slow_answers_open_the_breaker_and_are_taken_one_at_a_time() -> Result<()> {
    let breaker = json!({"slow_call": "300ms", "min_requests": 8});
    let (posthorn, receiver) = start(Config::default().set("delivery.breaker", breaker)).await?;
    receiver.on("/slow", Behaviour::Delay(Duration::from_millis(600), Box::new(Behaviour::Ok)));
    let slow = subscribe(&posthorn, "orders", &receiver.url("/slow"), json!({"limits": {"in_flight": 8}})).await?;
    subscribe(&posthorn, "orders", &receiver.url("/well"), json!({})).await?;
    publish_all(&posthorn, "a", 8).await?;
    let open = shows(&posthorn, &slow, "it is open", |state| is_open(state, "latency")).await?;
    ensure!(open["last_error"].is_null() && open["failing_since"].is_null(), "nothing failed: {open}");
    ensure!(sample(&posthorn, "posthorn_breaker_openings_total{reason=\"latency\"}").await? == 1.0);
    // Slow is not dead: all is delivered, one after the other.
    let before = receiver.received("/slow").len();
    publish_all(&posthorn, "b", 3).await?;
    receiver.wait_for_unique("/well", 11, SOON).await?;
    receiver.wait_for_unique("/slow", 11, SOON).await?;
    let probes: Vec<_> = receiver.received("/slow").split_off(before);
    ensure!(probes.windows(2).all(|pair| pair[1].at - pair[0].at >= Duration::from_millis(600)), "two at the same time");
    receiver.on("/slow", Behaviour::Ok);
    publish_all(&posthorn, "c", 3).await?;
    shows(&posthorn, &slow, "it is closed", |state| state["breaker"] == "closed" && state["lag"] == 0).await?;
    Ok(())
}

#[tokio::test]
async fn a_half_open_breaker_lets_one_request_through() -> Result<()> {
    let (posthorn, receiver) = start(Config::default()).await?;
    receiver.on("/dead", Behaviour::Status(500));
    let members = json!({"retry": once(), "limits": {"in_flight": 16}, "endpoint": {"timeout": "60s"}});
    let dead = subscribe(&posthorn, "orders", &receiver.url("/dead"), members).await?;
    subscribe(&posthorn, "orders", &receiver.url("/well"), json!({})).await?;
    publish_all(&posthorn, "a", 40).await?;
    shows(&posthorn, &dead, "it is open", |state| is_open(state, "failures_in_a_row")).await?;
    receiver.on("/dead", Behaviour::Hang);
    publish_all(&posthorn, "b", 20).await?;
    let probing = shows(&posthorn, &dead, "it is being probed", |state| {
        // A probe that was answered with 500 may have come before.
        state["breaker"] == "half_open" && state["in_flight"] == 1 && receiver.tally("/dead").in_flight == 1
    })
    .await?;
    ensure!(probing["next_probe_at"].is_null() && probing["concurrency"] == 1, "{probing}");
    let total = receiver.tally("/dead").total;
    publish_all(&posthorn, "c", 20).await?;
    receiver.wait_for_unique("/well", 80, SOON).await?;
    let tally = receiver.tally("/dead");
    ensure!((tally.total, tally.in_flight) == (total, 1), "more than one probe: {tally:?}");
    ensure!(sample(&posthorn, "posthorn_subscriptions{breaker=\"half_open\"}").await? == 1.0);
    Ok(())
}

#[tokio::test]
async fn who_comes_back_gets_ever_more_and_not_all_at_once() -> Result<()> {
    const TAKES: Duration = Duration::from_millis(100);
    let (posthorn, receiver) = start(Config::default()).await?;
    receiver.on("/hook", Behaviour::Status(503));
    let members = json!({"retry": once(), "limits": {"in_flight": 32}});
    let hook = subscribe(&posthorn, "orders", &receiver.url("/hook"), members).await?;
    publish_all(&posthorn, "a", 200).await?;
    shows(&posthorn, &hook, "it is open", |state| is_open(state, "failures_in_a_row")).await?;
    receiver.on("/hook", Behaviour::Delay(TAKES, Box::new(Behaviour::Ok)));
    let back = Instant::now();
    receiver.wait_for_unique("/hook", 200, SOON).await?;
    let arrivals: Vec<_> = receiver.received("/hook").into_iter().map(|request| request.at).filter(|at| *at > back).collect();
    for (number, at) in arrivals.iter().enumerate() {
        // Answered at the earliest after `TAKES`, so there were no fewer on their way than this, and no more answers.
        let answered = arrivals.iter().filter(|before| **before + TAKES <= *at).count();
        let on_their_way = number + 1 - answered;
        // The probe, or one that was just behind the change, may have been before the first that is counted here.
        ensure!(on_their_way <= answered.max(1) + 1, "{on_their_way} at once after {answered} answers");
    }
    ensure!(arrivals.len() > 64, "too few to show it: {}", arrivals.len());
    let done = shows(&posthorn, &hook, "all is delivered", |state| state["in_flight"] == 0 && state["lag"] == 0).await?;
    ensure!(done["concurrency"] == 32 && done["breaker"] == "closed", "{done}");
    Ok(())
}

#[tokio::test]
async fn who_is_overloaded_gets_less_at_once_and_then_as_much_as_before() -> Result<()> {
    let (posthorn, receiver) = start(Config::default()).await?;
    receiver.on("/busy", Behaviour::Sequence(vec![Behaviour::Status(429), Behaviour::Status(500), Behaviour::Ok]));
    let members = json!({"retry": once(), "limits": {"in_flight": 16}});
    let busy = subscribe(&posthorn, "orders", &receiver.url("/busy"), members).await?;
    publish(&posthorn, "orders", "first").await?;
    let less = shows(&posthorn, &busy, "the first has ended", |state| state["waiting"] == 1 && state["in_flight"] == 0).await?;
    ensure!(less["concurrency"] == 8 && less["breaker"] == "closed" && less["held_until"].is_null(), "{less}");
    publish(&posthorn, "orders", "second").await?;
    let same = shows(&posthorn, &busy, "the second has ended", |state| state["waiting"] == 2 && state["in_flight"] == 0).await?;
    ensure!(same["concurrency"] == 8, "a failure that was quick says nothing of load: {same}");
    // One more for each round that goes well: 8 and 9 and so on to 15 answers.
    publish_all(&posthorn, "a", 120).await?;
    shows(&posthorn, &busy, "it has its whole limit again", |state| state["concurrency"] == 16 && state["lag"] == 0).await?;
    ensure!(receiver.tally("/busy").total == 122, "{:?}", receiver.tally("/busy"));
    Ok(())
}

#[tokio::test]
async fn retry_after_holds_all_that_goes_to_the_endpoint_and_nothing_else() -> Result<()> {
    let (posthorn, receiver) = start(Config::default()).await?;
    receiver.on("/busy", Behaviour::Sequence(vec![Behaviour::RetryAfter { status: 429, value: "600".into() }, Behaviour::Ok]));
    let busy = subscribe(&posthorn, "orders", &receiver.url("/busy"), json!({"limits": {"in_flight": 1}})).await?;
    subscribe(&posthorn, "orders", &receiver.url("/well"), json!({})).await?;
    publish_all(&posthorn, "a", 5).await?;
    let held = shows(&posthorn, &busy, "it is held", |state| state["held_until"].is_string()).await?;
    receiver.wait_for_unique("/well", 5, SOON).await?;
    ensure!(receiver.tally("/busy").total == 1 && held["breaker"] == "closed" && held["concurrency"] == 1, "{held}");
    ensure!(metric(&posthorn, "posthorn_endpoint_holds_total").await? == 1.0);
    // A change of the subscription lifts it, for the endpoint may be another one; the event that was answered waits on.
    for verb in ["pause", "resume"] {
        let reply = posthorn.control().post(&format!("/v1/subscriptions/{busy}/{verb}"), &json!({})).await?;
        ensure!(reply.status.is_success(), "{}", reply.text());
    }
    receiver.wait_for_unique("/busy", 5, SOON).await?;
    let after = shows(&posthorn, &busy, "the others are delivered", |state| state["in_flight"] == 0 && state["lag"] == 0).await?;
    ensure!(after["held_until"].is_null() && after["waiting"] == 1 && receiver.tally("/busy").total == 5, "{after}");
    ensure!(
        metric(&posthorn, "posthorn_deliveries_waiting").await? == 1.0 && metric(&posthorn, "posthorn_attempts_in_flight").await? == 0.0
    );
    posthorn.control().delete(&format!("/v1/subscriptions/{busy}")).await?.expect(204)?;
    let none = || async { (metric(&posthorn, "posthorn_deliveries_waiting").await.ok()? == 0.0).then_some(()) };
    eventually("nothing of it waits", SOON, none).await
}

#[tokio::test]
async fn a_hold_is_as_long_as_allowed_at_most() -> Result<()> {
    let (posthorn, receiver) = start(Config::default().set("delivery.max_endpoint_hold", json!("1s"))).await?;
    receiver.on("/busy", Behaviour::Sequence(vec![Behaviour::RetryAfter { status: 503, value: "86400".into() }, Behaviour::Ok]));
    let busy = subscribe(&posthorn, "orders", &receiver.url("/busy"), json!({"limits": {"in_flight": 1}})).await?;
    publish_all(&posthorn, "a", 2).await?;
    let requests = receiver.wait_for("/busy", 2, SOON).await?;
    ensure!(requests[0].id() != requests[1].id() && requests[1].at - requests[0].at >= Duration::from_millis(900));
    shows(&posthorn, &busy, "the first waits its day", |state| state["waiting"] == 1 && state["lag"] == 0).await?;
    Ok(())
}

#[tokio::test]
async fn a_rate_that_the_endpoint_allows_is_kept_until_it_lifts_it() -> Result<()> {
    let (posthorn, receiver) = start(Config::default()).await?;
    let says =
        |rate: &str| Behaviour::Answer { status: 200, headers: vec![("WebHook-Allowed-Rate".into(), rate.into())], body: String::new() };
    receiver.on("/hook", says("60"));
    let hook = subscribe(&posthorn, "orders", &receiver.url("/hook"), json!({"limits": {"in_flight": 1}})).await?;
    publish_all(&posthorn, "a", 3).await?;
    let requests = receiver.wait_for("/hook", 3, SOON).await?;
    // From before the rate was known: the second may have been read late.
    ensure!(requests[2].at - requests[0].at >= Duration::from_millis(900), "{:?}", requests[2].at - requests[0].at);
    let limited = shows(&posthorn, &hook, "all have ended", |state| state["in_flight"] == 0).await?;
    ensure!(limited["allowed_rate"] == 60, "{limited}");
    receiver.on("/hook", says("*"));
    publish(&posthorn, "orders", "last").await?;
    shows(&posthorn, &hook, "there is no limit left", |state| state["allowed_rate"].is_null() && state["lag"] == 0).await?;
    Ok(())
}

#[tokio::test]
async fn retries_that_fail_keep_within_the_nodes_budget_and_take_turns() -> Result<()> {
    const SUBSCRIPTIONS: usize = 16;
    const EVENTS: usize = 10;
    let budget = json!({"share": 0, "per_second": 5});
    let begun = Instant::now();
    let (posthorn, receiver) = start(Config::default().set("delivery.retry_budget", budget)).await?;
    let mut subscriptions = Vec::new();
    for number in 0..SUBSCRIPTIONS {
        receiver.on(&format!("/{number}"), Behaviour::Status(400));
        let members = json!({"retry": {"schedule": vec!["10ms"; 50], "jitter": 0}});
        subscriptions.push(subscribe(&posthorn, "orders", &receiver.url(&format!("/{number}")), members).await?);
    }
    subscribe(&posthorn, "orders", &receiver.url("/well"), json!({})).await?;
    publish_all(&posthorn, "a", EVENTS).await?;
    // First attempts never wait, whoever makes them.
    receiver.wait_for_unique("/well", EVENTS as u64, SOON).await?;
    let tally = |number: usize| receiver.tally(&format!("/{number}"));
    for number in 0..SUBSCRIPTIONS {
        receiver.wait_for_unique(&format!("/{number}"), EVENTS as u64, SOON).await?;
    }
    let all_in_turn = || std::future::ready((0..SUBSCRIPTIONS).all(|number| tally(number).duplicate >= 1).then_some(()));
    eventually("each has a retry", SOON, all_in_turn).await?;
    let retries: u64 = (0..SUBSCRIPTIONS).map(|number| tally(number).duplicate).sum();
    // Ten seconds' worth at once, then five a second; without a budget there would be thousands.
    let most = 50.0 + 5.0 * begun.elapsed().as_secs_f64() + 1.0;
    ensure!(retries as f64 <= most, "{retries} retries where {most} are allowed");
    shows(&posthorn, &subscriptions[0], "its retries wait", |state| state["retries_held"] == true && state["waiting"] == 10).await?;
    ensure!(metric(&posthorn, "posthorn_retries_held_total").await? >= SUBSCRIPTIONS as f64);
    ensure!(metric(&posthorn, "posthorn_retry_budget_waiting").await? > 0.0);
    // What succeeds costs nothing: the endpoint is well again, and its retries are there in no time.
    receiver.on("/0", Behaviour::Ok);
    shows(&posthorn, &subscriptions[0], "all is delivered", |state| state["waiting"] == 0 && state["in_flight"] == 0).await?;
    Ok(())
}

#[tokio::test]
async fn how_long_an_endpoint_has_failed_outlives_a_kill() -> Result<()> {
    let (mut posthorn, receiver) = start(Config::default().set("delivery.disable_after", json!("10s"))).await?;
    receiver.on("/dead", Behaviour::Status(500));
    let mut schedule = vec!["20ms"; 12];
    schedule.push("1h");
    let members = json!({"retry": {"schedule": schedule, "jitter": 0}});
    let dead = subscribe(&posthorn, "orders", &receiver.url("/dead"), members).await?;
    publish(&posthorn, "orders", "first").await?;
    receiver.wait_for("/dead", 13, SOON).await?;
    told(&posthorn, "posthorn.endpoint.down", &dead).await?;
    let before = shows(&posthorn, &dead, "it waits an hour", |state| state["in_flight"] == 0 && state["breaker"] == "open").await?;
    ensure!(before["failing_since"].is_string(), "{before}");
    // Two checkpoints later it is stored.
    for nudge in 0..2 {
        let count = metric(&posthorn, "posthorn_checkpoints_total").await?;
        topic(&posthorn, &format!("nudge-{nudge}"), json!({})).await?;
        let more = || async { metric(&posthorn, "posthorn_checkpoints_total").await.ok().filter(|now| *now > count) };
        eventually("a checkpoint", SOON, more).await?;
    }
    posthorn.kill9();
    posthorn.restart().await?;
    let after = shows(&posthorn, &dead, "its node is asked", Value::is_object).await?;
    ensure!(after["failing_since"] == before["failing_since"], "{before} {after}");
    ensure!(after["breaker"] == "open", "it is probed before it is sent more: {after}");
    // It is disabled by the first attempt that fails ten seconds after the first one did.
    let mut number = 0;
    let path = format!("/v1/subscriptions/{dead}");
    let disabled = eventually("it is disabled", SOON, || {
        number += 1;
        let (posthorn, path, id) = (&posthorn, &path, format!("more-{number}"));
        async move {
            publish(posthorn, "orders", &id).await.ok()?;
            let shown = posthorn.control().get(path).await.ok()?.json().ok()?;
            (shown["status"] == "disabled").then_some(shown)
        }
    });
    let disabled = disabled.await?;
    ensure!(disabled["status_reason"] == "disable_after", "{disabled}");
    told(&posthorn, "posthorn.subscription.disabled", &dead).await?;
    told(&posthorn, "posthorn.endpoint.down", &dead).await?;
    Ok(())
}

/// Waits until operators were told this of the subscription, and holds that it was once.
async fn told(posthorn: &Posthorn, ty: &str, subscription: &str) -> Result<()> {
    let probe = || async {
        let all = read_all(posthorn, "posthorn.operations").await.ok()?;
        let events = all.iter().map(|entry| &entry["event"]).filter(|event| event["type"] == ty && event["subject"] == *subscription);
        Some(events.filter_map(|event| event["data"]["count"].as_u64()).sum::<u64>()).filter(|count| *count > 0)
    };
    let count = eventually(ty, SOON, probe).await?;
    ensure!(count == 1, "{ty} was told {count} times");
    Ok(())
}
