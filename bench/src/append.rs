//! Appends through the real log to a real file: 64 at once, so that they share writes and flushes as concurrent publishers do.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use posthorn_domain::names::TopicName;
use posthorn_domain::qos::Durability;
use posthorn_domain::record::Stored;
use posthorn_storage::log::segments::{Config, SegmentLog, fuzz};
use posthorn_storage::log::{Log as _, TailSink, TopicSettings};

use crate::{Operation, inputs};

const TOGETHER: usize = 64;
const IN_A_FRAME: usize = 10;

/// Acknowledged once the operating system has them.
pub(crate) fn log() -> Operation {
    append(Durability::Log)
}

/// Acknowledged once the disk has them.
pub(crate) fn sync() -> Operation {
    append(Durability::Sync)
}

/// The bytes of one frame of ten records, checksums included, without a disk.
pub(crate) fn frame() -> Operation {
    let records: Vec<_> = inputs().into_iter().take(IN_A_FRAME).map(|input| input.record).collect();
    let mut out = Vec::new();
    Box::new(move || {
        out.clear();
        assert_eq!(fuzz::encode(&mut out, &records) as usize, IN_A_FRAME);
    })
}

/// The same read back, as a lagging lane has it.
pub(crate) fn read_frame() -> Operation {
    let records: Vec<_> = inputs().into_iter().take(IN_A_FRAME).map(|input| input.record).collect();
    let mut out = Vec::new();
    fuzz::encode(&mut out, &records);
    let frame = Bytes::from(out);
    Box::new(move || assert_eq!(black_box(fuzz::decode(&frame).expect("a frame")).len(), IN_A_FRAME))
}

struct Nobody;

impl TailSink for Nobody {
    fn durable(&self, _: &TopicName, _: u32, _: Vec<Arc<Stored>>) {}
}

fn append(durability: Durability) -> Operation {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = SegmentLog::open(folder.path(), Config::default(), Arc::new(Nobody)).expect("the log opens");
    let settings = TopicSettings { incarnation: 1, partitions: 1, retention_age: None, retention_bytes: None };
    let topic = log.open(&"github".parse().expect("a name"), settings).expect("the topic opens");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let inputs = inputs();
    let records: Vec<_> = inputs.iter().cycle().take(TOGETHER).map(|input| input.record.clone()).collect();
    Box::new(move || {
        let _kept = (&log, &folder);
        let appends = records.iter().map(|record| topic.append(0, record.clone(), None, durability));
        for offset in runtime.block_on(join_all(appends)) {
            offset.expect("the record is kept");
        }
    })
}
