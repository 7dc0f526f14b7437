//! What every implementation of [`State`] must do; each runs [`all`] in its tests.
#![expect(clippy::unwrap_used, reason = "test code that other crates' tests call too")]

use bytes::Bytes;
use posthorn_domain::ids::{DeadLetterId, DeliveryId, MessageId, ReplayId, SubscriptionId};
use posthorn_domain::node::ReplayState;
use posthorn_domain::position::Position;
use posthorn_domain::problem::Fault;
use posthorn_domain::reason::Reason;
use posthorn_domain::time::Time;

use super::{
    Base, Batch, DeadLetter, DeadLetterFilter, Health, LaneState, Loaded, PAGE_SCAN, ReaderCursor, ReaderRow, Readers, Replay, Retry,
    RetrySource, Start, State,
};

/// Runs every check on a fresh store; what comes with the store is kept until the check ends.
pub fn all<S: State, K>(fresh: impl Fn() -> (S, K)) {
    for check in [checkpoints, health, retries, removal, dead_letters, rare_matches, purge_and_sweep, readers, replays, many_retries] {
        let (store, _keep) = fresh();
        check(&store);
    }
}

/// A subscription with a known id.
pub fn subscription(n: u8) -> SubscriptionId {
    SubscriptionId::from_bytes([n; 16])
}

/// A base at `offset`.
pub fn base(topic: &str, offset: u64) -> Base {
    Base { topic: topic.parse().unwrap(), incarnation: 7, partition: 1, shard: 0, shards: 2, offset }
}

/// A lane on partition 1 of `orders`.
pub fn lane(subscription: SubscriptionId, replay: Option<ReplayId>) -> LaneState {
    let topic = "orders".parse().unwrap();
    LaneState { subscription, topic, incarnation: 7, partition: 1, replay, next: 5, settled: vec![7, 8, 300], until: Some(900) }
}

/// A retry of an event of `orders`, due at `due` milliseconds.
pub fn retry(subscription: SubscriptionId, due: u64) -> Retry {
    let message = MessageId::of_event("orders", "p", "/s", &due.to_string());
    Retry {
        subscription,
        delivery: DeliveryId::of(subscription, message),
        message,
        due: Time::from_millis(due),
        attempts: 2,
        first_attempt_at: Time::from_millis(3),
        source: RetrySource::Log { topic: "orders".parse().unwrap(), incarnation: 7, partition: 1, offset: due },
        key_hash: Some(u64::MAX),
        last_error: "503".into(),
        replay: None,
        manual: true,
    }
}

/// The `n`th dead letter, made at `n` milliseconds.
pub fn letter(n: u64, to: Option<SubscriptionId>, reason: Reason) -> DeadLetter {
    let mut id = [1; 16];
    id[..6].copy_from_slice(&n.to_be_bytes()[2..]);
    DeadLetter {
        id: DeadLetterId::from_bytes(id),
        reason,
        detail: "why".into(),
        at: Time::from_millis(n),
        topic: "orders".parse().unwrap(),
        position: to.map(|_| Position { partition: 3, offset: n }),
        record: Bytes::from(vec![n as u8; 20]),
        subscription: to,
        delivery: to.map(|_| DeliveryId::from_bytes([4; 16])),
        replay: n.is_multiple_of(2).then(|| ReplayId::from_bytes([n as u8; 16])),
        attempts: 9,
        errors: vec![Fault { schema: Some("order:1".into()), pointer: "#/a".into(), detail: "is missing".into() }],
    }
}

fn checkpoints(store: &impl State) {
    assert_eq!(store.load().unwrap(), Loaded::default());
    let (plain, replay) = (lane(subscription(1), None), lane(subscription(1), Some(ReplayId::make())));
    let start = Start { subscription: subscription(1), topic: "orders".parse().unwrap(), incarnation: 7, offsets: vec![1, 0, u64::MAX] };
    let mut batch = Batch::new();
    batch.put_base(base("orders", 1)).put_base(base("orders", 2)).put_base(base("orders-eu", 9));
    batch.put_lane(plain.clone()).put_lane(replay.clone()).put_start(start.clone());
    store.commit(batch, true).unwrap();
    let loaded = store.load().unwrap();
    assert_eq!(loaded.bases, [base("orders", 2), base("orders-eu", 9)], "the last change of a row counts");
    assert_eq!((loaded.lanes, loaded.starts), (vec![plain.clone(), replay.clone()], vec![start.clone()]));
    let mut batch = Batch::new();
    batch.delete_lane(plain).delete_start(start).delete_base(base("orders-eu", 0));
    store.commit(batch, false).unwrap();
    let loaded = store.load().unwrap();
    assert_eq!((loaded.bases, loaded.lanes, loaded.starts), (vec![base("orders", 2)], vec![replay], vec![]));
}

