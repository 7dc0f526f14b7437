//! Publishers that go away, disks that are full, topics that are removed.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use posthorn_dataplane::ingest::Publish;
use posthorn_domain::cloudevents::decode_structured;
use posthorn_storage::log::Log as _;
use posthorn_storage::log::segments::Config;
use posthorn_storage::log::segments::disk::{Disk, DiskFile, RealDisk};
use serde_json::json;

use crate::node::{Node, event, http_limits, ingest_limits};

#[tokio::test]
async fn an_event_whose_publisher_went_away_is_known_all_the_same() {
    let mut node = Node::start().await;
    node.topic("orders", json!({}));
    let given_up = decode_structured(&Bytes::from(event("1", json!({"durability": "sync"})).to_string())).unwrap();
    drop(node.pipeline.begin(Publish {
        topic: None,
        event: given_up,
        publisher: "",
        idempotency_key: None,
        direction: posthorn_domain::direction::Direction::Incoming,
        relayed: None,
    }));
    let again = node.publish("1", json!({})).await;
    assert_eq!((again.status, &again.json()["offset"]), (200, &json!(0)));
}

#[tokio::test]
async fn a_removed_topic_is_unknown() {
    let mut node = Node::start().await;
    node.topic("orders", json!({}));
    node.log.remove(&"orders".parse().unwrap()).unwrap();
    assert_eq!(node.publish("1", json!({})).await.problem(), (404, "topic-unknown".into()));
}

#[tokio::test]
async fn a_full_disk_is_503_and_what_it_refused_may_come_again() {
    let full = Arc::new(AtomicBool::new(false));
    let disk = Arc::new(FillingDisk(full.clone()));
    let mut node = Node::on_disk(disk, tempfile::tempdir().unwrap(), http_limits(), ingest_limits(), Config::default()).await;
    node.topic("orders", json!({}));
    assert_eq!(node.publish("0", json!({})).await.status, 202);
    full.store(true, Ordering::SeqCst);
    let refused = node.publish("1", json!({})).await;
    assert_eq!(refused.problem(), (503, "unavailable".into()));
    assert!(refused.headers.contains_key("retry-after"));
    full.store(false, Ordering::SeqCst);
    let again = node.publish("1", json!({})).await;
    assert_eq!((again.status, &again.json()["offset"]), (202, &json!(1)));
}

/// A disk that is full while it is told to be.
struct FillingDisk(Arc<AtomicBool>);

struct FillingFile(Arc<dyn DiskFile>, Arc<AtomicBool>);

impl Disk for FillingDisk {
    fn open(&self, path: &Path, make: bool) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(FillingFile(RealDisk.open(path, make)?, self.0.clone())))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_dir(path)
    }
}

impl DiskFile for FillingFile {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(buffer, at)
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        if self.1.load(Ordering::SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { self.0.write_all_at(bytes, at) }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}
