//! The configuration on disk: every resource under its key, written with the revision in one synced batch (I1 for
//! configuration: what was answered is on the disk). Secrets are sealed; documents hold the placeholder only.
//!
//! Blocking: `crate::api` calls it off the async threads. One writer at a time, which the caller sees to.

mod record;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use posthorn_domain::sealing::SealingKey;
use posthorn_domain::snapshot::ResourceKey;

use crate::registry::{Change, Published, Registry, forget_oldest};
pub use record::RecordError;
pub(crate) use record::resource;

/// Blocks kept in memory. The registry is in memory already, so the store is read once, at the start.
const CACHE_BYTES: u64 = 1 << 20;
/// Writes gathered before they become a file. Configuration is small and changes seldom.
const MEMTABLE_BYTES: u64 = 4 << 20;
/// Less than this is read back quickly, and takes little room.
const WORTH_A_FILE: u64 = 256 << 10;
/// How long the end may wait for the last file. What is not in one by then is in the journal.
const LOOKS: u32 = 1000;
const LOOK_AGAIN: Duration = Duration::from_millis(2);

const RESOURCES: &str = "r/";
/// Topics that were deleted, with the revision at which.
const DELETED: &str = "deleted/";
const REVISION: &str = "meta/revision";
const IDENTITY: &str = "meta/id";
const FORMAT: &str = "meta/format";
/// 1 had JSON in all rows, 2 subscriptions packed in form 1. Both are read.
const FORMAT_VERSION: &[u8] = b"3";

/// Why the store did not open or write.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed. After a failed sync it takes no more writes until it is opened again.
    #[error("the configuration store failed: {0}")]
    Database(#[from] fjall::Error),
    /// A stored resource cannot be read.
    #[error("the stored resource `{key}` cannot be read: {source}")]
    Record {
        /// Which.
        key: String,
        /// Why.
        source: RecordError,
    },
    /// A newer version wrote it.
    #[error("the configuration store was written by a newer version of Posthorn")]
    Format,
}

/// The open store.
pub(crate) struct Store {
    database: Database,
    keyspace: Keyspace,
    sealing: Arc<SealingKey>,
    identity: String,
}

impl Store {
    /// Opens the store under the data folder and reads all of it. Makes it when there is none.
    pub(crate) fn open(data_dir: &Path, sealing: Arc<SealingKey>) -> Result<(Self, Registry), StoreError> {
        let path: PathBuf = data_dir.join("control");
        let database = Database::builder(path).cache_size(CACHE_BYTES).worker_threads(1).max_cached_files(Some(32)).open()?;
        let keyspace = database.keyspace("config", || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES))?;
        check_format(&database, &keyspace)?;
        let identity = identity(&database, &keyspace)?;
        let store = Self { database, keyspace, sealing, identity };
        let registry = store.load()?;
        Ok((store, registry))
    }

    /// The control plane's id: made once, kept with the data.
    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    /// Writes a change; once this returns, it is on the disk.
    pub(crate) fn write(&self, change: &Change) -> Result<(), StoreError> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for entry in &change.put {
            let key = entry.key();
            let bytes =
                record::encode(entry, &key, &self.sealing).map_err(|source| StoreError::Record { key: key.as_str().into(), source })?;
            batch.insert(&self.keyspace, format!("{RESOURCES}{}", key.as_str()), bytes);
        }
        for key in &change.removed {
            batch.remove(&self.keyspace, format!("{RESOURCES}{}", key.resource().as_str()));
        }
        for key in change.topics_made() {
            batch.remove(&self.keyspace, format!("{DELETED}{}", key.as_str()));
        }
        for key in change.topics_deleted() {
            batch.insert(&self.keyspace, format!("{DELETED}{}", key.as_str()), change.revision.to_be_bytes().to_vec());
        }
        batch.insert(&self.keyspace, REVISION, change.revision.to_be_bytes().to_vec());
        batch.commit()?;
        Ok(())
    }

    /// Has what is only in the journal and in memory become a file: a start would read it back into memory, and there it would stay. The
    /// last call before the store is closed; nothing depends on it.
    pub(crate) fn settle(&self) {
        if self.database.write_buffer_size() < WORTH_A_FILE {
            return;
        }
        if let Err(error) = self.keyspace.rotate_memtable() {
            tracing::warn!(%error, "the configuration store did not write its last file; the next start reads its journal");
            return;
        }
        let is_busy = |_: &u32| self.keyspace.sealed_memtable_count() > 0;
        (0..LOOKS).take_while(is_busy).for_each(|_| thread::sleep(LOOK_AGAIN));
    }

    /// Topics that were deleted and not made again, as many as are remembered.
    pub(crate) fn deleted_topics(&self) -> Result<BTreeMap<ResourceKey, u64>, StoreError> {
        let mut deleted = BTreeMap::new();
        for row in self.keyspace.prefix(DELETED) {
            let (key, value) = row.into_inner()?;
            let key = ResourceKey::from_text(String::from_utf8_lossy(&key[DELETED.len()..]).into_owned());
            deleted.insert(key, value.as_ref().try_into().map_or(0, u64::from_be_bytes));
        }
        for old in forget_oldest(&mut deleted) {
            self.keyspace.remove(format!("{DELETED}{}", old.as_str()))?;
        }
        Ok(deleted)
    }

    fn load(&self) -> Result<Registry, StoreError> {
        let revision = self.keyspace.get(REVISION)?.and_then(|bytes| bytes.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes);
        let mut failed = None;
        let rows = self.keyspace.prefix(RESOURCES).map(|row| {
            let (key, value) = row.into_inner()?;
            let key = String::from_utf8_lossy(&key[RESOURCES.len()..]).into_owned();
            record::decode(&key, &value, &self.sealing).map_err(|source| StoreError::Record { key, source })
        });
        let entries = rows.map_while(|entry: Result<Published, StoreError>| entry.map_err(|error| failed = Some(error)).ok());
        let registry = Registry::restore(revision, entries);
        failed.map_or(Ok(registry), Err)
    }
}

fn check_format(database: &Database, keyspace: &Keyspace) -> Result<(), StoreError> {
    match keyspace.get(FORMAT)? {
        Some(found) if found.as_ref() == FORMAT_VERSION => Ok(()),
        Some(found) if !matches!(found.as_ref(), b"1" | b"2") => Err(StoreError::Format),
        _ => Ok(put_synced(database, keyspace, FORMAT, FORMAT_VERSION)?),
    }
}

fn identity(database: &Database, keyspace: &Keyspace) -> Result<String, StoreError> {
    if let Some(found) = keyspace.get(IDENTITY)? {
        return Ok(String::from_utf8_lossy(&found).into_owned());
    }
    let made = format!("cp_{}", uuid::Uuid::now_v7().simple());
    put_synced(database, keyspace, IDENTITY, made.as_bytes())?;
    Ok(made)
}

fn put_synced(database: &Database, keyspace: &Keyspace, key: &str, value: &[u8]) -> Result<(), fjall::Error> {
    let mut batch = database.batch().durability(Some(PersistMode::SyncAll));
    batch.insert(keyspace, key, value);
    batch.commit()
}
