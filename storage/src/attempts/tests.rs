use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

const START: u64 = 1_790_000_000_000;

fn success(n: u64) -> Attempt {
    sent(n, SubscriptionId::from_bytes([(n % 3) as u8; 16]))
}

fn sent(n: u64, subscription: SubscriptionId) -> Attempt {
    let message = MessageId::from_bytes(u128::from(n).to_be_bytes());
    Attempt {
        subscription,
        topic: if n.is_multiple_of(2) { "orders" } else { "payments" }.parse().unwrap(),
        position: Position { partition: 63, offset: (1 << 40) + n },
        message,
        delivery: DeliveryId::of(subscription, message),
        derived: true,
        event_hash: event_hash(&n.to_string()),
        number: 1,
        at: Time::from_millis(START + n * 100),
        duration_ms: 29_000,
        status: Some(200),
        outcome: Outcome::Delivered,
        error: String::new(),
        response_head: Vec::new(),
        next_attempt_at: None,
    }
}

fn failure(n: u64) -> Attempt {
    let next_attempt_at = Some(Time::from_millis(START + n * 100 + 5000));
    let (error, response_head) = ("refused".into(), vec![0xff, 0, b'x']);
    // As of a replay.
    let (delivery, derived) = (DeliveryId::from_bytes([n as u8; 16]), false);
    Attempt { status: Some(503), outcome: Outcome::Retry, error, response_head, next_attempt_at, delivery, derived, ..success(n) }
}

fn open(dir: &Path, config: Config) -> AttemptLog {
    AttemptLog::open(dir, config).unwrap()
}

fn all(log: &AttemptLog, query: &Query, limit: usize, scan: usize) -> Vec<Attempt> {
    let (mut found, mut before) = (Vec::new(), None);
    loop {
        let page = log.find(query, before, limit, scan).unwrap();
        assert!(page.attempts.len() <= limit);
        found.extend(page.attempts);
        before = page.next.map(|mark| mark.to_string().parse().unwrap());
        if before.is_none() {
            return found;
        }
    }
}

#[test]
fn a_success_of_an_event_of_its_own_takes_at_most_48_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Config::default());
    (0..10_000).for_each(|n| log.record(success(n)));
    log.flush().unwrap();
    assert_eq!(log.dropped(), 0);
    let each = log.bytes() as f64 / 10_000.0;
    assert!(each <= 48.0, "{each} bytes");
}

#[test]
fn queries_find_by_every_member_newest_first() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Config { segment_bytes: 2000, ..Config::default() });
    let written: Vec<_> = (0..300).map(|n| if n % 7 == 0 { failure(n) } else { success(n) }).collect();
    for some in written.chunks(20) {
        some.iter().cloned().for_each(|attempt| log.record(attempt));
        log.flush().unwrap();
    }
    let wanted = &written[14];
    for (query, count) in [
        (Query::default(), 300),
        (Query { subscription: Some(wanted.subscription), ..Default::default() }, 100),
        (Query { topic: Some(wanted.topic.clone()), ..Default::default() }, 150),
        (Query { outcome: Some(Outcome::Retry), ..Default::default() }, 43),
        (Query { status: Some(503), topic: Some(wanted.topic.clone()), ..Default::default() }, 22),
        (Query { event_hash: Some(wanted.event_hash), ..Default::default() }, 1),
        (Query { delivery: Some(wanted.delivery), ..Default::default() }, 1),
        (Query { position: Some(wanted.position), ..Default::default() }, 1),
        (Query { outcome: Some(Outcome::Dropped), ..Default::default() }, 0),
    ] {
        for (limit, scan) in [(1000, 100_000), (3, 100_000), (1000, 7)] {
            let found = all(&log, &query, limit, scan);
            assert_eq!(found.len(), count, "{query:?}");
            assert!(found.is_sorted_by(|newer, older| newer.at > older.at));
        }
    }
    assert_eq!(all(&log, &Query { delivery: Some(wanted.delivery), ..Default::default() }, 9, 9999), std::slice::from_ref(wanted));
}

