use super::*;
use proptest::prelude::*;

const LEASE: Duration = Duration::from_secs(30);

fn parts(count: u32) -> Vec<PartKey> {
    (0..count).map(|partition| ("orders".parse().unwrap(), partition)).collect()
}

fn at(seconds: u64) -> Time {
    Time::from_millis(seconds * 1000)
}

/// What the member has after a poll.
fn poll(group: &mut Group, member: &str, count: u32, now: u64) -> Vec<u32> {
    let held = group.poll(member, &parts(count), at(now), LEASE, 10).unwrap();
    held.into_iter().map(|((_, partition), _)| partition).collect()
}

fn give(group: &mut Group, member: &str, partition: u32, next: u64, now: u64) -> bool {
    let stamps = group.poll(member, &parts(4), at(now), LEASE, 10).unwrap();
    let Some((part, stamp)) = stamps.into_iter().find(|((_, held), _)| *held == partition) else { return false };
    group.give(member, &[(part, stamp, next)], at(now))
}

#[test]
fn what_is_free_goes_at_once_and_what_is_in_use_when_it_is_committed() {
    let mut group = Group::default();
    assert_eq!(poll(&mut group, "a", 4, 0), [0, 1, 2, 3]);
    for partition in 0..4 {
        assert!(give(&mut group, "a", partition, 10, 0));
    }
    assert!(poll(&mut group, "b", 4, 1).is_empty(), "all is in use");
    assert_eq!(poll(&mut group, "a", 4, 1).len(), 2, "and two are to be handed over");
    let leaving: Vec<PartKey> = group.shown(at(1))[0]
        .parts
        .iter()
        .zip(&group.shown(at(1))[0].leaving)
        .filter(|(_, leaving)| **leaving)
        .map(|(part, _)| part.clone())
        .collect();
    assert_eq!(group.commit(Some("a"), &[(leaving[0].clone(), 9)], false, at(2)), Ok(()), "a part of what it was given");
    assert!(poll(&mut group, "b", 4, 2).is_empty());
    assert_eq!(group.commit(Some("a"), &[(leaving[0].clone(), 10)], false, at(2)), Ok(()));
    assert_eq!(poll(&mut group, "b", 4, 2), [leaving[0].1]);
    let refused = group.commit(Some("a"), &[(leaving[0].clone(), 11)], false, at(2));
    assert_eq!(refused, Err(Refused::NotHeld(leaving[0].clone(), Some("b".into()))));
    assert_eq!(poll(&mut group, "b", 4, 20).len(), 1, "the other is still in use");
    poll(&mut group, "a", 4, 20);
    assert_eq!(poll(&mut group, "b", 4, 31).len(), 2, "a lease later it is handed over all the same");
}

#[test]
fn who_is_silent_for_a_lease_loses_all() {
    let mut group = Group::default();
    poll(&mut group, "a", 4, 0);
    assert_eq!(poll(&mut group, "b", 4, 10), [2, 3]);
    assert_eq!(poll(&mut group, "b", 4, 29), [2, 3]);
    assert_eq!(poll(&mut group, "b", 4, 30), [0, 1, 2, 3]);
    assert!(matches!(group.commit(Some("a"), &[(parts(1)[0].clone(), 1)], false, at(30)), Err(Refused::NotHeld(..))));
    assert!(matches!(group.commit(None, &[], false, at(31)), Err(Refused::Shared(_))));
    assert_eq!(group.commit(None, &[], false, at(60)), Ok(()));
}

#[test]
fn goodbye_frees_what_is_committed_and_leaves_time_for_the_rest() {
    let mut group = Group::default();
    assert!(give(&mut group, "a", 1, 5, 0));
    group.leave("a", at(1));
    assert_eq!(poll(&mut group, "b", 4, 1), [0, 2, 3]);
    assert_eq!(group.commit(Some("a"), &[(parts(4)[1].clone(), 6)], true, at(2)), Err(Refused::NotGiven(parts(4)[1].clone())));
    assert_eq!(group.commit(Some("a"), &[(parts(4)[1].clone(), 5)], true, at(2)), Ok(()));
    assert_eq!(poll(&mut group, "b", 4, 2), [0, 1, 2, 3]);
    assert_eq!(group.poll("c", &parts(4), at(3), LEASE, 1), None, "one too many");
}

#[test]
fn who_chooses_has_what_it_chose_and_no_share_in_the_rest() {
    let mut group = Group::default();
    let chosen = || parts(4).into_iter().skip(3);
    assert_eq!(group.claim("a", chosen(), at(0), LEASE), Ok(()));
    assert_eq!(group.claim("b", parts(4).into_iter(), at(0), LEASE), Err(parts(4)[3].clone()));
    assert_eq!((poll(&mut group, "c", 4, 1), poll(&mut group, "a", 4, 1)), (vec![0, 1, 2], vec![3]));
    assert_eq!(poll(&mut group, "d", 4, 2), [2]);
    group.remove("a");
    assert_eq!((poll(&mut group, "c", 4, 3), poll(&mut group, "d", 4, 3)), (vec![0, 1], vec![2, 3]));
}

proptest! {
    /// Whatever members do, a partition is never given to one while another may have it, and with everyone polling all are held.
    #[test]
    fn a_partition_has_one_holder_at_most(steps in prop::collection::vec((0usize..3, 0u32..4, 0u64..12, 0u8..4), 1..120)) {
        let names = ["a", "b", "c"];
        let (mut group, mut now) = (Group::default(), 0);
        // Whoever was given a partition last, and until when it may take it as its own.
        let mut given: BTreeMap<u32, (usize, u64)> = BTreeMap::new();
        for (member, partition, seconds, what) in steps {
            now += seconds;
            match what {
                0 | 1 => {
                    if give(&mut group, names[member], partition, now + 1, now) {
                        if let Some((other, until)) = given.get(&partition) {
                            prop_assert!(*other == member || *until <= now, "{partition} is {other}'s until {until}, at {now}");
                        }
                        given.insert(partition, (member, now + 30));
                    }
                }
                2 => {
                    let part = parts(4)[partition as usize].clone();
                    if group.commit(Some(names[member]), &[(part, u64::MAX)], false, at(now)).is_ok() {
                        given.remove(&partition);
                    }
                }
                _ => {
                    for (_, until) in given.values_mut().filter(|(holder, _)| *holder == member) {
                        *until = (*until).min(now + 30);
                    }
                    group.leave(names[member], at(now));
                }
            }
        }
        now += 61;
        let mut held = Vec::new();
        for _ in 0..3 {
            held.clear();
            names.iter().for_each(|name| held.extend(poll(&mut group, name, 4, now)));
        }
        held.sort_unstable();
        prop_assert_eq!(held, [0, 1, 2, 3]);
    }
}