fn health(store: &impl State) {
    let row = |n, failing_since, told_down| Health { subscription: subscription(n), failing_since, told_down };
    let since = Some(Time::from_millis(1_800_000_000_000));
    let mut batch = Batch::new();
    batch.put_health(row(1, None, true)).put_health(row(1, since, true)).put_health(row(2, None, true)).put_health(row(3, since, false));
    batch.put_retry(retry(subscription(1), 5));
    store.commit(batch, true).unwrap();
    assert_eq!(store.load().unwrap().health, [row(1, since, true), row(2, None, true), row(3, since, false)]);
    let mut batch = Batch::new();
    batch.delete_health(subscription(2)).delete_health(subscription(9));
    store.commit(batch, false).unwrap();
    assert_eq!(store.remove_subscription(subscription(1)).unwrap(), 2, "its health and its retry");
    assert_eq!(store.load().unwrap(), Loaded { health: vec![row(3, since, false)], ..Loaded::default() });
}

fn retries(store: &impl State) {
    let mut batch = Batch::new();
    for due in [300, 1, 256, 2] {
        batch.put_retry(retry(subscription(1), due)).put_retry(retry(subscription(255), due + 5));
    }
    let stored = Retry { source: RetrySource::DeadLetter(DeadLetterId::make()), key_hash: None, ..retry(subscription(9), 4) };
    batch.put_retry(stored.clone());
    store.commit(batch, false).unwrap();
    let due = |limit| store.retries(subscription(1), None, limit).unwrap().iter().map(|retry| retry.due.millis()).collect::<Vec<_>>();
    assert_eq!((due(10), due(2)), (vec![1, 2, 256, 300], vec![1, 2]));
    let behind = |due, limit| store.retries(subscription(1), Some(retry(subscription(1), due).id()), limit).unwrap();
    assert_eq!((behind(1, 2), behind(300, 9)), ([2, 256].map(|due| retry(subscription(1), due)).to_vec(), vec![]));
    assert_eq!(store.retries(subscription(9), None, 10).unwrap(), std::slice::from_ref(&stored));
    let firsts = [(1, 1), (9, 4), (255, 6)].map(|(n, due)| (subscription(n), Time::from_millis(due)));
    assert_eq!(store.first_due_per_subscription().unwrap(), firsts);
    assert_eq!(store.retry_subscriptions().unwrap(), [1, 9, 255].map(subscription));
    let least = |topic: &str, partition| store.least_waiting(subscription(255), &topic.parse().unwrap(), partition).unwrap();
    assert_eq!((least("orders", 1), least("orders", 2), least("order", 1)), (Some(6), None, None));
    let (old, later) = (retry(subscription(1), 1), retry(subscription(1), 1000));
    let mut batch = Batch::new();
    batch.delete_retry(old.id()).put_retry(later).delete_retry(stored.id()).put_retry(stored.clone());
    store.commit(batch, false).unwrap();
    assert_eq!(due(10), [2, 256, 300, 1000]);
    assert_eq!(store.retries(subscription(9), None, 10).unwrap(), [stored], "put after delete in one batch stays");
}

fn removal(store: &impl State) {
    let mut batch = Batch::new();
    for n in [1, 2] {
        batch.put_lane(lane(subscription(n), None));
        (0..1500).for_each(|due| {
            batch.put_retry(retry(subscription(n), due));
        });
    }
    batch.put_base(base("orders", 3)).put_base(base("orders-eu", 3));
    store.commit(batch, false).unwrap();
    assert_eq!(store.remove_subscription(subscription(1)).unwrap(), 1501);
    assert_eq!(store.retry_subscriptions().unwrap(), [subscription(2)]);
    assert_eq!(store.remove_topic(&"orders".parse().unwrap()).unwrap(), 1502);
    assert_eq!(store.load().unwrap(), Loaded { bases: vec![base("orders-eu", 3)], ..Loaded::default() });
}

