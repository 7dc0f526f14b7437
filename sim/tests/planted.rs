//! Whether the simulation finds what it is there to find: each planted bug breaks a promise within a few seeds (`make sim-bugs`).
#![cfg(feature = "planted")]

use posthorn_sim::run::run_safely;
use posthorn_storage::planted::{Bug, plant};

/// The first seed that fails, and which promise it says was broken.
fn found(bug: Bug, within: u64) -> (u64, &'static str) {
    plant(Some(bug));
    let first = (0..within).find_map(|seed| Some((seed, run_safely(seed).violation?.0)));
    plant(None);
    let (seed, violation) = first.unwrap_or_else(|| panic!("{bug:?} is not found within {within} seeds"));
    println!("{bug:?} is found by seed {seed}, after {} runs: {} {}", seed + 1, violation.invariant, violation.text);
    (seed, violation.invariant)
}

#[test]
fn without_a_bug_nothing_is_found() {
    plant(None);
    for seed in 0..20 {
        assert_eq!(run_safely(seed).violation, None, "seed {seed}");
    }
}

#[test]
fn a_skipped_sync_is_found() {
    assert_eq!(found(Bug::SkippedSync, 100).1, "I1");
}

#[test]
fn settling_before_sending_is_found() {
    assert_eq!(found(Bug::SettledBeforeSent, 100).1, "I2");
}

#[test]
fn a_lane_that_goes_on_one_too_far_is_found() {
    assert_eq!(found(Bug::RestoredOneTooFar, 100).1, "I2");
}

#[test]
fn a_start_that_cuts_one_frame_too_many_is_found() {
    assert_eq!(found(Bug::CutOneFrameTooMany, 100).1, "I1");
}
