//! Prints what an open, idle state store takes: resident memory and threads more than before, and how long opening took.
//! `cargo run --release -p posthorn-storage --example state_footprint -- <folder> [rows]`

use std::path::PathBuf;

use posthorn_domain::clock::Clock;
use posthorn_storage::state::embedded::Embedded;
use posthorn_storage::state::{Batch, State, behaviour};

fn main() {
    let mut args = std::env::args().skip(1);
    let folder = PathBuf::from(args.next().expect("a folder"));
    let rows: u64 = args.next().map_or(0, |rows| rows.parse().expect("a number of rows"));
    let before = status();
    let started = Clock::system().instant();
    let store = Embedded::open(&folder).expect("the store opens");
    let took = started.elapsed();
    let idle = status();
    println!("open: {took:?}; resident KiB {} -> {}; threads {} -> {}", before.0, idle.0, before.1, idle.1);
    let started = Clock::system().instant();
    for some in 0..rows / 100 {
        let mut batch = Batch::new();
        (some * 100..(some + 1) * 100).for_each(|due| {
            batch.put_retry(behaviour::retry(behaviour::subscription(1), due));
        });
        store.commit(batch, false).expect("the batch is written");
    }
    println!("{rows} retries in batches of 100: {:?}; resident KiB {}", started.elapsed(), status().0);
}

/// Resident KiB and threads of this process.
fn status() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let number = |name| {
        let line = text.lines().find_map(|line: &str| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    (number("VmRSS:").unwrap_or(0), number("Threads:").unwrap_or(0))
}
