//! `meta.json` of a topic: its incarnation, partitions, format version and salt. Replaced whole, never in place.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

const FORMAT: u32 = 1;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Meta {
    format: u32,
    pub(super) incarnation: u64,
    pub(super) partitions: u32,
    pub(super) salt: u64,
}

impl Meta {
    pub(super) fn new(incarnation: u64, partitions: u32) -> Self {
        // The standard library seeds its hashers from the operating system's randomness.
        Self { format: FORMAT, incarnation, partitions, salt: RandomState::new().hash_one(incarnation) }
    }

    pub(super) fn load(dir: &Path) -> io::Result<Self> {
        let meta: Self = serde_json::from_slice(&fs::read(dir.join("meta.json"))?)?;
        if meta.format == FORMAT { Ok(meta) } else { Err(io::Error::other(format!("format {} is not known", meta.format))) }
    }

    pub(super) fn store(&self, dir: &Path) -> io::Result<()> {
        let made = dir.join("meta.json.new");
        fs::write(&made, serde_json::to_vec(self)?)?;
        fs::File::open(&made)?.sync_all()?;
        fs::rename(&made, dir.join("meta.json"))?;
        fs::File::open(dir)?.sync_all()
    }
}
