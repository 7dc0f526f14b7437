//! Seeds that must hold, and that a run can be repeated exactly.

use posthorn_sim::plan::more::MORE_FROM;
use posthorn_sim::plan::third::THIRD_FROM;
use posthorn_sim::run::run;
use posthorn_sim::sweep::sweep;

#[test]
fn no_seed_breaks_a_promise() {
    // Those from MORE_FROM on have retention, readers with places, pulled subscriptions and replays beside; those from THIRD_FROM on also
    // changes of subscriptions and topics, failing reads, and events that may not become dead letters.
    for first in [0, MORE_FROM, THIRD_FROM] {
        let outcome = sweep(first..first + 100);
        println!("{outcome}");
        assert!(outcome.failures.is_empty(), "{outcome}");
    }
}

/// Those that found a bug beyond the first ones (docs/decisions/0030-simulation.md).
#[test]
fn seeds_that_found_bugs_hold() {
    let first = [465, 523, 582, 779, 1029, 2957, 3017];
    let more = [10_034, 10_060, 10_084, 10_192, 10_415, 10_648, 12_304, 13_973];
    let third = [20_085, 20_184, 20_682, 20_755, 21_243, 21_518];
    let mut outcomes = first.iter().chain(&more).chain(&third).map(|seed| sweep(*seed..*seed + 1));
    assert!(outcomes.all(|outcome| outcome.failures.is_empty()));
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in [1, 2, 3, 5, 8, 13, 10_022, 10_031, 10_037, 20_057, 20_085, 20_184] {
        let (first, second) = (run(seed, false), run(seed, false));
        assert!(first.lines > 20, "seed {seed} does something");
        assert_eq!(first, second, "seed {seed}");
    }
}
