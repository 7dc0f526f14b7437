//! The segment log under many writers, its stored format over time, and damage that comes while it runs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;
use parking_lot::Mutex;
use posthorn_domain::direction::Direction;
use posthorn_domain::names::TopicName;
use posthorn_domain::qos::Durability;
use posthorn_domain::record::{Record, Stored};
use posthorn_storage::log::behaviour::{Told, read_all, record, settings};
use posthorn_storage::log::segments::{Config, SegmentLog, fuzz};
use posthorn_storage::log::{Damage, Gap, GapReason, Log, LogError, TailSink, TopicLog};
use proptest::prelude::*;

fn topic() -> TopicName {
    "t".parse().expect("a name")
}

fn open(dir: &Path, sink: Arc<dyn TailSink>) -> (SegmentLog, Arc<dyn TopicLog>) {
    let (log, _) = SegmentLog::open(dir, Config { segment_bytes: 64 << 10, ..Config::default() }, sink).expect("opens");
    let topic = log.open(&topic(), settings(1, 1)).expect("opens");
    (log, topic)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_get_distinct_contiguous_offsets() {
    let dir = tempfile::tempdir().expect("a folder");
    let told = Arc::new(Told::default());
    let (_log, kept) = open(dir.path(), told.clone());
    let writers = (0..32).map(|writer| {
        let kept = kept.clone();
        tokio::spawn(async move {
            let mut mine = Vec::new();
            for n in 0..50 {
                let durability = [Durability::Log, Durability::Sync][n % 2];
                let id = format!("{writer}-{n}");
                mine.push((kept.append(0, record(&id, 1), None, durability).await.expect("kept"), id));
            }
            mine
        })
    });
    let answered: BTreeSet<(u64, String)> = join_all(writers).await.into_iter().flat_map(|mine| mine.expect("ends")).collect();
    assert!(answered.iter().map(|(offset, _)| *offset).eq(0..1600));
    let read = read_all(&*kept, 0).await;
    assert!(answered.into_iter().eq(read.iter().cloned()));
    assert!(told.all().into_iter().map(|(_, offset, id)| (offset, id)).eq(read));
}

#[derive(Default)]
struct Heard(Mutex<Vec<Damage>>);

impl TailSink for Heard {
    fn durable(&self, _: &TopicName, _: u32, _: Vec<Arc<Stored>>) {}

    fn damaged(&self, damage: &Damage) {
        self.0.lock().push(damage.clone());
    }
}

#[tokio::test]
async fn damage_found_while_reading_is_a_gap_and_is_told_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let heard = Arc::new(Heard::default());
    let (_log, kept) = open(dir.path(), heard.clone());
    for n in 0..3 {
        kept.append(0, record(&n.to_string(), 1), None, Durability::Sync).await.expect("kept");
    }
    let file = dir.path().join("t/0/00000000000000000000.seg");
    let mut bytes = fs::read(&file).expect("there");
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    fs::write(&file, bytes).expect("written");
    for _ in 0..2 {
        let page = kept.read(0, 0, 1 << 20, 10).await.expect("readable");
        assert_eq!(page.gaps, vec![Gap { from: 2, to: 3, reason: GapReason::Damaged }]);
        assert_eq!((page.records.len(), page.next), (2, 3));
    }
    assert_eq!(heard.0.lock().len(), 1);
}

/// The files under `golden` were written once (`examples/write_golden.rs`) and must stay readable: `v1` before records had a
/// direction, `v2` since.
#[tokio::test]
async fn what_earlier_versions_wrote_still_reads() {
    reads("v1", Direction::Incoming).await;
    reads("v2", Direction::Outgoing).await;
}

async fn reads(version: &str, direction: Direction) {
    let dir = tempfile::tempdir().expect("a folder");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(version);
    fs::create_dir_all(dir.path().join("t/0")).expect("made");
    for file in ["meta.json", "0/00000000000000000000.seg"] {
        fs::copy(golden.join("t").join(file), dir.path().join("t").join(file)).expect("copied");
    }
    let (_log, kept) = open(dir.path(), Arc::new(Told::default()));
    assert_eq!(read_all(&*kept, 0).await, (0..3).map(|n| (n, n.to_string())).collect::<Vec<_>>());
    let page = kept.read(0, 1, 1, 1).await.expect("readable");
    assert_eq!(page.records[0].record, Record { direction, ..record("1", 1) });
}

struct Panics;

impl TailSink for Panics {
    fn durable(&self, _: &TopicName, _: u32, _: Vec<Arc<Stored>>) {
        panic!("as the test wants it");
    }
}

#[tokio::test]
async fn a_panic_while_flushing_poisons() {
    let dir = tempfile::tempdir().expect("a folder");
    let (log, kept) = open(dir.path(), Arc::new(Panics));
    assert!(kept.append(0, record("0", 1), None, Durability::Log).await.is_err());
    // The answer may come a moment before the health is set; the next answer cannot.
    assert!(kept.append(0, record("1", 1), None, Durability::Log).await.is_err());
    drop(log);
    assert!(matches!(kept.append(0, record("2", 1), None, Durability::Log).await, Err(LogError::Poisoned { .. })));
}

#[tokio::test]
async fn more_than_may_wait_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let config = Config { max_pending_bytes: 10, ..Config::default() };
    let (log, _) = SegmentLog::open(dir.path(), config, Arc::new(Told::default())).expect("opens");
    let kept = log.open(&topic(), settings(1, 1)).expect("opens");
    assert_eq!(kept.append(0, record("0", 1), None, Durability::Log).await, Err(LogError::Busy));
}

/// The corpus and bounded, seeded mutations of it; the fuzz target `frame` goes on from there.
#[test]
fn mutated_frames_never_break_the_readers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz-corpus/frames");
    let mut seeds: Vec<_> = fs::read_dir(folder).expect("the corpus").map(|entry| entry.expect("an entry").path()).collect();
    seeds.sort();
    assert!(seeds.len() >= 4);
    const SEED: u64 = 11;
    println!("seed {SEED}");
    let mut state = SEED;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below.max(1)
    };
    for seed in seeds {
        let seed = fs::read(seed).expect("a file");
        fuzz::frame(&seed);
        for _ in 0..4000 {
            let mut bytes = seed.clone();
            for _ in 0..=random(3) {
                let place = random(bytes.len());
                match random(5) {
                    _ if bytes.is_empty() => {}
                    0 => bytes[place] = random(256) as u8,
                    1 => bytes[place] ^= 1 << random(8),
                    2 => drop(bytes.remove(place)),
                    3 => drop(bytes.splice(place..place, [0, 0xff, 0, 0])),
                    _ => bytes.truncate(place),
                }
            }
            fuzz::frame(&bytes);
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzz::frame(&bytes);
    }
}
