//! The open database, which can be opened anew while the store is in use: that is how it goes on after a full disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use parking_lot::Mutex;

use super::read_error;
use crate::database;
use crate::state::StateError;
use crate::state::tables::Table;

/// Blocks kept in memory. What is looked for often is in memory as rows; the rest is read through, a page after the other.
const CACHE_BYTES: u64 = 2 << 20;
const MEMTABLE_BYTES: u64 = 4 << 20;
const JOURNAL_BYTES: u64 = 64 << 20;

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

    /// See [`database::close`].
    fn close(self, folder: &Path) -> Result<(), fjall::Error> {
        database::close(self.db, vec![self.positions, self.retries, self.letters, self.readers], folder)
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

    /// For good; not while somebody reads, who is not waited for.
    pub(super) fn close(&self) -> Result<(), fjall::Error> {
        let mut slot = self.open.lock();
        match slot.take().map(Arc::try_unwrap) {
            Some(Ok(open)) => open.close(&self.folder),
            Some(Err(in_use)) => {
                *slot = Some(in_use);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

fn open_error(error: fjall::Error, folder: &Path) -> StateError {
    match error {
        fjall::Error::Locked => StateError::Locked(folder.display().to_string()),
        other => read_error(other),
    }
}
