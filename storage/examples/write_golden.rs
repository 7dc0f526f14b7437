//! Writes the golden files of a new format version, once: `cargo run -p posthorn-storage --example write_golden -- <folder>`,
//! with a folder such as `storage/tests/golden/v2`. What a version wrote must stay readable and is never written again.

use std::path::PathBuf;
use std::sync::Arc;

use posthorn_domain::direction::Direction;
use posthorn_domain::qos::Durability;
use posthorn_domain::record::Record;
use posthorn_storage::log::Log;
use posthorn_storage::log::behaviour::{Told, record, settings};
use posthorn_storage::log::segments::{Config, SegmentLog};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).expect("a folder"));
    assert!(!folder.exists(), "{} is there: golden files are written once", folder.display());
    let (log, _) = SegmentLog::open(&folder, Config::default(), Arc::new(Told::default())).expect("the folder opens");
    let topic = log.open(&"t".parse().expect("a name"), settings(1, 1)).expect("the topic opens");
    for n in 0..3 {
        let direction = if n == 1 { Direction::Outgoing } else { Direction::Incoming };
        topic.append(0, Record { direction, ..record(&n.to_string(), n) }, None, Durability::Sync).await.expect("the record is kept");
    }
}
