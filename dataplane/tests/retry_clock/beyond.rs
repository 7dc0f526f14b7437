//! More waits than memory holds, here very little: by the clock that the test moves.

use super::*;

const HOUR: u64 = 3_600_000;
const MANY: usize = 20;

/// With `schedule`, memory for so few that wait and a budget that keeps nothing back.
async fn engine(dir: &Path, hands: &Hands, address: SocketAddr, members: Value) -> Engine {
    let mut subscription = subscription(SUBSCRIPTION, &format!("http://hook.example:{}/", address.port()));
    for (name, value) in members.as_object().unwrap() {
        subscription[name] = value.clone();
    }
    let breaker = config::Breaker { failures_in_a_row: 100_000, failure_share: None, slow_share: None, ..config::Breaker::default() };
    let retry_budget = config::RetryBudget { share: 1.0, per_second: 100_000.0 };
    let config = config::Delivery { max_retries_in_memory: 4, breaker, retry_budget, ..limits() };
    Engine::within(dir, hands, &resources_of(&[subscription]), config).await
}

/// Waits until all are tried for the so manieth time, and nothing else.
async fn tried(engine: &Engine, receiver: &mut Receiver, round: usize) {
    for number in 0..MANY {
        let next = async {
            loop {
                engine.turn().await;
                if let Ok((attempt, _)) = receiver.seen.try_recv() {
                    return attempt;
                }
            }
        };
        let attempt = tokio::time::timeout(AMPLE, next).await.unwrap_or_else(|_| panic!("{number} were tried in round {round}"));
        assert_eq!(attempt, round.to_string());
    }
}

#[tokio::test]
async fn all_that_is_due_is_tried_before_what_waits_long() {
    let local = LocalSet::new();
    local
        .run_until(async {
            let (dir, hands, mut receiver) = (tempfile::tempdir().unwrap(), Hands::default(), Receiver::start().await);
            let members = json!({"retry": {"schedule": ["1s", "1h", "1h"], "jitter": 0}});
            let mut engine = engine(dir.path(), &hands, receiver.address, members.clone()).await;
            for number in 0..MANY {
                engine.append(&number.to_string(), None).await;
            }
            for round in 1..=3 {
                tried(&engine, &mut receiver, round).await;
                let waits = async { while engine.state().await.waiting < MANY as u64 {} };
                tokio::time::timeout(AMPLE, waits).await.expect("all of them wait");
                if round == 2 {
                    engine.stop().await;
                    engine = self::engine(dir.path(), &hands, receiver.address, members.clone()).await;
                    let waits = async { while engine.state().await.waiting < MANY as u64 {} };
                    tokio::time::timeout(AMPLE, waits).await.expect("all of them are found again");
                }
                assert_eq!(engine.state().await.waiting, MANY as u64);
                hands.set(hands.now() + if round == 1 { 1000 } else { HOUR });
            }
            tried(&engine, &mut receiver, 4).await;
            let none = async { while engine.state().await.waiting > 0 {} };
            tokio::time::timeout(AMPLE, none).await.expect("none waits any more");
            engine.stop().await;
        })
        .await;
}

#[tokio::test]
async fn a_batch_that_is_tried_again_keeps_the_order_of_a_key_where_not_all_fits() {
    let local = LocalSet::new();
    local
        .run_until(async {
            let (dir, hands, mut receiver) = (tempfile::tempdir().unwrap(), Hands::default(), Receiver::start().await);
            let batch = json!({"max_events": 10, "max_bytes": "4KiB", "max_wait": "100ms"});
            let endpoint = json!({"url": format!("http://hook.example:{}/", receiver.address.port()), "format": "batch", "batch": batch});
            let members = json!({"endpoint": endpoint, "qos": {"ordering": "key"}, "retry": {"schedule": ["1h"], "jitter": 0}});
            let engine = engine(dir.path(), &hands, receiver.address, members).await;
            for (id, key, bytes) in [("first", "k", 3000), ("large", "l", 3000), ("small", "l", 10)] {
                let event = EventBuilder::new(id, "/source", "type").with_data(DataKind::Text, "x".repeat(bytes).into());
                engine.append_event(event, Some(key), None).await;
            }
            let mut made = Vec::new();
            while made.len() < 2 {
                hands.set(hands.now() + 100);
                engine.turn().await;
                made.extend(receiver.seen.try_recv().ok());
            }
            engine.waits(1).await;
            hands.set(hands.now() + 2 * HOUR);
            engine.turn().await;
            let again = [receiver.next().await, receiver.next().await];
            let of =
                |number: &str, made: &[(String, String)]| made.iter().map(|(_, id)| (number.to_owned(), id.clone())).collect::<Vec<_>>();
            assert_eq!(again.to_vec(), of("2", &made), "the same batches");
            assert_eq!(made, of("1", &made));
            engine.stop().await;
        })
        .await;
}

#[tokio::test]
async fn a_report_that_found_no_room_is_made_again() {
    let local = LocalSet::new();
    local
        .run_until(async {
            let (dir, hands, mut receiver) = (tempfile::tempdir().unwrap(), Hands::default(), Receiver::start().await);
            let other = format!("{}00", &SUBSCRIPTION[..SUBSCRIPTION.len() - 2]);
            let url = format!("http://hook.example:{}/", receiver.address.port());
            let both = [subscription(SUBSCRIPTION, &url), subscription(&other, &url)];
            // There is room for one report.
            let mut engine = Engine::with(dir.path(), &hands, &resources_of(&both)).await;
            engine.append("first", None).await;
            receiver.next().await;
            receiver.next().await;
            let wait = async { while engine.state().await.waiting + engine.state_of(&other).await.waiting < 2 {} };
            tokio::time::timeout(AMPLE, wait).await.expect("both have failed");
            hands.set(START + u64::try_from(FIVE_DAYS.as_millis()).unwrap());
            engine.append("second", None).await;
            receiver.next().await;
            receiver.next().await;
            let mut told = std::collections::BTreeSet::new();
            let both = async {
                while told.len() < 2 {
                    hands.set(hands.now() + 5_000);
                    engine.turn().await;
                    engine.state_of(&other).await;
                    told.extend(engine.gone.try_recv().map(|(id, _)| id));
                }
            };
            tokio::time::timeout(AMPLE, both).await.expect("the second is told of too");
            engine.stop().await;
        })
        .await;
}
