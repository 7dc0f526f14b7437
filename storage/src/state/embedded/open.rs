//! The open database, which can be opened anew while the store is in use: that is how it goes on after a full disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use parking_lot::Mutex;

use super::read_error;
use crate::state::StateError;
use crate::state::tables::Table;

/// Blocks kept in memory. What is looked for often is in memory as rows; the rest is read through, a page after the other.
const CACHE_BYTES: u64 = 2 << 20;
const MEMTABLE_BYTES: u64 = 4 << 20;
const JOURNAL_BYTES: u64 = 64 << 20;
/// Less than this is read back quickly, and takes little room.
const WORTH_A_FILE: u64 = 256 << 10;
/// How long the end may wait for files. What is not one by then is in the journal.
const LOOKS: u32 = 1000;
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// Less room than this is a full disk.
const ROOM: usize = 1 << 20;

/// The database and its keyspaces.
pub(super) struct Open {
    pub(super) db: Database,
    pub(super) positions: Keyspace,
    pub(super) retries: Keyspace,
    pub(super) letters: Keyspace,
    pub(super) readers: Keyspace,
}

/// Where the open database is; empty when it could not be opened again.
pub(super) struct Slot {
    folder: PathBuf,
    open: Mutex<Option<Arc<Open>>>,
}

impl Open {
    fn at(folder: &Path) -> Result<Self, StateError> {
        let opened = Database::builder(folder)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .max_cached_files(Some(64))
            .worker_threads(1)
            .open();
        let db = opened.map_err(|error| open_error(error, folder))?;
        let table = |name| {
            db.keyspace(name, || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES))
                .map_err(|error| open_error(error, folder))
        };
        let [positions, retries, letters] = [table("positions")?, table("retries")?, table("dead_letters")?];
        let readers = table("readers")?;
        Ok(Self { db, positions, retries, letters, readers })
    }

    /// Has what is only in the journal and in memory become files: a start would read it back into memory, and there it would stay.
    pub(super) fn settle(&self) -> Result<(), fjall::Error> {
        if self.db.write_buffer_size() < WORTH_A_FILE {
            return Ok(());
        }
        let all = [&self.positions, &self.retries, &self.letters, &self.readers];
        for keyspace in all {
            keyspace.rotate_memtable()?;
        }
        let is_busy = || all.iter().any(|keyspace| keyspace.sealed_memtable_count() > 0);
        (0..LOOKS).take_while(|_| is_busy()).for_each(|_| thread::sleep(LOOK_AGAIN));
        Ok(())
    }

    pub(super) fn table(&self, table: Table) -> &Keyspace {
        match table {
            Table::Positions => &self.positions,
            Table::Retries => &self.retries,
            Table::Letters => &self.letters,
            Table::Readers => &self.readers,
        }
    }
}

impl Slot {
    pub(super) fn open(folder: &Path) -> Result<Self, StateError> {
        let open = Arc::new(Open::at(folder)?);
        Ok(Self { folder: folder.into(), open: Mutex::new(Some(open)) })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn get(&self) -> Result<Arc<Open>, StateError> {
        self.open.lock().clone().ok_or_else(|| StateError::Stopped("it could not be opened again".into()))
    }

    /// Closes and opens; `false` while somebody reads, who is not waited for.
    pub(super) fn reopen(&self) -> Result<bool, StateError> {
        let mut slot = self.open.lock();
        match slot.take().map(Arc::try_unwrap) {
            Some(Err(in_use)) => {
                *slot = Some(in_use);
                return Ok(false);
            }
            Some(Ok(open)) => drop(open),
            None => {}
        }
        *slot = Some(Arc::new(Open::at(&self.folder)?));
        Ok(true)
    }
}

/// Whether so much can be written that going on makes sense.
pub(super) fn has_room(folder: &Path) -> io::Result<()> {
    let probe = folder.with_extension("room");
    let written = fs::write(&probe, vec![1; ROOM]);
    let removed = fs::remove_file(&probe);
    written.and(removed)
}

/// Whether the disk, or the user's share of it, is full.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn open_error(error: fjall::Error, folder: &Path) -> StateError {
    match error {
        fjall::Error::Locked => StateError::Locked(folder.display().to_string()),
        other => read_error(other),
    }
}