fn dead_letters(store: &impl State) {
    let (one, two) = (Some(subscription(1)), Some(subscription(2)));
    let letters: Vec<_> = (1..=30u64)
        .map(|n| {
            let (to, reason) =
                if n % 3 == 0 { (None, Reason::SchemaInvalid) } else { (if n % 3 == 1 { one } else { two }, Reason::MaxAge) };
            letter(n, to, reason)
        })
        .collect();
    let mut batch = Batch::new();
    letters.iter().for_each(|letter| {
        batch.put_dead_letter(letter.clone());
    });
    store.commit(batch, false).unwrap();
    assert_eq!(store.dead_letter(letters[4].id).unwrap().as_ref(), Some(&letters[4]));
    for filter in [
        DeadLetterFilter::default(),
        DeadLetterFilter { subscription: one, ..Default::default() },
        DeadLetterFilter { reason: Some(Reason::SchemaInvalid), ..Default::default() },
        DeadLetterFilter { subscription: one, reason: Some(Reason::SchemaInvalid), ..Default::default() },
        DeadLetterFilter { topic: Some("other".parse().unwrap()), ..Default::default() },
    ] {
        let wanted: Vec<_> = letters.iter().rev().filter(|letter| filter.matches(letter)).cloned().collect();
        assert_eq!(walk(store, &filter), wanted, "{filter:?}");
    }
    let mut batch = Batch::new();
    batch.delete_dead_letter(letters[0].id);
    store.commit(batch, false).unwrap();
    assert_eq!(store.dead_letter(letters[0].id).unwrap(), None);
    assert_eq!(walk(store, &DeadLetterFilter { subscription: one, ..Default::default() }).len(), 9);
}

fn walk(store: &impl State, filter: &DeadLetterFilter) -> Vec<DeadLetter> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = store.dead_letters(filter, after, 4).unwrap();
        assert!(page.items.len() <= 4);
        all.extend(page.items);
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

/// A filter that matches one letter behind many others gives an empty page and a way on, not a long wait.
fn rare_matches(store: &impl State) {
    let mut batch = Batch::new();
    batch.put_dead_letter(letter(1, None, Reason::TooLarge));
    (2..PAGE_SCAN as u64 + 10).for_each(|n| {
        batch.put_dead_letter(letter(n, None, Reason::MaxAge));
    });
    store.commit(batch, false).unwrap();
    let filter = DeadLetterFilter { reason: Some(Reason::TooLarge), ..Default::default() };
    let first = store.dead_letters(&filter, None, 10).unwrap();
    assert!(first.items.is_empty() && first.next.is_some());
    let second = store.dead_letters(&filter, first.next, 10).unwrap();
    assert_eq!((second.items, second.next), (vec![letter(1, None, Reason::TooLarge)], None));
}

fn purge_and_sweep(store: &impl State) {
    let mut batch = Batch::new();
    for n in 1..=20 {
        batch.put_dead_letter(letter(n, (n % 2 == 0).then(|| subscription(1)), Reason::MaxAge));
    }
    store.commit(batch, false).unwrap();
    assert_eq!(store.sweep_dead_letters(Time::from_millis(11), 4).unwrap(), 4);
    assert_eq!(store.sweep_dead_letters(Time::from_millis(11), 100).unwrap(), 6);
    assert_eq!(store.delete_dead_letters(&DeadLetterFilter { subscription: Some(subscription(1)), ..Default::default() }).unwrap(), 5);
    assert_eq!(walk(store, &DeadLetterFilter::default()).len(), 5);
}

fn replays(store: &impl State) {
    let replay = |n: u8, state| Replay {
        subscription: subscription(n),
        id: ReplayId::from_bytes([n + 100; 16]),
        state,
        from: "earliest".into(),
        to: (n == 1).then(|| "latest".into()),
        rate: (n == 1).then_some(2.5),
        events: 9,
        considered: 4,
        delivered: 300,
        failed: 2,
        waiting: 1,
        started_at: Time::from_millis(5),
        ended_at: (state != ReplayState::Running).then(|| Time::from_millis(70)),
    };
    let (one, two) = (replay(1, ReplayState::Running), replay(2, ReplayState::Cancelled));
    let of_replay = |due| Retry { replay: Some(one.id), manual: false, ..retry(subscription(1), due) };
    let mut batch = Batch::new();
    batch.put_replay(one.clone()).put_replay(two.clone()).mark_clean(true);
    batch.put_retry(of_replay(5)).put_retry(of_replay(6)).put_retry(retry(subscription(1), 5));
    batch.put_lane(lane(subscription(1), Some(one.id)));
    store.commit(batch, true).unwrap();
    let loaded = store.load().unwrap();
    assert_eq!((loaded.replays, loaded.clean), (vec![one.clone(), two.clone()], true));
    let all = [of_replay(5), retry(subscription(1), 5), of_replay(6)];
    assert_eq!(store.retries(subscription(1), None, 10).unwrap(), all);
    let RetrySource::Log { topic, partition, offset, .. } = all[1].source.clone() else { panic!("it is in the log") };
    let from = |partition, offset| vec![(topic.clone(), partition, offset)];
    for passed in [from(partition, offset + 1), from(partition + 1, 0)] {
        assert_eq!(store.remove_waiting(subscription(1), &passed).unwrap(), 0, "{passed:?}");
    }
    assert_eq!(store.remove_waiting(subscription(2), &from(partition, 0)).unwrap(), 0);
    assert_eq!(store.remove_waiting(subscription(1), &from(partition, offset)).unwrap(), 1);
    assert_eq!(store.retries(subscription(1), None, 10).unwrap(), [of_replay(5), of_replay(6)]);
    let mut batch = Batch::new();
    batch.put_retry(retry(subscription(1), 5));
    store.commit(batch, true).unwrap();
    assert_eq!(store.remove_replay(subscription(1), two.id).unwrap(), 0);
    assert_eq!(store.remove_replay(subscription(1), one.id).unwrap(), 2);
    assert_eq!(store.retries(subscription(1), None, 10).unwrap(), [retry(subscription(1), 5)]);
    let mut batch = Batch::new();
    batch.delete_replay(two).mark_clean(false);
    store.commit(batch, false).unwrap();
    let loaded = store.load().unwrap();
    assert_eq!((loaded.replays, loaded.clean), (vec![one], false));
    let mut batch = Batch::new();
    batch.put_gone(subscription(1));
    store.commit(batch, false).unwrap();
    assert_eq!(store.load().unwrap().gone, [subscription(1)]);
    assert_eq!(store.remove_subscription(subscription(1)).unwrap(), 3);
    assert_eq!(store.load().unwrap(), Loaded::default(), "nothing of a subscription stays");
    assert_eq!(store.first_due_per_subscription().unwrap(), []);
}

