//! The index of filters at 10 to 1,000,000 subscriptions: memory for each, the time to make it, one change, one event. Then a node's
//! whole table of 100,000 subscriptions: made from its resources, and one change.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use posthorn_bench::route::{added, demands, event, routed, written};
use posthorn_dataplane::route::{Builder, Editor, Table};
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::signing::generate_hmac;
use posthorn_domain::snapshot::{Delta, Document, Resource, ResourceKey};
use posthorn_storage::log::behaviour::Told;
use posthorn_storage::log::segments::{Config, SegmentLog};
use serde_json::json;

fn main() {
    indices();
    table(100_000);
}

fn table(all: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = SegmentLog::open(folder.path(), Config::default(), Arc::new(Told::default())).expect("the log opens");
    let mut builder = Builder::new(Arc::new(log));
    let secret = generate_hmac();
    let resource = |n: usize| {
        let id = SubscriptionId::make();
        let document = json!({
            "id": id, "filters": written(n), "endpoint": {"url": "https://hooks.example.com/"},
            "signing": [{"scheme": "standard-webhooks", "secret": secret}],
        });
        (
            ResourceKey::subscription(id),
            Resource { revision: 1, incarnation: 1, document: Document::of(&document), secrets: Default::default() },
        )
    };
    let mut apply = |base: &Table, changed| {
        let delta = Delta { revision: base.revision + 1, changed, removed: Vec::new() };
        let began = processor();
        let applied = builder.apply(base, &delta);
        assert!(applied.nacks.is_empty());
        (applied.table, processor() - began)
    };
    let (mut table, made) = apply(&Table::default(), (0..all).map(resource).collect());
    let changes = 1_000;
    let mut spent = Duration::ZERO;
    for n in 0..changes {
        let (next, took) = apply(&table, BTreeMap::from([resource(all + n)]));
        spent += took;
        table = next;
    }
    let change = spent / u32::try_from(changes).expect("a small number");
    println!("\nA table of {all} subscriptions: {made:.1?} from resources, {change:.1?} a change.");
}

fn indices() {
    println!("| subscriptions | filters, B each | index, B each | all made | one change | one event |");
    println!("|---:|---:|---:|---:|---:|---:|");
    for all in [10, 1_000, 100_000, 1_000_000] {
        let start = resident();
        let lists: Vec<_> = (0..all).map(demands).collect();
        let parsed = resident();
        let began = processor();
        let mut editor = Editor::default();
        let lists: Vec<_> = lists.into_iter().enumerate().map(|(n, filters)| added(&mut editor, filters, n)).collect();
        let made = processor() - began;
        let indexed = resident();

        // Each change is seen by a version of its own, as a node's tables are.
        let changes = 1_000;
        let others: Vec<_> = (0..changes).map(|n| demands(all + n)).collect();
        let began = processor();
        for (n, filters) in others.into_iter().enumerate() {
            let version = editor.index();
            let list = added(&mut editor, filters, all + n);
            drop(version);
            let version = editor.index();
            editor.remove(&list, u32::try_from(all + n).expect("fewer than 2^32"));
            editor.forget(&list);
            drop(version);
        }
        let change = (processor() - began) / u32::try_from(2 * changes).expect("a small number");

        let (index, event, times) = (editor.index(), event(), 20_000);
        routed(&index, &event, times / 10);
        let one = (0..5).map(|_| {
            let began = processor();
            routed(&index, &event, times);
            (processor() - began) / u32::try_from(times).expect("a small number")
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

/// Time that this thread had on a processor, so that others on the machine do not count.
fn processor() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = text.and_then(|text| text.split(' ').next()?.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}
