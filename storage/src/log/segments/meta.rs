//! `meta.json` of a topic: its incarnation, partitions, format version and salt. Replaced whole, never in place.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::disk::Disk;

const FORMAT: u32 = 1;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Meta {
    format: u32,
    pub(super) incarnation: u64,
    pub(super) partitions: u32,
    pub(super) salt: u64,
}

impl Meta {
    pub(super) fn new(incarnation: u64, partitions: u32, salt: u64) -> Self {
        Self { format: FORMAT, incarnation, partitions, salt }
    }

    pub(super) fn load(disk: &dyn Disk, dir: &Path) -> io::Result<Self> {
        let meta: Self = serde_json::from_slice(&disk.read(&dir.join("meta.json"))?)?;
        if meta.format == FORMAT { Ok(meta) } else { Err(io::Error::other(format!("format {} is not known", meta.format))) }
    }

    pub(super) fn store(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        let made = dir.join("meta.json.new");
        let file = disk.open(&made, true)?;
        file.set_len(0)?;
        file.write_all_at(&serde_json::to_vec(self)?, 0)?;
        file.sync_data()?;
        disk.rename(&made, &dir.join("meta.json"))?;
        disk.sync_dir(dir)
    }
}
