//! The segment log against the shared suite, against damage, and against a disk that fails.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use posthorn_domain::clock::Clock;
use posthorn_domain::names::TopicName;
use posthorn_domain::qos::Durability;
use posthorn_domain::time::Time;
use posthorn_domain::units::{Dur, Size};
use posthorn_storage::log::behaviour::{self, Told, read_all, record, settings};
use posthorn_storage::log::segments::disk::{Disk, DiskFile, RealDisk};
use posthorn_storage::log::segments::{Config, OnDamage, Recovery, SegmentLog};
use posthorn_storage::log::{Gap, GapReason, Health, Log, LogError, TopicLog};

const HEAD: usize = 52;

fn config() -> Config {
    Config { clock: Clock::given(|| Time::from_millis(1000)), ..Config::default() }
}

fn topic() -> TopicName {
    "t".parse().expect("a name")
}

fn open(dir: &Path, config: Config) -> (SegmentLog, Arc<dyn TopicLog>, Recovery) {
    let (log, report) = SegmentLog::open(dir, config, Arc::new(Told::default())).expect("opens");
    let topic = log.open(&topic(), settings(1, 1)).expect("opens");
    (log, topic, report)
}

async fn append(topic: &dyn TopicLog, ids: std::ops::Range<u32>) {
    for id in ids {
        topic.append(0, record(&id.to_string(), u64::from(id)), None, Durability::Sync).await.expect("kept");
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir.join("t/0")).expect("there").map(|entry| entry.expect("there").path()).collect();
    files.retain(|file| file.extension().is_some_and(|kind| kind == "seg"));
    files.sort();
    files
}

fn ids(range: std::ops::Range<u64>) -> Vec<(u64, String)> {
    range.map(|n| (n, n.to_string())).collect()
}

#[tokio::test]
async fn keeps_the_shared_rules() {
    let dir = tempfile::tempdir().expect("a folder");
    for segment_bytes in [1 << 20, 600] {
        let told = Arc::new(Told::default());
        let config = Config { segment_bytes, index_interval: 300, max_open_files: 3, ..config() };
        let (log, _) = SegmentLog::open(&dir.path().join(segment_bytes.to_string()), config, told.clone()).expect("opens");
        behaviour::run(&log, &told).await;
    }
}

#[tokio::test]
async fn cut_anywhere_in_the_last_frame_it_keeps_what_is_before() {
    let dir = tempfile::tempdir().expect("a folder");
    let (log, kept, _) = open(dir.path(), config());
    append(&*kept, 0..3).await;
    let file = files(dir.path())[0].clone();
    let before = fs::metadata(&file).expect("there").len() as usize;
    append(&*kept, 3..4).await;
    drop((kept, log));
    let whole = fs::read(&file).expect("there");
    for len in (0..HEAD).chain(before..whole.len()) {
        fs::write(&file, &whole[..len]).expect("written");
        let (_log, kept, report) = open(dir.path(), config());
        let end = if len < HEAD { 0 } else { 3 };
        assert_eq!(read_all(&*kept, 0).await, ids(0..end), "cut at {len}");
        assert_eq!(report.cuts.len(), usize::from(len > before), "cut at {len}");
        append(&*kept, end as u32..end as u32 + 1).await;
        assert_eq!(read_all(&*kept, 0).await, ids(0..end + 1));
    }
}

#[tokio::test]
async fn no_flipped_bit_gives_a_wrong_record() {
    let dir = tempfile::tempdir().expect("a folder");
    let (log, kept, _) = open(dir.path(), config());
    append(&*kept, 0..3).await;
    let file = files(dir.path())[0].clone();
    drop((kept, log));
    let whole = fs::read(&file).expect("there");
    for bit in (0..whole.len() * 8).step_by(3) {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&file, &bytes).expect("written");
        let (_log, kept, report) = open(dir.path(), config());
        let read = read_all(&*kept, 0).await;
        let lost: u64 = report.damage.iter().map(|damage| damage.gap.to - damage.gap.from).sum();
        assert!(read.iter().all(|(offset, id)| offset.to_string() == *id), "bit {bit}");
        assert_eq!(read.len() as u64 + lost + report.cuts.len() as u64, 3, "bit {bit}: nothing goes silently");
    }
}

#[tokio::test]
async fn damage_in_the_middle_is_a_gap_or_stops_the_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let (log, kept, _) = open(dir.path(), config());
    append(&*kept, 0..3).await;
    drop((kept, log));
    let file = files(dir.path())[0].clone();
    let mut bytes = fs::read(&file).expect("there");
    let frame = (bytes.len() - HEAD) / 3;
    bytes[HEAD + frame + frame / 2] ^= 1;
    fs::write(&file, &bytes).expect("written");
    let stop = SegmentLog::open(dir.path(), Config { on_damage: OnDamage::Stop, ..config() }, Arc::new(Told::default()));
    assert!(matches!(stop.err(), Some(LogError::Damaged(text)) if text.contains("offsets 1 to 1") && text.contains(".seg")));
    let (_log, kept, report) = open(dir.path(), config());
    let gap = Gap { from: 1, to: 2, reason: GapReason::Damaged };
    assert_eq!(report.damage[0].gap, gap);
    let page = kept.read(0, 0, 1 << 20, 10).await.expect("readable");
    assert_eq!((page.records.len(), page.gaps, page.next), (2, vec![gap], 3));
}

