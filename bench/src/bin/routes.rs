//! The index of filters at 10 to 1,000,000 subscriptions: memory for each, the time to make it, one change, one event.

use std::hint::black_box;
use std::time::Duration;

use posthorn_bench::route::{added, demands, event, routed};
use posthorn_dataplane::route::Editor;
use posthorn_domain::clock::Clock;

fn main() {
    let clock = Clock::system();
    println!("| subscriptions | filters, B each | index, B each | all made | one change | one event |");
    println!("|---:|---:|---:|---:|---:|---:|");
    for all in [10, 1_000, 100_000, 1_000_000] {
        let start = resident();
        let lists: Vec<_> = (0..all).map(demands).collect();
        let parsed = resident();
        let began = clock.instant();
        let mut editor = Editor::default();
        let lists: Vec<_> = lists.into_iter().enumerate().map(|(n, filters)| added(&mut editor, filters, n)).collect();
        let made = began.elapsed();
        let indexed = resident();

        // Each change is seen by a version of its own, as a node's tables are.
        let changes = 1_000;
        let others: Vec<_> = (0..changes).map(|n| demands(all + n)).collect();
        let began = clock.instant();
        for (n, filters) in others.into_iter().enumerate() {
            let version = editor.index();
            let list = added(&mut editor, filters, all + n);
            drop(version);
            let version = editor.index();
            editor.remove(&list, u32::try_from(all + n).expect("fewer than 2^32"));
            editor.forget(&list);
            drop(version);
        }
        let change = began.elapsed() / u32::try_from(2 * changes).expect("a small number");

        let (index, event, times) = (editor.index(), event(), 20_000);
        routed(&index, &event, times / 10);
        let one = (0..5).map(|_| {
            let began = clock.instant();
            routed(&index, &event, times);
            began.elapsed() / u32::try_from(times).expect("a small number")
        });
        let one = one.min().unwrap_or(Duration::ZERO);
        let each = |bytes: usize| bytes / all;
        println!(
            "| {all} | {} | {} | {made:.1?} | {change:.1?} | {one:.1?} |",
            each(parsed.saturating_sub(start)),
            each(indexed.saturating_sub(parsed)),
        );
        black_box((lists, index));
    }
}

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}
