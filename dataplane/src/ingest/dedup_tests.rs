use std::collections::HashMap as Model;

use proptest::prelude::*;

use super::*;

const NOW: Time = Time::from_millis(1_000_000);

fn id(n: u8) -> MessageId {
    // The first byte chooses the stripe: all of these share one.
    let mut bytes = [0; 16];
    bytes[1] = n;
    MessageId::from_bytes(bytes)
}

fn first(offset: u64) -> First {
    First { partition: 0, offset, id: None }
}

fn later(millis: u64) -> Time {
    Time::from_millis(NOW.millis() + millis)
}

fn fresh(dedup: &Arc<Dedup>, n: u8, now: Time) -> Claim {
    match dedup.claim(id(n), 1, now) {
        Claimed::Fresh(claim) => claim,
        _ => panic!("{n} is not fresh"),
    }
}

fn seen(dedup: &Arc<Dedup>, n: u8, now: Time) -> Option<u64> {
    match dedup.claim(id(n), 1, now) {
        Claimed::Seen(first) => Some(first.offset),
        _ => None,
    }
}

#[test]
fn an_id_is_seen_until_its_window_has_passed() {
    let dedup = Dedup::new(1000, IngestMetrics::default());
    fresh(&dedup, 1, NOW).keep(1, first(7), later(100), NOW);
    assert_eq!(seen(&dedup, 1, later(99)), Some(7));
    assert_eq!(seen(&dedup, 1, later(100)), None);
    assert_eq!(dedup.len(), 1);
}

#[test]
fn another_incarnation_of_the_topic_has_other_events() {
    let dedup = Dedup::new(1000, IngestMetrics::default());
    fresh(&dedup, 1, NOW).keep(1, first(7), later(100), NOW);
    assert!(matches!(dedup.claim(id(1), 2, NOW), Claimed::Fresh(_)));
}

#[tokio::test]
async fn who_waits_hears_of_success_and_of_failure() {
    let dedup = Dedup::new(1000, IngestMetrics::default());
    let claim = fresh(&dedup, 1, NOW);
    let Claimed::Pending(waiting) = dedup.claim(id(1), 1, NOW) else { panic!("not pending") };
    drop(claim);
    assert!(waiting.await.is_err());
    let claim = fresh(&dedup, 1, NOW);
    let Claimed::Pending(waiting) = dedup.claim(id(1), 1, NOW) else { panic!("not pending") };
    claim.keep(1, first(3), later(10), NOW);
    assert!(waiting.await.is_err());
    assert_eq!(seen(&dedup, 1, NOW), Some(3));
}

#[test]
fn a_full_table_forgets_the_oldest_first() {
    let dedup = Dedup::new(64 * 3, IngestMetrics::default());
    for n in 0..5 {
        fresh(&dedup, n, NOW).keep(1, first(n.into()), later(100), NOW);
    }
    assert_eq!((0..5).map(|n| seen(&dedup, n, NOW)).collect::<Vec<_>>(), [None, None, Some(2), Some(3), Some(4)]);
    assert_eq!(dedup.len(), 3);
}

proptest! {
    /// Against a map: what is seen was kept and is within its window, and without pressure nothing within it is forgotten.
    #[test]
    fn it_agrees_with_a_map(steps in prop::collection::vec((0u8..20, 0u64..30, 1u64..60), 1..200)) {
        let dedup = Dedup::new(64 * 1000, IngestMetrics::default());
        let mut model: Model<u8, (u64, Time)> = Model::new();
        let mut now = NOW;
        for (offset, (n, pause, window)) in (0u64..).zip(steps) {
            now = Time::from_millis(now.millis() + pause);
            let known = model.get(&n).filter(|(_, expires)| *expires > now).map(|(offset, _)| *offset);
            match dedup.claim(id(n), 1, now) {
                Claimed::Seen(first) => prop_assert_eq!(Some(first.offset), known),
                Claimed::Pending(_) => prop_assert!(false, "nothing is under way"),
                Claimed::Fresh(claim) => {
                    prop_assert_eq!(known, None);
                    let expires = Time::from_millis(now.millis() + window);
                    claim.keep(1, first(offset), expires, now);
                    model.insert(n, (offset, expires));
                }
            }
        }
    }
}