#[tokio::test]
async fn a_missing_segment_is_a_gap() {
    let dir = tempfile::tempdir().expect("a folder");
    let (log, kept, _) = open(dir.path(), Config { segment_bytes: 1, ..config() });
    append(&*kept, 0..3).await;
    drop((kept, log));
    fs::remove_file(&files(dir.path())[1]).expect("removed");
    let (_log, kept, report) = open(dir.path(), config());
    assert_eq!(report.damage[0].gap, Gap { from: 1, to: 2, reason: GapReason::Missing });
    assert_eq!(read_all(&*kept, 0).await, vec![(0, "0".into()), (2, "2".into())]);
}

#[tokio::test]
async fn closed_segments_read_with_a_good_a_bad_and_no_index() {
    let dir = tempfile::tempdir().expect("a folder");
    let config = Config { segment_bytes: 1000, index_interval: 200, ..config() };
    let (log, kept, _) = open(dir.path(), config.clone());
    append(&*kept, 0..40).await;
    drop((kept, log));
    let index = files(dir.path())[1].with_extension("idx");
    let good = fs::read(&index).expect("there");
    for state in [Some(good.clone()), Some(good[..good.len() - 1].to_vec()), Some(Vec::new()), None] {
        match state {
            Some(bytes) => fs::write(&index, bytes).expect("written"),
            None => fs::remove_file(&index).expect("removed"),
        }
        let (_log, kept, report) = open(dir.path(), config.clone());
        assert!(report.damage.is_empty() && report.cuts.is_empty());
        assert_eq!(read_all(&*kept, 0).await, ids(0..40));
        for millis in 0..40 {
            assert_eq!(kept.offset_at(0, Time::from_millis(millis)).await, Ok(millis));
        }
        assert_eq!(fs::read(&index).expect("there"), good);
    }
}

#[tokio::test]
async fn a_second_open_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let (_log, ..) = open(dir.path(), config());
    let second = SegmentLog::open(dir.path(), config(), Arc::new(Told::default()));
    assert!(matches!(second.err(), Some(LogError::InUse(_))));
}

#[tokio::test]
async fn retention_deletes_whole_segments() {
    let dir = tempfile::tempdir().expect("a folder");
    let (log, kept, _) = open(dir.path(), Config { segment_bytes: 1, ..config() });
    append(&*kept, 0..5).await;
    kept.set_retention(posthorn_storage::log::TopicSettings { retention_age: Some(Dur::from_millis(100_000)), ..settings(1, 1) });
    log.enforce_retention(Time::from_millis(100_001));
    assert_eq!(kept.bounds(0).start, 2);
    assert_eq!(kept.read(0, 1, 10, 10).await.err(), Some(LogError::BelowStart { start: 2 }));
    kept.set_retention(posthorn_storage::log::TopicSettings { retention_bytes: Some(Size::from_bytes(1)), ..settings(1, 1) });
    log.enforce_retention(Time::from_millis(0));
    assert_eq!(read_all(&*kept, 0).await, ids(4..5));
}

#[tokio::test]
async fn a_full_disk_recovers_by_itself() {
    let dir = tempfile::tempdir().expect("a folder");
    let (log, kept, fault) = open_faulty(dir.path());
    append(&*kept, 0..2).await;
    fault.store(FULL, Ordering::SeqCst);
    let refused = kept.append(0, record("x", 1), None, Durability::Sync).await;
    assert!(matches!(refused, Err(LogError::Full { .. })));
    assert!(matches!(log.health(), Health::Full { .. }));
    fault.store(NONE, Ordering::SeqCst);
    append(&*kept, 2..3).await;
    assert_eq!(log.health(), Health::Ok);
    drop((kept, log));
    let (_log, kept, report) = open(dir.path(), config());
    assert_eq!(read_all(&*kept, 0).await, ids(0..3));
    assert!(report.cuts.is_empty() && report.damage.is_empty());
}

#[tokio::test]
async fn a_failed_sync_poisons_and_reading_goes_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let (log, kept, fault) = open_faulty(dir.path());
    append(&*kept, 0..2).await;
    fault.store(SYNC, Ordering::SeqCst);
    assert!(matches!(kept.append(0, record("x", 1), None, Durability::Sync).await, Err(LogError::Poisoned { .. })));
    fault.store(NONE, Ordering::SeqCst);
    assert!(matches!(kept.append(0, record("x", 1), None, Durability::Log).await, Err(LogError::Poisoned { .. })));
    assert!(matches!(log.health(), Health::Poisoned { file, .. } if file.ends_with(".seg")));
    assert_eq!(read_all(&*kept, 0).await, ids(0..2));
}

const NONE: u8 = 0;
const FULL: u8 = 1;
const SYNC: u8 = 2;

struct FaultyDisk(Arc<AtomicU8>);
struct FaultyFile(Arc<dyn DiskFile>, Arc<AtomicU8>);

fn open_faulty(dir: &Path) -> (SegmentLog, Arc<dyn TopicLog>, Arc<AtomicU8>) {
    let fault = Arc::new(AtomicU8::new(NONE));
    let disk = Arc::new(FaultyDisk(fault.clone()));
    let (log, _) = SegmentLog::open_on(disk, dir, config(), Arc::new(Told::default())).expect("opens");
    let topic = log.open(&topic(), settings(1, 1)).expect("opens");
    (log, topic, fault)
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path, make: bool) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(FaultyFile(RealDisk.open(path, make)?, self.0.clone())))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_dir(path)
    }
}

impl DiskFile for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(buffer, at)
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        if self.1.load(Ordering::SeqCst) == FULL {
            self.0.write_all_at(&bytes[..bytes.len() / 2], at)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.write_all_at(bytes, at)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.1.load(Ordering::SeqCst) == SYNC { Err(io::Error::other("lost")) } else { self.0.sync_data() }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}