#[test]
fn a_torn_tail_is_cut_and_the_segment_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Config::default());
    for n in 0..3 {
        log.record(failure(n));
        log.flush().unwrap();
    }
    let path = log.files.lock().segments[0].path.clone();
    drop(log);
    let whole = std::fs::read(&path).unwrap();
    for cut in 0..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let log = open(dir.path(), Config::default());
        let kept = all(&log, &Query::default(), 10, 100);
        assert!(kept.len() < 3);
        log.record(success(9));
        let found = all(&log, &Query::default(), 10, 100);
        assert_eq!((&found[0], &found[1..]), (&success(9), &kept[..]), "cut at {cut}");
    }
}

#[test]
fn a_full_buffer_drops_the_oldest_and_counts() {
    let dir = tempfile::tempdir().unwrap();
    let room = 4 * size_of::<Attempt>();
    let log = open(dir.path(), Config { buffer_bytes: room, ..Config::default() });
    (0..10).for_each(|n| log.record(success(n)));
    assert_eq!(log.dropped(), 6);
    let kept: Vec<_> = all(&log, &Query::default(), 10, 100).iter().map(|attempt| attempt.message.as_bytes()[15]).collect();
    assert_eq!(kept, [9, 8, 7, 6]);
    let long = Attempt { error: "é".repeat(500), response_head: vec![1; 5000], ..failure(1) };
    let log = open(&dir.path().join("b"), Config::default());
    log.record(long);
    let found = all(&log, &Query::default(), 1, 1);
    assert_eq!((found[0].error.len(), found[0].response_head.len()), (ERROR_MAX, HEAD_MAX));
}

#[test]
fn retention_drops_whole_segments_by_bytes_and_age() {
    let dir = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicU64::new(START));
    let read = Arc::clone(&now);
    let clock = Clock::given(move || Time::from_millis(read.load(Ordering::Relaxed)));
    let config = Config { segment_bytes: 400, max_bytes: 2000, max_age: Duration::from_secs(1000), clock, ..Config::default() };
    let log = open(dir.path(), config);
    for n in 0..200 {
        log.record(success(n));
        log.flush().unwrap();
    }
    assert!(log.bytes() <= 2000 + 400);
    let found = all(&log, &Query::default(), 1000, 1000);
    assert!(found.len() > 10 && found.len() < 100);
    assert_eq!(found[0], success(199), "the newest stay");
    now.fetch_add(2_000_000, Ordering::Relaxed);
    log.record(success(500));
    log.flush().unwrap();
    now.fetch_add(10, Ordering::Relaxed);
    log.flush().unwrap();
    assert!(all(&log, &Query::default(), 1000, 1000).len() <= 20, "at most the segment that was open is left");
    now.fetch_add(2_000_000, Ordering::Relaxed);
    assert_eq!(all(&log, &Query::default(), 1000, 1000), [], "an idle log ages out too");
    log.record(success(1));
    assert_eq!(all(&log, &Query::default(), 1000, 1000).len(), 1);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), log.files.lock().segments.len());
}

#[test]
fn a_segment_of_another_form_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(format!("{:016x}-{START:016x}.att", 1));
    std::fs::write(&path, b"PHATT1\0\nsomething").unwrap();
    let log = open(dir.path(), Config { clock: Clock::given(|| Time::from_millis(START + 1000)), ..Config::default() });
    assert_eq!(all(&log, &Query::default(), 10, 100), []);
    log.record(success(9));
    assert_eq!(all(&log, &Query::default(), 10, 100), [success(9)]);
    assert_eq!(std::fs::read(&path).unwrap(), b"PHATT1\0\nsomething");
    assert_eq!(log.files.lock().segments.len(), 2);
}

#[test]
fn events_of_many_subscriptions_are_named_once() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Config::default());
    let to = |n: u64| sent(n / 10, SubscriptionId::from_bytes([(n % 10) as u8; 16]));
    let mut written: Vec<_> = (0..2000).map(to).collect();
    // As attempts end: not quite in the order of the events.
    (0..1900).filter(|n| n % 7 == 0).for_each(|n| written.swap(n, n + 61));
    written.iter().cloned().for_each(|attempt| log.record(attempt));
    let found = all(&log, &Query::default(), 10_000, 100_000);
    assert!(found.iter().rev().eq(&written));
    let each = log.bytes() as f64 / 2000.0;
    assert!(each <= 16.0, "{each} bytes");
}