/// What waits costs nothing until it is asked for: the start reads no retry but the first of each subscription.
fn many_retries(store: &impl State) {
    const SUBSCRIPTIONS: u8 = 50;
    const EACH: u64 = 2000;
    for n in 1..=SUBSCRIPTIONS {
        let mut batch = Batch::new();
        // Put in a scattered order; 7919 and the count have no common divisor.
        (0..EACH).for_each(|i| {
            batch.put_retry(retry(subscription(n), 1 + i * 7919 % EACH));
        });
        store.commit(batch, false).unwrap();
    }
    assert_eq!(store.load().unwrap(), Loaded::default(), "the start does not load them");
    let firsts: Vec<_> = (1..=SUBSCRIPTIONS).map(|n| (subscription(n), Time::from_millis(1))).collect();
    assert_eq!(store.first_due_per_subscription().unwrap(), firsts);
    for n in [1, 25, SUBSCRIPTIONS] {
        let due: Vec<u64> = store.retries(subscription(n), None, 1024).unwrap().iter().map(|retry| retry.due.millis()).collect();
        assert_eq!(due, (1..=1024).collect::<Vec<_>>());
    }
    assert_eq!(store.remove_subscription(subscription(7)).unwrap(), EACH);
    assert_eq!(store.retry_subscriptions().unwrap().len(), usize::from(SUBSCRIPTIONS) - 1);
}

/// Cursors of one reader, each on its own partition; names may be the start of other names.
fn readers(store: &impl State) {
    assert_eq!(store.readers().unwrap(), Readers::default());
    let cursor = |reader: &str, topic: &str, partition, next| ReaderCursor {
        reader: reader.into(),
        topic: topic.parse().unwrap(),
        incarnation: 7,
        partition,
        next,
    };
    let row = |name: &str| ReaderRow { name: name.into(), document: format!("{{\"name\":\"{name}\"}}") };
    let mut batch = Batch::new();
    batch.put_reader(row("ab")).put_reader(row("a"));
    batch.put_cursor(cursor("a", "orders", 0, 5)).put_cursor(cursor("a", "orders", 0, 6)).put_cursor(cursor("a", "orders", 1, u64::MAX));
    batch.put_cursor(cursor("ab", "b", 0, 1)).put_base(base("orders", 1));
    store.commit(batch, true).unwrap();
    let found = store.readers().unwrap();
    assert_eq!(found.readers, [row("a"), row("ab")]);
    assert_eq!(found.cursors, [cursor("a", "orders", 0, 6), cursor("a", "orders", 1, u64::MAX), cursor("ab", "b", 0, 1)]);
    assert_eq!(store.load().unwrap(), Loaded { bases: vec![base("orders", 1)], ..Loaded::default() }, "they are no lanes");
    assert_eq!(store.remove_topic(&"orders".parse().unwrap()).unwrap(), 3);
    assert_eq!(store.readers().unwrap().cursors, [cursor("ab", "b", 0, 1)]);
    let mut batch = Batch::new();
    batch.delete_reader("ab").delete_cursor(cursor("ab", "b", 0, 0)).put_reader(ReaderRow { document: "{}".into(), ..row("a") });
    store.commit(batch, false).unwrap();
    let found = store.readers().unwrap();
    assert_eq!((found.readers, found.cursors), (vec![ReaderRow { document: "{}".into(), ..row("a") }], vec![]));
}
